"""Blocks of pixels moved to channels or to the batch, and back: made of reshape, transpose, pad and slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun.errors import ShapeError, message
from graphrun.graph.apply import constant_value, convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import pad, reshape, shape, transpose
from graphrun.ops.array import slice as slice_
from graphrun.ops.attributes import ints, is_tensor
from graphrun.ops.window import IMAGES, check_data_format
from graphrun.shapes import format_shape


def _fault(where: str, what: str, expected: str, x: Tensor) -> ShapeError:
    got = f"input: {format_shape(x._shape)}"
    return ShapeError(message(what, where=where, site=user_site(), got=got, expected=expected))


def _dims(x: Tensor, rank: int = 4) -> list[Any]:
    """The dimensions of `x`: ints where they are known, else tensors; `rank` of them if that is not known."""
    known = (None,) * rank if x._shape is None else x._shape
    return [shape(x)[i] if d is None else d for i, d in enumerate(known)]


def _divide(d: Any, block: Any, where: str, what: str, x: Tensor) -> Any:
    """``d // block``, where nothing may be left over."""
    if isinstance(d, int) and isinstance(block, int) and (block < 1 or d % block):
        raise _fault(where, f"{what} of {d} is no multiple of {block}", f"a multiple of {block}", x)
    return d // block


def _require_rank_4(x: Tensor, where: str) -> None:
    if x._shape is not None and len(x._shape) != 4:
        raise _fault(where, f"the input has rank {len(x._shape)}", "rank 4", x)


def space_to_depth(
    input: Any, block_size: int, name: str | None = None, data_format: str | None = "NHWC"
) -> Tensor:
    """Move blocks of pixels to channels.

    Parameters
    ----------
    input : tensor
        (images, rows, columns, channels), rows and columns multiples of `block_size`.
    block_size : int
    name : str, optional
    data_format : {"NHWC", "NCHW"}

    Returns
    -------
    Tensor
        (images, rows / block_size, columns / block_size, block_size ** 2 * channels).

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.space_to_depth(gr.zeros([1, 4, 6, 3]), 2).shape.as_list()
    [1, 2, 3, 12]
    """
    where, b = "space_to_depth", int(block_size)
    order = check_data_format(data_format, where, IMAGES)
    x = convert_to_tensor(input)
    _require_rank_4(x, where)
    with x.graph.name_scope(name or "SpaceToDepth") as scope:
        first = order == "NCHW"
        n, h, w, c = _dims(x) if not first else [_dims(x)[i] for i in (0, 2, 3, 1)]
        rows, columns = _divide(h, b, where, "a height", x), _divide(w, b, where, "a width", x)
        if first:
            parts = transpose(reshape(x, [n, c, rows, b, columns, b]), [0, 3, 5, 1, 2, 4])
            return reshape(parts, [n, c * (b * b), rows, columns], name=scope)
        parts = transpose(reshape(x, [n, rows, b, columns, b, c]), [0, 1, 3, 2, 4, 5])
        return reshape(parts, [n, rows, columns, c * (b * b)], name=scope)


def depth_to_space(
    input: Any, block_size: int, name: str | None = None, data_format: str | None = "NHWC"
) -> Tensor:
    """Move channels to blocks of pixels: what reverses `space_to_depth`.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.depth_to_space(gr.zeros([1, 2, 3, 12]), 2).shape.as_list()
    [1, 4, 6, 3]
    """
    where, b = "depth_to_space", int(block_size)
    order = check_data_format(data_format, where, IMAGES)
    x = convert_to_tensor(input)
    _require_rank_4(x, where)
    with x.graph.name_scope(name or "DepthToSpace") as scope:
        first = order == "NCHW"
        n, h, w, c = _dims(x) if not first else [_dims(x)[i] for i in (0, 2, 3, 1)]
        channels = _divide(c, b * b, where, "a number of channels", x)
        if first:
            parts = transpose(reshape(x, [n, b, b, channels, h, w]), [0, 3, 4, 1, 5, 2])
            return reshape(parts, [n, channels, h * b, w * b], name=scope)
        parts = transpose(reshape(x, [n, h, w, b, b, channels]), [0, 1, 3, 2, 4, 5])
        return reshape(parts, [n, h * b, w * b, channels], name=scope)


def _entries(value: Any, where: str, what: str, x: Tensor) -> list[Any]:
    """A vector as ints and scalar tensors."""
    known = ints(value, where, what)
    if isinstance(known, tuple | list):
        return list(known)
    if known._shape is None or len(known._shape) != 1 or known._shape[0] is None:
        raise _fault(where, f"the length of {what} is not known", "a vector of known length", x)
    return [known[i] for i in range(known._shape[0])]


