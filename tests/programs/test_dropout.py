"""Dropout by layers and by keep_prob; left on after training, it tells how sure the network is."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


@functools.cache
def trained(device: str) -> tuple[list[float], float, np.ndarray]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(12)
        x = tf.placeholder(tf.float32, [None, 64])
        y = tf.placeholder(tf.float32, [None, 10])
        keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")
        is_training = tf.placeholder_with_default(False, [], name="is_training")
        h1 = tf.layers.dense(x, 128, activation=tf.nn.relu, name="h1")
        h1 = tf.layers.dropout(h1, rate=0.4, training=is_training)
        h2 = tf.layers.dense(h1, 64, activation=tf.nn.relu, name="h2")
        # Whole units of the batch are left out together.
        h2 = tf.nn.dropout(h2, keep_prob, noise_shape=[1, 64])
        logits = tf.layers.dense(h2, 10, name="logits")
        probabilities = tf.nn.softmax(logits)
        loss = tf.losses.softmax_cross_entropy(y, logits, label_smoothing=0.05)
        train = tf.train.AdamOptimizer(0.005).minimize(loss)
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1))))

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys in batches((train_x, train_y), 50, 10):
                feed = {x: xs, y: ys, keep_prob: 0.7, is_training: True}
                losses.append(float(sess.run([loss, train], feed)[0]))
            feed = {x: test_x, y: test_y}
            plain = sess.run(accuracy, feed)
            # Without dropout a forward pass is the same each time.
            np.testing.assert_array_equal(sess.run(logits, feed), sess.run(logits, feed))
            samples = np.stack([sess.run(probabilities, {**feed, is_training: True}) for _ in range(30)])
            return losses, float(plain), samples


def test_digits_with_units_left_out(device: str) -> None:
    losses, accuracy, samples = trained(device)
    assert accuracy > 0.96 and np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])
    expected, _, expected_samples = trained("cpu:0")
    assert_same_curve(losses, expected, first=100, early=1e-3, late=1e-2)
    # The same units are left out on every device.
    np.testing.assert_allclose(samples, expected_samples, atol=0.02)


def test_samples_differ_more_where_the_answer_is_wrong(device: str) -> None:
    _, _, samples = trained(device)
    mean, spread = samples.mean(0), samples.std(0).max(1)
    right = mean.argmax(1) == digits().test_y.argmax(1)
    assert right.mean() > 0.96
    assert spread[~right].mean() > 2 * spread[right].mean()
