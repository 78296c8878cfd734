"""A mask that is checked against what it masks, once both shapes are known."""

from __future__ import annotations

from typing import Any

from graphrun.errors import InvalidArgumentError, RuleError
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.attributes import known_ints, shape_attr
from graphrun.ops.state import IDENTITY
from graphrun.shapes import format_shape, is_static


def _rule(mask: Spec, *, dims: Any, axis: int) -> tuple[Spec]:
    full = known_ints(dims)
    if mask.shape is None or full is None:
        return (mask,)
    masked = full[axis : axis + len(mask.shape)]
    pairs = list(zip(mask.shape, masked, strict=False))
    known = all(m is not None and d is not None for m, d in pairs) and len(pairs) == len(mask.shape)
    # One that is too short leaves out what is behind it, as in TensorFlow, where it has one dimension.
    if known and mask.shape != masked and (len(pairs) > 1 or mask.shape[0] > masked[0]):
        raise RuleError(
            f"the mask has shape {format_shape(mask.shape)}, the masked dimensions {format_shape(masked)}",
            expected="the same shape", kind=InvalidArgumentError,
        )  # fmt: skip
    return (mask,)


fitting_mask_op = register(
    OpDef(
        "fitting_mask", _rule, lambda mask, *, dims, axis: mask, IDENTITY, no_gradient, value_attrs=("dims",),
        input_names=("mask",),
    )
)  # fmt: skip


def fitting_mask(mask: Tensor, x: Tensor, axis: int) -> Tensor:
    """`mask` for the dimensions of `x` from `axis` on; where it does not fit, the run fails."""
    if is_static(x._shape) and is_static(mask._shape):
        return mask  # the caller has compared them
    return apply(fitting_mask_op, (mask,), {"dims": shape_attr(x), "axis": axis})
