"""Optimizers against their formulas in NumPy; names of slots, hyperparameters, messages, subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GradientError, GraphError

STEPS = 5
Arrays = dict[str, Any]


@pytest.fixture(autouse=True)
def graph() -> Iterator[gr.Graph]:
    g = gr.Graph()
    with g.as_default():
        yield g


# -- TensorFlow's formulas, one step each, written apart from the implementation -------------------


def _sgd(w: Any, g: Any, s: Arrays, t: int) -> Any:
    return w - 0.1 * g


def _momentum(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - 0.1 * s["a"]


def _nesterov(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - 0.1 * (g + 0.9 * s["a"])


def _adam(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    rate = 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.8**t)
    return w - rate * s["m"] / (np.sqrt(s["v"]) + 1e-3)


def _rmsprop(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["ms"] = 0.8 * s.get("ms", 1) + 0.2 * g**2
    s["mom"] = 0.5 * s.get("mom", 0) + 0.1 * g / np.sqrt(s["ms"] + 1e-3)
    return w - s["mom"]


def _centered(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["ms"] = 0.8 * s.get("ms", 1) + 0.2 * g**2
    s["mg"] = 0.8 * s.get("mg", 0) + 0.2 * g
    return w - 0.1 * g / np.sqrt(s["ms"] - s["mg"] ** 2 + 1e-3)


def _adagrad(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["a"] = s.get("a", 0.1) + g**2
    return w - 0.1 * g / np.sqrt(s["a"])


def _adadelta(w: Any, g: Any, s: Arrays, t: int) -> Any:
    s["a"] = 0.9 * s.get("a", 0) + 0.1 * g**2
    step = np.sqrt(s.get("d", 0) + 1e-3) / np.sqrt(s["a"] + 1e-3) * g
    s["d"] = 0.9 * s.get("d", 0) + 0.1 * step**2
    return w - 0.1 * step


def _ftrl(w: Any, g: Any, s: Arrays, t: int, power: float = 0.5, l1: float = 0.0, l2: float = 0.0) -> Any:
    old = s.get("a", 0.1)
    s["a"] = old + g**2
    s["z"] = s.get("z", 0) + g - (s["a"] ** power - old**power) / 0.1 * w
    quadratic = s["a"] ** power / 0.1 + 2 * l2
    return np.where(np.abs(s["z"]) > l1, (np.sign(s["z"]) * l1 - s["z"]) / quadratic, 0.0)


def _ftrl_regularized(w: Any, g: Any, s: Arrays, t: int) -> Any:
    return _ftrl(w, g, s, t, 0.7, 1.5, 0.3)


OPTIMIZERS = [
    pytest.param(lambda: gr.train.GradientDescentOptimizer(0.1), _sgd, id="sgd"),
    pytest.param(lambda: gr.train.MomentumOptimizer(0.1, 0.9), _momentum, id="momentum"),
    pytest.param(lambda: gr.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), _nesterov, id="nesterov"),
    pytest.param(lambda: gr.train.AdamOptimizer(0.1, 0.8, 0.99, 1e-3), _adam, id="adam"),
    pytest.param(lambda: gr.train.RMSPropOptimizer(0.1, 0.8, 0.5, 1e-3), _rmsprop, id="rmsprop"),
    pytest.param(
        lambda: gr.train.RMSPropOptimizer(0.1, 0.8, epsilon=1e-3, centered=True), _centered, id="centered"
    ),
    pytest.param(lambda: gr.train.AdagradOptimizer(0.1), _adagrad, id="adagrad"),
    pytest.param(lambda: gr.train.AdadeltaOptimizer(0.1, 0.9, 1e-3), _adadelta, id="adadelta"),
    pytest.param(lambda: gr.train.FtrlOptimizer(0.1), _ftrl, id="ftrl"),
    pytest.param(
        lambda: gr.train.FtrlOptimizer(0.1, -0.7, 0.1, 1.5, 0.3), _ftrl_regularized, id="ftrl_l1_l2"
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "formula"), OPTIMIZERS)
def test_five_steps(make: Callable[[], Any], formula: Callable[..., Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    matrix, target = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(3)
    w_var, b_var = gr.Variable(w.astype(dtype), name="W"), gr.Variable(b.astype(dtype), name="b")
    error = gr.matmul(gr.constant(matrix.astype(dtype)), w_var) + b_var - target.astype(dtype)
    step = make().minimize(0.5 * gr.reduce_sum(error * error))
    states: list[Arrays] = [{}, {}]
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for t in range(1, STEPS + 1):
            residual = matrix @ w + b - target
            g_w, g_b = matrix.T @ residual, residual.sum(axis=0)
            w, b = formula(w, g_w, states[0], t), formula(b, g_b, states[1], t)
            assert sess.run(step) is None
            # float32: Adam's 1 - beta2**t loses two digits in the first steps.
            rtol = 2e-4 if dtype == "float32" else 1e-11
            np.testing.assert_allclose(sess.run(w_var), w, rtol=rtol, atol=rtol / 10, err_msg=f"step {t}")
            np.testing.assert_allclose(sess.run(b_var), b, rtol=rtol, atol=rtol / 10, err_msg=f"step {t}")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # The gradient is 1 in each step.
        (lambda: gr.train.GradientDescentOptimizer(0.1), [-0.1, -0.2, -0.3]),
        # accum: 1, 1.9, 2.71
        (lambda: gr.train.MomentumOptimizer(0.1, 0.9), [-0.1, -0.29, -0.561]),
        # ms stays 1
        (lambda: gr.train.RMSPropOptimizer(0.1), [-0.1, -0.2, -0.3]),
        # accum: 1.1, 2.1, 3.1
        (lambda: gr.train.AdagradOptimizer(0.1), [-0.09534626, -0.16435282, -0.22114904]),
        # m and v are corrected to 1 exactly
        (lambda: gr.train.AdamOptimizer(0.1), [-0.1, -0.2, -0.3]),
    ],
)
def test_constants_by_hand(make: Any, expected: list[float]) -> None:
    w = gr.Variable(0.0, name="w")
    step = make().minimize(w + 2.0)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for value in expected:
            sess.run(step)
            assert sess.run(w) == pytest.approx(value, rel=2e-5)


# -- names ----------------------------------------------------------------------------------------


def _names() -> list[str]:
    return [v.name for v in gr.global_variables()]


def _two_variables() -> Any:
    w, b = gr.Variable([1.0, 2.0], name="W"), gr.Variable(1.0, name="b")
    return w, b, gr.reduce_sum(w) * b


def test_adams_variables() -> None:
    w, b, loss = _two_variables()
    opt = gr.train.AdamOptimizer()
    step = opt.minimize(loss)
    assert _names() == [
        "W:0", "b:0", "beta1_power:0", "beta2_power:0", "W/Adam:0", "W/Adam_1:0", "b/Adam:0", "b/Adam_1:0",
    ]  # fmt: skip
    assert gr.trainable_variables() == [w, b]
    assert step.name == "Adam" and opt.get_name() == "Adam"
    assert opt.get_slot_names() == ["m", "v"]
    assert opt.get_slot(w, "m").name == "W/Adam:0" and opt.get_slot(w, "v").name == "W/Adam_1:0"
    assert opt.get_slot(w, "w") is None and opt.get_slot(gr.Variable(1.0), "m") is None
    assert [v.name for v in opt.variables()] == sorted(_names()[2:-1])


def test_a_second_optimizer_has_its_own_slots() -> None:
    _, _, loss = _two_variables()
    gr.train.AdamOptimizer().minimize(loss)
    second = gr.train.AdamOptimizer().minimize(loss)
    assert {"W/Adam_2:0", "W/Adam_3:0", "beta1_power_1:0"} <= set(_names()) and second.name == "Adam_1"


@pytest.mark.parametrize(
    ("make", "slots"),
    [
        (lambda: gr.train.GradientDescentOptimizer(0.1), []),
        (lambda: gr.train.MomentumOptimizer(0.1, 0.9), ["W/Momentum:0"]),
        (lambda: gr.train.RMSPropOptimizer(0.1), ["W/RMSProp:0", "W/RMSProp_1:0"]),
        (lambda: gr.train.RMSPropOptimizer(0.1, centered=True, name="R"), ["W/R:0", "W/R_1:0", "W/R_2:0"]),
        (lambda: gr.train.AdagradOptimizer(0.1), ["W/Adagrad:0"]),
        (lambda: gr.train.AdadeltaOptimizer(0.1), ["W/Adadelta:0", "W/Adadelta_1:0"]),
        (lambda: gr.train.FtrlOptimizer(0.1), ["W/Ftrl:0", "W/Ftrl_1:0"]),
    ],
)
def test_names_of_slots(make: Any, slots: list[str]) -> None:
    w, _, loss = _two_variables()
    with gr.name_scope("training"):
        make().minimize(loss, var_list=w)
    assert _names()[2:] == slots


def test_a_variable_scope_stands_before_the_names_of_slots() -> None:
    """Programs copy one net to another by the scopes' collections, and slots are no part of a net."""
    with gr.variable_scope("net"):
        w = gr.get_variable("w", [2])
    with gr.variable_scope("train"), gr.name_scope("operations"):
        gr.train.AdamOptimizer(0.1).minimize(gr.reduce_sum(w))
        gr.train.ExponentialMovingAverage(0.9).apply([w])
    assert sorted(v.op.name for v in gr.global_variables() if v is not w) == [
        "train/net/w/Adam", "train/net/w/Adam_1", "train/net/w/ExponentialMovingAverage",
        "train/operations/beta1_power", "train/operations/beta2_power",
    ]  # fmt: skip
    assert gr.get_collection(gr.GraphKeys.GLOBAL_VARIABLES, scope="net") == [w]


