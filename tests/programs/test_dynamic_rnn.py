"""Sequences of different lengths, linear or random: dynamic_rnn stops where each one ends."""

from __future__ import annotations

import functools
import random

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

seq_max_len, n_hidden, n_classes = 12, 24, 2
learning_rate, training_steps, batch_size = 0.02, 160, 64


class ToySequenceData:
    """Linear sequences (class 0) and random ones (class 1), padded with zeros, as a tutorial has them."""

    def __init__(self, n_samples, max_seq_len, min_seq_len=4, max_value=100, seed=0):
        rand = random.Random(seed)
        self.data, self.labels, self.seqlen = [], [], []
        for _ in range(n_samples):
            length = rand.randint(min_seq_len, max_seq_len)
            self.seqlen.append(length)
            if rand.random() < 0.5:
                start = rand.randint(0, max_value - length)
                s = [[float(i) / max_value] for i in range(start, start + length)]
                self.labels.append([1.0, 0.0])
            else:
                s = [[float(rand.randint(0, max_value)) / max_value] for _ in range(length)]
                self.labels.append([0.0, 1.0])
            self.data.append(s + [[0.0]] * (max_seq_len - length))
        self.batch_id = 0

    def next(self, batch_size):
        if self.batch_id == len(self.data):
            self.batch_id = 0
        first, self.batch_id = self.batch_id, min(self.batch_id + batch_size, len(self.data))
        chosen = slice(first, self.batch_id)
        return self.data[chosen], self.labels[chosen], self.seqlen[chosen]


def dynamicRNN(x, seqlen, weights, biases):
    lstm_cell = tf.nn.rnn_cell.BasicLSTMCell(n_hidden)
    outputs, states = tf.nn.dynamic_rnn(lstm_cell, x, dtype=tf.float32, sequence_length=seqlen)
    # The last output of each sequence, by a gather over all (sequence, step) pairs.
    batch_size = tf.shape(outputs)[0]
    index = tf.range(0, batch_size) * seq_max_len + (seqlen - 1)
    last = tf.gather(tf.reshape(outputs, [-1, n_hidden]), index)
    return tf.matmul(last, weights["out"]) + biases["out"], last, states.h


@functools.cache
def trained(device: str) -> tuple[list[float], float]:
    trainset = ToySequenceData(n_samples=640, max_seq_len=seq_max_len)
    testset = ToySequenceData(n_samples=300, max_seq_len=seq_max_len, seed=1)
    with tf.Graph().as_default():
        tf.set_random_seed(4)
        x = tf.placeholder("float", [None, seq_max_len, 1])
        y = tf.placeholder("float", [None, n_classes])
        seqlen = tf.placeholder(tf.int32, [None])
        weights = {"out": tf.Variable(tf.random_normal([n_hidden, n_classes]))}
        biases = {"out": tf.Variable(tf.random_normal([n_classes]))}
        pred, last, state = dynamicRNN(x, seqlen, weights, biases)
        cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=pred, labels=y))
        optimizer = tf.train.AdamOptimizer(learning_rate=learning_rate).minimize(cost)
        correct_pred = tf.equal(tf.argmax(pred, 1), tf.argmax(y, 1))
        accuracy = tf.reduce_mean(tf.cast(correct_pred, tf.float32))

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(training_steps):
                batch_x, batch_y, batch_seqlen = trainset.next(batch_size)
                feed = {x: batch_x, y: batch_y, seqlen: batch_seqlen}
                losses.append(float(sess.run([optimizer, cost], feed_dict=feed)[1]))
            feed = {x: testset.data, y: testset.labels, seqlen: testset.seqlen}
            score, last_output, final_state = sess.run([accuracy, last, state], feed_dict=feed)
            # What follows the end changes nothing: the state is that of the last step.
            np.testing.assert_allclose(last_output, final_state, rtol=1e-5, atol=1e-6)
            noisy = np.array(testset.data)
            noisy[np.arange(seq_max_len) >= np.array(testset.seqlen)[:, None]] = 7.0
            feed[x] = noisy
            np.testing.assert_array_equal(sess.run([accuracy, last, state], feed)[2], final_state)
            return losses, float(score)


def test_lines_are_told_from_noise(device: str) -> None:
    losses, accuracy = trained(device)
    assert accuracy > 0.9
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:5])
    assert_same_curve(losses, trained("cpu:0")[0], first=40, early=1e-3, late=2e-2)