def _pairs(value: Any, count: int, where: str, what: str, x: Tensor) -> list[list[Any]]:
    """A matrix of `count` rows of two."""
    if is_tensor(value):
        t = convert_to_tensor(value)
        known = constant_value(t)
        value = [[t[i, 0], t[i, 1]] for i in range(count)] if known is None else known
    rows = value.tolist() if isinstance(value, np.ndarray) else [list(row) for row in value]
    if len(rows) != count or any(len(row) != 2 for row in rows):
        raise _fault(where, f"{what}={value!r}", f"{count} pairs, one for each entry of the block's shape", x)
    return rows


def _block(x: Tensor, block_shape: Any, where: str) -> list[Any]:
    block = _entries(block_shape, where, "block_shape", x)
    if x._shape is None or len(x._shape) < 1 + len(block):
        rank = "not known" if x._shape is None else len(x._shape)
        raise _fault(where, f"the input's rank is {rank}", f"at least {1 + len(block)}", x)
    return block


def _product(values: Sequence[Any]) -> Any:
    result: Any = 1
    for v in values:
        result = v * result
    return result


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """Pad, then move blocks of the dimensions behind the first one into the first one.

    Parameters
    ----------
    input : tensor
        (batch, spatial dimensions, others).
    block_shape : vector of ints
        One for each spatial dimension.
    paddings : pairs of ints
        Zeros before and behind, for each spatial dimension; then they are multiples of `block_shape`.
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.space_to_batch_nd(gr.zeros([1, 4, 5, 3]), [2, 3], [[0, 0], [1, 0]]).shape.as_list()
    [6, 2, 2, 3]
    """
    return _space_to_batch(input, block_shape, paddings, name or "SpaceToBatchND", "space_to_batch_nd")


def _space_to_batch(input: Any, block_shape: Any, paddings: Any, label: str, where: str) -> Tensor:
    x = convert_to_tensor(input)
    block = _block(x, block_shape, where)
    pairs, m = _pairs(paddings, len(block), where, "paddings", x), len(block)
    rest = len(x._shape or ()) - 1 - m
    with x.graph.name_scope(label) as scope:
        padded = pad(x, [[0, 0], *pairs, *[[0, 0]] * rest])
        n, *dims = _dims(padded)
        counts = [
            _divide(d, b, where, "a padded dimension", padded) for d, b in zip(dims, block, strict=False)
        ]
        split = [v for both in zip(counts, block, strict=True) for v in both]
        parts = reshape(padded, [n, *split, *dims[m:]])
        order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m, 2), *range(2 * m + 1, 2 * m + 1 + rest)]
        return reshape(transpose(parts, order), [n * _product(block), *counts, *dims[m:]], name=scope)


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """Move blocks of the first dimension to the ones behind it, then cut: reverses `space_to_batch_nd`.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.batch_to_space_nd(gr.zeros([6, 2, 2, 3]), [2, 3], [[0, 0], [1, 0]]).shape.as_list()
    [1, 4, 5, 3]
    """
    return _batch_to_space(input, block_shape, crops, name or "BatchToSpaceND", "batch_to_space_nd")


def _batch_to_space(input: Any, block_shape: Any, crops: Any, label: str, where: str) -> Tensor:
    x = convert_to_tensor(input)
    block = _block(x, block_shape, where)
    pairs, m = _pairs(crops, len(block), where, "crops", x), len(block)
    with x.graph.name_scope(label) as scope:
        n, *dims = _dims(x)
        images = _divide(n, _product(block), where, "a batch", x)
        parts = reshape(x, [*block, images, *dims])
        spatial = [axis for k in range(m) for axis in (m + 1 + k, k)]
        order = [m, *spatial, *range(2 * m + 1, m + 1 + len(dims))]
        whole = [d * b for d, b in zip(dims, block, strict=False)]
        y = reshape(transpose(parts, order), [images, *whole, *dims[m:]])
        begin = [0, *(first for first, _ in pairs), *[0] * (len(dims) - m)]
        sizes = [d - (first + last) for d, (first, last) in zip(whole, pairs, strict=True)]
        if any(isinstance(s, int) and s < 0 for s in sizes):
            raise _fault(where, f"crops={pairs} of {whole}", "crops that leave something", x)
        return slice_(y, begin, [images, *sizes, *dims[m:]], name=scope)


def _square(block_shape: Any, block_size: Any) -> Any:
    if block_shape is not None:
        return block_shape
    return [block_size, block_size]


def space_to_batch(
    input: Any, paddings: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`space_to_batch_nd` of images with square blocks."""
    block = _square(block_shape, block_size)
    return _space_to_batch(input, block, paddings, name or "SpaceToBatchND", "space_to_batch")


def batch_to_space(
    input: Any, crops: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`batch_to_space_nd` of images with square blocks."""
    block = _square(block_shape, block_size)
    return _batch_to_space(input, block, crops, name or "BatchToSpaceND", "batch_to_space")
