"""Moments, and what is normalized by them or by a norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.descriptor import Expr
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import maximum, multiply
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import rsqrt, square
from graphrun.ops.families import binary
from graphrun.ops.fill import shape, size, zeros_like
from graphrun.ops.reduce import reduce_mean, reduce_sum
from graphrun.ops.reshape import reshape
from graphrun.ops.state import identity_n, stop_gradient
from graphrun.shapes import format_shape, is_static


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


_FEATURES_LAST, _FEATURES_FIRST = {"NHWC": 4, "NDHWC": 5}, {"NCHW": 4, "NCDHW": 5}


def fused_batch_norm(
    x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 0.001,
    data_format: str = "NHWC", is_training: bool = True, name: str | None = None,
    exponential_avg_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Normalize each channel by its batch, or by a mean and a variance that are given.

    Parameters
    ----------
    x : float16, float32 or float64 tensor of rank 4, or 5
        float16 is computed in float32.
    scale, offset : tensors of shape (channels,)
        float32 for a float16 `x`, else of the dtype of `x`.
    mean, variance : tensors of shape (channels,), optional
        What is normalized by where `is_training` is False.  In training with an `exponential_avg_factor`
        other than 1: the moving averages so far.
    epsilon : float
        Added to the variance.
    data_format : str
        ``"NHWC"`` or ``"NCHW"``; of rank 5, ``"NDHWC"`` or ``"NCDHW"``.
    is_training : bool
        Whether the mean and the variance of this batch are taken.
    exponential_avg_factor : float
        The weight of this batch in the mean and the variance that are returned.

    Returns
    -------
    y : Tensor
        Of shape and dtype of `x`: ``(x - mean) / sqrt(variance + epsilon) * scale + offset``.
    mean, variance : tensors of shape (channels,)
        Those of the batch, or moving averages; without training, those given.  This variance is the unbiased
        one, of n elements over n - 1, as in TensorFlow; `y` has the other.  No gradient flows through either.

    Raises
    ------
    ShapeError
        A `data_format` that does not exist, or an `x` of another rank.
    GraphError
        Without a mean and a variance where they are needed.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as session:
    ...     x = gr.reshape(gr.constant([1.0, 2.0, 3.0, 6.0]), [2, 2, 1, 1])
    ...     y, mean, variance = gr.nn.fused_batch_norm(x, [1.0], [0.0])
    ...     print(*[v.round(4) for v in session.run([gr.reshape(y, [-1]), mean, variance])])
    [-1.0689 -0.5344  0.      1.6033] [3.] [4.6667]
    """
    t, where = convert_to_tensor(x), "nn.fused_batch_norm"
    rank = {**_FEATURES_LAST, **_FEATURES_FIRST}.get(data_format)
    if rank is None:
        raise ShapeError(
            message(f"data_format={data_format!r}", where=where, site=user_site(),
                    expected=f"one of {[*_FEATURES_LAST, *_FEATURES_FIRST]}")
        )  # fmt: skip
    if t._shape is not None and len(t._shape) != rank:
        raise ShapeError(
            message("x has another rank", where=where, site=user_site(), got=f"x: {format_shape(t._shape)}",
                    expected=f"rank {rank} for data_format={data_format!r}",
                    fix="for rank 2, use gr.nn.moments and gr.nn.batch_normalization")
        )  # fmt: skip
    if (not is_training or exponential_avg_factor != 1.0) and (mean is None or variance is None):
        raise GraphError(
            message("mean and variance are missing", where=where, site=user_site(),
                    got=f"is_training={is_training}, exponential_avg_factor={exponential_avg_factor}",
                    expected="both, as tensors of shape (channels,)")
        )  # fmt: skip
    with t.graph.name_scope(name or "FusedBatchNormV3") as scope:
        wide = cast(t, dtypes.float32) if t.dtype is dtypes.float16 else t
        gamma, beta = (convert_to_tensor(v, wide.dtype) for v in (scale, offset))
        first = data_format in _FEATURES_FIRST
        axes = [0, *range(2, rank)] if first else list(range(rank - 1))

        def across(v: Tensor) -> Tensor:
            return reshape(v, [-1, *[1] * (rank - 2)]) if first else v

        if is_training:
            used, spread = moments(wide, axes)
        else:  # as in TensorFlow, these get no gradient
            used, spread = (stop_gradient(convert_to_tensor(v, wide.dtype)) for v in (mean, variance))
        y = (wide - across(used)) * across(rsqrt(spread + epsilon) * gamma) + across(beta)
        told, told_spread = stop_gradient(used), stop_gradient(spread)
        if is_training:
            n = cast(size(wide), wide.dtype) / cast(size(used), wide.dtype)
            told_spread = told_spread * (n / maximum(n - 1, 1))
            if exponential_avg_factor != 1.0:
                f = exponential_avg_factor
                olds = (stop_gradient(convert_to_tensor(v, wide.dtype)) for v in (mean, variance))
                told, told_spread = (
                    (1 - f) * old + f * new for old, new in zip(olds, (told, told_spread), strict=True)
                )
        results = identity_n([cast(y, t.dtype), told, told_spread], scope)
        return results[0], results[1], results[2]


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
