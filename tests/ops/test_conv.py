"""Convolution and pooling: TensorFlow's ways of passing windows, messages, static shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

from graphrun import dtypes
from graphrun.errors import DTypeError, ShapeError
from graphrun.gradients import gradients
from graphrun.graph.graph import Graph
from graphrun.ops.array import shape, stack
from graphrun.ops.conv import (
    conv2d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
)
from graphrun.ops.conv3d import conv3d, conv3d_backprop_filter, conv3d_transpose
from graphrun.ops.conv_ranks import (
    atrous_conv2d,
    atrous_conv2d_transpose,
    conv1d,
    conv1d_transpose,
    conv_transpose,
    convolution,
)
from graphrun.ops.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backprop_filter,
    depthwise_conv2d_backprop_input,
    depthwise_conv2d_native,
    separable_conv2d,
)
from graphrun.ops.pool import avg_pool, max_pool, max_pool2d
from graphrun.ops.state import placeholder


@pytest.fixture(autouse=True)
def graph() -> Any:
    g = Graph()
    with g.as_default():
        yield g


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _image(*dims: Any, name: str = "x") -> Any:
    return placeholder(dtypes.float32, dims, name=name)


def test_a_convolution_by_hand() -> None:
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    w = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    y = evaluate(conv2d(x, w, [1, 1, 1, 1], "VALID"))
    # At the top left: 0*1 + 1*2 + 4*3 + 5*4.
    assert y[0, 0, 0, 0] == 34 and y.shape == (1, 3, 3, 1)
    same = evaluate(conv2d(x, w, [1, 1, 1, 1], "SAME"))
    assert same.shape == (1, 4, 4, 1) and same[0, 3, 3, 0] == 15  # the odd padding lies behind


@pytest.mark.parametrize("strides", [2, [2], [2, 2], (1, 2, 2, 1), np.array([1, 2, 2, 1])])
def test_ways_to_write_strides(strides: Any) -> None:
    y = conv2d(_image(None, 9, 9, 3), _array(3, 3, 3, 8).astype("float32"), strides, "SAME")
    assert y._shape == (None, 5, 5, 8) and y.op.attrs["strides"] == (2, 2)


def test_nchw() -> None:
    y = conv2d(_image(None, 3, 9, 7), _image(3, 3, 3, 8), [1, 1, 2, 3], "VALID", data_format="NCHW")
    assert y._shape == (None, 8, 4, 2)


def test_unknown_shapes() -> None:
    w = _image(3, 3, 3, 8)
    assert conv2d(_image(None, None, 7, 3), w, 1, "SAME")._shape == (None, None, 7, 8)
    x = placeholder(dtypes.float32)
    assert conv2d(x, w, 1, "SAME")._shape == (None, None, None, 8)
    assert max_pool(x, 2, 2, "SAME")._shape == (None, None, None, None)
    # SAME needs no filter size.
    assert conv2d(_image(2, 6, 7, 3), placeholder(dtypes.float32), 2, "SAME")._shape == (2, 3, 4, None)


def test_older_and_newer_names() -> None:
    x, w = _image(1, 4, 4, 1), _image(3, 3, 1, 2)
    assert conv2d(x, filters=w, strides=1, padding="SAME")._shape == (1, 4, 4, 2)
    lower_case = conv2d(x, filter=w, strides=1, padding="same", use_cudnn_on_gpu=False)
    assert lower_case.op.attrs["padding"] == "SAME"
    assert max_pool(input=x, ksize=2, strides=2, padding="VALID")._shape == (1, 2, 2, 1)
    assert max_pool2d(x, 2, 2, "VALID")._shape == (1, 2, 2, 1)
    with pytest.raises(DTypeError, match="filter and filters are both given"):
        conv2d(x, w, 1, "SAME", filters=w)
    with pytest.raises(DTypeError, match="value and input are both given"):
        max_pool(x, 2, 2, "SAME", input=x)


def test_explicit_padding() -> None:
    x, w = _image(1, 4, 5, 1), _image(3, 3, 1, 1)
    y = conv2d(x, w, 1, [[0, 0], [1, 2], [0, 1], [0, 0]])
    assert y._shape == (1, 5, 4, 1) and y.op.attrs["padding"] == ((1, 2), (0, 1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"padding": "FULL"}, "padding='FULL'"),
        ({"padding": None}, "padding=None"),
        ({"padding": [[0, 0], [1, 1], [1, 1], [0, 1]]}, "padding="),
        ({"strides": [2, 1, 1, 1]}, "strides=[2, 1, 1, 1] moves over images or channels"),
        ({"strides": [1, 1, 1]}, "strides has 3 entries"),
        ({"strides": 0}, "strides=0"),
        ({"data_format": "NWHC"}, "data_format='NWHC'"),
    ],
)
def test_messages_of_arguments(arguments: Any, text: str) -> None:
    with pytest.raises(ShapeError, match="conv2d") as caught:
        conv2d(_image(1, 4, 4, 1), _image(3, 3, 1, 1), **{"strides": 1, "padding": "SAME", **arguments})
    assert text in str(caught.value) and "test_conv.py:" in str(caught.value)


def test_messages_of_shapes() -> None:
    with pytest.raises(ShapeError, match="conv2d 'c1': the input has 4 channels and the filter takes 3"):
        conv2d(_image(1, 8, 8, 4), _image(3, 3, 3, 6), 1, "SAME", name="c1")
    with pytest.raises(ShapeError, match="the filter covers 5 pixels and the padded input has 4"):
        conv2d(_image(1, 4, 4, 1), _image(3, 3, 1, 1), 1, "VALID", dilations=2)
    with pytest.raises(ShapeError, match=r"the input has rank 3(.|\n)*\(images, rows, columns, channels\)"):
        conv2d(_image(4, 4, 1), _image(3, 3, 1, 1), 1, "SAME")
    with pytest.raises(ShapeError, match="the window covers 3 pixels and the padded input has 2"):
        max_pool(_image(1, 2, 2, 1), 3, 1, "VALID")
    with pytest.raises(DTypeError, match="the input has dtype int32"):
        conv2d(placeholder(dtypes.int32, (1, 4, 4, 1)), placeholder(dtypes.int32, (3, 3, 1, 1)), 1, "SAME")


def test_transpose_reverses_shapes() -> None:
    x, w = _image(None, 7, 7, 16), _image(5, 5, 8, 16)
    y = conv2d_transpose(x, w, [shape(x)[0], 14, 14, 8], [1, 2, 2, 1])
    assert y._shape == (None, 14, 14, 8) and y.name == "conv2d_transpose:0"
    dynamic = conv2d_transpose(x, w, stack([shape(x)[0], 14, 14, 8]), [1, 2, 2, 1])
    assert dynamic._shape == (None, 14, 14, 8)
    with pytest.raises(ShapeError, match=r"an input of shape \(\?, 20, 20, 8\) gives an output of shape"):
        conv2d_transpose(x, w, [shape(x)[0], 20, 20, 8], [1, 2, 2, 1])


def test_transpose_is_the_gradient() -> None:
    x, w = _array(2, 3, 4, 5), _array(3, 3, 2, 5, seed=1)
    y = evaluate(conv2d_transpose(x, w, [2, 6, 8, 2], 2))
    z = _array(2, 6, 8, 2, seed=2)
    # <transpose(x), z> == <x, conv(z)>: what makes it the adjoint.
    other = evaluate(conv2d(z, w, 2, "SAME"))
    np.testing.assert_allclose((y * z).sum(), (x * other).sum(), rtol=1e-12)


def test_gradients_of_the_public_gradients() -> None:
    x, w, dy = _array(1, 4, 5, 2), _array(2, 3, 2, 3, seed=1), _array(1, 2, 3, 3, seed=2)
    check_gradients(lambda w, dy: conv2d_backprop_input((1, 4, 5, 2), w, dy, 2, "SAME"), [w, dy])
    check_gradients(lambda x, dy: conv2d_backprop_filter(x, (2, 3, 2, 3), dy, 2, "SAME"), [x, dy])


def test_third_order() -> None:
    """Each gradient is made of the other two, so derivatives go on for ever."""
    x, w = _array(1, 3, 3, 1), _array(2, 2, 1, 1, seed=1)

    def cubed(x: Any, w: Any) -> Any:
        y = conv2d(x, w, 1, "SAME")
        return y * y * y

    check_gradients(cubed, [x, w])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_depthwise_is_a_convolution_of_each_channel(data_format: str) -> None:
    x, w = _array(2, 5, 6, 3), _array(3, 2, 3, 4, seed=1)
    expected = np.concatenate(
        [evaluate(conv2d(x[..., k : k + 1], w[:, :, k : k + 1, :], 2, "SAME")) for k in range(3)], axis=-1
    )
    order = (0, 3, 1, 2) if data_format == "NCHW" else (0, 1, 2, 3)
    strides = [1, 1, 2, 2] if data_format == "NCHW" else [1, 2, 2, 1]
    y = depthwise_conv2d(x.transpose(order), w, strides, "SAME", data_format=data_format, name="dw")
    assert y.name == "dw:0"
    np.testing.assert_allclose(evaluate(y), expected.transpose(order), rtol=1e-12)


def test_depthwise_channels() -> None:
    w = _image(3, 3, 3, 4)
    with pytest.raises(ShapeError, match="the input has 4 channels and the filter 3"):
        depthwise_conv2d(_image(1, 8, 8, 4), w, 1, "SAME")
    assert depthwise_conv2d(_image(1, 8, 8, None), w, 1, "SAME")._shape == (1, 8, 8, 12)
    assert depthwise_conv2d(placeholder(dtypes.float32), w, 1, "SAME", rate=[2, 2])._shape[3] == 12


def test_separable_is_depthwise_then_pointwise() -> None:
    x, w, p = _array(1, 5, 5, 2), _array(3, 3, 2, 3, seed=1), _array(1, 1, 6, 4, seed=2)
    y = separable_conv2d(x, w, p, 1, "SAME", name="sep")
    middle = evaluate(depthwise_conv2d(x, w, 1, "SAME"))
    assert y.name == "sep:0"
    np.testing.assert_allclose(evaluate(y), middle @ p[0, 0], rtol=1e-12)


@pytest.mark.parametrize(("padding", "stride"), [("SAME", 1), ("VALID", 2), ("SAME", [1, 2, 1])])
def test_conv1d(padding: str, stride: Any) -> None:
    x, w = _array(2, 9, 3), _array(4, 3, 5, seed=1)
    y = conv1d(x, w, stride, padding, name="c")
    step = stride[1] if isinstance(stride, list) else stride
    expected = evaluate(conv2d(x[:, None], w[None], (1, step), padding))[:, 0]
    assert y.name == "c/Squeeze:0" and y._shape == expected.shape  # as TensorFlow names it
    np.testing.assert_array_equal(evaluate(y), expected)
    if not isinstance(stride, list):
        turned = evaluate(conv1d(x.transpose(0, 2, 1), w, stride, padding, data_format="NCW"))
        np.testing.assert_allclose(turned.transpose(0, 2, 1), expected, rtol=1e-12)


def test_max_pool_ties_go_to_the_first() -> None:
    x = np.zeros((1, 2, 2, 1))
    p = placeholder(dtypes.float64, (1, 2, 2, 1))
    (dx,) = gradients(max_pool(p, 2, 2, "VALID"), p)
    np.testing.assert_array_equal(evaluate(dx, {p: x}).reshape(-1), [1, 0, 0, 0])


def test_avg_pool_does_not_count_padding() -> None:
    y = evaluate(avg_pool(np.ones((1, 3, 3, 1)), 2, 2, "SAME"))
    np.testing.assert_array_equal(y, np.ones((1, 2, 2, 1)))


def test_conv1d_transpose_is_the_gradient_of_conv1d() -> None:
    x, w, z = _array(2, 5, 4), _array(3, 2, 4, seed=1), _array(2, 10, 2, seed=2)
    y = conv1d_transpose(x, w, [2, 10, 2], 2, name="t")
    assert y.name == "t/Squeeze:0" and y._shape == (2, 10, 2)
    other = evaluate(conv1d(z, w, 2, "SAME"))
    np.testing.assert_allclose((evaluate(y) * z).sum(), (x * other).sum(), rtol=1e-12)
    sizes = placeholder(dtypes.int32, (3,))
    turned = conv1d_transpose(x.transpose(0, 2, 1), w, sizes, 2, data_format="NCW")
    got = evaluate(turned, {sizes: np.array([2, 2, 10], np.int32)})
    np.testing.assert_allclose(got.transpose(0, 2, 1), evaluate(y), rtol=1e-12)
    with pytest.raises(ShapeError, match="conv1d_transpose: data_format='WNC'"):
        conv1d_transpose(x, w, [2, 10, 2], 2, data_format="WNC")


def test_atrous_is_a_dilated_convolution() -> None:
    x, w = _array(1, 9, 8, 2), _array(3, 2, 2, 3, seed=1)
    spread = np.zeros((5, 3, 2, 3))
    spread[::2, ::2] = w
    y = atrous_conv2d(x, w, 2, "VALID")
    assert y.name == "convolution:0"
    np.testing.assert_allclose(evaluate(y), evaluate(conv2d(x, spread, 1, "VALID")), rtol=1e-12)
    back = evaluate(atrous_conv2d_transpose(evaluate(y), w, [1, 9, 8, 2], 2, "VALID"))
    np.testing.assert_allclose(
        back, evaluate(conv2d_transpose(evaluate(y), spread, [1, 9, 8, 2], 1, "VALID")), rtol=1e-12
    )


def test_public_gradients_of_depthwise() -> None:
    x, w = _array(1, 5, 4, 3), _array(2, 3, 3, 2, seed=1)
    y = evaluate(depthwise_conv2d_native(x, w, [1, 2, 2, 1], "SAME"))
    dy, v, u = _array(*y.shape, seed=2), _array(*x.shape, seed=3), _array(*w.shape, seed=4)
    dx = evaluate(depthwise_conv2d_backprop_input(x.shape, w, dy, [1, 2, 2, 1], "SAME"))
    dw = evaluate(depthwise_conv2d_backprop_filter(x, w.shape, dy, [1, 2, 2, 1], "SAME"))
    assert dw.shape == w.shape
    moved = evaluate(depthwise_conv2d(v, w, 2, "SAME")), evaluate(depthwise_conv2d(x, u, 2, "SAME"))
    np.testing.assert_allclose(
        [(moved[0] * dy).sum(), (moved[1] * dy).sum()], [(dx * v).sum(), (dw * u).sum()]
    )


def test_conv3d_shapes_and_messages() -> None:
    x, w = placeholder(dtypes.float32, (None, 8, 9, None, 3)), placeholder(dtypes.float32, (3, 3, 3, 3, 4))
    assert conv3d(x, w, [1, 2, 2, 2, 1], "SAME")._shape == (None, 4, 5, None, 4)
    assert conv3d(x, w, 1, "VALID")._shape == (None, 6, 7, None, 4)
    y = conv3d_transpose(placeholder(dtypes.float32, (None, 4, 5, 6, 4)), w, [2, 8, 9, 12, 3], 2)
    assert y._shape == (2, 8, 9, 12, 3) and y.name == "conv3d_transpose:0"
    assert conv3d_backprop_filter(x, [3, 3, 3, 3, 4], conv3d(x, w, 1, "SAME"), 1, "SAME")._shape == w._shape
    with pytest.raises(ShapeError, match="conv3d 'c': the input has 3 channels and the filter takes 2"):
        conv3d(x, placeholder(dtypes.float32, (3, 3, 3, 2, 4)), 1, "SAME", name="c")
    with pytest.raises(ShapeError, match="the filter has rank 4"):
        conv3d(x, _image(3, 3, 3, 4), 1, "SAME")
    with pytest.raises(ShapeError, match='data_format=\'NHWC\'(.|\n)*"NDHWC" or "NCDHW"'):
        conv3d(x, w, 1, "SAME", data_format="NHWC")
    with pytest.raises(ShapeError, match=r'padding=\[\[0, 0\]\](.|\n)*"SAME" or "VALID"'):
        conv3d(x, w, 1, [[0, 0]])
    with pytest.raises(ShapeError, match="strides has 2 entries(.|\n)*1, 3 or 5"):
        conv3d(x, w, [2, 2], "SAME")
    with pytest.raises(ShapeError, match=r"an input of shape \(2, 9, 9, 12, 3\) gives an output of shape"):
        conv3d_transpose(placeholder(dtypes.float32, (2, 4, 5, 6, 4)), w, [2, 9, 9, 12, 3], 2)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_takes_the_rank_of_the_filter(rank: int) -> None:
    x, w = _array(2, *(6, 5, 4)[:rank], 3), _array(*(3, 2, 2)[:rank], 3, 4, seed=1)
    y = convolution(x, w, "SAME", dilation_rate=[2] * rank, name="c")
    function: Any = (conv1d, conv2d, conv3d)[rank - 1]
    assert y.name == ("c/Squeeze:0" if rank == 1 else "c:0")
    np.testing.assert_array_equal(evaluate(y), evaluate(function(x, w, 1, "SAME", dilations=[2] * rank)))
    back = conv_transpose(evaluate(y), w, x.shape, 1, dilations=2)
    assert back._shape == x.shape and back.name.startswith("conv_transpose")
    with pytest.raises(ShapeError, match="convolution: the filter has shape .*, 1, 1, 1, 1, 1"):
        convolution(x, np.ones((1,) * 6), "SAME")
