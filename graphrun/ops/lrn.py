"""Local response normalization, and the sum over neighbouring channels that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.arithmetic import multiply
from graphrun.ops.arithmetic import pow as pow_
from graphrun.ops.elementwise import square
from graphrun.ops.families import require_kind


def _rule(x: Spec, *, radius: int) -> tuple[Spec]:
    require_kind(x, "floating", "the input")
    if x.shape is not None and not x.shape:
        raise RuleError("the input is a scalar", expected="channels in the last dimension")
    return (x,)


def _numpy(x: np.ndarray, *, radius: int) -> np.ndarray:
    channels = x.shape[-1]
    total = np.zeros(x.shape, np.float32 if x.dtype == np.float16 else x.dtype)
    for shift in range(-min(radius, channels - 1), min(radius, channels - 1) + 1):
        to = slice(max(0, -shift), channels - max(0, shift))
        total[..., to] += x[..., max(0, shift) : channels + min(0, shift)]
    return total.astype(x.dtype, copy=False)


def _code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    last, radius = len(out.dims) - 1, attrs["radius"]
    channels = out.dims[-1]
    return f"""const long first = c{last} < {radius}L ? 0 : c{last} - {radius}L;
const long end = c{last} + {radius}L < {channels - 1}L ? c{last} + {radius}L : {channels - 1}L;
r = 0;
for (long k = first; k <= end; ++k) r += LOAD0(i - c{last} + k);"""


def _gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply("neighbour_sum", (dy,), {"radius": op.attrs["radius"]})


# A channel is among the neighbours of another one as that is among its own, so the sum is its own gradient.
neighbour_sum_op = register(
    OpDef(
        "neighbour_sum", _rule, _numpy, Index(_code), _gradient, node_name="NeighbourSum",
        input_names=("input",),
    )
)  # fmt: skip


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """Divide each channel by a power of the squares of its neighbours.

    ``input / (bias + alpha * sum(squares of the channels at most depth_radius away)) ** beta``

    Parameters
    ----------
    input : floating tensor
        (images, rows, columns, channels).
    depth_radius : int
    bias, alpha, beta : float
    name : str, optional
    """
    x = convert_to_tensor(input)
    with x.graph.name_scope(name or "LRN") as scope:
        squares = apply(neighbour_sum_op, (square(x),), {"radius": max(int(depth_radius), 0)})
        return multiply(x, pow_(float(bias) + float(alpha) * squares, -float(beta)), name=scope)


lrn = local_response_normalization
