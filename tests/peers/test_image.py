"""Images beside TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow.compat.v1")

from beside import floats, same
from tables import resolve


def pixels(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """In [0, 1), or whole numbers of all values."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def alike(build: Any, *arrays: np.ndarray, **more: Any) -> None:
    same(build, *arrays, names=False, **more)


SIZES = [(3, 9), (11, 4), (6, 7), (1, 1), (13, 20)]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("method", ["bilinear", "nearest_neighbor", "bicubic"])
def test_resizing(method: str, corners: bool) -> None:
    x = floats(2, 6, 7, 3)
    for size in SIZES:
        same(lambda tf, x, s=size: getattr(tf.image, f"resize_{method}")(x, s, align_corners=corners), x)


@pytest.mark.parametrize("method", ["bilinear", "nearest_neighbor", "bicubic"])
def test_half_pixels(method: str) -> None:
    x = floats(2, 6, 7, 3)
    for size in SIZES:
        alike(lambda tf, x, s=size: getattr(tf.image, f"resize_{method}")(x, s, half_pixel_centers=True), x)


def test_area() -> None:
    x = pixels(2, 6, 8, 3, dtype="uint8")  # TensorFlow has no gradient of it
    for size in SIZES:
        alike(lambda tf, x, s=size: tf.image.resize_area(x, s), x)


@pytest.mark.parametrize("method", range(4))
def test_resize_images(method: int) -> None:
    for dtype in ("uint8", "float32") if method != 3 else ("uint8",):
        x = pixels(2, 6, 8, 3, dtype=dtype)
        alike(lambda tf, x: tf.image.resize_images(x, [4, 5], method), x)
        alike(lambda tf, x: tf.image.resize_images(x[0], (12, 16), method=method), x)
        alike(lambda tf, x: tf.image.resize_images(x, [6, 8], method), x)
        alike(lambda tf, x: tf.image.resize_images(x, [9, 20], method, preserve_aspect_ratio=True), x)
        alike(lambda tf, x: tf.image.resize_images(x, tf.shape(x)[1:3] * 2, method), x)


def test_turned_and_cut() -> None:
    x = floats(2, 6, 7, 3)
    for name in ("image.flip_left_right", "image.flip_up_down", "image.transpose_image"):
        alike(lambda tf, x, n=name: resolve(tf, n)(x), x)
        alike(lambda tf, x, n=name: resolve(tf, n)(x[0]), x)
    for k in range(-1, 5):
        alike(lambda tf, x, k=k: tf.image.rot90(x, k), x)
    alike(lambda tf, x: tf.image.crop_to_bounding_box(x, 1, 2, 4, 3), x)
    alike(lambda tf, x: tf.image.crop_to_bounding_box(x[0], 1, 2, 4, 3), x)
    alike(lambda tf, x: tf.image.pad_to_bounding_box(x, 1, 2, 10, 9), x)
    for fraction in (0.3, 0.5, 0.875, 1.0):
        alike(lambda tf, x, f=fraction: tf.image.central_crop(x, f), x)
    for size in ((4, 10), (9, 3), (6, 7), (2, 2), (11, 12)):
        alike(lambda tf, x, s=size: tf.image.resize_image_with_crop_or_pad(x, *s), x)
        alike(lambda tf, x, s=size: tf.image.resize_image_with_crop_or_pad(x[0], *s), x)
        alike(lambda tf, x, s=size: tf.image.resize_image_with_pad(x, *s), x)
    alike(lambda tf, x: tf.image.total_variation(x), x)
    alike(lambda tf, x: tf.image.image_gradients(x), x)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_colours(dtype: str) -> None:
    x = pixels(2, 5, 4, 3, dtype=dtype)
    alike(lambda tf, x: tf.image.adjust_brightness(x, 0.2), x)
    alike(lambda tf: tf.image.adjust_contrast(tf.constant(x), 0.6))  # TensorFlow has no gradient of it
    alike(lambda tf, x: tf.image.adjust_gamma(x, 1.5, 0.9), x)
    alike(lambda tf, x: tf.image.adjust_gamma(x, 2, 1), x)
    alike(lambda tf, x: tf.image.rgb_to_grayscale(x), x)
    alike(lambda tf, x: tf.image.grayscale_to_rgb(x[..., :1]), x)
    for y in (x, x[0]):
        alike(lambda tf, x: tf.image.per_image_standardization(x), y, unknown=[False])


def test_hue_and_saturation() -> None:
    # TensorFlow has no gradients of these: integers and constants.
    x = pixels(2, 5, 4, 3)
    for delta in (0.1, -0.3, 0.5):
        alike(lambda tf, d=delta: tf.image.adjust_hue(tf.constant(x), d))
        alike(lambda tf, d=delta: tf.image.adjust_saturation(tf.constant(x), 1 + d))
    alike(lambda tf: tf.image.rgb_to_hsv(tf.constant(x)))
    alike(lambda tf: tf.image.hsv_to_rgb(tf.constant(x)))
    grey = np.repeat(x[..., :1], 3, -1)
    alike(lambda tf: tf.image.rgb_to_hsv(tf.constant(np.concatenate([grey, grey * 0], 0))))
    alike(lambda tf, x: tf.image.adjust_saturation(x, 0.5), pixels(3, 4, 3, dtype="uint8"))


@pytest.mark.parametrize("saturate", [False, True])
def test_dtypes(saturate: bool) -> None:
    for source in ("float32", "uint8", "int16", "int32"):
        for target in ("float32", "uint8", "int16", "int32"):
            if target == "int32" and source == "float32":
                continue  # 2 ** 31 has no place in int32: what the cast gives is the processor's business
            x = pixels(4, 5, dtype=source) if source == "float32" else np.abs(pixels(4, 5, dtype=source))
            alike(lambda tf, x, t=target: tf.image.convert_image_dtype(x, t, saturate), x)


def test_boxes() -> None:
    boxes = np.array([[[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]], [[-0.4, 0.3, 0.6, 1.7], [0.9, 0.1, 0.2, 0.8]]])
    for channels in (1, 3):
        x = pixels(2, 9, 11, channels)
        alike(lambda tf, x=x: tf.image.draw_bounding_boxes(tf.constant(x), boxes.astype("float32")))