def test_one_optimizer_used_twice_makes_slots_once() -> None:
    _, _, loss = _two_variables()
    opt = gr.train.MomentumOptimizer(0.1, 0.9)
    opt.minimize(loss)
    count = len(_names())
    opt.minimize(loss * 2.0)
    assert len(_names()) == count


# -- steps and hyperparameters --------------------------------------------------------------------


def test_global_step() -> None:
    _, _, loss = _two_variables()
    count = gr.train.get_or_create_global_step()
    step = gr.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=count, name="train")
    assert step.name == "train" and gr.get_collection(gr.GraphKeys.TRAIN_OP) == [step]
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(3):
            sess.run(step)
        assert gr.train.global_step(sess, count) == 3
    assert gr.train.get_global_step() is count
    with pytest.raises(GraphError, match="has a step counter already"):
        gr.train.create_global_step()


def test_a_variable_named_global_step_is_the_counter() -> None:
    assert gr.train.get_global_step() is None
    count = gr.Variable(0, name="global_step", trainable=False)
    assert gr.train.get_or_create_global_step() is count


def test_a_wrong_step_counter() -> None:
    gr.Variable(0.0, name="global_step")
    with pytest.raises(GraphError, match=r"'global_step:0' is no integer scalar"):
        gr.train.get_global_step()


