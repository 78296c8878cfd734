"""Linear regression, the first program of all: one point at a time, and by a step of all of them."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

rng = np.random.RandomState(3)
train_X = rng.uniform(0.5, 10.0, 24).astype(np.float32)
train_Y = (0.25 * train_X + 0.8 + 0.1 * rng.normal(size=24)).astype(np.float32)
n_samples = train_X.shape[0]
learning_rate, training_epochs = 0.05, 300


@functools.cache
def one_by_one(device: str) -> tuple[list[float], float, float]:
    with tf.Graph().as_default():
        X = tf.placeholder("float")
        Y = tf.placeholder("float")
        W = tf.Variable(np.float32(-0.4), name="weight")
        b = tf.Variable(np.float32(0.1), name="bias")
        pred = tf.add(tf.multiply(X, W), b)
        cost = tf.reduce_sum(tf.pow(pred - Y, 2)) / (2 * n_samples)
        optimizer = tf.train.GradientDescentOptimizer(learning_rate).minimize(cost)
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(training_epochs):
                for x, y in zip(train_X, train_Y, strict=True):
                    sess.run(optimizer, feed_dict={X: x, Y: y})
                losses.append(float(sess.run(cost, feed_dict={X: train_X, Y: train_Y})))
            return losses, float(sess.run(W)), float(b.eval())


def test_a_line_through_points(device: str) -> None:
    losses, w, b = one_by_one(device)
    best = np.polyfit(train_X, train_Y, 1)
    least = np.sum((np.polyval(best, train_X) - train_Y) ** 2) / (2 * n_samples)
    assert losses[-1] < 1.1 * least
    np.testing.assert_allclose([w, b], best, atol=0.05)
    assert_same_curve(losses, one_by_one("cpu:0")[0], first=60, early=1e-4, late=1e-4)


@functools.cache
def many_features(device: str) -> tuple[list[float], np.ndarray, float]:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(200, 5)).astype(np.float32) * [1, 2, 1, 3, 1] + [0, 1, 0, 2, 0]
    weights = np.array([[1.5], [-2.0], [0.0], [0.5], [3.0]])
    target = features @ weights + 4.0 + 0.1 * generator.normal(size=(200, 1))
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 5], name="features")
        y = tf.placeholder(tf.float32, [None, 1], name="target")
        w = tf.get_variable("w", [5, 1], initializer=tf.zeros_initializer())
        b = tf.get_variable("b", [1], initializer=tf.zeros_initializer())
        y_hat = tf.nn.xw_plus_b(x, w, b)
        penalty = 0.001 * tf.nn.l2_loss(w)
        loss = tf.losses.mean_squared_error(y, y_hat) + penalty
        train = tf.train.MomentumOptimizer(0.02, 0.8).minimize(loss)
        total = tf.reduce_sum(tf.square(y - tf.reduce_mean(y)))
        r_squared = 1.0 - tf.reduce_sum(tf.squared_difference(y, y_hat)) / total
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            feed = {x: features, y: target}
            for _ in range(150):
                losses.append(float(sess.run([loss, train], feed)[0]))
            return losses, sess.run(w)[:, 0], float(sess.run(r_squared, feed))


def test_a_plane_through_points(device: str) -> None:
    losses, w, r_squared = many_features(device)
    assert r_squared > 0.999
    np.testing.assert_allclose(w, [1.5, -2.0, 0.0, 0.5, 3.0], atol=0.05)
    assert_same_curve(losses, many_features("cpu:0")[0], first=60, early=1e-4, late=1e-4)
