"""Layers: names, shapes, sharing, what they compute, batch normalization's updates, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import GraphError, ShapeError


def _x(*shape: Any) -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name="x")


def test_names_and_shapes_are_tensorflows() -> None:
    """Compared with tensorflow.compat.v1 2.21, name by name."""
    t = gr.placeholder(gr.bool, (), name="t")
    y = gr.layers.conv2d(_x(None, 8, 8, 3), 4, 3, strides=2, padding="same", activation=gr.nn.relu)
    assert (y.name, y.shape.as_list()) == ("conv2d/Relu:0", [None, 4, 4, 4])
    y = gr.layers.batch_normalization(y, training=t)
    y = gr.layers.conv2d_transpose(y, 5, (3, 3), strides=(2, 2), padding="same")
    assert (y.name, y.shape.as_list()) == ("conv2d_transpose/BiasAdd:0", [None, 8, 8, 5])
    y = gr.layers.max_pooling2d(y, 2, 2)
    assert (y.name, y.shape.as_list()) == ("max_pooling2d/MaxPool:0", [None, 4, 4, 5])
    y = gr.layers.flatten(gr.layers.separable_conv2d(y, 6, 3, name="sep"))
    y = gr.layers.dense(gr.layers.dropout(y, 0.3, training=t), 10, name="out")
    assert (y.name, y.shape.as_list()) == ("out/BiasAdd:0", [None, 10])
    for reuse in (None, True):
        with gr.variable_scope("m", reuse=reuse):
            z = gr.layers.dense(gr.layers.dense(y, 3, activation=gr.tanh), 3)
    assert z.name == "m_1/dense_1/BiasAdd:0"
    assert [(v.name, v.shape.as_list()) for v in gr.global_variables()] == [
        ("conv2d/kernel:0", [3, 3, 3, 4]), ("conv2d/bias:0", [4]),
        ("batch_normalization/gamma:0", [4]), ("batch_normalization/beta:0", [4]),
        ("batch_normalization/moving_mean:0", [4]), ("batch_normalization/moving_variance:0", [4]),
        ("conv2d_transpose/kernel:0", [3, 3, 5, 4]), ("conv2d_transpose/bias:0", [5]),
        ("sep/depthwise_kernel:0", [3, 3, 5, 1]), ("sep/pointwise_kernel:0", [1, 1, 5, 6]),
        ("sep/bias:0", [6]), ("out/kernel:0", [24, 10]), ("out/bias:0", [10]),
        ("m/dense/kernel:0", [10, 3]), ("m/dense/bias:0", [3]),
        ("m/dense_1/kernel:0", [3, 3]), ("m/dense_1/bias:0", [3]),
    ]  # fmt: skip
    assert len(gr.trainable_variables()) == 15
    assert len(gr.get_collection(gr.GraphKeys.UPDATE_OPS)) == 2


def test_a_layer_called_twice_shares_its_variables() -> None:
    layer = gr.layers.Dense(2)
    x = gr.ones((3, 4))
    a, b = layer(x), layer.apply(x)
    assert (a.name, b.name) == ("dense/BiasAdd:0", "dense/BiasAdd_1:0")
    assert [v.name for v in layer.variables] == ["dense/kernel:0", "dense/bias:0"]
    assert layer.count_params() == 10 and layer.name == "dense"
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_array_equal(*sess.run([a, b]))


def test_values(device: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    x = _x(None, 5, 6, 3)
    k = gr.constant_initializer(0.1)
    last = gr.layers.conv2d(x, 4, 3, padding="same", kernel_initializer=k, name="last")
    first = gr.layers.conv2d(
        gr.transpose(x, (0, 3, 1, 2)), 4, 3, padding="same", kernel_initializer=k, name="first",
        data_format="channels_first",
    )  # fmt: skip
    row = gr.layers.conv1d(x[:, 0], 2, 3, kernel_initializer=k)
    wide = gr.layers.dense(x, 2, kernel_initializer=k, use_bias=False)
    pooled = [
        gr.layers.average_pooling1d(x[:, 0], 2, 2), gr.layers.max_pooling1d(x[:, 0], 3, 1, "same"),
        gr.layers.average_pooling2d(x, (2, 3), 2),
    ]  # fmt: skip
    with gr.Session(device=device) as sess:
        sess.run(gr.global_variables_initializer())
        got = sess.run([last, gr.transpose(first, (0, 2, 3, 1)), row, wide, *pooled], {x: a})
    np.testing.assert_allclose(got[0], got[1], rtol=1e-5, atol=1e-5)
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = sum(padded[:, i : i + 5, j : j + 6].sum(-1) for i in range(3) for j in range(3)) * 0.1
    np.testing.assert_allclose(got[0], np.repeat(sums[..., None], 4, -1), rtol=1e-4, atol=1e-5)
    line = sum(a[:, 0, j : j + 4].sum(-1) for j in range(3)) * 0.1
    np.testing.assert_allclose(got[2], np.repeat(line[..., None], 2, -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[3][..., 1], a.sum(-1) * 0.1, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[4], a[:, 0].reshape(2, 3, 2, 3).mean(2), rtol=1e-5, atol=1e-6)
    assert got[5].shape == (2, 6, 3) and got[6].shape == (2, 2, 2, 3)


@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 6, 3)])
def test_batch_normalization(device: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    a = (rng.standard_normal(shape) * 2 + 1).astype(np.float32)
    x, t = _x(None, *shape[1:]), gr.placeholder(gr.bool, ())
    y = gr.layers.batch_normalization(x, momentum=0.9, training=t)
    updates = gr.get_collection(gr.GraphKeys.UPDATE_OPS)
    mean, variance = gr.global_variables()[2:]
    axes = tuple(range(len(shape) - 1))
    with gr.Session(device=device) as sess:
        sess.run(gr.global_variables_initializer())
        np.testing.assert_allclose(sess.run(y, {x: a, t: False}), a / np.sqrt(1.001), rtol=1e-4)
        sess.run(updates, {x: a, t: False})
        np.testing.assert_array_equal(sess.run(mean), np.zeros(3))
        got = sess.run([y, updates], {x: a, t: True})[0]
        m, v = a.mean(axes), a.var(axes)
        np.testing.assert_allclose(got, (a - m) / np.sqrt(v + 1e-3), rtol=1e-3, atol=1e-4)
        n = a.size // 3
        unbiased = v * n / (n - 1) if len(shape) == 4 else v
        np.testing.assert_allclose(sess.run(mean), 0.1 * m, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(sess.run(variance), 0.9 + 0.1 * unbiased, rtol=1e-4)


def test_a_flag_of_unknown_shape_costs_no_shape(device: str) -> None:
    """Programs write tf.placeholder(tf.bool), without a shape."""
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    t = gr.placeholder(gr.bool)
    for flag in (t, False, np.True_, gr.Variable(True, trainable=False)):
        assert gr.layers.batch_normalization(gr.constant(x), training=flag).shape.as_list() == [2, 6]
        assert gr.layers.dropout(gr.constant(x), training=flag).shape.as_list() == [2, 6]
    y = gr.layers.dropout(gr.constant(x), 0.5, training=t)
    with gr.Session(device=device) as sess:
        np.testing.assert_array_equal(sess.run(y, {t: False}), x)
        assert np.count_nonzero(sess.run(y, {t: True})) < 11
        with pytest.raises(gr.errors.ShapeError, match="layers.py"):
            sess.run(y, {t: [True, False]})


def test_own_layers_by_subclass() -> None:
    class Scale(gr.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_variable(
                "factor", [int(input_shape[-1])], initializer=gr.ones_initializer(),
                regularizer=lambda w: gr.reduce_sum(w),
            )  # fmt: skip
            super().build(input_shape)

        def call(self, inputs: Any, **_: Any) -> Any:
            return inputs * self.factor

    layer = Scale(activity_regularizer=lambda y: gr.reduce_sum(y) * 0.5)
    y = layer(gr.ones((2, 3)))
    assert layer.factor.name == "scale/factor:0" and y.name == "scale/mul:0"
    assert len(layer.losses) == 2 == len(gr.get_collection(gr.GraphKeys.REGULARIZATION_LOSSES))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        assert sess.run(layer.losses) == [3.0, 1.5]  # that of the result is for each example


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"Conv2D 'conv2d'(.|\n)*test_layers.py(.|\n)*expected rank 4"):
        gr.layers.conv2d(_x(None, 3), 4, 3)
    with pytest.raises(ShapeError, match="has to be known"):
        gr.layers.dense(_x(4, None), 3)
    layer = gr.layers.Dense(2)
    layer(gr.ones((3, 4)))
    with pytest.raises(ShapeError, match="expected 4 along axis -1"):
        layer(gr.ones((3, 5)))
    gr.layers.dense(gr.ones((3, 4)), 2, name="d")
    with pytest.raises(GraphError, match="'d/kernel' exists already"):
        gr.layers.dense(gr.ones((3, 4)), 2, name="d")
    with pytest.raises(ShapeError, match="kernel_size=0"):
        gr.layers.conv2d(_x(1, 4, 4, 1), 4, 0)
    with pytest.raises(GraphError, match="does not know renorm"):
        gr.layers.batch_normalization(gr.ones((2, 2)), renorm=True)
    with pytest.raises(ShapeError, match="channels_last"):
        gr.layers.max_pooling2d(_x(1, 4, 4, 1), 2, 2, data_format="NHWC")
    with pytest.raises(ShapeError, match="channels_last"):
        gr.layers.flatten(_x(1, 4, 4, 1), data_format="NHWC")


def test_functions_take_arguments_in_tensorflows_order() -> None:
    x = _x(1, 4, 4, 2)
    y = gr.layers.conv2d_transpose(x, 3, 2, 2, "same", "channels_last", gr.nn.relu)
    assert y.name == "conv2d_transpose/Relu:0"
    z = gr.layers.max_pooling2d(x, 2, 2, "same", "channels_last", "pool")
    assert z.name == "pool/MaxPool:0"
    with pytest.raises(TypeError, match=r"conv2d\(\): .*'filters'; its arguments: \(inputs, filters, kernel"):
        gr.layers.conv2d(x, filter=3, kernel_size=2)


def test_inputs_that_do_not_fit_say_what_to_do() -> None:
    with pytest.raises(gr.errors.ShapeError, match=r"expected rank 4\n  gr\.expand_dims\(x, axis\) adds"):
        gr.layers.conv2d(gr.zeros([5, 8, 8]), 3, 3)
    with pytest.raises(gr.errors.ShapeError, match=r"no axis 3\n  an input of shape \(4, 5\)(.|\n)*< 2"):
        gr.layers.batch_normalization(gr.zeros([4, 5]), axis=3)
    with pytest.raises(gr.errors.ShapeError, match=r"no axis -1\n(.|\n)*test_layers.py(.|\n)*gr\.reshape"):
        gr.layers.batch_normalization(gr.zeros([]))
    with pytest.raises(gr.errors.ShapeError, match=r"Dense 'dense(.|\n)*shape \(5,\)(.|\n)*rank 2 or more"):
        gr.layers.dense(gr.zeros([5]), 3)
    with pytest.raises(gr.errors.ShapeError, match=r"MaxPooling2D(.|\n)*test_layers.py(.|\n)*rank 4"):
        gr.layers.max_pooling2d(gr.zeros([5, 8, 8]), 2, 2)
    with pytest.raises(gr.errors.GraphError, match=r"'none/kernel' does not exist(.|\n)*test_layers.py"):
        gr.layers.dense(gr.zeros([2, 3]), 3, name="none", reuse=True)
    with pytest.raises(gr.errors.ShapeError, match=r"gr\.reshape\(x, \[-1, \.\.\.\]\)"):
        gr.layers.conv2d(gr.zeros([5, 8]), 3, 3)
    layer = gr.layers.Dense(3)
    layer(gr.zeros([2, 5]))
    with pytest.raises(gr.errors.ShapeError, match="5 along axis -1(.|\n)*call another layer"):
        layer(gr.zeros([2, 7]))
