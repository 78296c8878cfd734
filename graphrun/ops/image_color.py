"""Colours of images: dtypes, brightness, contrast, hue, saturation, grey; made of elementwise operations."""

from __future__ import annotations

import math
from typing import Any

from graphrun import dtypes
from graphrun.dtypes import as_dtype
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.ops.array import concat, expand_dims, shape, stack, unstack
from graphrun.ops.image_shape import fault, image_of
from graphrun.ops.linalg import tensordot
from graphrun.ops.math import abs as abs_
from graphrun.ops.math import (
    add,
    cast,
    equal,
    floor,
    floordiv,
    greater,
    less,
    maximum,
    minimum,
    multiply,
    pow,
    rsqrt,
    saturate_cast,
    select,
    sqrt,
)
from graphrun.ops.random import random_uniform
from graphrun.ops.reduce import reduce_max, reduce_mean, reduce_min, reduce_variance
from graphrun.ops.state import identity

_GREY = (0.2989, 0.5870, 0.1140)  # shares of red, green and blue


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Tensor:
    """Convert pixels, with their range: floats are in [0, 1], integers from 0 to the largest.

    Parameters
    ----------
    image : tensor
    dtype : dtype
    saturate : bool
        Whether what lies outside of the range becomes the nearest number in it.
    name : str, optional

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.image.convert_image_dtype(gr.constant([0.0, 1.0]), gr.uint8)))
    [  0 255]
    """
    x, kind = convert_to_tensor(image), as_dtype(dtype)
    if x.dtype is kind:
        return identity(x, name=name)
    with x.graph.name_scope(name or "convert_image") as scope:
        to = saturate_cast if saturate else cast
        if x.dtype.is_integer and kind.is_integer:
            source, target = int(x.dtype.max), int(kind.max)
            if source > target:
                return to(floordiv(x, (source + 1) // (target + 1)), kind, name=scope)
            return multiply(to(x, kind), (target + 1) // (source + 1), name=scope)
        if x.dtype.is_floating and kind.is_floating:
            return cast(x, kind, name=scope)
        if x.dtype.is_integer:
            return multiply(cast(x, kind), 1.0 / int(x.dtype.max), name=scope)
        # Half a step more, so that 1.0 becomes the largest number and not the one below.
        return to(multiply(x, int(kind.max) + 0.5), kind, name=scope)


def _floating(x: Tensor) -> Tensor:
    """Pixels in [0, 1] to compute with."""
    return x if x.dtype in (dtypes.float16, dtypes.float32) else convert_image_dtype(x, dtypes.float32)


def _draw(low: float, high: float, seed: int | None) -> Tensor:
    return random_uniform([], low, high, seed=seed)


# -- brightness and contrast ---------------------------------------------------------------------


def adjust_brightness(image: Any, delta: Any) -> Tensor:
    """Add `delta` to pixels in [0, 1]; images of other dtypes are converted, and back."""
    x = convert_to_tensor(image)
    with x.graph.name_scope("adjust_brightness"):
        pixels = _floating(x)
        moved = add(pixels, cast(delta, pixels.dtype))
        return convert_image_dtype(moved, x.dtype, saturate=True)


def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_brightness` by a random delta in [-max_delta, max_delta)."""
    if max_delta < 0:
        raise fault("random_brightness", f"max_delta={max_delta}", "0 or more")
    return adjust_brightness(image, _draw(-max_delta, max_delta, seed))


def adjust_contrast(images: Any, contrast_factor: Any) -> Tensor:
    """Multiply the distance of each pixel from the mean of its channel, in each image."""
    x = image_of(images, "adjust_contrast")
    with x.graph.name_scope("adjust_contrast"):
        pixels = cast(_floating(x), dtypes.float32)
        axis = len(x._shape or ()) - 3
        mean = reduce_mean(pixels, [axis, axis + 1], keepdims=True)
        spread = (pixels - mean) * cast(contrast_factor, dtypes.float32) + mean
        return convert_image_dtype(spread, x.dtype, saturate=True)


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_contrast` by a random factor in [lower, upper)."""
    _check_range("random_contrast", lower, upper)
    return adjust_contrast(image, _draw(lower, upper, seed))


def _check_range(where: str, lower: float, upper: float) -> None:
    if lower < 0 or upper <= lower:
        raise fault(where, f"lower={lower}, upper={upper}", "0 <= lower < upper")


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Tensor:
    """``gain * image ** gamma`` of pixels in [0, 1]."""
    x = convert_to_tensor(image)
    if isinstance(gamma, int | float) and gamma < 0:
        raise fault("adjust_gamma", f"gamma={gamma}", "0 or more")
    with x.graph.name_scope("adjust_gamma"):
        pixels = _floating(x)
        power = pow(pixels, cast(gamma, pixels.dtype))
        return convert_image_dtype(cast(gain, pixels.dtype) * power, x.dtype, saturate=True)


def per_image_standardization(image: Any) -> Tensor:
    """Bring each image to mean 0 and variance 1; float32, or float16 where the image is.

    The deviation that is divided by is at least ``1 / sqrt(number of pixels)``: an image may have one colour.
    """
    x = image_of(image, "per_image_standardization")
    with x.graph.name_scope("per_image_standardization") as scope:
        pixels = x if x.dtype in (dtypes.float16, dtypes.float32) else cast(x, dtypes.float32)
        axes = [-1, -2, -3]
        centred = pixels - reduce_mean(pixels, axes, keepdims=True)
        deviation = sqrt(reduce_variance(pixels, axes, keepdims=True))
        known = (x._shape or ())[-3:]
        if None in known:
            dims = shape(x)[-3:]
            least = rsqrt(cast(dims[0] * dims[1] * dims[2], pixels.dtype))
        else:
            least = convert_to_tensor(1.0 / math.sqrt(max(math.prod(known), 1)), pixels.dtype)  # type: ignore[arg-type]
        return identity(centred / maximum(deviation, least), name=scope)


# -- grey ---------------------------------------------------------------------


def _require_channels(x: Tensor, count: int, where: str) -> Tensor:
    if x._shape is not None and (not x._shape or x._shape[-1] not in (count, None)):
        raise fault(
            where, f"{x._shape[-1] if x._shape else 'no'} channels", f"{count} in the last dimension", x
        )
    return x


def rgb_to_grayscale(images: Any, name: str | None = None) -> Tensor:
    """The brightness of red, green and blue, as one channel in the same dtype."""
    x = _require_channels(convert_to_tensor(images), 3, "rgb_to_grayscale")
    with x.graph.name_scope(name or "rgb_to_grayscale") as scope:
        pixels = convert_image_dtype(x, dtypes.float32)
        grey = expand_dims(
            tensordot(pixels, convert_to_tensor(list(_GREY), dtypes.float32), [[-1], [-1]]), -1
        )
        return convert_image_dtype(grey, x.dtype, name=scope)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """The same channel three times."""
    x = _require_channels(convert_to_tensor(images), 1, "grayscale_to_rgb")
    with x.graph.name_scope(name or "grayscale_to_rgb") as scope:
        return concat([x, x, x], -1, name=scope)


# -- hue and saturation ---------------------------------------------------------------------


def rgb_to_hsv(images: Any, name: str | None = None) -> Tensor:
    """Hue, saturation and value, in [0, 1], of red, green and blue in the last dimension."""
    x = _require_channels(convert_to_tensor(images), 3, "rgb_to_hsv")
    with x.graph.name_scope(name or "RGBToHSV") as scope:
        r, g, b = unstack(x, 3, -1)
        value, low = reduce_max(x, -1), reduce_min(x, -1)
        extent = value - low
        one = convert_to_tensor(1.0, x.dtype)
        zero = extent * 0
        # Where a divisor is 0 another one stands, so that no gradient is NaN.
        saturation = select(greater(value, 0), extent / select(greater(value, 0), value, one), zero)
        sixth = 1.0 / (6.0 * select(greater(extent, 0), extent, one))
        of_green = select(equal(g, value), sixth * (b - r) + 2.0 / 6.0, sixth * (r - g) + 4.0 / 6.0)
        hue = select(equal(r, value), sixth * (g - b), of_green)
        hue = select(greater(extent, 0), hue, zero)
        hue = select(less(hue, 0), hue + 1.0, hue)
        return stack([hue, saturation, value], -1, name=scope)


def hsv_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """Red, green and blue of hue, saturation and value in the last dimension, all in [0, 1]."""
    x = _require_channels(convert_to_tensor(images), 3, "hsv_to_rgb")
    with x.graph.name_scope(name or "HSVToRGB") as scope:
        h, s, v = unstack(x, 3, -1)
        sector = h * 6.0
        shares = (abs_(sector - 3.0) - 1.0, 2.0 - abs_(sector - 2.0), 2.0 - abs_(sector - 4.0))
        colours = [((1.0 - s) + s * minimum(maximum(share, 0.0), 1.0)) * v for share in shares]
        return stack(colours, -1, name=scope)


def _through_hsv(x: Tensor, hue: Any = None, saturation: Any = None) -> Tensor:
    pixels = _floating(x)
    h, s, v = unstack(rgb_to_hsv(pixels), 3, -1)
    if hue is not None:
        h = h + cast(hue, h.dtype)
        h = h - floor(h)
    if saturation is not None:
        s = minimum(maximum(s * cast(saturation, s.dtype), 0.0), 1.0)
    return convert_image_dtype(hsv_to_rgb(stack([h, s, v], -1)), x.dtype)


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Tensor:
    """Turn the hue of red, green and blue by `delta`, 1 being the whole circle."""
    x = _require_channels(convert_to_tensor(image), 3, "adjust_hue")
    with x.graph.name_scope(name or "adjust_hue"):
        return _through_hsv(x, hue=delta)


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_hue` by a random delta in [-max_delta, max_delta)."""
    if not 0 <= max_delta <= 0.5:
        raise fault("random_hue", f"max_delta={max_delta}", "from 0 to 0.5")
    return adjust_hue(image, _draw(-max_delta, max_delta, seed))


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Tensor:
    """Multiply the saturation of red, green and blue."""
    x = _require_channels(convert_to_tensor(image), 3, "adjust_saturation")
    with x.graph.name_scope(name or "adjust_saturation"):
        return _through_hsv(x, saturation=saturation_factor)


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_saturation` by a random factor in [lower, upper)."""
    _check_range("random_saturation", lower, upper)
    return adjust_saturation(image, _draw(lower, upper, seed))
