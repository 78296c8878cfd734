"""Images turned, mirrored, cut and padded: made of reverse, transpose, slice, gather and pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import pad, reshape, reverse, shape, transpose
from graphrun.ops.array import range as range_
from graphrun.ops.array import slice as slice_
from graphrun.ops.attributes import ints
from graphrun.ops.gather import take
from graphrun.ops.image_resize import ResizeMethod, resize_images
from graphrun.ops.math import abs as abs_
from graphrun.ops.math import cast, less, maximum, minimum, select
from graphrun.ops.random import random_uniform
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.state import identity
from graphrun.shapes import format_shape


def fault(where: str, what: str, expected: str, x: Tensor | None = None) -> ShapeError:
    got = "" if x is None else f"image: {format_shape(x._shape)}"
    return ShapeError(message(what, where=where, site=user_site(), got=got, expected=expected))


def image_of(value: Any, where: str) -> Tensor:
    """One image or several as a tensor."""
    x = convert_to_tensor(value)
    if x._shape is None or len(x._shape) not in (3, 4):
        rank = "not known" if x._shape is None else len(x._shape)
        raise fault(where, f"the image's rank is {rank}", "(rows, columns, channels), or several of them", x)
    return x


def _rows_axis(x: Tensor) -> int:
    return len(x._shape or ()) - 3


def _sides(x: Tensor) -> tuple[Any, Any]:
    """Height and width: ints where they are known, else tensors."""
    at = _rows_axis(x)
    known: Any = x._shape
    height, width = (shape(x)[k] if known[k] is None else known[k] for k in (at, at + 1))
    return height, width


# -- mirrored and turned ------------------------------------------------------------------------------------


def flip_left_right(image: Any) -> Tensor:
    """Mirror columns of one image, or of several.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.image.flip_left_right(gr.reshape([1, 2, 3], [1, 3, 1]))).ravel())
    [3 2 1]
    """
    x = image_of(image, "flip_left_right")
    return reverse(x, [_rows_axis(x) + 1])


def flip_up_down(image: Any) -> Tensor:
    """Mirror rows of one image, or of several."""
    x = image_of(image, "flip_up_down")
    return reverse(x, [_rows_axis(x)])


def transpose_image(image: Any, name: str | None = None) -> Tensor:
    """Exchange rows and columns of one image, or of several."""
    x = image_of(image, "transpose")
    order = [1, 0, 2] if _rows_axis(x) == 0 else [0, 2, 1, 3]
    return transpose(x, order, name=name or "transpose")


def rot90(image: Any, k: int = 1, name: str | None = None) -> Tensor:
    """Turn one image, or several, `k` times by 90 degrees against the clock."""
    x = image_of(image, "rot90")
    at = _rows_axis(x)
    turns = int(k) % 4
    with x.graph.name_scope(name or "rot90"):
        if turns == 1:
            return reverse(transpose_image(x), [at])
        if turns == 2:
            return reverse(x, [at, at + 1])
        if turns == 3:
            return transpose_image(reverse(x, [at]))
        return identity(x)


def _random_flip(image: Any, axis: int, seed: int | None, where: str) -> Tensor:
    """Each image is mirrored or not by a draw of its own."""
    x = image_of(image, where)
    at = _rows_axis(x)
    with x.graph.name_scope(where):
        if at == 0:
            chosen = less(random_uniform([], 0, 1.0, seed=seed), 0.5)
        else:
            known: Any = x._shape
            count = shape(x)[0] if known[0] is None else known[0]
            chosen = less(random_uniform([count], seed=seed), 0.5)
            chosen = reshape(chosen, [-1, 1, 1, 1])
        return select(chosen, reverse(x, [at + axis]), x)


def random_flip_left_right(image: Any, seed: int | None = None) -> Tensor:
    """Mirror columns, in half of the runs; of several images, of each one by itself."""
    return _random_flip(image, 1, seed, "random_flip_left_right")


def random_flip_up_down(image: Any, seed: int | None = None) -> Tensor:
    """Mirror rows, in half of the runs; of several images, of each one by itself."""
    return _random_flip(image, 0, seed, "random_flip_up_down")


# -- cut and padded -----------------------------------------------------------------------------------------


def _cut(x: Tensor, axis: int, begin: Any, size: Any) -> Tensor:
    """`size` entries from `begin`; by gather where that is not known, which needs no plan for each value."""
    if isinstance(begin, int):
        begins, sizes = [0] * len(x._shape or ()), [-1] * len(x._shape or ())
        begins[axis], sizes[axis] = begin, size
        return slice_(x, begins, sizes)
    return take(x, begin + range_(size), axis=axis)


def _ints(values: Any, where: str, what: str) -> list[Any]:
    """Ints and scalar tensors."""
    return [ints(v, where, what)[0] if not isinstance(v, Tensor) else _known(v, where, what) for v in values]


def _known(value: Tensor, where: str, what: str) -> Any:
    found = ints([value], where, what)
    return found[0] if isinstance(found, tuple | list) else value


def crop_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Tensor:
    """Cut a part out of one image, or of several.

    Parameters
    ----------
    image : tensor
        (rows, columns, channels), or several images.
    offset_height, offset_width : int or scalar tensor
        Row and column of the part's first pixel.
    target_height, target_width : int or scalar tensor
        Size of the part.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.image.crop_to_bounding_box(gr.zeros([8, 9, 3]), 1, 2, 4, 5).shape.as_list()
    [4, 5, 3]
    """
    where = "crop_to_bounding_box"
    x = image_of(image, where)
    offsets = _ints((offset_height, offset_width), where, "offset")
    targets = _ints((target_height, target_width), where, "target")
    with x.graph.name_scope(where):
        for k, (side, side_name) in enumerate(zip(_sides(x), ("height", "width"), strict=True)):
            begin, size = offsets[k], targets[k]
            if isinstance(begin, int) and begin < 0:
                raise fault(where, f"offset_{side_name}={begin}", "0 or more", x)
            if isinstance(size, int) and size < 1:
                raise fault(where, f"target_{side_name}={size}", "1 or more", x)
            if all(isinstance(v, int) for v in (side, begin, size)) and begin + size > side:
                raise fault(
                    where, f"{size} pixels from {begin} on, of a {side_name} of {side}",
                    "a part that lies in the image", x,
                )  # fmt: skip
            x = _cut(x, _rows_axis(x) + k, begin, size)
        return x


def pad_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Tensor:
    """Put one image, or several, into a larger one of zeros; the reverse of `crop_to_bounding_box`."""
    where = "pad_to_bounding_box"
    x = image_of(image, where)
    offsets = _ints((offset_height, offset_width), where, "offset")
    targets = _ints((target_height, target_width), where, "target")
    with x.graph.name_scope(where):
        pairs = []
        for k, (side, side_name) in enumerate(zip(_sides(x), ("height", "width"), strict=True)):
            after = targets[k] - offsets[k] - side
            if isinstance(offsets[k], int) and offsets[k] < 0:
                raise fault(where, f"offset_{side_name}={offsets[k]}", "0 or more", x)
            if isinstance(after, int) and after < 0:
                raise fault(
                    where, f"a {side_name} of {side} from {offsets[k]} on, in one of {targets[k]}",
                    "a target that holds the image", x,
                )  # fmt: skip
            pairs.append([offsets[k], after])
        return pad(x, [*[[0, 0]] * _rows_axis(x), *pairs, [0, 0]])


def central_crop(image: Any, central_fraction: float) -> Tensor:
    """Keep the middle of one image, or of several: `central_fraction` of each side."""
    where = "central_crop"
    x = image_of(image, where)
    fraction = float(central_fraction)
    if not 0 < fraction <= 1:
        raise fault(where, f"central_fraction={central_fraction}", "more than 0, at most 1", x)
    if fraction == 1:
        return x
    with x.graph.name_scope(where):
        for k, side in enumerate(_sides(x)):
            if isinstance(side, int):
                begin: Any = int((side - side * fraction) / 2)
            else:
                whole = cast(side, dtypes.float64)
                begin = cast((whole - whole * fraction) / 2.0, dtypes.int32)
            x = _cut(x, _rows_axis(x) + k, begin, side - begin * 2)
        return x


def _at_least(value: Any, low: int) -> Any:
    return max(value, low) if isinstance(value, int) else maximum(value, low)


def _smaller(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


def resize_image_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Tensor:
    """Bring one image, or several, to a size: cut in the middle what is over, pad evenly what is missing."""
    where = "resize_image_with_crop_or_pad"
    x = image_of(image, where)
    targets = _ints((target_height, target_width), where, "target")
    for target, side_name in zip(targets, ("height", "width"), strict=True):
        if isinstance(target, int) and target < 1:
            raise fault(where, f"target_{side_name}={target}", "1 or more", x)
    with x.graph.name_scope(where):
        sides = _sides(x)
        missing = [t - s for t, s in zip(targets, sides, strict=True)]
        cuts = [_at_least(-m // 2, 0) for m in missing]
        pads = [_at_least(m // 2, 0) for m in missing]
        kept = [_smaller(t, s) for t, s in zip(targets, sides, strict=True)]
        return pad_to_bounding_box(crop_to_bounding_box(x, *cuts, *kept), *pads, *targets)


def resize_image_with_pad(
    image: Any,
    target_height: int,
    target_width: int,
    method: Any = ResizeMethod.BILINEAR,
    align_corners: bool = False,
) -> Tensor:
    """Resize without distortion to what fits in the target, and pad evenly with zeros."""
    where = "resize_image_with_pad"
    x = image_of(image, where)
    with x.graph.name_scope(where):
        sides = _sides(x)
        known = all(isinstance(side, int) for side in sides)
        whole = [np.float32(s) if known else cast(s, dtypes.float32) for s in sides]
        targets = [np.float32(t) for t in (target_height, target_width)]
        ratios = [s / t for s, t in zip(whole, targets, strict=True)]
        ratio = max(ratios) if known else maximum(*ratios)
        kept = [s / ratio for s in whole]
        spare = [(t - k) / np.float32(2) for t, k in zip(targets, kept, strict=True)]
        size, offsets = (
            [int(v) if known else cast(v, dtypes.int32) for v in values] for values in (kept, spare)
        )
        y = resize_images(x, size, method, align_corners)
        return pad_to_bounding_box(y, offsets[0], offsets[1], target_height, target_width)


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """Cut a part of a given size out of `value`, at a random place.

    Parameters
    ----------
    value : tensor
        Of any rank, at least as long as `size` along each axis.
    size : list of ints
        One for each axis.
    seed : int, optional
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.random_crop(gr.zeros([10, 10, 3]), [4, 5, 3]).shape.as_list()
    [4, 5, 3]
    """
    where = "random_crop"
    x = convert_to_tensor(value)
    sizes = ints(size, where, "size")
    if not isinstance(sizes, tuple | list):
        count = sizes._shape[0] if sizes._shape else None
        if count is None:
            raise fault(where, "the length of size is not known", "one entry for each axis", x)
        sizes = [sizes[i] for i in range(count)]
    known = x._shape or (None,) * len(sizes)
    if len(known) != len(sizes):
        raise fault(where, f"size has {len(sizes)} entries", f"{len(known)}, one for each axis", x)
    with x.graph.name_scope(name or where) as scope:
        for axis, (n, wanted) in enumerate(zip(known, sizes, strict=True)):
            length = shape(x)[axis] if n is None else n
            if isinstance(length, int) and isinstance(wanted, int):
                if wanted > length:
                    raise fault(
                        where, f"size {wanted} along axis {axis} of length {length}", "at most that", x
                    )
                if wanted == length:
                    continue
            # A draw for each axis; the seed of the next one differs, or all would be alike.
            of_axis = None if seed is None else seed + axis
            begin = random_uniform([], 0, length - wanted + 1, dtypes.int32, seed=of_axis)
            x = take(x, begin + range_(wanted), axis=axis)
        return identity(x, name=scope)


def total_variation(images: Any, name: str | None = None) -> Tensor:
    """The sum of the distances of neighbouring pixels, for each image."""
    x = image_of(images, "total_variation")
    axes = list(range(len(x._shape or ()) - 3, len(x._shape or ())))
    with x.graph.name_scope(name or "total_variation"):
        down = x[..., 1:, :, :] - x[..., :-1, :, :]
        across = x[..., 1:, :] - x[..., :-1, :]
        return reduce_sum(abs_(down), axes) + reduce_sum(abs_(across), axes)


def image_gradients(image: Any) -> tuple[Tensor, Tensor]:
    """Differences to the next row and to the next column, of several images; the last ones are 0."""
    x = image_of(image, "image_gradients")
    if len(x._shape or ()) != 4:
        raise fault("image_gradients", "the image has rank 3", "several images, rank 4", x)
    down = pad(x[:, 1:] - x[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    across = pad(x[:, :, 1:] - x[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
    return down, across
