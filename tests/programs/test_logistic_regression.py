"""Logistic regression: digits by softmax and gradient descent, and a sparse one of two classes by Ftrl."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

learning_rate, training_epochs, batch_size, display_step = 0.5, 25, 100, 5


@functools.cache
def trained(device: str) -> tuple[list[float], list[float], float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 64])
        y = tf.placeholder(tf.float32, [None, 10])
        W = tf.Variable(tf.zeros([64, 10]))
        b = tf.Variable(tf.zeros([10]))
        pred = tf.nn.softmax(tf.matmul(x, W) + b)
        cost = tf.reduce_mean(-tf.reduce_sum(y * tf.log(pred), reduction_indices=1))
        optimizer = tf.train.GradientDescentOptimizer(learning_rate).minimize(cost)
        losses, costs = [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            total_batch = len(train_x) // batch_size
            avg_cost = 0.0
            for i, (batch_xs, batch_ys) in enumerate(
                batches((train_x, train_y), batch_size, training_epochs)
            ):
                _, c = sess.run([optimizer, cost], feed_dict={x: batch_xs, y: batch_ys})
                losses.append(float(c))
                avg_cost += float(c) / total_batch
                if (i + 1) % (total_batch * display_step) == 0:
                    costs.append(avg_cost / display_step)
                    avg_cost = 0.0
            correct_prediction = tf.equal(tf.argmax(pred, 1), tf.argmax(y, 1))
            accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
            return losses, costs, float(accuracy.eval({x: test_x, y: test_y}))


def test_digits_by_one_matrix(device: str) -> None:
    losses, costs, accuracy = trained(device)
    assert accuracy > 0.93 and abs(losses[0] - np.log(10)) < 1e-5
    assert costs == sorted(costs, reverse=True) and len(costs) == 5
    assert_same_curve(losses, trained("cpu:0")[0], first=200, early=1e-4, late=1e-4)


@functools.cache
def sparse(device: str) -> tuple[list[float], np.ndarray, float]:
    """Of 30 features 4 matter; an L1 penalty finds which."""
    generator = np.random.default_rng(5)
    features = generator.normal(size=(600, 30)).astype(np.float32)
    truth = np.zeros(30)
    truth[[2, 7, 11, 23]] = [2.0, -3.0, 2.5, -2.0]
    labels = (generator.random(600) < 1 / (1 + np.exp(-features @ truth))).astype(np.float32)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 30])
        y = tf.placeholder(tf.float32, [None])
        w = tf.get_variable("w", [30], initializer=tf.zeros_initializer())
        logits = tf.reduce_sum(x * w, axis=1)
        loss = tf.losses.sigmoid_cross_entropy(y, logits)
        train = tf.train.FtrlOptimizer(0.5, l1_regularization_strength=1.5).minimize(loss)
        area, update = tf.metrics.auc(y, tf.sigmoid(logits))
        losses = []
        with tf.Session(device=device) as sess:
            sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            for xs, ys in batches((features[:500], labels[:500]), 100, 16):
                losses.append(float(sess.run([loss, train], {x: xs, y: ys})[0]))
            sess.run(update, {x: features[500:], y: labels[500:]})
            return losses, sess.run(w), float(sess.run(area))


def test_ftrl_leaves_out_what_does_not_matter(device: str) -> None:
    losses, w, area = sparse(device)
    assert area > 0.9
    assert set(np.argsort(-np.abs(w))[:4]) == {2, 7, 11, 23}
    assert np.sum(w == 0.0) > 15
    assert_same_curve(losses, sparse("cpu:0")[0], first=60, early=1e-4, late=1e-4)
