"""`gr.function`: inputs, outputs, updates and givens."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, FeedError, GraphError, ShapeError, UninitializedError
from graphrun.runtime.device_array import DeviceArray


def test_outputs_keep_their_form():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (2,), name="x")
        y = gr.placeholder(gr.float32, (), name="y")
        single = gr.function([x, y], x * y)
        several = gr.function([x], [x + 1, x * 2])
        named = gr.function([y, x], {"sum": x + y, "pair": (x, y)})
        nothing = gr.function([], None)
    np.testing.assert_array_equal(single([1.0, 2.0], 3.0), [3, 6])
    np.testing.assert_array_equal(several([1.0, 2.0]), [[2, 3], [2, 4]])
    got = named(1.0, x=[1.0, 2.0])
    np.testing.assert_array_equal(got["sum"], [2, 3])
    assert isinstance(got["pair"], tuple)
    assert nothing() is None
    assert repr(single) == "<graphrun function function(x, y)>"


def test_updates_use_old_values_and_come_together(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        a = gr.Variable([1.0, 2.0], name="a")
        b = gr.Variable([10.0, 20.0], name="b")
        x = gr.placeholder(gr.float32, (), name="x")
        sess.run(gr.global_variables_initializer())
        swap = gr.function([x], [a, a + b], updates=[(a, b * x), (b, a)])
        old, total = swap(2.0)
        np.testing.assert_array_equal(old, [1, 2])
        np.testing.assert_array_equal(total, [11, 22])
        np.testing.assert_array_equal(sess.run([a, b]), [[20, 40], [1, 2]])
        assert gr.function([], None, updates={a: [0.0, 1.0]})() is None
        np.testing.assert_array_equal(sess.run(a), [0, 1])


def test_a_training_loop_in_theanos_manner():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(64, 5)).astype(np.float32)
    truth = rng.normal(size=5).astype(np.float32)
    with gr.Graph().as_default():
        data = gr.Variable(features, trainable=False)
        target = gr.Variable(features @ truth, trainable=False)
        w = gr.Variable(np.zeros(5, np.float32))
        x = gr.placeholder(gr.float32, (None, 5))
        y = gr.placeholder(gr.float32, (None,))
        index = gr.placeholder(gr.int32, (), name="index")
        loss = gr.reduce_mean(gr.square(gr.reduce_sum(x * w, 1) - y))
        (gradient,) = gr.gradients(loss, [w])
        begin = index * 16
        train = gr.function(
            [index], loss, updates={w: w - 0.1 * gradient},
            givens={x: data[begin : begin + 16], y: target[begin : begin + 16]},
        )  # fmt: skip
        value = gr.function([x, y], loss)
    first = train(0)
    for step in range(400):
        train(step % 4)
    assert first > 1 and value(features, features @ truth) < 1e-6
    np.testing.assert_allclose(train.session.run(w), truth, atol=1e-3)


def test_givens_replace_what_is_computed_in_any_order():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (2,), name="x")
        y = x * 2
        z = y + 1
        late = gr.constant([5.0, 6.0])  # made after what uses the replaced tensor
        f = gr.function([], [z, y], givens={y: late})
        np.testing.assert_array_equal(f(), [[6, 7], [5, 6]])
        g = gr.function([x], z, givens=[(y, x + 100)])
        np.testing.assert_array_equal(g([1.0, 2.0]), [102, 103])
        h = gr.function([], z, givens={x: np.float32([1, 1])})
        np.testing.assert_array_equal(h(), [3, 3])
        np.testing.assert_array_equal(h.session.run(z, {x: [0.0, 0.0]}), [1, 1])


def test_givens_reach_into_loops_and_branches():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (), name="x")
        n = gr.placeholder(gr.int32, (), name="n")
        _, total = gr.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + x), [0, 0.0])
        f = gr.function([n], total, givens={x: 2.5})
        assert [f(0), f(3), f(4)] == [0, 7.5, 10]


def test_functions_of_a_graph_share_variables_and_initial_values():
    with gr.Graph().as_default():
        v = gr.Variable(3.0)
        bump = gr.function([], v, updates={v: v + 1})
        w = gr.Variable(v.initialized_value() * 2)
        read = gr.function([], [v, w])
    assert bump() == 3
    assert read() == [4, 6]
    assert read.session is bump.session


def test_it_runs_in_the_session_that_is_given():
    with gr.Graph().as_default(), gr.Session() as sess:
        v = gr.Variable(1.0, name="v")
        f = gr.function([], v * 2)
        assert f.session is sess
        with pytest.raises(UninitializedError, match="'v'"):
            f()
        sess.run(v.initializer)
        assert f() == 2
        with gr.Session() as other:
            g = gr.function([], v * 3, session=other)
            other.run(v.assign(5.0))
            assert (g(), f()) == (15, 2)
    with gr.Graph().as_default(), pytest.raises(GraphError, match="session of another graph"):
        gr.function([], gr.constant(1.0), session=sess)


def test_results_may_stay_on_the_device(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (3,))
        step = gr.function([x], x * 2, to_device=True)
        a = sess.device_array([1.0, 2.0, 3.0])
        for _ in range(3):
            a = step(a)
        assert isinstance(a, DeviceArray) and a.device == device
        np.testing.assert_array_equal(a.numpy(), [8, 16, 24])


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda x, v: gr.function([x], v), GraphError, "nothing depends on input 'x:0'"),
        (lambda x, v: gr.function([x], x, updates={x: x}), GraphError, "expected a gr.Variable"),
        (lambda x, v: gr.function([x], x, updates={v: [1.0, 2.0]}), ShapeError, "the new value of 'v'"),
        (lambda x, v: gr.function([x], x, updates=[(v, 1.0), (v, 2.0)]), GraphError, "updated twice"),
        (lambda x, v: gr.function([x], x, updates=[v]), GraphError, "expected a dict, or pairs"),
        (lambda x, v: gr.function([1.0], x), GraphError, "an input of gr.function is 1.0"),
        (lambda x, v: gr.function([], x, givens={x: gr.constant(1)}), DTypeError, "is given for 'x:0'"),
        (lambda x, v: gr.function([], x, givens={x: [1.0]}), ShapeError, "is given for 'x:0'"),
        (lambda x, v: gr.function([], x, on_unused_input="warn"), GraphError, "'raise' or 'ignore'"),
        (lambda x, v: gr.function([], x * 2, givens={x: x * 2})(), FeedError, "is computed from it"),
    ],
)  # fmt: skip
def test_what_is_refused(make, kind, text):
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (), name="x")
        v = gr.Variable(1.0, name="v")
        with pytest.raises(kind, match=text):
            make(x, v)


def test_calls_that_are_refused():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (), name="x")
        y = gr.placeholder(gr.float32, (), name="y")
        f = gr.function([x, y], x - y, name="difference")
    assert f(3.0, y=1.0) == f(y=1.0, x=3.0) == 2
    with pytest.raises(FeedError, match=r"difference is called with 1 values\n.*expected 2: x, y"):
        f(1.0)
    with pytest.raises(FeedError, match="difference: 'z' is no input"):
        f(1.0, z=2.0)
    with pytest.raises(FeedError, match="'x' is given twice"):
        f(1.0, x=2.0)
    with pytest.raises(FeedError, match="no value for y"):
        f(x=1.0)
    with pytest.raises(FeedError, match="'y:0' cannot be fed"):
        f(1.0, "a")
    assert f(3, 1) == 2


def test_an_unused_input_may_be_ignored():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, ())
        f = gr.function([x], gr.constant(4.0), on_unused_input="ignore")
    assert f(1.0) == 4


def test_the_shared_session_dies_with_its_graph():
    import weakref

    graph = gr.Graph()
    with graph.as_default():
        f = gr.function([], gr.constant(1.0) + 1)
    f()
    seen = weakref.ref(graph)
    del f, graph
    gc.collect()
    assert seen() is None


def test_a_list_that_was_forgotten_is_told() -> None:
    x, v = gr.placeholder(gr.float32, ()), gr.Variable(0.0)
    for inputs in (x, v, None):
        with pytest.raises(GraphError, match=r"(?s)inputs of gr\.function are .*a list of tensors, as \[x\]"):
            gr.function(inputs, x + v)
    with pytest.raises(GraphError, match=r"(?s)updates of gr\.function are .*expected a dict"):
        gr.function([x], x, updates=v.assign_add(x))
    add = gr.function(iter([x]), v + x, updates=zip([v], [v + x], strict=True))
    assert [float(add(2.0)), float(add(3.0))] == [2.0, 5.0]
