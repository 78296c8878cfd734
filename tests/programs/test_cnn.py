"""A convolutional net with dropout on handwritten digits: strides of four numbers, keep_prob fed."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

FLAT = 2 * 2 * 32


def weight_variable(shape, name=None):
    initial = tf.truncated_normal(shape, stddev=0.1)
    return tf.Variable(initial, name=name)


def bias_variable(shape, name=None):
    initial = tf.constant(0.1, shape=shape)
    return tf.Variable(initial, name=name)


def conv2d(x, w):
    return tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding="SAME")


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


@functools.cache
def trained(device: str) -> tuple[list[float], float, np.ndarray]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(7)
        x = tf.placeholder(tf.float32, shape=[None, 64], name="x-input")
        y_ = tf.placeholder(tf.float32, shape=[None, 10], name="y-input")
        keep_prob = tf.placeholder(tf.float32)
        x_image = tf.reshape(x, [-1, 8, 8, 1])

        with tf.name_scope("conv1"):
            h_conv1 = tf.nn.relu(conv2d(x_image, weight_variable([3, 3, 1, 16])) + bias_variable([16]))
            h_pool1 = max_pool_2x2(h_conv1)
        with tf.name_scope("conv2"):
            h_conv2 = tf.nn.relu(
                tf.nn.bias_add(conv2d(h_pool1, weight_variable([3, 3, 16, 32])), bias_variable([32]))
            )
            h_pool2 = max_pool_2x2(h_conv2)
        with tf.name_scope("fc1"):
            h_pool2_flat = tf.reshape(h_pool2, shape=[-1, FLAT])
            h_fc1 = tf.nn.relu(
                tf.nn.xw_plus_b(h_pool2_flat, weight_variable([FLAT, 64]), bias_variable([64]))
            )
            h_fc1_drop = tf.nn.dropout(h_fc1, keep_prob)
        with tf.name_scope("fc2"):
            logits = tf.matmul(h_fc1_drop, weight_variable([64, 10], "W"), name="logits") + bias_variable(
                [10]
            )
            y_conv = tf.nn.softmax(logits, name="prob")

        cross_entropy = tf.reduce_mean(
            -tf.reduce_sum(y_ * tf.log(tf.clip_by_value(y_conv, 1e-10, 1.0)), reduction_indices=[1])
        )
        train_step = tf.train.AdamOptimizer(3e-3).minimize(cross_entropy)
        hits = tf.equal(tf.argmax(y_conv, axis=1), tf.argmax(y_, dimension=1))
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        assert graph.get_tensor_by_name("fc2/W:0").shape.as_list() == [64, 10]
        assert h_conv1.get_shape().as_list() == [None, 8, 8, 16]

        losses = []
        with tf.Session(device=device) as sess:
            tf.global_variables_initializer().run()
            for batch in batches((train_x, train_y), 50, 6):
                feed = {x: batch[0], y_: batch[1], keep_prob: 0.5}
                losses.append(float(sess.run([cross_entropy, train_step], feed)[0]))
            score = accuracy.eval(feed_dict={x: test_x, y_: test_y, keep_prob: 1.0})
            return losses, float(score), sess.run("fc2/prob:0", {"x-input:0": test_x, keep_prob: 1.0})


def test_digits_are_recognised(device: str) -> None:
    losses, accuracy, found = trained(device)
    assert accuracy > 0.96
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:5])
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)
    expected, _, probabilities = trained("cpu:0")
    assert_same_curve(losses, expected, first=60, early=1e-4, late=1e-3)
    assert np.mean(found.argmax(1) == probabilities.argmax(1)) > 0.99
