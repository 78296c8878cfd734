"""A network whose activations are signs: custom_gradient lets the gradient pass straight through them."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphrun as tf

POINTS, HIDDEN, STEPS = 400, 128, 200


def disc(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points in a square; those near its centre are of class 1."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (POINTS, 2)).astype(np.float32)
    return points, (np.hypot(*points.T) < 0.75).astype(np.float32)


@tf.custom_gradient
def binarize(x: Any) -> Any:
    """The sign; its gradient is that of clipping to [-1, 1]."""

    def grad(dy: Any) -> Any:
        return dy * tf.cast(tf.abs(x) <= 1.0, tf.float32)

    return tf.sign(x), grad


def train(device: str) -> tuple[list[float], float]:
    points, labels = disc()
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        x = tf.placeholder(tf.float32, [None, 2])
        y = tf.placeholder(tf.float32, [None])
        weights = tf.Variable(tf.random_normal([2, HIDDEN], stddev=1.5))
        biases = tf.Variable(tf.random_uniform([HIDDEN], -1.0, 1.0))
        hidden = binarize(tf.matmul(x, weights) + biases)
        logits = tf.squeeze(tf.layers.dense(hidden, 1), 1)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
        step = tf.train.AdamOptimizer(0.02).minimize(loss)
        hits = tf.equal(tf.cast(logits > 0.0, tf.float32), y)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        with tf.Session(device=device) as session:
            session.run(tf.global_variables_initializer())
            feed = {x: points, y: labels}
            losses = [float(session.run([loss, step], feed)[0]) for _ in range(STEPS)]
            return losses, float(session.run(accuracy, feed))


def test_signs_are_trained_through(device: str) -> None:
    losses, accuracy = train(device)
    assert accuracy > 0.93 and losses[-1] < 0.2 * losses[0]
    # A sign turns at once: after a while the last bits of two devices lead to other steps.
    np.testing.assert_allclose(losses[:20], train("cpu:0")[0][:20], rtol=1e-3)
