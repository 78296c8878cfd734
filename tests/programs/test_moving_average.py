"""Weights averaged over training: a custom getter builds the network on the averages' variables."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def inference(x, getter=None):
    with tf.variable_scope("net", reuse=tf.AUTO_REUSE, custom_getter=getter):
        w1 = tf.get_variable("w1", [64, 32], initializer=tf.glorot_uniform_initializer(seed=1))
        b1 = tf.get_variable("b1", [32], initializer=tf.zeros_initializer())
        h = tf.nn.relu(tf.matmul(x, w1) + b1)
        w2 = tf.get_variable("w2", [32, 10], initializer=tf.glorot_uniform_initializer(seed=2))
        return tf.matmul(h, w2) + tf.get_variable("b2", [10], initializer=tf.zeros_initializer())


@functools.cache
def trained(device: str) -> tuple[list[float], list[float], list[float], float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 64])
        y = tf.placeholder(tf.float32, [None, 10])
        logits = inference(x)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        global_step = tf.Variable(0, trainable=False)
        # A high rate: the weights jump about the minimum, their average lies nearer to it.
        train_step = tf.train.GradientDescentOptimizer(0.4).minimize(loss, global_step=global_step)
        ema = tf.train.ExponentialMovingAverage(0.95, global_step)
        with tf.control_dependencies([train_step]):
            train_op = ema.apply(tf.trainable_variables())

        def ema_getter(getter, name, *args, **kwargs):
            var = getter(name, *args, **kwargs)
            return ema.average(var) or var

        averaged = inference(x, ema_getter)
        averaged_loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=averaged))
        shadow = ema.average(tf.trainable_variables()[0])
        assert ema.average_name(tf.trainable_variables()[0]) == shadow.op.name
        assert shadow.op.name == "net/w1/ExponentialMovingAverage"
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(averaged, 1), tf.argmax(y, 1))))

        losses, plain, smooth = [], [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for i, (xs, ys) in enumerate(batches((train_x, train_y), 10, 3)):
                losses.append(float(sess.run([loss, train_op], {x: xs, y: ys})[0]))
                if i % 20 == 19:
                    a, b = sess.run([loss, averaged_loss], {x: test_x, y: test_y})
                    plain.append(float(a))
                    smooth.append(float(b))
            # What the averages promise, by hand: the last step of shadow = d shadow + (1 - d) w.
            old = sess.run(shadow)
            sess.run(train_op, {x: xs, y: ys})
            new, w = sess.run([shadow, tf.trainable_variables()[0]])
            np.testing.assert_allclose(new, 0.95 * old + 0.05 * w, rtol=1e-4, atol=1e-6)
            score = sess.run(accuracy, {x: test_x, y: test_y})
            return losses, plain, smooth, float(score)


def test_averaged_weights_do_better(device: str) -> None:
    losses, plain, smooth, accuracy = trained(device)
    assert accuracy > 0.95
    assert np.mean(smooth[-5:]) < 0.8 * np.mean(plain[-5:])
    assert np.std(smooth[-5:]) < 0.5 * np.std(plain[-5:])
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=5e-2)
