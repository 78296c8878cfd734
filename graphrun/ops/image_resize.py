"""Resizing images: neighbours are gathered along each axis and weighed, so gradients of any order follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import expand_dims, reshape, shape, squeeze, transpose
from graphrun.ops.array import range as range_
from graphrun.ops.attributes import ints
from graphrun.ops.gather import take
from graphrun.ops.linalg import tensordot
from graphrun.ops.math import cast, ceil, floor, maximum, minimum, rint, where
from graphrun.ops.state import identity
from graphrun.shapes import format_shape

# -- arguments ------------------------------------------------------------------------------------------


class ResizeMethod:
    """The methods of `resize_images`, as TensorFlow 1 numbers them."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


def _fault(where: str, what: str, expected: str, got: str = "", fix: str = "") -> ShapeError:
    return ShapeError(message(what, where=where, site=user_site(), got=got, expected=expected, fix=fix))


def _size(size: Any, where: str) -> tuple[Any, Any]:
    """(height, width), each an int or a scalar tensor."""
    known = ints(size, where, "size")
    if isinstance(known, tuple | list):
        if len(known) != 2:
            raise _fault(where, f"size has {len(known)} entries", "2 of them, (height, width)")
        for v in known:
            if isinstance(v, int) and v < 1:
                raise _fault(where, f"size={list(known)}", "1 or more in each dimension")
        return known[0], known[1]
    if known._shape is not None and known._shape != (2,):
        raise _fault(where, f"size has shape {format_shape(known._shape)}", "2 entries, (height, width)")
    return known[0], known[1]


def _images(images: Any, where: str) -> Tensor:
    x = convert_to_tensor(images)
    if x._shape is not None and len(x._shape) != 4:
        raise _fault(
            where, f"images has rank {len(x._shape)}", "rank 4 (images, rows, columns, channels)",
            got=f"images: {format_shape(x._shape)}",
        )  # fmt: skip
    return x


def _length(x: Tensor, axis: int) -> Any:
    known = x._shape[axis] if x._shape is not None else None
    return shape(x)[axis] if known is None else known


def _single(value: Any) -> Any:
    """A length as float32: a NumPy number or a tensor."""
    return cast(value, dtypes.float32) if isinstance(value, Tensor) else np.float32(value)


class _Axis:
    """One axis on its way from `length` pixels to `target`; numbers are float32, as in TensorFlow."""

    def __init__(self, x: Tensor, axis: int, target: Any, align_corners: bool, half_pixel: bool) -> None:
        self.axis = axis
        self.length, self.target = _length(x, axis), target
        self.half_pixel = half_pixel
        self.scale = self._scale(align_corners)
        self.steps = cast(range_(target), dtypes.float32)

    def _scale(self, align_corners: bool) -> Any:
        plain = _single(self.length) / _single(self.target)
        if not align_corners or (isinstance(self.target, int) and self.target == 1):
            return plain
        if isinstance(self.target, int):
            return (_single(self.length) - 1) / (_single(self.target) - 1)
        between = maximum(_single(self.target) - 1, 1)
        return where(self.target > 1, (_single(self.length) - 1) / between, plain)

    def places(self) -> Tensor:
        """Where in the input each output pixel lies."""
        if self.half_pixel:
            return (self.steps + 0.5) * self.scale - 0.5
        return self.steps * self.scale

    def within(self, places: Any) -> Tensor:
        """Places as indices of pixels that there are."""
        return minimum(maximum(cast(places, dtypes.int32), 0), self.length - 1)

    def column(self, values: Tensor) -> Tensor:
        """One number for each output pixel, in a shape to be multiplied with images."""
        return reshape(values, [-1, 1, 1] if self.axis == 1 else [-1, 1])


def _both(
    images: Any, size: Any, align_corners: bool, half_pixel: bool, where: str
) -> tuple[Tensor, _Axis, _Axis]:
    x = _images(images, where)
    if align_corners and half_pixel:
        raise _fault(where, "align_corners and half_pixel_centers are both given", "one of them at most")
    height, width = _size(size, where)
    return (
        x, _Axis(x, 1, height, align_corners, half_pixel), _Axis(x, 2, width, align_corners, half_pixel)
    )  # fmt: skip


# -- the methods ------------------------------------------------------------------------------------------


