"""Moments, and what is normalized by them or by a norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.descriptor import Expr
from graphrun.graph.node import Operation, Tensor
from graphrun.ops.arithmetic import maximum, multiply
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import rsqrt, square
from graphrun.ops.families import binary
from graphrun.ops.fill import shape, zeros_like
from graphrun.ops.reduce import reduce_mean, reduce_sum
from graphrun.ops.reshape import reshape
from graphrun.shapes import is_static


def _deviation_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return dy * (2 * (op.inputs[0] - op.inputs[1])), None


# (x - mean) ** 2 for the exact mean of x: the distances sum to 0, so that no gradient flows to the mean, and
# none is computed.  Second derivatives see the mean in the gradient above, and are right.
_squared_deviation = binary(
    "squared_deviation", numpy=lambda x, mean: np.square(x - mean), opencl=Expr("gr_square(a - b)", flops=2),
    gradient=_deviation_gradient, kind="floating", node_name="SquaredDeviation",
)  # fmt: skip


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over `axes`.

    Parameters
    ----------
    x : floating tensor
        float16 is computed in float32.
    axes : ints
    shift
        Not used; TensorFlow keeps it for old programs.
    keepdims : bool, optional
        Keep reduced axes with length 1.  `keep_dims` is the older name.

    Returns
    -------
    mean, variance : Tensor
    """
    t = convert_to_tensor(x)
    keep = bool(keepdims if keepdims is not None else keep_dims)
    with t.graph.name_scope(name or "moments"):
        y = cast(t, dtypes.float32) if t.dtype is dtypes.float16 else t
        mean = reduce_mean(y, axes, True, "mean")
        variance = reduce_mean(_squared_deviation(y, mean), axes, keep, "variance")
        if not keep:
            mean = reshape(mean, variance._shape if is_static(variance._shape) else shape(variance))
        return cast(mean, t.dtype), cast(variance, t.dtype)


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Tensor:
    """Return ``(x - mean) / sqrt(variance + epsilon) * scale + offset``; scale and offset may be None."""
    t = convert_to_tensor(x)
    with t.graph.name_scope(name or "batchnorm"):
        factor = rsqrt(convert_to_tensor(variance, t.dtype) + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        scaled = t * factor
        moved = convert_to_tensor(mean, t.dtype) * factor
        return scaled + (-moved if offset is None else offset - moved)


def batch_norm_with_global_normalization(
    t: Any = None, m: Any = None, v: Any = None, beta: Any = None, gamma: Any = None,
    variance_epsilon: Any = None, scale_after_normalization: bool | None = None, name: str | None = None,
    input: Any = None, mean: Any = None, variance: Any = None,
) -> Tensor:  # fmt: skip
    """`batch_normalization` of images by the mean and variance of their channels.

    Parameters
    ----------
    t : tensor of shape (batch, height, width, channels)
        `input` is another name of it.
    m, v : tensors of shape (channels,)
        `mean` and `variance` are other names of them.
    beta, gamma : tensors of shape (channels,)
        What is added at the end, and what is multiplied by where `scale_after_normalization` is true.
    variance_epsilon : float
    """
    x, mean, variance = (a if b is None else b for a, b in ((t, input), (m, mean), (v, variance)))
    scale = gamma if scale_after_normalization else None
    return batch_normalization(x, mean, variance, beta, scale, variance_epsilon, name)


def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None
) -> Tensor:
    """Return `x` divided by its Euclidean norm over `axis`, at least ``sqrt(epsilon)``."""
    t = convert_to_tensor(x)
    axis = dim if axis is None else axis
    with t.graph.name_scope(name or "l2_normalize") as scope:
        total = reduce_sum(square(t), axis, True)
        return multiply(t, rsqrt(maximum(total, epsilon)), scope)


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over `axes` where each element counts as often as its weight says."""
    t = convert_to_tensor(x)
    keep = bool(keepdims if keepdims is not None else keep_dims)
    with t.graph.name_scope(name or "weighted_moments"):
        weights = cast(convert_to_tensor(frequency_weights, graph=t.graph), t.dtype)
        total = reduce_sum(weights + zeros_like(t), axes, True)  # weights broadcast to x
        mean = reduce_sum(weights * t, axes, True) / total
        variance = reduce_sum(weights * square(t - mean), axes, True) / total
        if not keep:
            kept = reduce_sum(t, axes)
            mean, variance = (reshape(m, shape(kept)) for m in (mean, variance))
        return mean, variance
