"""What the functions for sequences share: first states, lengths, and what comes behind a sequence's end."""

from __future__ import annotations

from typing import Any

from graphrun.control.structure import describe, map_structure, same_structure
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import int32
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import zeros_like
from graphrun.ops.compare import greater_equal, where
from graphrun.ops.convert import cast
from graphrun.ops.state import identity
from graphrun.shapes import format_shape


def first_state(cell: Any, initial: Any, batch: Any, dtype: Any, name: str) -> Any:
    """The given state as tensors, or zeros."""
    if initial is None:
        if dtype is None:
            raise GraphError(
                message("neither initial_state nor dtype is given", where=name, site=user_site(),
                        fix="dtype=gr.float32 starts with zeros of that dtype")
            )  # fmt: skip
        return cell.zero_state(batch, dtype)
    if not same_structure(cell.state_size, initial):
        raise GraphError(
            message(
                "initial_state has another structure than the cell's state", where=name, site=user_site(),
                got=f"initial_state: {describe(initial)}   cell.state_size: {cell.state_size!r}",
                expected="a tensor for each size", fix="cell.zero_state(batch, dtype) makes one",
            )
        )  # fmt: skip
    return map_structure(lambda x: x if isinstance(x, TensorArray) else convert_to_tensor(x), initial)


def lengths_of(lengths: Any, batch: Any, name: str) -> Tensor | None:
    """Lengths as an int32 vector."""
    if lengths is None:
        return None
    t = convert_to_tensor(lengths)
    if not t.dtype.is_integer:
        raise DTypeError(
            message(f"sequence_length has dtype {t.dtype}", where=name, site=user_site(),
                    expected="integers: the number of steps of each example")
        )  # fmt: skip
    wrong = t._shape is not None and (
        len(t._shape) != 1 or (isinstance(batch, int) and t._shape[0] not in (None, batch))
    )
    if wrong:
        size = batch if isinstance(batch, int) else "batch"
        raise ShapeError(
            message("sequence_length is no vector of the batch's size", where=name, site=user_site(),
                    got=f"shape {format_shape(t._shape)}", expected=f"shape ({size},)")
        )  # fmt: skip
    return identity(t if t.dtype is int32 else cast(t, int32), name="sequence_length")


def require_depth(t: Tensor, first: int, name: str) -> None:
    """Raise unless the dimensions behind batch (and time) are known."""
    shape = t._shape
    if shape is not None and len(shape) <= first - (first == 1):
        axes = "(batch, depth)" if first == 1 else "(batch, time, depth)"
        raise ShapeError(
            message(f"the inputs '{t.name}' have too few dimensions", where=name, site=user_site(),
                    got=f"shape {format_shape(shape)}", expected=f"shape {axes}")
        )  # fmt: skip
    if shape is None or None in shape[first:]:
        raise ShapeError(
            message(
                f"the depth of the inputs '{t.name}' is not known", where=name, site=user_site(),
                got=f"shape {format_shape(shape)}", expected="a size for each dimension behind"
                f" {'the batch' if first == 1 else 'batch and time'}: variables are made for them",
                fix="give the placeholder that size, or x.set_shape(...)",
            )
        )  # fmt: skip


def held(time: Any, lengths: Tensor, output: Any, state: Any, new_state: Any) -> tuple[Any, Any]:
    """Zeros and the state before, where an example has ended."""
    ended = greater_equal(time, lengths)

    def choose(before: Any, after: Any) -> Any:
        if isinstance(after, TensorArray) or convert_to_tensor(after)._shape == ():
            return after
        return where(ended, before, after)

    output = map_structure(lambda y: choose(zeros_like(y), y), output)
    return output, map_structure(choose, state, new_state)


def require_same(before: Any, after: Any, what: str, name: str) -> None:
    """Raise unless both have the same nesting of lists, tuples and dictionaries."""
    if not same_structure(before, after):
        raise GraphError(
            message(what, where=name, site=user_site(), got=f"{describe(after)}",
                    expected=f"{describe(before)}")
        )  # fmt: skip
