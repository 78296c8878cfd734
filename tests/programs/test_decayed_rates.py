"""LeNet with a learning rate that falls by epochs, momentum and penalties on weights; other schedules."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from program_data import assert_same_curve, batches, digits

import graphrun as tf

BATCH_SIZE, EPOCHS, BASE, DECAY = 50, 7, 0.1, 0.8


@functools.cache
def lenet(device: str) -> tuple[list[float], list[float], float]:
    train_data, train_labels, test_data, test_labels = digits()
    train_size = len(train_labels)
    with tf.Graph().as_default():
        tf.set_random_seed(66478)
        train_data_node = tf.placeholder(tf.float32, shape=(BATCH_SIZE, 64))
        train_labels_node = tf.placeholder(tf.int64, shape=(BATCH_SIZE,))
        eval_data = tf.placeholder(tf.float32, shape=(None, 64))
        conv1_weights = tf.Variable(tf.truncated_normal([3, 3, 1, 8], stddev=0.4, seed=1))
        conv1_biases = tf.Variable(tf.zeros([8], dtype=tf.float32))
        conv2_weights = tf.Variable(tf.truncated_normal([3, 3, 8, 16], stddev=0.17, seed=2))
        conv2_biases = tf.Variable(tf.constant(0.1, shape=[16], dtype=tf.float32))
        fc1_weights = tf.Variable(tf.truncated_normal([2 * 2 * 16, 32], stddev=0.18, seed=3))
        fc1_biases = tf.Variable(tf.constant(0.1, shape=[32], dtype=tf.float32))
        fc2_weights = tf.Variable(tf.truncated_normal([32, 10], stddev=0.2, seed=4))
        fc2_biases = tf.Variable(tf.constant(0.1, shape=[10], dtype=tf.float32))

        def model(data, train=False):
            data = tf.reshape(data, [-1, 8, 8, 1])
            conv = tf.nn.conv2d(data, conv1_weights, strides=[1, 1, 1, 1], padding="SAME")
            relu = tf.nn.relu(tf.nn.bias_add(conv, conv1_biases))
            pool = tf.nn.max_pool(relu, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
            conv = tf.nn.conv2d(pool, conv2_weights, strides=[1, 1, 1, 1], padding="SAME")
            relu = tf.nn.relu(tf.nn.bias_add(conv, conv2_biases))
            pool = tf.nn.max_pool(relu, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
            pool_shape = tf.shape(pool)
            reshape = tf.reshape(pool, [pool_shape[0], pool_shape[1] * pool_shape[2] * pool_shape[3]])
            hidden = tf.nn.relu(tf.matmul(reshape, fc1_weights) + fc1_biases)
            if train:
                hidden = tf.nn.dropout(hidden, 0.5, seed=5)
            return tf.matmul(hidden, fc2_weights) + fc2_biases

        logits = model(train_data_node, True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=train_labels_node, logits=logits)
        )
        regularizers = (
            tf.nn.l2_loss(fc1_weights) + tf.nn.l2_loss(fc1_biases)
            + tf.nn.l2_loss(fc2_weights) + tf.nn.l2_loss(fc2_biases)
        )  # fmt: skip
        loss += 5e-4 * regularizers
        batch = tf.Variable(0, dtype=tf.float32)
        learning_rate = tf.train.exponential_decay(
            BASE, batch * BATCH_SIZE, train_size, DECAY, staircase=True
        )
        optimizer = tf.train.MomentumOptimizer(learning_rate, 0.9).minimize(loss, global_step=batch)
        eval_prediction = tf.nn.softmax(model(eval_data))

        losses, rates = [], []
        with tf.Session(device=device) as sess:
            tf.global_variables_initializer().run()
            for xs, ys in batches((train_data, train_labels.argmax(1)), BATCH_SIZE, EPOCHS):
                feed_dict = {train_data_node: xs, train_labels_node: ys}
                _, value, rate = sess.run([optimizer, loss, learning_rate], feed_dict=feed_dict)
                losses.append(float(value))
                rates.append(float(rate))
            predictions = sess.run(eval_prediction, feed_dict={eval_data: test_data})
        return losses, rates, float(np.mean(predictions.argmax(1) == test_labels.argmax(1)))


def test_lenet_with_a_staircase(device: str) -> None:
    losses, rates, accuracy = lenet(device)
    assert accuracy > 0.93 and np.mean(losses[-20:]) < 0.35 * np.mean(losses[:5])
    steps = 1400 // BATCH_SIZE
    expected = [BASE * DECAY ** (i // steps) for i in range(steps * EPOCHS)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert_same_curve(losses, lenet("cpu:0")[0], first=60, early=1e-3, late=2e-2)


SCHEDULES = {
    "piecewise": lambda step: tf.train.piecewise_constant(step, [30, 70], [0.3, 0.1, 0.02]),
    "polynomial": lambda step: tf.train.polynomial_decay(0.3, step, 100, 0.01, power=2.0),
    "natural": lambda step: tf.train.natural_exp_decay(0.3, step, 30, 0.8),
    "inverse": lambda step: tf.train.inverse_time_decay(0.3, step, 20, 1.0),
    "cosine": lambda step: tf.train.cosine_decay(0.3, step, 100, alpha=0.05),
}


@functools.cache
def noisy_descent(device: str, schedule: str) -> tuple[list[float], float]:
    """Where gradients are noisy, a rate that falls comes closer than one that stays."""
    with tf.Graph().as_default():
        noise = tf.placeholder(tf.float32, [8])
        global_step = tf.Variable(0, trainable=False, name="global_step")
        rate = SCHEDULES[schedule](global_step) if schedule != "none" else tf.constant(0.3)
        w = tf.Variable(tf.fill([8], 3.0))
        distance = tf.reduce_sum(tf.square(w))
        loss = tf.reduce_sum(tf.square(w - noise)) / 2
        train = tf.train.GradientDescentOptimizer(rate).minimize(loss, global_step=global_step)
        rng = np.random.default_rng(0)
        path = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(100):
                sess.run(train, {noise: rng.normal(size=8)})
                path.append(float(sess.run(distance)))
            assert sess.run(global_step) == 100
            return path, float(np.mean(path[-10:]))


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_schedules_end_nearer(device: str, schedule: str) -> None:
    path, last = noisy_descent(device, schedule)
    assert last < 0.6 * noisy_descent("cpu:0", "none")[1]
    assert_same_curve(path, noisy_descent("cpu:0", schedule)[0], first=100, early=1e-3, late=1e-5)
