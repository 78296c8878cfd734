"""The adding problem for a plain recurrent net: its gradients explode, so their global norm is clipped."""

from __future__ import annotations

import functools

import numpy as np

import graphrun as tf

STEPS, UNITS, BATCH, CLIP, RATE = 8, 24, 50, 1.0, 0.2


def adding(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a number and a mark; the answer is the sum of the two numbers that are marked."""
    numbers = rng.uniform(0, 1, (count, STEPS))
    marks = np.zeros((count, STEPS))
    rows = np.arange(count)
    marks[rows, rng.integers(0, STEPS // 2, count)] = 1
    marks[rows, rng.integers(STEPS // 2, STEPS, count)] = 1
    x = np.stack([numbers, marks], 2).astype(np.float32)
    return x, (numbers * marks).sum(1, keepdims=True).astype(np.float32)


@functools.cache
def trained(device: str) -> tuple[list[float], list[float], list[float], float]:
    with tf.Graph().as_default():
        tf.set_random_seed(8)
        x = tf.placeholder(tf.float32, [None, STEPS, 2], name="x")
        y = tf.placeholder(tf.float32, [None, 1], name="y")
        with tf.variable_scope("rnn", initializer=tf.orthogonal_initializer(1.0)):
            cell = tf.nn.rnn_cell.BasicRNNCell(UNITS, activation=tf.nn.relu)
            outputs, _ = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)
        prediction = tf.layers.dense(outputs[-1], 1, kernel_initializer=tf.zeros_initializer())
        loss = tf.losses.mean_squared_error(y, prediction)

        global_step = tf.train.create_global_step()
        rate = tf.train.polynomial_decay(RATE, global_step, 800, 0.005)
        optimizer = tf.train.GradientDescentOptimizer(rate)
        gvs = optimizer.compute_gradients(loss)
        gradients, variables = zip(*gvs, strict=True)
        clipped, norm = tf.clip_by_global_norm(gradients, CLIP)
        train_op = optimizer.apply_gradients(zip(clipped, variables, strict=True), global_step=global_step)
        clipped_norm = tf.global_norm(clipped)

        rng = np.random.default_rng(0)
        losses, norms, norms_after = [], [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            before = sess.run(list(variables))
            for step in range(800):
                xs, ys = adding(BATCH, rng)
                feed = {x: xs, y: ys}
                value, n, after, _ = sess.run([loss, norm, clipped_norm, train_op], feed)
                losses.append(float(value))
                norms.append(float(n))
                norms_after.append(float(after))
                if step == 0:
                    moved = sess.run(list(variables))
                    length = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(moved, before, strict=True)))
                    np.testing.assert_allclose(length, RATE * min(CLIP, n), rtol=1e-4)
            xs, ys = adding(500, rng)
            return losses, norms, norms_after, float(sess.run(loss, {x: xs, y: ys}))


def test_the_sum_is_learnt(device: str) -> None:
    losses, norms, norms_after, error = trained(device)
    # To answer 1 each time costs 0.167.
    assert error < 0.03 and losses[0] > 0.5
    assert max(norms) > 3 * CLIP and max(norms_after) < CLIP * (1 + 1e-5)
    for norm, after in zip(norms, norms_after, strict=True):
        np.testing.assert_allclose(after, min(norm, CLIP), rtol=1e-4)
    # Where gradients explode, losses jump, and rounding decides when: later on the means are compared.
    expected = trained("cpu:0")[0]
    np.testing.assert_allclose(losses[:40], expected[:40], rtol=1e-3)
    means, expected_means = (np.reshape(curve, [8, 100]).mean(1) for curve in (losses, expected))
    np.testing.assert_allclose(means, expected_means, atol=0.05)
