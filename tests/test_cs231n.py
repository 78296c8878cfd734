"""The two-layer network by which the course CS231n introduces static graphs, in its three stages.

The weights are fed by a loop in NumPy; then they are variables with assigns; then an optimizer has them.
Each stage must do, step by step, what the same network does in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphrun as tf

N, D, H = 64, 1000, 100
STEPS = 30
LEARNING_RATE = 1e-5


class Setting(NamedTuple):
    x: Any
    y: Any
    w1: Any
    w2: Any
    losses: list[float]
    trained_w1: Any
    trained_w2: Any


@pytest.fixture(scope="module")
def numpy_run() -> Setting:
    """The data, the first weights, and what NumPy makes of them in float64."""
    rng = np.random.default_rng(231)
    x, y = rng.normal(size=(N, D)), rng.normal(size=(N, D))
    first_w1, first_w2 = rng.normal(size=(D, H)), rng.normal(size=(H, D))
    w1, w2, losses = first_w1.copy(), first_w2.copy(), []
    for _ in range(STEPS):
        h = np.maximum(x @ w1, 0)
        difference = h @ w2 - y
        losses.append(float((difference**2).sum(1).mean()))
        grad_y = 2 * difference / N
        grad_h = grad_y @ w2.T * (h > 0)
        w1 = w1 - LEARNING_RATE * (x.T @ grad_h)
        w2 = w2 - LEARNING_RATE * (h.T @ grad_y)
    return Setting(x, y, first_w1, first_w2, losses, w1, w2)


@pytest.fixture
def sess(device: str) -> Iterator[tf.Session]:
    with tf.Session(device=device) as session:
        yield session


def check(losses: list[Any], w1: Any, w2: Any, expected: Setting) -> None:
    np.testing.assert_allclose(losses, expected.losses, rtol=1e-4)
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_allclose(w1, expected.trained_w1, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(w2, expected.trained_w2, rtol=1e-4, atol=1e-4)


def network(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    h = tf.maximum(tf.matmul(x, w1), 0)
    y_pred = tf.matmul(h, w2)
    diff = y_pred - y
    return tf.reduce_mean(tf.reduce_sum(diff**2, axis=1))


def test_weights_are_fed(sess: tf.Session, numpy_run: Setting) -> None:
    x = tf.placeholder(tf.float32, shape=(N, D))
    y = tf.placeholder(tf.float32, shape=(N, D))
    w1 = tf.placeholder(tf.float32, shape=(D, H))
    w2 = tf.placeholder(tf.float32, shape=(H, D))
    loss = network(x, y, w1, w2)
    grad_w1, grad_w2 = tf.gradients(loss, [w1, w2])

    values = {x: numpy_run.x, w1: numpy_run.w1.copy(), w2: numpy_run.w2.copy(), y: numpy_run.y}
    losses = []
    for _ in range(STEPS):
        loss_val, grad_w1_val, grad_w2_val = sess.run([loss, grad_w1, grad_w2], feed_dict=values)
        losses.append(loss_val)
        values[w1] -= LEARNING_RATE * grad_w1_val  # in place: the run must not have kept the array
        values[w2] -= LEARNING_RATE * grad_w2_val
    check(losses, values[w1], values[w2], numpy_run)


def test_weights_are_variables(sess: tf.Session, numpy_run: Setting) -> None:
    x = tf.placeholder(tf.float32, shape=(N, D))
    y = tf.placeholder(tf.float32, shape=(N, D))
    w1 = tf.Variable(tf.constant(numpy_run.w1, tf.float32))
    w2 = tf.Variable(tf.constant(numpy_run.w2, tf.float32))
    loss = network(x, y, w1, w2)
    grad_w1, grad_w2 = tf.gradients(loss, [w1, w2])
    new_w1 = w1.assign(w1 - LEARNING_RATE * grad_w1)
    new_w2 = w2.assign(w2 - LEARNING_RATE * grad_w2)
    updates = tf.group(new_w1, new_w2)

    sess.run(tf.global_variables_initializer())
    values = {x: numpy_run.x, y: numpy_run.y}
    losses = []
    for _ in range(STEPS):
        assert sess.run(loss, values) == sess.run(loss, values)  # the loss alone trains nothing
        loss_val, nothing = sess.run([loss, updates], feed_dict=values)
        assert nothing is None
        losses.append(loss_val)
    check(losses, *sess.run([w1, w2]), numpy_run)


def test_an_optimizer_has_the_weights(sess: tf.Session, numpy_run: Setting) -> None:
    x = tf.placeholder(tf.float32, shape=(None, D))
    y = tf.placeholder(tf.float32, shape=(None, D))
    w1 = tf.Variable(numpy_run.w1, dtype=tf.float32, name="w1")
    w2 = tf.Variable(numpy_run.w2, dtype=tf.float32, name="w2")
    loss = network(x, y, w1, w2)
    optimizer = tf.train.GradientDescentOptimizer(LEARNING_RATE)
    updates = optimizer.minimize(loss)

    sess.run(tf.global_variables_initializer())
    losses = [sess.run([loss, updates], {x: numpy_run.x, y: numpy_run.y})[0] for _ in range(STEPS)]
    check(losses, *sess.run([w1, w2]), numpy_run)


def test_random_first_weights(sess: tf.Session, numpy_run: Setting) -> None:
    """As in the course: drawn by the graph, different ones for each weight, the same ones with a seed."""
    tf.set_random_seed(0)
    w1 = tf.Variable(tf.random_normal((D, H)))
    w2 = tf.Variable(tf.random_normal((H, D)))
    loss = network(numpy_run.x.astype(np.float32), numpy_run.y.astype(np.float32), w1, w2)
    updates = tf.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss)
    init = tf.global_variables_initializer()
    sess.run(init)
    first = sess.run(w1)
    assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02
    assert not np.array_equal(first.ravel(), sess.run(w2).ravel())
    losses = [sess.run([loss, updates])[0] for _ in range(STEPS)]
    assert losses[-1] < 0.7 * losses[0]
    with tf.Session() as again:
        again.run(init)
        np.testing.assert_array_equal(again.run(w1), first)
