"""`gr.trace`: Python functions that become graphs."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import GraphError
from graphrun.runtime.device_array import DeviceArray


def test_it_is_traced_once_for_each_signature():
    calls = []

    @gr.trace
    def f(x, y):
        """Adds."""
        calls.append(x.shape.as_list())
        return x + y

    a = np.ones((2, 3), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(f(a, 1.0), a + 1)
    assert calls == [[2, 3]]
    np.testing.assert_array_equal(f(a[0], 2.0), a[0] + 2)
    f(a.astype(np.float64), np.float64(1.0))
    assert calls == [[2, 3], [3], [2, 3]] and f.signatures == 3
    assert f.__name__ == "f" and f.__doc__ == "Adds."
    assert repr(f) == "<graphrun trace of f, 3 signatures>"


def test_python_values_are_part_of_the_signature():
    @gr.trace
    def f(x, axis, square=False):
        return gr.reduce_sum(x * x if square else x, axis)

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(f(x, 0), x.sum(0))
    np.testing.assert_array_equal(f(x, 1), x.sum(1))
    np.testing.assert_array_equal(f(x, axis=None, square=True), (x * x).sum())
    np.testing.assert_array_equal(f(x, 1, square=1), (x * x).sum(1))
    np.testing.assert_array_equal(f(x, 1, square=True), (x * x).sum(1))  # True and 1 are not one signature
    assert f.signatures == 5


def test_nested_arguments_and_results():
    Pair = namedtuple("Pair", "a b")

    @gr.trace
    def f(items, pair):
        return {"sum": items[0] + items[1]["z"], "pair": Pair(pair.b, pair.a), "fixed": 7, "none": None}

    got = f([np.float32(1), {"z": np.float32(2)}], Pair(np.ones(2), 3.0))
    assert got["sum"] == 3 and got["fixed"] == 7 and got["none"] is None
    assert isinstance(got["pair"], Pair) and got["pair"].a == 3
    np.testing.assert_array_equal(got["pair"].b, [1, 1])


def test_variables_are_shared_by_all_signatures(device):
    @gr.trace(device=device)
    def train(x, y):
        prediction = gr.layers.dense(x, 1, name="out")
        loss = gr.reduce_mean(gr.square(prediction[:, 0] - y))
        step = gr.train.GradientDescentOptimizer(0.1).minimize(loss)
        with gr.control_dependencies([step]):
            return gr.identity(loss)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] + 3).astype(np.float32)
    first = train(x, y)
    for _ in range(100):
        train(x, y)
        train(x[:20], y[:20])
    assert train(x, y) < 1e-4 < first
    with train.graph.as_default():
        assert [v.name for v in gr.trainable_variables()] == ["train/out/kernel:0", "train/out/bias:0"]
    assert train.signatures == 2


def test_gradients_inside():
    @gr.trace
    def slope(x):
        return gr.gradients(gr.sin(x), x)[0]

    np.testing.assert_allclose(slope(np.linspace(0, 1, 5)), np.cos(np.linspace(0, 1, 5)))


def test_device_arrays_go_in_and_out(device):
    @gr.trace(device=device, to_device=True)
    def double(x):
        return x * 2

    a = double.session.device_array(np.ones(1000, np.float32))
    for _ in range(3):
        a = double(a)
    assert isinstance(a, DeviceArray) and a.device == device and double.signatures == 1
    np.testing.assert_array_equal(a.numpy(), np.full(1000, 8))


def test_its_plan_can_be_read():
    f = gr.trace(lambda x: gr.exp(x) * 2)
    assert "exp" in str(f.plan(np.zeros(3, np.float32)))
    assert f(np.zeros(1, np.float32)) == 2


def test_control_flow_of_python_and_of_the_graph():
    @gr.trace
    def f(x, times):
        for _ in range(times):
            x = x * 2
        return gr.cond(gr.reduce_sum(x) > 10, lambda: x - 10, lambda: x)

    np.testing.assert_array_equal(f(np.float32([1, 2]), 1), [2, 4])
    np.testing.assert_array_equal(f(np.float32([1, 2]), 3), [-2, 6])


def test_the_name_stays_that_of_tensorflow():
    with gr.Graph().as_default(), gr.Session() as sess:
        assert sess.run(gr.trace([[1.0, 2.0], [3.0, 4.0]])) == 5
        assert gr.trace(gr.constant([[1.0]]), name="t").op.name.startswith("t")


def test_what_is_refused():
    with pytest.raises(GraphError, match="f is called with a object"):

        @gr.trace
        def f(x):
            return x

        f(object())

    @gr.trace
    def g(x):
        return gr.Variable(1.0) + x

    assert g(1.0) == 2
    with pytest.raises(GraphError, match="made variable .* for another signature than its first") as fault:
        g(np.ones(3, np.float32))
    assert "gr.get_variable" in str(fault.value) and "test_trace.py" in str(fault.value)
    assert g(2.0) == 3

    outside = gr.Graph()
    with outside.as_default():
        c = gr.constant(1.0)

    h = gr.trace(lambda x: c)
    with pytest.raises(GraphError, match="of another graph"):
        h(1.0)

    @gr.trace
    def fails(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fails(1.0)
    assert fails.signatures == 0
