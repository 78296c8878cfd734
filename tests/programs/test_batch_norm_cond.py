"""Batch normalization by hand: cond chooses the batch's moments or the moving averages of them."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def batch_norm(x, n_out, phase_train, ema):
    with tf.variable_scope("bn"):
        beta = tf.Variable(tf.constant(0.0, shape=[n_out]), name="beta", trainable=True)
        gamma = tf.Variable(tf.constant(1.0, shape=[n_out]), name="gamma", trainable=True)
        batch_mean, batch_var = tf.nn.moments(x, list(range(len(x.get_shape()) - 1)), name="moments")

        def mean_var_with_update():
            ema_apply_op = ema.apply([batch_mean, batch_var])
            with tf.control_dependencies([ema_apply_op]):
                return tf.identity(batch_mean), tf.identity(batch_var)

        mean, var = tf.cond(
            phase_train, mean_var_with_update, lambda: (ema.average(batch_mean), ema.average(batch_var))
        )
        return tf.nn.batch_normalization(x, mean, var, beta, gamma, 1e-3)


@functools.cache
def trained(device: str) -> tuple[list[float], float, float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(11)
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y_ = tf.placeholder(tf.float32, [None, 10], name="labels")
        phase_train = tf.placeholder(tf.bool, name="phase_train")
        ema = tf.train.ExponentialMovingAverage(decay=0.9)

        with tf.variable_scope("conv1"):
            w1 = tf.get_variable("w", [3, 3, 1, 8], initializer=tf.truncated_normal_initializer(stddev=0.3))
            h1 = tf.nn.conv2d(tf.reshape(x, [-1, 8, 8, 1]), w1, strides=[1, 2, 2, 1], padding="SAME")
            h1 = tf.nn.relu(batch_norm(h1, 8, phase_train, ema))
        with tf.variable_scope("full"):
            w2 = tf.get_variable("w", [128, 32], initializer=tf.truncated_normal_initializer(stddev=0.1))
            h2 = tf.nn.relu(batch_norm(tf.matmul(tf.reshape(h1, [-1, 128]), w2), 32, phase_train, ema))
        with tf.variable_scope("out"):
            w3 = tf.get_variable("w", [32, 10], initializer=tf.truncated_normal_initializer(stddev=0.1))
            y = tf.matmul(h2, w3) + tf.get_variable("b", [10], initializer=tf.zeros_initializer())
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y))
        train_step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1)), tf.float32))

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys in batches((train_x, train_y), 50, 4):
                feed = {x: xs, y_: ys, phase_train: True}
                losses.append(float(sess.run([loss, train_step], feed)[0]))
            # One image at a time has no moments of its own.
            score = accuracy.eval({x: test_x, y_: test_y, phase_train: False})
            alone = [
                accuracy.eval({x: test_x[i : i + 1], y_: test_y[i : i + 1], phase_train: False})
                for i in range(40)
            ]
            return losses, float(score), float(np.mean(alone))


def test_averages_stand_for_the_moments(device: str) -> None:
    losses, accuracy, alone = trained(device)
    assert accuracy > 0.95 and alone > 0.9
    assert np.mean(losses[-20:]) < 0.15 * np.mean(losses[:5])
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=1e-2)
