"""Branches, loops and what is built on them: values, gradients, state, shapes and messages."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as tf
from graphrun.errors import GraphrunError


@pytest.fixture(autouse=True)
def graph() -> Any:
    with tf.Graph().as_default() as g:
        yield g


def run(device: str, fetches: Any, feed: Any = None, times: int = 1) -> Any:
    with tf.Session(device=device, verify=True) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(times):
            result = session.run(fetches, feed)
        return result


def plan(device: str, fetches: Any, feed: Any = None) -> str:
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        session.run(fetches, feed)
        return str(session.plan(fetches, feed))


# -- cond -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_cond_takes_one_branch(device: str, training: bool) -> None:
    pred = tf.placeholder(tf.bool, ())
    x = tf.constant([1.0, -2.0])
    y = tf.cond(pred, lambda: x * 3, lambda: tf.nn.relu(x))
    g = tf.gradients(y, x)[0]
    y_, g_ = run(device, [y, g], {pred: training})
    np.testing.assert_array_equal(y_, [3, -6] if training else [1, 0])
    np.testing.assert_array_equal(g_, [3, 3] if training else [1, 0])


def test_the_branch_not_taken_costs_nothing() -> None:
    pred = tf.placeholder(tf.bool, ())
    x = tf.placeholder(tf.float32, (4, 4))
    y = tf.cond(pred, lambda: tf.matmul(x, x), lambda: x)
    with tf.Session() as session:
        feed = {x: np.eye(4), pred: True}
        session.run(y, feed)
        entry = next(iter(session._plans.values()))
        session.run(y, {**feed, pred: False})
        texts = [str(f.bound.plan) for f in entry.stage.followers.values()]
    assert len(texts) == 2
    assert "matmul" in texts[0] and "matmul" not in texts[1]


def test_cond_of_a_computed_predicate(device: str) -> None:
    x = tf.placeholder(tf.float32, (None,))
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.reduce_max(x), lambda: tf.reduce_min(x))
    with tf.Session(device=device) as session:
        assert session.run(y, {x: [1, 2, 3]}) == 3
        assert session.run(y, {x: [-1, -2, 1]}) == -2


def test_cond_assigns_in_the_branch_taken_only(device: str) -> None:
    pred = tf.placeholder(tf.bool, ())
    v = tf.Variable(1.0)
    w = tf.Variable(10.0)
    step = tf.cond(pred, lambda: v.assign_add(1.0), lambda: w.assign_sub(1.0))
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        assert session.run(step, {pred: True}) == 2
        assert session.run(step, {pred: False}) == 9
        assert session.run([v, w]) == [2, 9]


def test_cond_of_operations_and_structures(device: str) -> None:
    Pair = namedtuple("Pair", "a b")
    pred = tf.placeholder(tf.bool, ())
    v = tf.Variable(0)
    done = tf.cond(pred, lambda: tf.group(v.assign_add(5)), lambda: tf.no_op())
    x = tf.constant(2.0)
    pair = tf.cond(pred, lambda: Pair(x, {"k": [x + 1]}), lambda: Pair(-x, {"k": [x - 1]}))
    assert isinstance(pair, Pair)
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        assert session.run(done, {pred: False}) and session.run(v) == 0
        assert session.run(done, {pred: True}) and session.run(v) == 5
        assert session.run(pair, {pred: False}) == Pair(-2, {"k": [1]})


def test_cond_nested_with_second_order(device: str) -> None:
    a, b = tf.placeholder(tf.bool, ()), tf.placeholder(tf.bool, ())
    x = tf.Variable(2.0)
    y = tf.cond(a, lambda: tf.cond(b, lambda: x**3, lambda: x**2) * x, lambda: tf.exp(x))
    (g,) = tf.gradients(y, x)
    (gg,) = tf.gradients(g, x)
    for feed, expected in (
        ((True, True), (16, 32, 48)),
        ((True, False), (8, 12, 12)),
        ((False, True), (np.exp(2),) * 3),
    ):
        np.testing.assert_allclose(run(device, [y, g, gg], dict(zip((a, b), feed))), expected, rtol=1e-5)


def test_cond_keeps_what_is_known_of_shapes() -> None:
    pred = tf.placeholder(tf.bool, ())
    x, y = tf.placeholder(tf.float32, (2, None)), tf.placeholder(tf.float32, (2, 3))
    assert tf.cond(pred, lambda: x, lambda: y).shape.as_list() == [2, None]
    assert tf.cond(pred, lambda: [y], lambda: [y * 2]).shape.as_list() == [2, 3]
    assert len(tf.cond(pred, lambda: [y], lambda: [y * 2], strict=True)) == 1


def test_dropout_in_a_branch_draws_anew(device: str) -> None:
    pred = tf.placeholder(tf.bool, ())
    x = tf.ones([200])
    y = tf.cond(pred, lambda: tf.nn.dropout(x, keep_prob=0.5), lambda: x)
    with tf.Session(device=device) as session:
        first, second = session.run(y, {pred: True}), session.run(y, {pred: True})
        assert 40 < (first == 0).sum() < 160 and (first != second).any()
        assert (session.run(y, {pred: False}) == 1).all()


@pytest.mark.parametrize("value, expected", [(-3, -1), (0, 0), (7, 1)])
def test_case(device: str, value: int, expected: int) -> None:
    x = tf.placeholder(tf.int32, ())
    one = tf.constant(1)
    y = tf.case([(x < 0, lambda: -one), (x > 0, lambda: one)], default=lambda: one - one, exclusive=True)
    assert run(device, y, {x: value}) == expected


def test_case_tells_what_excludes_what(device: str) -> None:
    p, q, x = tf.placeholder(tf.bool, (), name="p"), tf.placeholder(tf.bool, (), name="q"), tf.constant(2.0)
    pairs = [(p, lambda: x), (q, lambda: x * 2.0)]
    with tf.Session(device=device) as session:
        both = tf.case(pairs, default=lambda: -x, exclusive=True)
        slope = tf.gradients(both, x)[0]
        assert session.run([both, slope], {p: False, q: True}) == [4.0, 2.0]
        assert session.run([both, slope], {p: False, q: False}) == [-2.0, -1.0]
        first = tf.case(pairs, default=lambda: -x)
        assert session.run(first, {p: True, q: True}) == 2.0
        for pairs_only in (both, tf.case(pairs, exclusive=True)):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                session.run(pairs_only, {p: True, q: True})
            assert "exclusive=True: more than 1 conditions (p:0, q:0) evaluated as True:" in str(caught.value)
            assert "test_control_flow.py" in str(caught.value)
        for k in (1, 2):
            some = tf.case(pairs[:k])  # no default, and what is returned was made outside of the branch
            assert session.run(some, {p: True, q: False}) == 2.0
            with pytest.raises(tf.errors.InvalidArgumentError, match="None of conditions evaluated as True"):
                session.run(some, {p: False, q: False})
    with pytest.raises(TypeError, match="case: pred is a Python bool"):
        tf.case([(True, lambda: x)], default=lambda: x)


# -- while_loop -----------------------------------------------------------------------------------------


def power(n: Any, x: Any) -> Any:
    return tf.while_loop(lambda i, f: i < n, lambda i, f: (i + 1, f * x), (tf.constant(0), tf.constant(1.0)))[
        1
    ]


@pytest.mark.parametrize("known", [True, False], ids=["unrolled", "repeated"])
def test_loop_with_gradients_of_any_order(device: str, known: bool) -> None:
    n = tf.constant(5) if known else tf.placeholder(tf.int32, ())
    x = tf.Variable(1.5)
    y = power(n, x)
    ys = [y]
    for _ in range(3):
        ys.append(tf.gradients(ys[-1], x)[0])
    found = run(device, ys, None if known else {n: 5})
    np.testing.assert_allclose(found, [1.5**5, 5 * 1.5**4, 20 * 1.5**3, 60 * 1.5**2], rtol=1e-5)


def test_known_loops_are_unrolled_and_others_repeated() -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, ())
    assert "loop" not in plan("cpu:0", power(tf.constant(3), x), {x: 2})
    assert "while" in plan("cpu:0", power(n, x), {x: 2, n: 3})
    assert "while" in plan("cpu:0", power(tf.constant(100_000), x), {x: 1})


def test_no_iteration(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.Variable(3.0)
    y = power(n, x) + 0 * x
    assert run(device, [y, *tf.gradients(y, x)], {n: 0}) == [1, 0]


def test_maximum_iterations(device: str) -> None:
    x = tf.constant(1.0)
    loop = tf.while_loop(lambda v: v < 1e9, lambda v: v * 2, [x], maximum_iterations=4)
    n = tf.placeholder(tf.int32, ())
    other = tf.while_loop(lambda v: v < 1e9, lambda v: v * 2, [x], maximum_iterations=n)
    assert run(device, [loop, other], {n: 7}) == [16, 128]


def test_loop_writes_variables(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    v = tf.Variable([1.0, 2.0])

    def body(i: Any) -> Any:
        with tf.control_dependencies([v.assign(v * 2)]):
            return i + 1

    last = tf.while_loop(lambda i: i < n, body, [tf.constant(0)])
    with tf.control_dependencies([last]):
        after = v.read_value()
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(after, {n: 3}), [8, 16])
        np.testing.assert_array_equal(session.run(v), [8, 16])


@pytest.mark.parametrize("known", [True, False])
def test_variables_are_where_loops_start_and_what_branches_are_chosen_by(device: str, known: bool) -> None:
    v, flag = tf.Variable([1.0, 2.0]), tf.Variable(True)
    count = tf.constant(3) if known else tf.placeholder(tf.int32, ())
    # The body captures the variable too.
    _, out = tf.while_loop(lambda i, s: i < count, lambda i, s: (i + 1, s * v), [0, v])
    chosen = tf.cond(flag, lambda: out, lambda: -out)
    update, gradient = tf.assign(v, chosen), tf.gradients(out, v)[0]
    feed = {} if known else {count: 3}
    with tf.Session(device=device, verify=True) as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run([chosen, gradient, update], feed)[0].tolist() == [1, 16]
        assert sess.run(gradient, feed).tolist() == [4, 4 * 16.0**3]
        assert sess.run([chosen, flag.assign(False)], feed)[0].tolist() == [1, 16.0**4]
        assert sess.run(chosen, feed).tolist() == [-1, -(16.0**4)]
        assert sess.run(out, {**feed, v: [2.0, 1.0]}).tolist() == [16, 1]


def test_random_numbers_in_a_loop_differ(device: str) -> None:
    tf.set_random_seed(1)
    n = tf.placeholder(tf.int32, ())
    ta = tf.TensorArray(tf.float32, n)
    draws = tf.while_loop(
        lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, tf.random_uniform([]))), (tf.constant(0), ta)
    )[1].stack()
    with tf.Session(device=device) as session:
        first, second = session.run(draws, {n: 5}), session.run(draws, {n: 5})
    assert len(set(first) | set(second)) == 10


def test_nested_loops_with_gradients(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.Variable(1.1)

    def outer(i: Any, total: Any) -> Any:
        inner = tf.while_loop(
            lambda j, f: j < 3, lambda j, f: (j + 1, f * x), (tf.constant(0), tf.constant(1.0))
        )[1]
        return i + 1, total + inner * total

    total = tf.while_loop(lambda i, t: i < n, outer, (tf.constant(0), x * 1.0))[1]
    y, g = run(device, [total, *tf.gradients(total, x)], {n: 3})
    f = lambda v: v * (1 + v**3) ** 3  # noqa: E731
    np.testing.assert_allclose(y, f(1.1), rtol=1e-5)
    np.testing.assert_allclose(g, (f(1.1 + 1e-5) - f(1.1 - 1e-5)) / 2e-5, rtol=1e-3)


def test_cond_in_a_loop(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.Variable(2.0)

    def body(i: Any, s: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: s + x, lambda: s * x)

    s = tf.while_loop(lambda i, s: i < n, body, (tf.constant(0), tf.constant(1.0)))[1]
    y, g = run(device, [s, *tf.gradients(s, x)], {n: 4})
    # ((1 + x) x + x) x = x^3 + 2 x^2
    np.testing.assert_allclose([y, g], [16, 20], rtol=1e-6)


def test_shapes_that_change_need_an_invariant(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.constant([[1.0, 2.0]])
    loop = tf.while_loop(
        lambda i, a: i < n, lambda i, a: (i + 1, tf.concat([a, x], 0)), (tf.constant(0), x),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 2])),
    )[1]  # fmt: skip
    assert loop.shape.as_list() == [None, 2]
    assert run(device, loop * 2, {n: 3}).shape == (4, 2)


def test_structures_of_loop_variables(device: str) -> None:
    State = namedtuple("State", "i pair")
    start = State(tf.constant(0), {"b": tf.constant(1.0), "a": [tf.constant(2.0)]})
    end = tf.while_loop(
        lambda i, pair: i < 3, lambda i, pair: State(i + 1, {"b": pair["a"][0], "a": [pair["b"] + 1]}), start
    )
    assert isinstance(end, State)
    assert run(device, end) == State(3, {"b": 3, "a": [3]})


def test_loop_gives_one_variable_back_as_it_is() -> None:
    assert isinstance(tf.while_loop(lambda x: x < 3, lambda x: x + 1, [tf.constant(0)]), tf.Tensor)
    kept = tf.while_loop(lambda x: x < 3, lambda x: x + 1, [tf.constant(0)], return_same_structure=True)
    assert isinstance(kept, list)


def test_get_variable_in_a_loop_belongs_to_no_loop(device: str) -> None:
    def body(i: Any, h: Any) -> Any:
        with tf.variable_scope("cell", reuse=tf.AUTO_REUSE):
            w = tf.get_variable("w", [2, 2], initializer=tf.constant_initializer(0.5))
        return i + 1, tf.matmul(h, w)

    h = tf.while_loop(lambda i, h: i < 2, body, (tf.constant(0), tf.ones([1, 2])))[1]
    assert [v.name for v in tf.global_variables()] == ["cell/w:0"]
    np.testing.assert_allclose(run(device, h), [[1, 1]])


def test_back_prop_can_be_switched_off() -> None:
    x = tf.constant(2.0)
    y = tf.while_loop(lambda v: v < 100, lambda v: v * x, [x], back_prop=False)
    assert tf.gradients(y, x) == [None]


def test_training_through_a_loop(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    w = tf.Variable(0.5)
    y = tf.while_loop(lambda i, h: i < n, lambda i, h: (i + 1, tf.tanh(h * w)), (0, tf.constant(1.0)))[1]
    loss = tf.square(y - 0.8)
    train = tf.train.GradientDescentOptimizer(0.2).minimize(loss)
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, train], {n: 3 + k % 2})[0] for k in range(60)]
    assert losses[-1] < 0.01 * losses[0]


# -- TensorArray ----------------------------------------------------------------------------------------


def recurrent(n: Any, x: Any, w: Any) -> Any:
    ta, out = tf.TensorArray(tf.float32, n).unstack(x), tf.TensorArray(tf.float32, n)

    def body(i: Any, h: Any, out: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w) + tf.expand_dims(ta.read(i), 0))
        return i + 1, h, out.write(i, h)

    return tf.while_loop(lambda i, *_: i < n, body, (0, tf.zeros([1, 3]), out))[2].stack()


def written_out(count: int, x: Any, w: Any) -> Any:
    h, hs = tf.zeros([1, 3]), []
    for i in range(count):
        h = tf.tanh(tf.matmul(h, w) + x[i][None])
        hs.append(h)
    return tf.stack(hs)


@pytest.mark.parametrize("count", [1, 4, 40])
@pytest.mark.parametrize("known", [True, False], ids=["unrolled", "repeated"])
def test_recurrence_equals_python_loop(device: str, known: bool, count: int) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(count, 3)).astype(np.float32)
    x = tf.constant(data)
    w = tf.Variable(rng.normal(0, 0.5, (3, 3)).astype(np.float32))
    n = tf.constant(count) if known else tf.placeholder(tf.int32, ())
    results = []
    for s in (recurrent(n, x, w), written_out(count, x, w)):
        loss = tf.reduce_sum(s * s * s)
        results.append([s, *tf.gradients(loss, [w, x]), *tf.gradients(tf.gradients(loss, w)[0], x)])
    a, b = run(device, results, None if known else {n: count})
    for found, expected in zip(a, b, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_tensor_array_methods(device: str) -> None:
    x = tf.constant(np.arange(12, dtype=np.float32).reshape(4, 3))
    ta = tf.TensorArray(tf.float32, 4)
    assert str(ta.unstack(x).element_shape) == "(3,)"
    full = ta.unstack(x)
    split = tf.TensorArray(tf.float32, 2).split(x, [2, 2])
    grown = tf.TensorArray(tf.float32, 0, dynamic_size=True).write(0, [1.0]).write(2, [3.0])
    scattered = tf.TensorArray(tf.float32, 2).scatter([1, 0], x[:2])
    found = run(device, [
        full.read(2), full.gather([3, 0]), full.concat(), split.stack(), grown.stack(), scattered.stack(),
        full.size(), grown.size(), full.identity().stack(),
    ])  # fmt: skip
    a = np.arange(12).reshape(4, 3)
    expected = [a[2], a[[3, 0]], a.reshape(-1), a.reshape(2, 2, 3), [[1], [0], [3]], a[[1, 0]], 4, 3, a]
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


def test_growing_array_in_a_loop(device: str) -> None:
    n = tf.placeholder(tf.int32, ())
    ta = tf.TensorArray(tf.int32, size=0, dynamic_size=True)
    squares = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, i * i)), (0, ta))[1].stack()
    np.testing.assert_array_equal(run(device, squares, {n: 5}), [0, 1, 4, 9, 16])


def test_writing_behind_the_end_is_told() -> None:
    i = tf.placeholder(tf.int32, ())
    array = tf.TensorArray(tf.float32, 2).write(i, 1.0).stack()
    with pytest.raises(GraphrunError, match=r"row 5 of an array of 2(?s:.*)dynamic_size=True"):
        run("cpu:0", array, {i: 5})


def test_entries_of_one_shape_and_dtype() -> None:
    ta = tf.TensorArray(tf.float32, 3).write(0, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"(?s)entry of shape \(3,\).*test_control_flow.py.*\(2,\)"):
        ta.write(1, [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match=r"has dtype int32(?s:.*)dtype float32"):
        ta.write(1, tf.constant([1, 2]))


# -- map_fn, scan, foldl, foldr -------------------------------------------------------------------------

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 4


@pytest.mark.parametrize("known", [True, False], ids=["static", "fed"])
def test_functions_over_rows(device: str, known: bool) -> None:
    x = tf.constant(ROWS) if known else tf.placeholder(tf.float32, (None, 3))
    y = [
        tf.map_fn(lambda r: r * tf.reduce_sum(r), x),
        tf.map_fn(lambda r: tf.cast(tf.argmax(r), tf.int32), x, dtype=tf.int32),
        tf.map_fn(lambda r: (r[0], [r[1:]]), x, dtype=(tf.float32, [tf.float32])),
        tf.map_fn(lambda p: p[0] * p[1], (x, x + 1), dtype=tf.float32),
        tf.scan(lambda s, r: 0.5 * s + r, x, tf.ones([3])),
        tf.scan(lambda s, r: s + r, x, reverse=True),
        tf.scan(lambda s, r: (s[0] + r, s[1] + 1), x, (tf.zeros([3]), tf.constant(0))),
        tf.foldl(lambda s, r: s + r * r, x),
        tf.foldr(lambda s, r: 0.5 * s + r, x, initializer=tf.zeros([3])),
    ]
    total = tf.reduce_sum(y[0]) + tf.reduce_sum(y[4] ** 2) + tf.reduce_sum(y[7]) + tf.reduce_sum(y[8])
    found, g = run(device, [y, *tf.gradients(total, x)], None if known else {x: ROWS})
    a = ROWS
    scanned = [np.ones(3)]
    for r in a:
        scanned.append(0.5 * scanned[-1] + r)
    backward = np.zeros(3)
    for r in a[::-1]:
        backward = 0.5 * backward + r
    np.testing.assert_allclose(found[0], a * a.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(found[1], a.argmax(1))
    np.testing.assert_array_equal(found[2][1][0], a[:, 1:])
    np.testing.assert_allclose(found[3], a * (a + 1), rtol=1e-6)
    np.testing.assert_allclose(found[4], scanned[1:], rtol=1e-6)
    np.testing.assert_allclose(found[5], a[::-1].cumsum(0)[::-1], rtol=1e-6)
    np.testing.assert_allclose(found[6][0], a.cumsum(0), rtol=1e-6)
    np.testing.assert_array_equal(found[6][1], [1, 2, 3, 4])
    np.testing.assert_allclose(found[7], a[0] + (a[1:] ** 2).sum(0), rtol=1e-6)
    np.testing.assert_allclose(found[8], backward, rtol=1e-6)
    eps = 1e-3

    def numpy_total(a: Any) -> float:
        s, t = np.ones(3), 0.0
        for r in a:
            s = 0.5 * s + r
            t += (s**2).sum()
        b = np.zeros(3)
        for r in a[::-1]:
            b = 0.5 * b + r
        return float((a * a.sum(1, keepdims=True)).sum() + t + (a[0] + (a[1:] ** 2).sum(0)).sum() + b.sum())

    wide = a.astype(np.float64)
    expected = np.zeros_like(wide)
    for at in np.ndindex(*wide.shape):
        up, down = wide.copy(), wide.copy()
        up[at] += eps
        down[at] -= eps
        expected[at] = (numpy_total(up) - numpy_total(down)) / (2 * eps)
    np.testing.assert_allclose(g, expected, rtol=1e-4)


def test_long_map_is_repeated(device: str) -> None:
    x = tf.placeholder(tf.float32, (None,))
    y = tf.map_fn(lambda v: v * v + 1, x)
    data = np.linspace(0, 1, 700, dtype=np.float32)
    np.testing.assert_allclose(run(device, y, {x: data}), data**2 + 1, rtol=1e-6)


# -- against Python -------------------------------------------------------------------------------------

STEPS: list[Callable[..., Any]] = [
    lambda m, a, b: (a + b, b),
    lambda m, a, b: (b, a * 0.5),
    lambda m, a, b: (a, m.sin(b) + 0.25 * a),
    lambda m, a, b: (m.tanh(a), b - a * b),
]


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=4),
    count=st.integers(0, 6),
    start=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_unrolled_repeated_and_python_agree(steps: list[int], count: int, start: tuple[float, float]) -> None:
    with tf.Graph().as_default():
        n = tf.placeholder(tf.int32, ())
        x, y = (tf.constant(v, tf.float64) for v in start)

        def body(i: Any, a: Any, b: Any) -> Any:
            for k in steps:
                a, b = STEPS[k](tf, a, b)
            return i + 1, a, b

        outs = []
        for limit in (n, tf.constant(count)):
            _, a, b = tf.while_loop(lambda i, a, b, m=limit: i < m, body, (tf.constant(0), x, y))
            outs.append([a, b, *tf.gradients(a * b, [x, y], unconnected_gradients="zero")])
        a, b = x, y
        for _ in range(count):
            for k in steps:
                a, b = STEPS[k](tf, a, b)
        outs.append([a, b, *tf.gradients(a * b, [x, y], unconnected_gradients="zero")])
        with tf.Session(verify=True) as session:
            found = session.run(outs, {n: count})
    np.testing.assert_allclose(found[0], found[2], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-12, atol=1e-14)


# -- messages -------------------------------------------------------------------------------------------


def test_branches_that_differ() -> None:
    p, x = tf.placeholder(tf.bool, ()), tf.constant(1.0)
    with pytest.raises(
        TypeError, match=r"(?s)different dtypes.*float32.*int32.*test_control_flow.py.*gr.cast"
    ):
        tf.cond(p, lambda: x, lambda: tf.constant(1))
    with pytest.raises(GraphrunError, match=r"(?s)different structures.*true_fn: \*.*false_fn: \[\*, \*\]"):
        tf.cond(p, lambda: x, lambda: [x, x])
    with pytest.raises(GraphrunError, match="the true branch returns None"):
        tf.cond(p, lambda: None, lambda: x)
    with pytest.raises(TypeError, match="pred is a Python bool"):
        tf.cond(True, lambda: x, lambda: x)
    with pytest.raises(TypeError, match=r"(?s)pred is no scalar bool.*float32"):
        tf.cond(x, lambda: x, lambda: x)
    with pytest.raises(TypeError, match="true_fn is <gr.Tensor"):
        tf.cond(p, x, x)


def test_loops_that_change_what_must_stay() -> None:
    i, x = tf.constant(0), tf.ones([2])
    test = lambda i, x: i < 3  # noqa: E731
    changes = r"(?s)variable 1 changes its shape.*\(2,\).*\(4,\).*test_control_flow.py.*shape_invariants"
    with pytest.raises(ValueError, match=changes):
        tf.while_loop(test, lambda i, x: (i + 1, tf.concat([x, x], 0)), (i, x))
    with pytest.raises(TypeError, match=r"(?s)loop variable 0 changes its dtype.*int32.*float32.*gr.cast"):
        tf.while_loop(test, lambda i, x: (tf.cast(i, tf.float32), x), (i, x))
    with pytest.raises(
        GraphrunError, match=r"(?s)another structure.*loop_vars: \(\*, \*\).*body: \(\*, \*, \*\)"
    ):
        tf.while_loop(test, lambda i, x: (i, x, x), (i, x))
    with pytest.raises(TypeError, match="cond returns no scalar bool"):
        tf.while_loop(lambda i, x: x < 3, lambda i, x: (i, x), (i, x))


def test_what_is_inside_cannot_be_used_outside() -> None:
    kept = []

    def body(i: Any) -> Any:
        kept.append(i * 2)
        return i + 1

    tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    with pytest.raises(
        GraphrunError, match=r"(?s)made in the body of while_loop 'while' and used outside.*return it"
    ):
        kept[0] + 1
    with pytest.raises(GraphrunError, match="used outside of it"), tf.control_dependencies([kept[0]]):
        tf.no_op()
    with (
        tf.Session() as session,
        pytest.raises(GraphrunError, match=r"(?s)is inside of the body.*fetch what"),
    ):
        session.run(kept[0])
    assert not tf.get_default_graph().is_fetchable(kept[0])


def test_errors_of_an_iteration_name_the_line_in_the_body() -> None:
    n = tf.placeholder(tf.int32, ())
    x = tf.constant([1, 2, 3])
    y = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + tf.gather(x, i)), (0, tf.constant(0)))
    with pytest.raises(GraphrunError, match=r"(?s)gather.*out of range.*"):
        run("cpu:0", y, {n: 5})
    assert run("cpu:0", y, {n: 3}) == (3, 6)
