"""Arguments that a function does not have, or that stand in another order than TensorFlow 1's."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, message
from graphrun.graph.site import user_site
from graphrun.shapes import TensorShape, as_shape, format_shape


def placeholder_attrs(dtype: Any, shape: Any) -> dict[str, Any]:
    """The attributes of a placeholder; its arguments in the other order are told."""
    if isinstance(dtype, list | tuple | TensorShape):
        kind = f"gr.{shape.name}" if isinstance(shape, DType) else "gr.float32"
        raise DTypeError(
            message(
                f"the first argument is a shape, {format_shape(as_shape(dtype))}", where="placeholder",
                site=user_site(), expected="gr.placeholder(dtype, shape): the dtype first",
                fix=f"write gr.placeholder({kind}, {list(as_shape(dtype) or ())})",
            )
        )  # fmt: skip
    return {"shape": as_shape(shape), "dtype": as_dtype(dtype)}


def near_argument(name: str, known: Iterable[str]) -> str:
    """``did you mean learning_rate?`` for ``lr``: by initials, as a part, or by spelling; else nothing."""
    names = [n for n in known if n not in ("self", "inputs")]
    initials = [n for n in names if "_" in n and "".join(part[:1] for part in n.split("_")) == name]
    parts = [n for n in names if len(name) > 2 and name in n.split("_")]
    found = initials or difflib.get_close_matches(name, names, 1) or parts
    return f"did you mean {found[0]}?" if found else ""


def refuse_unknown(label: str, function: Any, given: Iterable[str]) -> None:
    """Raise a TypeError if `function` has no argument of a name in `given`."""
    signature = inspect.signature(function)
    parameters = signature.parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = next((name for name in given if name not in parameters), None)
    if unknown is None:
        return
    shown = [p.replace(annotation=p.empty) for n, p in parameters.items() if n != "self"]
    raise TypeError(
        message(
            f"there is no argument {unknown!r}", where=label, site=user_site(),
            expected=str(inspect.Signature(shown)), fix=near_argument(unknown, parameters),
        )
    )  # fmt: skip


class KnownArguments:
    """Base of classes that tell an argument which they do not have with those that they have.

    It is a base of its own so that `inspect.signature` finds the ``__init__`` of its subclasses first.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        refuse_unknown(cls.__name__, cls.__init__, kwargs)
        return super().__new__(cls)
