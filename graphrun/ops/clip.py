"""Norms of tensors, and clipping by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphrun import dtypes
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import add_n, divide, maximum, minimum, pow
from graphrun.ops.compare import is_finite, select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import abs as abs_
from graphrun.ops.elementwise import sqrt, square
from graphrun.ops.fill import size
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.nn import l2_loss
from graphrun.ops.reduce import reduce_max, reduce_sum


def _safe_root(total: Tensor) -> Tensor:
    """The square root, with a gradient of 0 instead of infinity where `total` is 0."""
    positive = total > 0
    return select(positive, sqrt(select(positive, total, 1)), total)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Scale `t` so that its Euclidean norm is at most `clip_norm`.

    Parameters
    ----------
    t : floating tensor or IndexedSlices
        Of `IndexedSlices`, the norm is that of the rows as they stand, and the result is one again.
    clip_norm : number or tensor
    axes : ints, optional
        Where given, the norm is taken over these, so that each row (say) is scaled by itself.
    """
    if isinstance(t, IndexedSlices):
        return t._rows_apply(lambda x: clip_by_norm(x, clip_norm, axes, name))
    x = convert_to_tensor(t)
    with x.graph.name_scope(name or "clip_by_norm") as scope:
        norm_ = _safe_root(reduce_sum(square(x), axes, True))
        return divide(x * clip_norm, maximum(norm_, clip_norm), scope)


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """Scale `t` so that its Euclidean norm divided by its number of elements is at most `clip_norm`."""
    x = convert_to_tensor(t)
    with x.graph.name_scope(name or "clip_by_average_norm") as scope:
        count = cast(size(x), x.dtype)
        average = _safe_root(reduce_sum(square(x))) / count
        return divide(x * clip_norm, maximum(average, clip_norm), scope)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """Return the Euclidean norm of all elements of all tensors of a list; None in it is passed over.

    Of `IndexedSlices` the rows count as they stand, also where several belong to one row of the whole.
    """
    items = [t for t in _as_list(t_list, "global_norm") if t is not None]
    tensors = [t.values if isinstance(t, IndexedSlices) else convert_to_tensor(t) for t in items]
    if not tensors:
        raise ShapeError(
            message("global_norm of nothing", site=user_site(), expected="a list with one tensor or more")
        )
    with tensors[0].graph.name_scope(name or "global_norm"):
        return sqrt(2 * add_n([l2_loss(t) for t in tensors]), "global_norm")


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """Scale all tensors of a list by one factor, so that their `global_norm` is at most `clip_norm`.

    Parameters
    ----------
    t_list : list of tensors and IndexedSlices
        None in it stays None, as gradients have it.
    clip_norm : number or tensor
    use_norm : tensor, optional
        The norm, where it is computed already.

    Returns
    -------
    clipped : list
    norm : Tensor
        If it is infinite or NaN, so is every element of `clipped`: NaN.

    Examples
    --------
    >>> import graphrun as gr
    >>> from graphrun.ops.clip import clip_by_global_norm
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(clip_by_global_norm([[3.0], [4.0]], 1.0)))
    ([array([0.6], dtype=float32), array([0.8], dtype=float32)], np.float32(5.0))
    """
    items = _as_list(t_list, "clip_by_global_norm")
    norm_ = convert_to_tensor(global_norm(items) if use_norm is None else use_norm)
    with norm_.graph.name_scope(name or "clip_by_global_norm"):
        limit = convert_to_tensor(clip_norm, norm_.dtype, graph=norm_.graph)
        scale = limit * minimum(1 / norm_, 1 / limit)
        scale = select(is_finite(norm_), scale, math.nan)
        tensors = [t if t is None or isinstance(t, IndexedSlices) else convert_to_tensor(t) for t in items]
        clipped = [None if t is None else t * scale for t in tensors]
    return clipped, norm_


def _as_list(t_list: Any, where: str) -> list[Any]:
    if isinstance(t_list, list | tuple):
        return list(t_list)
    raise ShapeError(message(f"{where} of {t_list!r}", site=user_site(), expected="a list of tensors"))


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Return the norm of a vector, or of a matrix where `axis` is a pair.

    Parameters
    ----------
    tensor : tensor
        Integers are converted to float32.
    ord : {"euclidean", "fro"} or number
        A number p > 0 or infinity for vectors; 1 or infinity for matrices.
    axis : int or pair of ints, optional
        None: all elements, as one vector.
    """
    x = convert_to_tensor(tensor)
    if not x.dtype.is_floating:
        x = cast(x, dtypes.float32)
    keep = bool(keepdims if keepdims is not None else keep_dims)
    pair = axis if isinstance(axis, list | tuple) and len(axis) == 2 else None
    with x.graph.name_scope(name or "norm"):
        if ord in ("euclidean", "fro") or (ord == 2 and pair is None):
            return sqrt(reduce_sum(square(x), axis, keep))
        number = isinstance(ord, int | float) and not isinstance(ord, bool)
        if number and pair is None and ord > 0:
            if ord == math.inf:
                return reduce_max(abs_(x), axis, keep)
            if ord == 1:
                return reduce_sum(abs_(x), axis, keep)
            return pow(reduce_sum(pow(abs_(x), ord), axis, keep), 1 / ord)
        if number and pair is not None and ord in (1, math.inf):
            summed, other = (pair[0], pair[1]) if ord == 1 else (pair[1], pair[0])
            total = reduce_max(reduce_sum(abs_(x), summed, True), other, True)
            return total if keep else reduce_sum(total, pair)
    raise ShapeError(
        message(
            f"ord={ord!r} with axis={axis!r}",
            where="norm",
            site=user_site(),
            expected='"euclidean", a number above 0 for vectors, or 1 or infinity for matrices',
        )
    )
