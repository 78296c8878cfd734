"""Proximal and dual averaging optimizers, and those that TensorFlow 1 had not, against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import GraphError

STEPS = 5
T = gr.train
State = dict[str, Any]


@pytest.fixture(autouse=True)
def graph() -> Iterator[gr.Graph]:
    g = gr.Graph()
    with g.as_default():
        yield g


def _proximal(w: Any, g: Any, s: State, t: int) -> Any:
    p = w - 0.1 * g
    return np.sign(p) * np.maximum(np.abs(p) - 0.1 * 0.7, 0) / (1 + 0.1 * 0.3)


def _proximal_adagrad(w: Any, g: Any, s: State, t: int) -> Any:
    s["a"] = s.get("a", 0.1) + g**2
    rate = 0.1 / np.sqrt(s["a"])
    p = w - rate * g
    return np.sign(p) * np.maximum(np.abs(p) - rate * 0.7, 0) / (1 + rate * 0.3)


def _dual(w: Any, g: Any, s: State, t: int) -> Any:
    s["g"], s["gg"] = s.get("g", 0) + g, s.get("gg", 0.1) + g**2
    pull = np.sign(s["g"]) * np.maximum(np.abs(s["g"]) - 0.05 * t, 0)
    return -0.1 * pull / (np.sqrt(s["gg"]) + 0.1 * 0.3 * t)


def _moments(g: Any, s: State) -> tuple[Any, Any]:
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    return s["m"], s["v"]


def _adamw(w: Any, g: Any, s: State, t: int) -> Any:
    m, v = _moments(g, s)
    rate = 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.8**t)
    return w - rate * m / (np.sqrt(v) + 1e-3) - 0.1 * 0.25 * w


def _lamb(w: Any, g: Any, s: State, t: int) -> Any:
    m, v = _moments(g, s)
    u = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3) + 0.25 * w
    return w - 0.1 * np.linalg.norm(w) / np.linalg.norm(u) * u


def _lion(w: Any, g: Any, s: State, t: int) -> Any:
    m = s.get("m", 0)
    s["m"] = 0.99 * m + 0.01 * g
    return w - 0.01 * (np.sign(0.8 * m + 0.2 * g) + 0.25 * w)


OPTIMIZERS = [
    pytest.param(lambda: T.ProximalGradientDescentOptimizer(0.1, 0.7, 0.3), _proximal, id="proximal"),
    pytest.param(
        lambda: T.ProximalAdagradOptimizer(0.1, 0.1, 0.7, 0.3), _proximal_adagrad, id="proximal_adagrad"
    ),
    pytest.param(
        lambda: T.AdagradDAOptimizer(0.1, T.get_or_create_global_step(), 0.1, 0.05, 0.3), _dual, id="dual"
    ),
    pytest.param(lambda: T.AdamWOptimizer(0.1, 0.8, 0.99, 1e-3, 0.25), _adamw, id="adamw"),
    pytest.param(lambda: T.LAMBOptimizer(0.1, 0.8, 0.99, 1e-3, 0.25), _lamb, id="lamb"),
    pytest.param(lambda: T.LionOptimizer(0.01, 0.8, 0.99, 0.25), _lion, id="lion"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "formula"), OPTIMIZERS)
def test_five_steps(make: Callable[[], Any], formula: Callable[..., Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    matrix, target = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(3)
    w_var, b_var = gr.Variable(w.astype(dtype), name="W"), gr.Variable(b.astype(dtype), name="b")
    error = gr.matmul(gr.constant(matrix.astype(dtype)), w_var) + b_var - target.astype(dtype)
    count = T.get_or_create_global_step()
    step = make().minimize(0.5 * gr.reduce_sum(error * error), count, var_list=[w_var, b_var])
    states: list[State] = [{}, {}]
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for t in range(1, STEPS + 1):
            residual = matrix @ w + b - target
            g_w, g_b = matrix.T @ residual, residual.sum(axis=0)
            w, b = formula(w, g_w, states[0], t), formula(b, g_b, states[1], t)
            sess.run(step)
            rtol = 3e-4 if dtype == "float32" else 1e-10
            np.testing.assert_allclose(sess.run(w_var), w, rtol=rtol, atol=rtol / 10, err_msg=f"step {t}")
            np.testing.assert_allclose(sess.run(b_var), b, rtol=rtol, atol=rtol / 10, err_msg=f"step {t}")


@pytest.mark.parametrize(
    ("make", "slots"),
    [
        (lambda: T.ProximalGradientDescentOptimizer(0.1), []),
        (lambda: T.ProximalAdagradOptimizer(0.1), ["W/ProximalAdagrad"]),
        (lambda: T.AdagradDAOptimizer(0.1, gr.constant(0)), ["W/AdagradDA", "W/AdagradDA_1"]),
        (lambda: T.AdamWOptimizer(), ["beta1_power", "beta2_power", "W/AdamW", "W/AdamW_1"]),
        (lambda: T.LAMBOptimizer(), ["beta1_power", "beta2_power", "W/LAMB", "W/LAMB_1"]),
        (lambda: T.LionOptimizer(), ["W/Lion"]),
    ],
)
def test_names_of_slots(make: Any, slots: list[str]) -> None:
    make().minimize(gr.reduce_sum(gr.Variable([1.0, 2.0], name="W")))
    assert [v.op.name for v in gr.global_variables()[1:]] == slots


def test_an_l1_penalty_makes_zeros() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((60, 8)).astype(np.float32)
    y = x[:, :2] @ np.array([1.0, -2.0], np.float32)
    w = gr.Variable(rng.standard_normal(8).astype(np.float32))
    loss = gr.reduce_mean(gr.square(gr.reduce_sum(x * w, 1) - y))
    step = T.ProximalGradientDescentOptimizer(0.1, 0.2).minimize(loss)
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(200):
            sess.run(step)
        found = sess.run(w)
    assert np.flatnonzero(found).tolist() == [0, 1]


def test_what_does_not_decay() -> None:
    names = ["dense/kernel", "dense/bias", "norm/gamma"]
    for cls, excluded in ((T.AdamWOptimizer, ["bias", "gamma"]), (T.LionOptimizer, "bias|gamma")):
        with gr.Graph().as_default(), gr.Session() as sess:
            kept = [gr.Variable([4.0], name=n) for n in names]
            opt = cls(0.5, weight_decay=0.25, exclude_from_weight_decay=excluded)
            step = opt.minimize(gr.reduce_sum(gr.add_n(kept)) * 0.0)
            sess.run(gr.global_variables_initializer())
            sess.run(step)
            np.testing.assert_allclose(sess.run(kept), [[3.5], [4.0], [4.0]])


def test_lamb_scales_by_norms_unless_told_not_to() -> None:
    a, b, zero = gr.Variable([3.0, 4.0], name="a"), gr.Variable([3.0, 4.0], name="b"), gr.Variable([0.0])
    opt = T.LAMBOptimizer(0.1, epsilon=1e-12, exclude_from_layer_adaptation=["b"])
    step = opt.minimize(gr.reduce_sum(a) + gr.reduce_sum(b) + gr.reduce_sum(zero))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        sess.run(step)
        scale = 0.1 * 5 / np.sqrt(2)  # both elements of the update are 1
        np.testing.assert_allclose(sess.run(a), [3 - scale, 4 - scale], rtol=1e-5)
        np.testing.assert_allclose(sess.run(b), [2.9, 3.9], rtol=1e-5)
        np.testing.assert_allclose(sess.run(zero), [-0.1], rtol=1e-5)


@pytest.mark.parametrize("make", [T.AdamWOptimizer, T.LAMBOptimizer, T.LionOptimizer])
def test_rows_move_as_the_whole(make: Any) -> None:
    start = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)
    tables = [gr.Variable(start) for _ in range(2)]
    opt = make(0.1, weight_decay=0.1)
    losses = [gr.reduce_sum(gr.gather(t, [2, 0, 2]) ** 2) for t in (tables[0], tables[1] * 1.0)]
    step = opt.apply_gradients(
        [opt.compute_gradients(x, [t])[0] for x, t in zip(losses, tables, strict=True)]
    )
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        for _ in range(3):
            sess.run(step)
        a, b = sess.run(tables)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    assert (a[1] != start[1]).all()


@pytest.mark.opencl
@pytest.mark.parametrize(
    ("make", "launches"),
    [
        (lambda: T.ProximalGradientDescentOptimizer(0.1, 0.1, 0.1), 1),
        (lambda: T.ProximalAdagradOptimizer(0.1, 0.1, 0.1, 0.1), 1),
        (lambda: T.AdagradDAOptimizer(0.1, gr.constant(3), 0.1, 0.1, 0.1), 1),
        (lambda: T.FtrlOptimizer(0.1, -0.5, 0.1, 0.1, 0.1), 1),
        (lambda: T.LionOptimizer(0.1, weight_decay=0.1), 1),
        # The shared rate, and two powers of beta.
        (lambda: T.AdamWOptimizer(0.1, weight_decay=0.1), 4),
    ],
    ids=["proximal", "proximal_adagrad", "dual", "ftrl", "lion", "adamw"],
)
def test_an_update_is_one_kernel(make: Any, launches: int) -> None:
    w = gr.Variable(gr.ones([64, 32]))
    gradient = gr.placeholder(gr.float32, (64, 32))
    step = make().apply_gradients([(gradient, w)])
    with gr.Session(device="opencl:0", strict=True) as sess:
        sess.run(gr.global_variables_initializer())
        assert len(sess.plan(step, {gradient: np.ones((64, 32))}).launches) <= launches


def test_hyperparameters_out_of_range() -> None:
    with pytest.raises(GraphError, match=r"ProximalAdagradOptimizer 'ProximalAdagrad': initial_accumulator"):
        T.ProximalAdagradOptimizer(0.1, 0.0)
    with pytest.raises(GraphError, match=r"initial_gradient_squared_accumulator_value=-1\n.*\n.*above 0"):
        T.AdagradDAOptimizer(0.1, 0, -1)
