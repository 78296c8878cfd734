"""Spectral normalization: a while_loop finds the largest singular value, a variable keeps its vector."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def spectral_norm(w, iteration=1):
    w_shape = w.shape.as_list()
    w = tf.reshape(w, [-1, w_shape[-1]])
    u = tf.get_variable("u", [1, w_shape[-1]], initializer=tf.random_normal_initializer(), trainable=False)

    def body(i, u_hat, _):
        v_hat = tf.nn.l2_normalize(tf.matmul(u_hat, tf.transpose(w)))
        return i + 1, tf.nn.l2_normalize(tf.matmul(v_hat, w)), v_hat

    start = (0, u, tf.zeros([1, w.get_shape().as_list()[0]]))
    _, u_hat, v_hat = tf.while_loop(lambda i, *_: i < iteration, body, start)
    u_hat = tf.stop_gradient(u_hat)
    v_hat = tf.stop_gradient(v_hat)
    sigma = tf.matmul(tf.matmul(v_hat, w), tf.transpose(u_hat))
    with tf.control_dependencies([u.assign(u_hat)]):
        w_norm = w / sigma
        w_norm = tf.reshape(w_norm, w_shape)
    return w_norm


@functools.cache
def trained(device: str) -> tuple[list[float], float, list[np.ndarray]]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        x = tf.placeholder(tf.float32, [None, 64])
        y = tf.placeholder(tf.float32, [None, 10])
        net, matrices = x, []
        for i, (rows, columns) in enumerate([(64, 48), (48, 48), (48, 10)]):
            with tf.variable_scope(f"dense_{i}"):
                w = tf.get_variable("w", [rows, columns])
                normed = spectral_norm(w, iteration=2)
                matrices.append(normed)
                b = tf.get_variable("b", [columns], initializer=tf.zeros_initializer())
                net = tf.matmul(net, normed) + b
                net = tf.nn.leaky_relu(net) if i < 2 else 10.0 * net
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=net, labels=y))
        train = tf.train.AdamOptimizer(0.01).minimize(loss)
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(net, 1), tf.argmax(y, 1))))
        assert len(tf.trainable_variables()) == 6

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys in batches((train_x, train_y), 50, 10):
                losses.append(float(sess.run([loss, train], {x: xs, y: ys})[0]))
            score = sess.run(accuracy, {x: test_x, y: test_y})
            for _ in range(20):  # with weights that stand still, it gets exact
                found = sess.run(matrices)
            return losses, float(score), found


def test_no_layer_stretches(device: str) -> None:
    losses, accuracy, matrices = trained(device)
    assert accuracy > 0.94 and np.mean(losses[-20:]) < 0.3 * losses[0]
    for matrix in matrices:
        np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False)[0], 1.0, atol=0.01)
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=1e-2)


@functools.cache
def stable(device: str) -> tuple[list[float], float, float]:
    """Links of a small web are changed until its pages have given ranks: gradients through the iteration."""
    with tf.Graph().as_default():
        links = tf.get_variable("links", [6, 6], initializer=tf.random_normal_initializer(seed=4))
        moves = 0.85 * tf.nn.softmax(links) + 0.15 / 6
        wanted = tf.placeholder(tf.float32, [6])

        def condition(rank, change):
            return change > 1e-6

        def body(rank, _):
            new = tf.squeeze(tf.matmul(tf.expand_dims(rank, 0), moves), 0)
            return new, tf.reduce_max(tf.abs(new - rank))

        rank, _ = tf.while_loop(
            condition, body, [tf.fill([6], 1.0 / 6), tf.constant(1.0)], maximum_iterations=100
        )
        loss = tf.reduce_sum(wanted * tf.log(wanted / rank))
        train = tf.train.GradientDescentOptimizer(3.0).minimize(loss)
        goal = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.1], np.float32)
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(200):
                losses.append(float(sess.run([loss, train], {wanted: goal})[0]))
            found, matrix = sess.run([rank, moves])
        values = np.linalg.eigvals(matrix.T.astype(np.float64))
        assert abs(np.sort(np.abs(values))[-1] - 1) < 1e-5
        return losses, float(np.abs(found - goal).max()), float(found.sum())


def test_ranks_are_reached(device: str) -> None:
    losses, error, total = stable(device)
    assert error < 0.01 and abs(total - 1) < 1e-4
    assert_same_curve(losses, stable("cpu:0")[0], first=30, early=1e-3, late=1e-3)