def test_ways_to_give_a_learning_rate() -> None:
    fed = gr.placeholder(gr.float32, ())
    held = gr.Variable(0.25, trainable=False)
    for rate in (0.25, fed, held, lambda: 0.25, lambda: fed, np.float32(0.25)):
        w = gr.Variable(1.0)
        step = gr.train.GradientDescentOptimizer(rate).minimize(w * 2.0, var_list=[w])
        with gr.Session() as sess:
            sess.run(gr.global_variables_initializer())
            sess.run(step, {fed: 0.25})
            assert sess.run(w) == 0.5


def test_decay_follows_the_step() -> None:
    w = gr.Variable(0.0)
    count = gr.train.get_or_create_global_step()
    rate = gr.train.exponential_decay(0.5, count, 1, 0.5)
    step = gr.train.GradientDescentOptimizer(rate).minimize(w * 1.0, count)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(3):
            sess.run(step)
        assert sess.run(w) == -0.875  # 1/2 + 1/4 + 1/8


def test_gradients_changed_on_the_way() -> None:
    w, b, loss = _two_variables()
    opt = gr.train.GradientDescentOptimizer(1.0)
    pairs = opt.compute_gradients(loss)
    assert [v for _, v in pairs] == [w, b]
    step = opt.apply_gradients([(g * 0.5, v) for g, v in pairs])
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [0.5, 1.5])
        assert sess.run(b) == -0.5  # with w from before the step


