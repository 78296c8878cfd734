"""Tags that need both sides of a word, by bidirectional_dynamic_rnn; digits by the static one."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

STEPS, UNITS = 10, 20


def neighbours(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, tags and lengths: the tag says whether the numbers before and after have a positive sum."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, STEPS + 1, count).astype(np.int32)
    x = rng.normal(size=(count, STEPS)).astype(np.float32)
    x *= np.arange(STEPS) < lengths[:, None]
    padded = np.pad(x, ((0, 0), (1, 1)))
    tags = (padded[:, :-2] + padded[:, 2:] > 0).astype(np.int32)
    return x[:, :, None], tags, lengths


@functools.cache
def tagger(device: str) -> tuple[list[float], float]:
    x_train, y_train, n_train = neighbours(600, 0)
    x_test, y_test, n_test = neighbours(100, 1)
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        x = tf.placeholder(tf.float32, [None, None, 1], name="x")
        tags = tf.placeholder(tf.int32, [None, None], name="tags")
        lengths = tf.placeholder(tf.int32, [None], name="lengths")
        (output_fw, output_bw), _ = tf.nn.bidirectional_dynamic_rnn(
            tf.nn.rnn_cell.LSTMCell(UNITS), tf.nn.rnn_cell.LSTMCell(UNITS), x,
            sequence_length=lengths, dtype=tf.float32,
        )  # fmt: skip
        context = tf.concat([output_fw, output_bw], axis=-1)
        W = tf.get_variable("W", [2 * UNITS, 2], initializer=tf.glorot_uniform_initializer())
        b = tf.get_variable("b", [2], initializer=tf.zeros_initializer())
        ntime_steps = tf.shape(context)[1]
        pred = tf.matmul(tf.reshape(context, [-1, 2 * UNITS]), W) + b
        logits = tf.reshape(pred, [-1, ntime_steps, 2])
        mask = tf.sequence_mask(lengths, ntime_steps)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=tags)
        weights = tf.cast(mask, tf.float32)
        loss = tf.reduce_sum(each * weights) / tf.reduce_sum(weights)
        labels_pred = tf.cast(tf.argmax(logits, axis=-1), tf.int32)
        right = tf.boolean_mask(tf.equal(labels_pred, tags), mask)
        accuracy = tf.reduce_mean(tf.to_float(right))
        train_op = tf.train.AdamOptimizer(0.02).minimize(loss)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys, ns in batches((x_train, y_train, n_train), 100, 15):
                feed = {x: xs, tags: ys, lengths: ns}
                losses.append(float(sess.run([loss, train_op], feed)[0]))
            return losses, float(sess.run(accuracy, {x: x_test, tags: y_test, lengths: n_test}))


def test_a_tag_needs_both_neighbours(device: str) -> None:
    losses, accuracy = tagger(device)
    assert accuracy > 0.93 and losses[-1] < 0.3 * losses[0]
    assert_same_curve(losses, tagger("cpu:0")[0], first=40, early=1e-3, late=2e-2)


@functools.cache
def reader(device: str) -> tuple[list[float], float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        X = tf.placeholder(tf.float32, [None, 8, 8])
        Y = tf.placeholder(tf.float32, [None, 10])
        rows = tf.unstack(X, 8, 1)
        lstm_fw_cell = tf.nn.rnn_cell.BasicLSTMCell(24, forget_bias=1.0)
        lstm_bw_cell = tf.nn.rnn_cell.BasicLSTMCell(24, forget_bias=1.0)
        outputs, _, _ = tf.nn.static_bidirectional_rnn(lstm_fw_cell, lstm_bw_cell, rows, dtype=tf.float32)
        weights = tf.Variable(tf.random_normal([2 * 24, 10]))
        # Halfway, where each of the two has read half of the image.
        logits = tf.matmul(outputs[4], weights) + tf.Variable(tf.random_normal([10]))
        loss_op = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=Y))
        train_op = tf.train.RMSPropOptimizer(learning_rate=0.01).minimize(loss_op)
        correct_pred = tf.equal(tf.argmax(logits, 1), tf.argmax(Y, 1))
        accuracy = tf.reduce_mean(tf.cast(correct_pred, tf.float32))

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for batch_x, batch_y in batches((train_x, train_y), 50, 8):
                feed = {X: batch_x.reshape((50, 8, 8)), Y: batch_y}
                losses.append(float(sess.run([loss_op, train_op], feed_dict=feed)[0]))
            score = sess.run(accuracy, feed_dict={X: test_x.reshape((-1, 8, 8)), Y: test_y})
            return losses, float(score)


def test_rows_are_read_down_and_up(device: str) -> None:
    losses, accuracy = reader(device)
    assert accuracy > 0.9
    assert_same_curve(losses, reader("cpu:0")[0], first=40, early=1e-3, late=2e-2)
