"""Nested lists, tuples, named tuples and dictionaries: TensorFlow's ``tf.nest``.

Dictionaries count by their sorted keys; what is neither of these, as an array, is one part.

>>> import graphrun as gr
>>> gr.nest.flatten({"b": 1, "a": [2, (3, 4)]})
[2, 3, 4, 1]
>>> gr.nest.map_structure(lambda x, y: x + y, [1, (2, 3)], [10, (20, 30)])
[11, (22, 33)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.control import structure as _structure
from graphrun.control.structure import is_nested as is_nested
from graphrun.errors import DTypeError, GraphError, message
from graphrun.graph.site import user_site

__all__ = ["assert_same_structure", "flatten", "is_nested", "map_structure", "pack_sequence_as"]


def flatten(structure: Any, expand_composites: bool = False) -> list[Any]:
    """Return the parts of a structure, in their order.

    Parameters
    ----------
    structure
        Whatever is not nested is a structure of one part.
    expand_composites : bool
        Not used: sparse tensors and `IndexedSlices` are parts.

    Returns
    -------
    list
    """
    return _structure.flatten(structure)


def pack_sequence_as(structure: Any, flat_sequence: Any, expand_composites: bool = False) -> Any:
    """Return a structure like `structure` with the parts in `flat_sequence`.

    Parameters
    ----------
    structure
    flat_sequence : list or tuple
        As many parts as `structure` has, in the order of `flatten`.
    expand_composites : bool
        Not used.

    Raises
    ------
    TypeError
        `flat_sequence` is no list or tuple.
    ValueError
        It has another number of parts.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.nest.pack_sequence_as({"b": 0, "a": (0, 0)}, [1, 2, 3])
    {'b': 3, 'a': (1, 2)}
    """
    if not isinstance(flat_sequence, list | tuple):
        raise DTypeError(
            message("the parts are not in a list", where="nest.pack_sequence_as", site=user_site(),
                    got=f"{flat_sequence!r}", expected="a list or tuple")
        )  # fmt: skip
    count = len(_structure.flatten(structure))
    if count != len(flat_sequence):
        raise GraphError(
            message(f"the structure has {count} parts, the list {len(flat_sequence)}",
                    where="nest.pack_sequence_as", site=user_site(), got=_structure.describe(structure),
                    expected="equal numbers")
        )  # fmt: skip
    return _structure.pack_like(structure, flat_sequence)


def map_structure(func: Callable[..., Any], *structure: Any, **kwargs: Any) -> Any:
    """Call `func` with the corresponding parts of structures.

    Parameters
    ----------
    func : callable
        Of as many parts as there are structures.
    *structure
        Structures of the same nesting.
    check_types : bool
        As of `assert_same_structure`.
    expand_composites : bool
        Not used.

    Returns
    -------
    structure
        Like the first one, of what `func` returns.

    Raises
    ------
    TypeError
        `func` cannot be called; or structures of different types.
    ValueError
        There is no structure, or they differ; or another keyword.
    """
    where = "nest.map_structure"
    check_types = kwargs.pop("check_types", True)
    kwargs.pop("expand_composites", None)
    if kwargs:
        raise GraphError(
            message(f"arguments {', '.join(kwargs)}", where=where, site=user_site(),
                    expected="check_types or expand_composites by keyword")
        )  # fmt: skip
    if not callable(func):
        raise DTypeError(
            message(f"{func!r} cannot be called", where=where, site=user_site(), expected="a function first")
        )
    if not structure:
        raise GraphError(message("no structure", where=where, site=user_site(), expected="one at least"))
    for other in structure[1:]:
        _compare(structure[0], other, check_types, where)
    return _structure.map_structure(func, *structure)


def assert_same_structure(
    nest1: Any, nest2: Any, check_types: bool = True, expand_composites: bool = False
) -> None:
    """Raise unless two structures are nested in the same way.

    Parameters
    ----------
    nest1, nest2
    check_types : bool
        Whether a list is something else than a tuple, and other keys are another structure.  All kinds of
        dictionaries are one, and so are named tuples of the same name and fields.
    expand_composites : bool
        Not used.

    Raises
    ------
    ValueError
        They have different numbers of parts, or different keys.
    TypeError
        They have parts of different types, with `check_types`.
    """
    _compare(nest1, nest2, check_types, "nest.assert_same_structure")


def _compare(a: Any, b: Any, check_types: bool, where: str) -> None:
    fault = _difference(a, b, check_types)
    if fault is not None:
        kind, text = fault
        raise kind(
            message(f"the structures differ: {text}", where=where, site=user_site(),
                    got=f"{_structure.describe(a)} and {_structure.describe(b)}", expected="the same nesting",
                    fix="check_types=False takes lists for tuples" if kind is DTypeError else "")
        )  # fmt: skip


def _difference(a: Any, b: Any, check_types: bool) -> tuple[type[DTypeError | GraphError], str] | None:
    """What differs first, and the error for it."""
    if is_nested(a) != is_nested(b):
        return GraphError, f"{a!r} and {b!r}"
    if not is_nested(a):
        return None
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if check_types and set(a) != set(b):
            return GraphError, f"the keys {sorted(a)} and {sorted(b)}"
    elif check_types and not _one_type(a, b):
        return DTypeError, f"a {type(a).__name__} and a {type(b).__name__}"
    ours, theirs = _entries(a), _entries(b)
    if len(ours) != len(theirs):
        return GraphError, f"{len(ours)} and {len(theirs)} entries"
    faults = (_difference(x, y, check_types) for x, y in zip(ours, theirs, strict=True))
    return next((f for f in faults if f is not None), None)


def _one_type(a: Any, b: Any) -> bool:
    fields = getattr(a, "_fields", None)
    if fields is not None and fields == getattr(b, "_fields", None):
        return type(a).__name__ == type(b).__name__
    return type(a) is type(b)


def _entries(item: Any) -> Sequence[Any]:
    return [item[k] for k in sorted(item)] if isinstance(item, Mapping) else item