def test_variables_without_a_gradient_are_passed_over() -> None:
    w, b, _ = _two_variables()
    opt = gr.train.MomentumOptimizer(1.0, 0.9)
    pairs = opt.compute_gradients(b * 2.0)
    assert pairs[0] == (None, w)
    opt.apply_gradients(pairs)
    assert _names() == ["W:0", "b:0", "b/Momentum:0"]


def test_grad_loss_starts_the_chain() -> None:
    w = gr.Variable([1.0, 1.0])
    step = gr.train.GradientDescentOptimizer(1.0).minimize(w * 1.0, grad_loss=gr.constant([1.0, 3.0]))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [0.0, -2.0])


def test_constraints_hold_after_the_step() -> None:
    w = gr.Variable([0.5, 3.0], constraint=lambda x: gr.maximum(x, 0.0))
    step = gr.train.GradientDescentOptimizer(1.0).minimize(w * 1.0)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [0.0, 2.0])


def test_after_control_dependencies() -> None:
    """The idiom of batch normalization: updates that come first are seen by the step."""
    w = gr.Variable(1.0)
    with gr.control_dependencies([w.assign(10.0)]):
        step = gr.train.AdamOptimizer(1.0, epsilon=1e-12).minimize(w * 1.0)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        assert sess.run(w) == pytest.approx(9.0, rel=1e-5)


def test_mixed_dtypes() -> None:
    w, v = gr.Variable(1.0), gr.Variable(np.float64(1.0))
    loss = gr.cast(w, gr.float64) + v
    step = gr.train.GradientDescentOptimizer(0.1).minimize(loss)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        assert sess.run(v) == 0.9  # not 0.1 rounded to float32
        assert sess.run(w) == np.float32(0.9)


def test_slots_of_unknown_shape() -> None:
    size = gr.placeholder_with_default(3, ())
    w = gr.Variable(gr.ones([size]), validate_shape=False)
    step = gr.train.MomentumOptimizer(0.5, 0.9).minimize(gr.reduce_sum(w))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run([step])
        sess.run([step])
        np.testing.assert_allclose(sess.run(w), np.full(3, 1 - 0.5 - 0.5 * 1.9), rtol=1e-6)


# -- subclasses -----------------------------------------------------------------------------------


def test_a_subclass_in_tensorflows_manner() -> None:
    class SignMomentum(gr.train.Optimizer):
        def __init__(self, rate: float, name: str = "SignMomentum") -> None:
            super().__init__(False, name)
            self._rate = rate

        def _create_slots(self, var_list: Any) -> None:
            for v in var_list:
                self._get_or_make_slot(v, gr.ones(v.shape), "one", self._name)

        def _prepare(self) -> None:
            self._rate_t = gr.convert_to_tensor(self._call_if_callable(self._rate))

        def _apply_dense(self, grad: Any, var: Any) -> Any:
            one = self.get_slot(var, "one")
            change = one.assign(one * 2.0)
            return gr.group(var.assign_sub(self._rate_t * gr.sign(grad) * change), change)

    w = gr.Variable([5.0, -5.0], name="W")
    step = SignMomentum(1.0).minimize(gr.reduce_sum(w * w))
    assert "W/SignMomentum:0" in _names()
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [3.0, -3.0])


