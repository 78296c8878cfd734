"""Branches and loops that write several variables: each gets its own value."""

from collections.abc import Iterator
from typing import Any

import pytest

import graphrun as tf


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


@pytest.mark.parametrize("turned", [False, True])
def test_a_branch_writes_variables_that_it_also_reads(device: str, turned: bool) -> None:
    pred = tf.placeholder(tf.bool, ())
    source = tf.Variable([1.0, 2.0])
    a, b = tf.Variable([0.0, 0.0]), tf.Variable([5.0, 6.0])

    def write() -> Any:
        noise = 0.0 * tf.random_normal([2])
        writes = [a.assign(source + noise), b.assign(b + 10.0)]
        return tf.group(*(writes[::-1] if turned else writes))

    done = tf.cond(pred, write, tf.no_op)
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        for taken, values in (
            (False, [[0, 0], [5, 6]]),
            (True, [[1, 2], [15, 16]]),
            (True, [[1, 2], [25, 26]]),
        ):
            session.run(done, {pred: taken})
            assert [v.tolist() for v in session.run([a, b])] == values


def test_each_branch_writes_other_variables(device: str) -> None:
    pred = tf.placeholder(tf.bool, ())
    a, b, c = tf.Variable(1.0), tf.Variable([10.0]), tf.Variable([[100.0, 200.0]])
    done = tf.cond(
        pred,
        lambda: tf.group(a.assign(2.0), c.assign(c + 1.0)),
        lambda: tf.group(c.assign(c * 0.0), b.assign(b + a)),
    )
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        session.run(done, {pred: True})
        assert [v.tolist() for v in session.run([a, b, c])] == [2, [10], [[101, 201]]]
        session.run(done, {pred: False})
        assert [v.tolist() for v in session.run([a, b, c])] == [2, [12], [[0, 0]]]


@pytest.mark.parametrize("known", [True, False])
def test_a_loop_writes_variables_that_it_also_reads(device: str, known: bool) -> None:
    source = tf.Variable([1.0, 2.0])
    a, b = tf.Variable([0.0, 0.0]), tf.Variable([5.0, 6.0])
    end = tf.constant(3.0) if known else tf.placeholder(tf.float32, ())

    def body(i: Any) -> Any:
        with tf.control_dependencies([a.assign(source * 3.0), b.assign(b + 10.0)]):
            return i + 1.0

    last = tf.while_loop(lambda i: i < end, body, [tf.constant(0.0)])
    with tf.Session(device=device) as session:
        session.run(tf.global_variables_initializer())
        assert session.run(last, {} if known else {end: 3.0}) == 3
        assert [v.tolist() for v in session.run([a, b])] == [[3, 6], [35, 36]]
