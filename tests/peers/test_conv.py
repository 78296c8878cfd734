"""Convolutions, pools and blocks beside TensorFlow: values, gradients, static shapes and names."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow.compat.v1")

from beside import floats, same
from tables import resolve


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [1, 2])
def test_conv2d_and_what_is_like_it(padding: str, strides: int) -> None:
    x, w = floats(2, 9, 8, 4), floats(3, 2, 4, 6, seed=1)
    s = [1, strides, strides, 1]
    same(lambda tf, x, w: tf.nn.conv2d(x, w, s, padding), x, w)
    same(lambda tf, x, w: tf.nn.conv2d(x, w, s, padding, name="c"), x, w)
    same(lambda tf, x, w: tf.nn.depthwise_conv2d(x, w, s, padding), x, floats(3, 2, 4, 2, seed=1))
    same(lambda tf, x, w: tf.nn.depthwise_conv2d_native(x, w, s, padding), x, floats(3, 2, 4, 1, seed=1))
    same(
        lambda tf, x, w, p: tf.nn.separable_conv2d(x, w, p, s, padding, name="sep"),
        x, floats(3, 2, 4, 2, seed=1), floats(1, 1, 8, 5, seed=2),
    )  # fmt: skip
    same(lambda tf, x, w: tf.nn.convolution(x, w, padding, [strides] * 2), x, w, names=False)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_dilations(padding: str) -> None:
    x, w = floats(2, 9, 10, 2), floats(3, 3, 2, 3, seed=1)
    same(lambda tf, x, w: tf.nn.atrous_conv2d(x, w, 2, padding), x, w, names=False)
    same(lambda tf, x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], padding, rate=[2, 2]), x, w, names=False)
    same(lambda tf, x, w: tf.nn.convolution(x, w, padding, dilation_rate=[2, 3]), x, w, names=False)


def test_transposed() -> None:
    x, w = floats(2, 4, 5, 3), floats(3, 3, 2, 3, seed=1)
    same(lambda tf, x, w: tf.nn.conv2d_transpose(x, w, [2, 8, 10, 2], [1, 2, 2, 1]), x, w)
    same(lambda tf, x, w: tf.nn.conv2d_transpose(x, w, [2, 9, 11, 2], [1, 2, 2, 1], "VALID"), x, w)
    same(
        lambda tf, x, w: tf.nn.conv2d_transpose(x, w, tf.stack([tf.shape(x)[0], 8, 10, 2]), [1, 2, 2, 1]),
        x, w, names=False,
    )  # fmt: skip
    same(
        lambda tf, x, w: tf.nn.conv1d_transpose(x, w, [2, 8, 2], 2), floats(2, 4, 3), floats(3, 2, 3, seed=1)
    )
    same(
        lambda tf, x, w: tf.nn.conv3d_transpose(x, w, [1, 4, 4, 6, 2], [1, 2, 2, 2, 1]),
        floats(1, 2, 2, 3, 3), floats(2, 3, 3, 2, 3, seed=1),
    )  # fmt: skip


def test_public_gradients() -> None:
    x, w, dy = floats(2, 7, 6, 3), floats(3, 3, 3, 4, seed=1), floats(2, 4, 3, 4, seed=2)
    s = [1, 2, 2, 1]
    same(
        lambda tf, w, dy: tf.nn.conv2d_backprop_input([2, 7, 6, 3], w, dy, s, "SAME"), w, dy, unknown=[False]
    )
    same(
        lambda tf, x, dy: tf.nn.conv2d_backprop_filter(x, [3, 3, 3, 4], dy, s, "SAME"), x, dy, unknown=[False]
    )
    depth, d = floats(3, 3, 3, 2, seed=1), floats(2, 4, 3, 6, seed=2)
    same(
        lambda tf, w, dy: tf.nn.depthwise_conv2d_native_backprop_input([2, 7, 6, 3], w, dy, s, "SAME"),
        depth, d, unknown=[False],
    )  # fmt: skip
    same(
        lambda tf, x, dy: tf.nn.depthwise_conv2d_native_backprop_filter(x, [3, 3, 3, 2], dy, s, "SAME"),
        x, d, unknown=[False],
    )  # fmt: skip
    x, w, dy = floats(1, 4, 5, 4, 2), floats(2, 2, 2, 2, 3), floats(1, 4, 5, 4, 3)
    same(
        lambda tf, x, dy: tf.nn.conv3d_backprop_filter(x, [2, 2, 2, 2, 3], dy, [1] * 5, "SAME"),
        x, dy, names=False, unknown=[False],
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_one_and_three_dimensions(padding: str) -> None:
    x, w = floats(2, 9, 3), floats(4, 3, 5, seed=1)
    for stride in (1, 2):
        same(lambda tf, x, w, s=stride: tf.nn.conv1d(x, w, s, padding), x, w)
        same(lambda tf, x, s=stride: tf.nn.max_pool1d(x, 3, s, padding), x)
        same(lambda tf, x, s=stride: tf.nn.avg_pool1d(x, 3, s, padding), x)
    x, w = floats(2, 5, 6, 4, 2), floats(2, 3, 2, 2, 3, seed=1)
    for s in ([1, 1, 1, 1, 1], [1, 2, 1, 2, 1]):
        same(lambda tf, x, w, s=s: tf.nn.conv3d(x, w, s, padding), x, w)
        same(lambda tf, x, s=s: tf.nn.max_pool3d(x, [1, 2, 3, 2, 1], s, padding), x)
        same(lambda tf, x, s=s: tf.nn.avg_pool3d(x, [1, 2, 3, 2, 1], s, padding), x)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_pools(padding: str) -> None:
    x = floats(2, 7, 8, 3)
    for name in ("nn.max_pool", "nn.avg_pool"):
        same(lambda tf, x, n=name: resolve(tf, n)(x, [1, 3, 2, 1], [1, 2, 2, 1], padding), x)
    same(lambda tf, x: tf.nn.max_pool_with_argmax(x, [1, 3, 2, 1], [1, 2, 2, 1], padding), x, names=False)
    same(
        lambda tf, x: tf.nn.max_pool_with_argmax(
            x, [1, 2, 2, 1], [1, 2, 2, 1], padding, Targmax=tf.int32, include_batch_in_index=True
        )[1],
        x, names=False,
    )  # fmt: skip
    for kind in ("MAX", "AVG"):
        same(lambda tf, x, k=kind: tf.nn.pool(x, [3, 2], k, padding, strides=[2, 1]), x, names=False)
        if padding == "VALID":
            same(
                lambda tf, x, k=kind: tf.nn.pool(x, [3, 2], k, padding, dilation_rate=[2, 3]), x, names=False
            )


def test_blocks() -> None:
    x = floats(2, 4, 6, 8)
    same(lambda tf, x: tf.space_to_depth(x, 2), x)
    same(lambda tf, x: tf.depth_to_space(x, 2), x)
    same(lambda tf, x: tf.space_to_batch(x, [[0, 2], [1, 2]], 3), x)
    same(lambda tf, x: tf.space_to_batch_nd(x, [2, 3], [[1, 1], [0, 0]]), x)
    same(lambda tf, x: tf.space_to_batch_nd(x, [2], [[1, 1]], name="s"), x)
    y = floats(12, 2, 3, 2)
    same(lambda tf, x: tf.batch_to_space(x, [[0, 1], [1, 0]], 2), y)
    same(lambda tf, x: tf.batch_to_space_nd(x, [2, 3], [[1, 0], [2, 1]]), y)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_patches(padding: str) -> None:
    x = floats(2, 8, 9, 3)
    for sizes, strides, rates in (([2, 3], [1, 1], [1, 1]), ([3, 2], [2, 3], [1, 2])):
        a, b, c = ([1, *v, 1] for v in (sizes, strides, rates))
        same(lambda tf, x, a=a, b=b, c=c: tf.extract_image_patches(x, a, b, c, padding), x, unknown=[False])


def test_lrn() -> None:
    x = floats(2, 3, 4, 9)
    same(lambda tf, x: tf.nn.lrn(x), x)
    same(lambda tf, x: tf.nn.lrn(x, 4, bias=1.0, alpha=0.001 / 9.0, beta=0.75, name="norm1"), x)
    same(lambda tf, x: tf.nn.local_response_normalization(x, depth_radius=2, bias=2.0, alpha=1.0), x)
