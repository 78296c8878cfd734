"""A recurrent linear filter, computed by scan, learns the coefficients of one whose answer was recorded."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

STEPS, TRUE_A, TRUE_B = 40, (1.2, -0.6), (0.5, 0.3)


def recorded(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and what the filter y[t] = a1 y[t-1] + a2 y[t-2] + b0 x[t] + b1 x[t-1] makes of it."""
    x = np.random.default_rng(0).normal(size=(count, STEPS)).astype(np.float32)
    y = np.zeros_like(x)
    for t in range(STEPS):
        y[:, t] = TRUE_B[0] * x[:, t]
        for k in (1, 2):
            y[:, t] += TRUE_A[k - 1] * y[:, t - k] if t >= k else 0.0
        y[:, t] += TRUE_B[1] * x[:, t - 1] if t else 0.0
    return x, y


@functools.cache
def trained(device: str) -> tuple[list[float], np.ndarray, np.ndarray]:
    signal, answer = recorded(24)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, None], name="signal")
        target = tf.placeholder(tf.float32, [None, None], name="answer")
        a = tf.get_variable("a", [2], initializer=tf.zeros_initializer())
        b = tf.get_variable("b", [2], initializer=tf.constant_initializer([1.0, 0.0]))

        def step(memory, now):
            y1, y2, x1 = memory
            return a[0] * y1 + a[1] * y2 + b[0] * now + b[1] * x1, y1, now

        by_time = tf.transpose(x)
        zero = tf.zeros_like(by_time[0])
        y, _, _ = tf.scan(step, by_time, initializer=(zero, zero, zero))
        loss = tf.reduce_mean(tf.squared_difference(tf.transpose(y), target))
        global_step = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(0.05, global_step, 200)
        train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=global_step)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(200):
                losses.append(float(sess.run([loss, train], {x: signal, target: answer})[0]))
            # One impulse, longer than any signal that it was trained on.
            impulse = np.eye(1, 60, dtype=np.float32)
            return losses, np.concatenate(sess.run([a, b])), sess.run(tf.transpose(y), {x: impulse})[0]


def test_the_coefficients_are_found(device: str) -> None:
    losses, found, response = trained(device)
    np.testing.assert_allclose(found, [*TRUE_A, *TRUE_B], atol=2e-3)
    assert losses[-1] < 1e-4 * losses[0]
    expected = [0.0, 0.0]
    for t in range(60):
        pulse = TRUE_B[t] if t < 2 else 0.0
        expected.append(TRUE_A[0] * expected[-1] + TRUE_A[1] * expected[-2] + pulse)
    np.testing.assert_allclose(response, expected[2:], atol=0.01)
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=1e-4)
