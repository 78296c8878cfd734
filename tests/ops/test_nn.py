"""Neural network operations: what the operation table cannot say in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr


def _random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


# ---- activations --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "relu6", "elu", "selu", "softplus", "softsign", "swish", "crelu"])
def test_activations_take_features(name: str) -> None:
    function = getattr(gr.nn, name)
    y = function(features=gr.constant([[-1.0, 2.0]]), name="mine")
    assert y.op.name.startswith("mine")
    assert np.isfinite(evaluate(y)).all()


def test_crelu_and_swish() -> None:
    x = gr.constant([[-1.0, 2.0]])
    np.testing.assert_array_equal(evaluate(gr.nn.crelu(x)), [[0, 2, 1, 0]])
    np.testing.assert_allclose(evaluate(gr.nn.swish(x)), [[-1 / (1 + np.e), 2 / (1 + np.exp(-2))]], rtol=1e-6)
    check_gradients(gr.nn.swish, [_random(5)])


def test_leaky_relu_with_a_tensor_and_of_integers() -> None:
    alpha = gr.placeholder(gr.float32, ())
    y = gr.nn.leaky_relu(gr.constant([-2.0, 3.0]), alpha)
    np.testing.assert_array_equal(evaluate(y, {alpha: 0.5}), [-1.0, 3.0])
    np.testing.assert_array_equal(evaluate(gr.nn.leaky_relu(gr.constant([-2, 3]), 0.5)), [-1.0, 3.0])


def test_relu_stops_the_gradient_at_zero(device: str) -> None:
    with gr.Session(device=device) as sess:
        x = gr.constant([-1.0, 0.0, 2.0])
        np.testing.assert_array_equal(sess.run(gr.gradients(gr.nn.relu(x), x)[0]), [0.0, 0.0, 1.0])


# ---- softmax and cross entropies -------------------------------------------------------------------


def test_softmax_axis_has_two_names() -> None:
    x = gr.constant(_random(2, 3).astype(np.float32))
    e = np.exp(evaluate(x))
    for y in (gr.nn.softmax(x, 0), gr.nn.softmax(x, axis=0), gr.nn.softmax(x, dim=0)):
        np.testing.assert_allclose(evaluate(y), e / e.sum(0), rtol=1e-6)
    np.testing.assert_allclose(evaluate(gr.nn.softmax(logits=x)), e / e.sum(1, keepdims=True), rtol=1e-6)


def test_softmax_of_a_scalar_is_an_error() -> None:
    with pytest.raises(gr.errors.ShapeError, match="logits is a scalar"):
        gr.nn.softmax(gr.constant(1.0))
    with pytest.raises(gr.errors.ShapeError, match="axis 2 is out of range for rank 2"):
        gr.nn.log_softmax(gr.zeros([2, 2]), 2)


@pytest.mark.parametrize("function", [gr.nn.softmax, gr.nn.log_softmax])
def test_softmax_gradient_with_unknown_shapes(function: Any, device: str) -> None:
    with gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32)
        w = np.array([[1.0, 2.0, 4.0]], np.float32)
        g = gr.gradients(function(x) * w, x)[0]
        value = _random(2, 3).astype(np.float32)
        p = np.exp(value) / np.exp(value).sum(1, keepdims=True)
        exact = p * (w - (w * p).sum(1, keepdims=True)) if function is gr.nn.softmax else w - p * w.sum()
        np.testing.assert_allclose(sess.run(g, {x: value}), exact, rtol=1e-4, atol=1e-6)


def test_gradient_to_labels_is_that_of_version_2() -> None:
    x, z = gr.constant(_random(2, 3)), gr.constant(np.full((2, 3), 1 / 3))
    first = gr.nn.softmax_cross_entropy_with_logits(labels=z, logits=x)
    second = gr.nn.softmax_cross_entropy_with_logits_v2(labels=z, logits=x)
    np.testing.assert_array_equal(evaluate(first), evaluate(second))
    assert gr.gradients(first, z) == [None]
    log_p = evaluate(gr.nn.log_softmax(x))
    np.testing.assert_allclose(evaluate(gr.gradients(second, z)[0]), -log_p, rtol=1e-6)


def test_cross_entropies_agree(device: str) -> None:
    logits = _random(4, 5).astype(np.float32) * 5
    labels = np.array([0, 4, 2, 2])
    with gr.Session(device=device) as sess:
        x = gr.constant(logits)
        dense = gr.nn.softmax_cross_entropy_with_logits(labels=gr.one_hot(labels, 5), logits=x)
        sparse = gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
        by_hand = -gr.reduce_sum(gr.one_hot(labels, 5) * gr.log(gr.nn.softmax(x)), 1)
        values = sess.run([dense, sparse, by_hand])
        grads = sess.run([gr.gradients(y, x)[0] for y in (dense, sparse, by_hand)])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values[0], values[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads[0], grads[2], rtol=1e-4, atol=1e-5)


def test_rows_of_zero_labels_have_no_gradient() -> None:
    x = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    y = gr.nn.softmax_cross_entropy_with_logits_v2(labels=[[0.0, 1.0], [0.0, 0.0]], logits=x)
    assert float(evaluate(y)[1]) == 0.0
    np.testing.assert_array_equal(evaluate(gr.gradients(y, x)[0])[1], [0.0, 0.0])


def test_cross_entropies_want_keywords() -> None:
    x = gr.zeros([2, 3])
    for function in (
        gr.nn.softmax_cross_entropy_with_logits,
        gr.nn.sparse_softmax_cross_entropy_with_logits,
        gr.nn.sigmoid_cross_entropy_with_logits,
    ):
        with pytest.raises(ValueError, match="takes its arguments by name") as info:
            function(x, x)
        assert "labels=..., logits=..." in str(info.value)


def test_labels_of_the_other_kind_are_told() -> None:
    x = gr.zeros([2, 3])
    with pytest.raises(gr.errors.DTypeError, match="for a probability of each class use"):
        gr.nn.sparse_softmax_cross_entropy_with_logits(labels=gr.zeros([2, 3]), logits=x)
    with pytest.raises(gr.errors.ShapeError, match="one class number a row"):
        gr.nn.sparse_softmax_cross_entropy_with_logits(labels=[[0], [1]], logits=x)
    with pytest.raises(gr.errors.ShapeError, match="sparse_softmax_cross_entropy_with_logits"):
        gr.nn.softmax_cross_entropy_with_logits(labels=[0.0, 1.0], logits=x)
    with pytest.raises(gr.errors.ShapeError, match="one shape: a label for each logit"):
        gr.nn.sigmoid_cross_entropy_with_logits(labels=gr.zeros([2]), logits=x)


def test_a_label_that_is_no_class(device: str) -> None:
    with gr.Session(device=device) as sess:
        x = gr.constant(np.zeros((3, 2), np.float32))
        labels = gr.placeholder(gr.int32, (None,))
        y = gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
        fetches, feeds = [y, gr.gradients(y, x)[0]], {labels: [0, 2, -1]}
        if device == "cpu:0":
            with pytest.raises(gr.errors.ExecutionError, match=r"labels\[1\] is 2, which is none of"):
                sess.run(fetches, feeds)
            return
        loss, gradient = sess.run(fetches, feeds)
    np.testing.assert_allclose(loss, [np.log(2), np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 0.5], [np.nan] * 2, [np.nan] * 2])


def test_class_numbers_where_distributions_are_wanted() -> None:
    x = gr.placeholder(gr.float32, (None, 10))
    for function in (
        gr.nn.softmax_cross_entropy_with_logits, gr.nn.softmax_cross_entropy_with_logits_v2,
    ):  # fmt: skip
        with pytest.raises(gr.errors.DTypeError, match="labels have dtype int64, logits float32\n") as caught:
            function(labels=gr.placeholder(gr.int64, (None,)), logits=x)
        assert "expected labels of dtype float32: a probability for each class" in str(caught.value)
        assert str(caught.value).endswith(
            "  for class numbers use gr.nn.sparse_softmax_cross_entropy_with_logits"
        )
        with pytest.raises(gr.errors.DTypeError, match=r"labels: \(1, 1\)   logits: \(\?, 10\)"):
            function(labels=gr.constant([[3]]), logits=x)
    gr.nn.softmax_cross_entropy_with_logits(labels=[[0, 1]], logits=[[1.0, 2.0]])  # a list becomes floats


@pytest.mark.parametrize("dtype", [gr.int32, gr.uint8, gr.bool, gr.float64])
def test_one_hot_labels_take_the_dtype_of_the_logits(device: str, dtype: gr.DType) -> None:
    x = gr.constant([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    labels = gr.cast(gr.constant([[0, 0, 1], [1, 0, 0]]), dtype)
    y = gr.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=x)
    assert y.dtype is gr.float32
    expected = np.log(np.exp([[0.0, 1, 2], [3, 1, 0]]).sum(1)) - [2, 3]
    with gr.Session(device=device) as sess:
        np.testing.assert_allclose(sess.run(y), expected, rtol=1e-5)


def test_static_shapes_of_losses() -> None:
    x = gr.placeholder(gr.float32, (None, 10))
    labels = gr.placeholder(gr.int32, (32,))
    sparse = gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
    assert sparse.shape.as_list() == [32]
    dense = gr.nn.softmax_cross_entropy_with_logits(labels=gr.placeholder(gr.float32), logits=x)
    assert dense.shape.as_list() == [None]


def test_weighted_cross_entropy() -> None:
    x, z = _random(3, 4), np.random.default_rng(1).uniform(0, 1, (3, 4))
    y = gr.nn.weighted_cross_entropy_with_logits(targets=z, logits=x, pos_weight=3.0)
    p = 1 / (1 + np.exp(-x))
    expected = -3.0 * z * np.log(p) - (1 - z) * np.log(1 - p)
    np.testing.assert_allclose(evaluate(y), expected, rtol=1e-10)
    check_gradients(lambda a: gr.nn.weighted_cross_entropy_with_logits(z, a, 3.0), [x])


# ---- bias -------------------------------------------------------------------------------------------


def test_bias_add_faults() -> None:
    with pytest.raises(gr.errors.ShapeError, match="bias has 3 elements for 4 channels") as info:
        gr.nn.bias_add(gr.zeros([2, 4]), gr.zeros([3]))
    assert "expected bias.shape == (4,)" in str(info.value)
    with pytest.raises(gr.errors.ShapeError, match="expected a vector"):
        gr.nn.bias_add(gr.zeros([2, 4]), gr.zeros([1, 4]))
    with pytest.raises(gr.errors.ShapeError, match='"NHWC" or "NCHW"'):
        gr.nn.bias_add(gr.zeros([2, 4]), gr.zeros([4]), data_format="HWCN")


def test_xw_plus_b_and_relu_layer() -> None:
    x, w, b = _random(2, 3), _random(3, 4, seed=1), _random(4, seed=2)
    np.testing.assert_allclose(evaluate(gr.nn.xw_plus_b(x, w, b)), x @ w + b)
    np.testing.assert_allclose(evaluate(gr.nn.relu_layer(x, w, b)), np.maximum(x @ w + b, 0))


# ---- dropout ------------------------------------------------------------------------------------------


def test_dropout_keeps_and_scales(device: str) -> None:
    with gr.Session(device=device) as sess:
        x = gr.ones([200, 100])
        y = gr.nn.dropout(x, keep_prob=0.75, seed=1)
        value, gradient = sess.run([y, gr.gradients(y, x)[0]])
        again = sess.run(y)
    assert set(np.unique(value).tolist()) == {0.0, float(np.float32(1) / np.float32(0.75))}
    assert abs((value > 0).mean() - 0.75) < 0.01
    np.testing.assert_array_equal(value, gradient)  # the same elements are kept
    assert (value != again).any()


def test_dropout_by_rate_and_by_tensor() -> None:
    x = gr.ones([1000])
    rate = gr.placeholder(gr.float32, ())
    y = gr.nn.dropout(x, rate=rate, seed=1)
    z = gr.nn.dropout(x, 1 - rate, seed=1)
    for r in (0.0, 0.5):
        a, b = evaluate([y, z], {rate: r})
        assert abs((a == 0).mean() - r) < 0.05
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_dropout_keeps_the_shape_whatever_is_known_of_the_probability(device: str) -> None:
    x = gr.placeholder(gr.float32, [None, 6])
    keep_prob = gr.placeholder("float")
    y = gr.nn.dropout(x, keep_prob)
    assert y.shape.as_list() == [None, 6]
    assert gr.nn.dropout(x, rate=keep_prob).shape.as_list() == [None, 6]
    with gr.Session(device=device) as sess:
        np.testing.assert_array_equal(sess.run(y, {x: np.ones((2, 6)), keep_prob: 1.0}), np.ones((2, 6)))


def test_dropout_of_nothing_is_the_tensor() -> None:
    x = gr.ones([3])
    assert gr.nn.dropout(x, keep_prob=1.0) is x
    assert gr.nn.dropout(x, rate=0.0) is x
    assert gr.nn.dropout(x, keep_prob=gr.constant(1.0)) is x


def test_dropout_noise_shape() -> None:
    x = gr.ones([50, 4])
    value = evaluate(gr.nn.dropout(x, 0.5, noise_shape=[None, 1], seed=1))
    assert all(len(set(row)) == 1 for row in value.tolist())
    assert len(set(value[:, 0].tolist())) == 2


def test_dropout_of_half_precision() -> None:
    y = gr.nn.dropout(gr.ones([100], gr.float16), 0.5, seed=1)
    assert y.dtype == gr.float16
    assert set(evaluate(y).tolist()) == {0.0, 2.0}


def test_dropout_faults() -> None:
    x = gr.ones([3])
    with pytest.raises(ValueError, match="expected 0 < keep_prob <= 1"):
        gr.nn.dropout(x, 1.5)
    with pytest.raises(ValueError, match="expected 0 <= rate < 1"):
        gr.nn.dropout(x, rate=1.0)
    with pytest.raises(ValueError, match="either rate or keep_prob"):
        gr.nn.dropout(x)


# ---- moments and normalization -----------------------------------------------------------------------


@pytest.mark.parametrize("axes, keepdims", [([0], False), ([0, 1], True), ([-1], False)])
def test_moments(axes: list[int], keepdims: bool) -> None:
    value = _random(3, 4, 2)
    mean, variance = gr.nn.moments(gr.constant(value), axes, keep_dims=keepdims)
    np.testing.assert_allclose(evaluate(mean), value.mean(tuple(axes), keepdims=keepdims), rtol=1e-12)
    np.testing.assert_allclose(evaluate(variance), value.var(tuple(axes), keepdims=keepdims), rtol=1e-12)
    # Second derivatives too: they go through the mean, which TensorFlow cuts off.
    check_gradients(lambda x: gr.nn.moments(x, axes, keep_dims=keepdims), [value])


def test_moments_of_half_precision() -> None:
    mean, variance = gr.nn.moments(gr.constant(np.full((70000,), 2.0, np.float16)), [0])
    assert (mean.dtype, variance.dtype) == (gr.float16, gr.float16)
    assert (float(evaluate(mean)), float(evaluate(variance))) == (2.0, 0.0)


def test_weighted_moments() -> None:
    value, weights = _random(4, 3), np.array([[1.0], [2.0], [0.0], [1.0]])
    mean, variance = gr.nn.weighted_moments(gr.constant(value), [0], weights)
    repeated = np.repeat(value, [1, 2, 0, 1], axis=0)
    np.testing.assert_allclose(evaluate(mean), repeated.mean(0), rtol=1e-12)
    np.testing.assert_allclose(evaluate(variance), repeated.var(0), rtol=1e-12)


def test_batch_normalization() -> None:
    x = _random(5, 3)
    mean, variance, offset, scale = x.mean(0), x.var(0), _random(3, seed=1), _random(3, seed=2)
    y = gr.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)
    plain = (x - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(evaluate(y), plain * scale + offset, rtol=1e-10)
    np.testing.assert_allclose(
        evaluate(gr.nn.batch_normalization(x, mean, variance, None, None, 1e-3)), plain, rtol=1e-10
    )
    check_gradients(lambda *t: gr.nn.batch_normalization(*t, 1e-3), [x, mean, variance, offset, scale])


def test_batch_normalization_of_its_own_moments_has_second_derivatives() -> None:
    def layer(x: Any) -> Any:
        mean, variance = gr.nn.moments(x, [0])
        return gr.nn.batch_normalization(x, mean, variance, None, None, 1e-3)

    check_gradients(layer, [_random(5, 3)])


def test_l2_normalize() -> None:
    x = _random(3, 4)
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate(gr.nn.l2_normalize(x, 1)), expected, rtol=1e-10)
    np.testing.assert_allclose(evaluate(gr.nn.l2_normalize(x, dim=1)), expected, rtol=1e-10)
    np.testing.assert_array_equal(evaluate(gr.nn.l2_normalize(gr.zeros([2, 3]), 1)), np.zeros((2, 3)))
    check_gradients(lambda t: gr.nn.l2_normalize(t, 1), [x])


def test_zero_fraction() -> None:
    assert float(evaluate(gr.nn.zero_fraction([0.0, 1.0, 0.0, 2.0]))) == 0.5
