"""Nested lists, tuples, named tuples and dictionaries of tensors, as loops and branches pass them on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def is_nested(item: Any) -> bool:
    """Whether it holds parts, rather than being one."""
    return isinstance(item, list | tuple | Mapping)


def flatten(item: Any) -> list[Any]:
    """The parts of a structure, in order; dictionaries by their sorted keys, as TensorFlow has it."""
    if isinstance(item, Mapping):
        return [part for k in sorted(item) for part in flatten(item[k])]
    if isinstance(item, list | tuple):
        return [part for entry in item for part in flatten(entry)]
    return [item]


def pack_like(structure: Any, parts: Sequence[Any]) -> Any:
    """A structure like `structure` that holds `parts`, in the order of `flatten`."""
    rest = iter(parts)
    result = _pack(structure, rest)
    return result


def _pack(structure: Any, rest: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        packed = {k: _pack(structure[k], rest) for k in sorted(structure)}
        return type(structure)((k, packed[k]) for k in structure)  # type: ignore[call-arg]
    if isinstance(structure, list | tuple):
        entries = [_pack(entry, rest) for entry in structure]
        if isinstance(structure, list):
            return entries
        make = getattr(type(structure), "_make", None)  # of a namedtuple
        return make(entries) if make is not None else tuple(entries)
    return next(rest)


def map_structure(function: Any, *structures: Any) -> Any:
    """`function` of the corresponding parts, in a structure like the first one."""
    parts = [flatten(s) for s in structures]
    return pack_like(structures[0], [function(*p) for p in zip(*parts, strict=True)])


def same_structure(a: Any, b: Any) -> bool:
    """Whether both have the same nesting; lists and tuples count as the same kind."""
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        if not (isinstance(a, Mapping) and isinstance(b, Mapping)) or sorted(a) != sorted(b):
            return False
        return all(same_structure(a[k], b[k]) for k in a)
    if is_nested(a) or is_nested(b):
        if not (is_nested(a) and is_nested(b)) or len(a) != len(b):
            return False
        return all(same_structure(x, y) for x, y in zip(a, b, strict=True))
    return True


def describe(item: Any) -> str:
    """The nesting, with each tensor as ``*``."""
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{k}: {describe(item[k])}" for k in sorted(item)) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(describe(x) for x in item) + "]"
    if isinstance(item, tuple):
        return "(" + ", ".join(describe(x) for x in item) + ("," if len(item) == 1 else "") + ")"
    return "*"