def resize_bilinear(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize images, each pixel from its four neighbours.

    Parameters
    ----------
    images : tensor
        (images, rows, columns, channels).
    size : 2 ints, or tensor
        (height, width) of the result.
    align_corners : bool
        Whether the corner pixels keep their values.
    name : str, optional
    half_pixel_centers : bool
        Whether pixels are squares whose centres are sampled.

    Returns
    -------
    Tensor
        float32 (images, height, width, channels).

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.reshape([0.0, 2.0], [1, 1, 2, 1])
    ...     print(sess.run(gr.image.resize_bilinear(x, [1, 3], align_corners=True)).ravel())
    [0. 1. 2.]
    """
    x, rows, columns = _both(images, size, align_corners, half_pixel_centers, "resize_bilinear")
    with x.graph.name_scope(name or "ResizeBilinear") as scope:
        return identity(_between(_between(cast(x, dtypes.float32), columns), rows), name=scope)


def _between(x: Tensor, axis: _Axis) -> Tensor:
    places = axis.places()
    low = floor(places)
    first = take(x, axis.within(low), axis=axis.axis)
    second = take(x, axis.within(ceil(places)), axis=axis.axis)
    return first + (second - first) * axis.column(places - low)


def resize_nearest_neighbor(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize images, each pixel a copy of the nearest one; the dtype stays. See `resize_bilinear`."""
    x, *axes = _both(images, size, align_corners, half_pixel_centers, "resize_nearest_neighbor")
    with x.graph.name_scope(name or "ResizeNearestNeighbor") as scope:
        for axis in axes:
            # Halves go up, as C's roundf does; rint would go to the even one.
            places = (axis.steps + 0.5) * axis.scale if half_pixel_centers else axis.places()
            x = take(x, axis.within(floor(places + 0.5) if align_corners else floor(places)), axis=axis.axis)
        return identity(x, name=scope)


_TABLE = 1024  # steps of the table that TensorFlow takes cubic weights from


def resize_bicubic(
    images: Any,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize images, each pixel from its sixteen neighbours by cubic convolution, to float32.

    See `resize_bilinear`.
    """
    x, rows, columns = _both(images, size, align_corners, half_pixel_centers, "resize_bicubic")
    with x.graph.name_scope(name or "ResizeBicubic") as scope:
        return identity(_cubic(_cubic(cast(x, dtypes.float32), columns), rows), name=scope)


def _cubic(x: Tensor, axis: _Axis) -> Tensor:
    a = -0.5 if axis.half_pixel else -0.75
    places = axis.places()
    low = floor(places)
    t = rint((places - low) * _TABLE) * (1.0 / _TABLE)

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    weights = [far(t + 1), near(t), near(1 - t), far(2 - t)]
    if axis.half_pixel:  # what lies outside has no weight
        inside = []
        for k, w in enumerate(weights):
            at = low + (k - 1.0)
            last = _single(axis.length) - 1
            inside.append(w * cast(at >= 0, dtypes.float32) * cast(at <= last, dtypes.float32))
        total = inside[0] + inside[1] + inside[2] + inside[3]
        weights = [w / total for w in inside]
    parts = [
        take(x, axis.within(low + (k - 1.0)), axis=axis.axis) * axis.column(w) for k, w in enumerate(weights)
    ]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def resize_area(images: Any, size: Any, align_corners: bool = False, name: str | None = None) -> Tensor:
    """Resize images, each pixel the mean of the area that it covers, to float32.  See `resize_bilinear`."""
    x, rows, columns = _both(images, size, align_corners, False, "resize_area")
    with x.graph.name_scope(name or "ResizeArea") as scope:
        x = cast(x, dtypes.float32)
        # (rows', rows) times (n, rows, columns, c), then (columns', columns) times (rows', n, columns, c)
        x = tensordot(_shares(rows), x, [[1], [1]])
        x = tensordot(_shares(columns), x, [[1], [2]])
        return transpose(x, [2, 1, 0, 3], name=scope)


def _shares(axis: _Axis) -> Tensor:
    """How much of each output pixel each input pixel covers, (target, length)."""
    first = expand_dims(axis.steps * axis.scale, 1)
    last = expand_dims((axis.steps + 1) * axis.scale, 1)
    pixels = expand_dims(cast(range_(axis.length), dtypes.float32), 0)
    return maximum(minimum(pixels + 1, last) - maximum(pixels, first), 0) / axis.scale


def resize_images(
    images: Any,
    size: Any,
    method: Any = ResizeMethod.BILINEAR,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Tensor:
    """Resize one image or several by a method of `ResizeMethod`.

    Parameters
    ----------
    images : tensor
        (images, rows, columns, channels), or one without the first dimension.
    size : 2 ints, or tensor
        (height, width).
    method : ResizeMethod
    align_corners : bool
    preserve_aspect_ratio : bool
        Make the image as large as fits in `size`, without distortion.
    name : str, optional

    Returns
    -------
    Tensor
        float32, but of the dtype of `images` for the nearest neighbour, or where the size stays.
    """
    where = "resize_images"
    functions: Any = {
        ResizeMethod.BILINEAR: resize_bilinear, ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor,
        ResizeMethod.BICUBIC: resize_bicubic, ResizeMethod.AREA: resize_area,
    }  # fmt: skip
    names = {"bilinear": 0, "nearest": 1, "bicubic": 2, "area": 3}
    number = names.get(method, method)
    if number not in functions:
        raise _fault(where, f"method={method!r}", "one of gr.image.ResizeMethod")
    x = convert_to_tensor(images)
    if x._shape is None or len(x._shape) not in (3, 4):
        raise _fault(
            where, f"images has shape {format_shape(x._shape)}", "rank 3 or 4 with channels last",
            fix="use set_shape where it is not known",
        )  # fmt: skip
    height, width = _size(size, where)
    with x.graph.name_scope(name or "resize"):
        single = len(x._shape) == 3
        batch = expand_dims(x, 0) if single else x
        if preserve_aspect_ratio:
            height, width = _fitted(batch, height, width)
        assert batch._shape is not None
        if (height, width) == batch._shape[1:3]:
            return x
        y = functions[number](batch, [height, width], align_corners)
        return squeeze(y, [0]) if single else y


def _fitted(x: Tensor, height: Any, width: Any) -> tuple[Any, Any]:
    """The largest size that fits in (height, width) and keeps the ratio of the sides."""
    rows, columns = _length(x, 1), _length(x, 2)
    if all(isinstance(v, int) for v in (rows, columns, height, width)):
        scale = min(np.float32(height) / np.float32(rows), np.float32(width) / np.float32(columns))
        return int(np.rint(scale * np.float32(rows))), int(np.rint(scale * np.float32(columns)))
    ratio = minimum(
        _single(height) / cast(rows, dtypes.float32), _single(width) / cast(columns, dtypes.float32)
    )
    sides = (rint(ratio * cast(v, dtypes.float32)) for v in (rows, columns))
    return tuple(cast(s, dtypes.int32) for s in sides)  # type: ignore[return-value]