def test_a_subclass_of_adam_with_weight_decay() -> None:
    class AdamW(gr.train.AdamOptimizer):
        def _apply_dense(self, grad: Any, var: Any) -> Any:
            with gr.control_dependencies([var.assign_sub(0.5 * var)]):
                return super()._apply_dense(grad, var)

    w = gr.Variable(4.0)
    step = AdamW(1.0, epsilon=1e-12).minimize(w * 3.0)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        assert sess.run(w) == pytest.approx(1.0, rel=1e-4)


# -- messages -------------------------------------------------------------------------------------


def _sgd_optimizer() -> Any:
    return gr.train.GradientDescentOptimizer(0.1)


def test_no_variables() -> None:
    with pytest.raises(GradientError, match=r"GradientDescentOptimizer 'GradientDescent': no variables to"):
        _sgd_optimizer().minimize(gr.constant(1.0))


def test_no_gradients() -> None:
    w, b, _ = _two_variables()
    loss = gr.identity(gr.constant(1.0), name="loss")
    with pytest.raises(GradientError) as caught:
        _sgd_optimizer().minimize(loss)
    text = str(caught.value)
    assert "no gradient for any variable: loss 'loss:0' depends on none of 'W:0', 'b:0'" in text
    assert "test_optimizers.py:" in text
    with pytest.raises(GradientError, match="no gradient for any variable of 'W:0', 'b:0'"):
        _sgd_optimizer().apply_gradients([(None, w), (None, b)])


def test_a_loss_that_is_no_floating_point_number() -> None:
    gr.Variable(1.0)
    with pytest.raises(DTypeError, match=r"loss '.*' has dtype int32(.|\n)*gr\.cast"):
        _sgd_optimizer().minimize(gr.constant(1))


def test_something_that_is_no_variable() -> None:
    w, _, loss = _two_variables()
    with pytest.raises(DTypeError, match="'total:0' of type Tensor is no variable"):
        _sgd_optimizer().minimize(loss, var_list=[gr.reduce_sum(w, name="total")])
    with pytest.raises(DTypeError, match="is no variable"):
        _sgd_optimizer().minimize(loss, var_list=["W:0"])
    with pytest.raises(DTypeError, match=r"is no \(gradient, variable\) pair"):
        _sgd_optimizer().apply_gradients([w])
    with gr.Graph().as_default():
        other = gr.Variable(1.0, name="other")
    with pytest.raises(GraphError, match="variable 'other:0' is in another graph than the loss"):
        _sgd_optimizer().minimize(loss, var_list=[other])


def test_integer_variables() -> None:
    count = gr.Variable(0, name="count")
    with pytest.raises(DTypeError, match="variable 'count:0' has dtype int32"):
        _sgd_optimizer().apply_gradients([(gr.constant(1), count)])


def test_nothing_to_apply_and_no_name() -> None:
    with pytest.raises(GradientError, match="no variables given"):
        _sgd_optimizer().apply_gradients([])
    with pytest.raises(GraphError, match="without a name"):
        gr.train.GradientDescentOptimizer(0.1, name="")
    with pytest.raises(GraphError, match="initial_accumulator_value=0"):
        gr.train.AdagradOptimizer(0.1, initial_accumulator_value=0)
    with pytest.raises(GraphError, match="FtrlOptimizer 'Ftrl': l1_regularization_strength=-1"):
        gr.train.FtrlOptimizer(0.1, l1_regularization_strength=-1.0)
    with pytest.raises(GraphError, match=r"learning_rate_power=0\.5"):
        gr.train.FtrlOptimizer(0.1, 0.5)
    w, _, loss = _two_variables()
    with pytest.raises(GraphError, match="gate_gradients=7"):
        _sgd_optimizer().minimize(loss, gate_gradients=7)
