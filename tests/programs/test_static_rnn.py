"""Digits read row by row: an LSTM that static_rnn unrolls, as the tutorials do it."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf
from graphrun.nn import rnn_cell as rnn

num_input, timesteps, num_hidden, num_classes = 8, 8, 32, 10
learning_rate, batch_size, display_step = 0.01, 50, 28


def RNN(x, weights, biases):
    # From (batch, steps, columns) to a list of steps, each (batch, columns).
    x = tf.unstack(x, timesteps, 1)
    lstm_cell = rnn.BasicLSTMCell(num_hidden, forget_bias=1.0)
    outputs, states = tf.nn.static_rnn(lstm_cell, x, dtype=tf.float32)
    assert len(outputs) == timesteps and states.h.get_shape().as_list() == [None, num_hidden]
    return tf.matmul(outputs[-1], weights["out"]) + biases["out"]


@functools.cache
def trained(device: str) -> tuple[list[float], float, float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        X = tf.placeholder("float", [None, timesteps, num_input])
        Y = tf.placeholder("float", [None, num_classes])
        weights = {"out": tf.Variable(tf.random_normal([num_hidden, num_classes]))}
        biases = {"out": tf.Variable(tf.random_normal([num_classes]))}

        logits = RNN(X, weights, biases)
        prediction = tf.nn.softmax(logits)
        loss_op = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=Y))
        optimizer = tf.train.AdamOptimizer(learning_rate=learning_rate)
        train_op = optimizer.minimize(loss_op)
        correct_pred = tf.equal(tf.argmax(prediction, 1), tf.argmax(Y, 1))
        accuracy = tf.reduce_mean(tf.cast(correct_pred, tf.float32))
        init = tf.global_variables_initializer()

        losses, shown = [], []
        with tf.Session(device=device) as sess:
            sess.run(init)
            for step, (batch_x, batch_y) in enumerate(batches((train_x, train_y), batch_size, 10)):
                batch_x = batch_x.reshape((batch_size, timesteps, num_input))
                loss, _ = sess.run([loss_op, train_op], feed_dict={X: batch_x, Y: batch_y})
                losses.append(float(loss))
                if step % display_step == 0:
                    shown.append(float(sess.run(accuracy, feed_dict={X: batch_x, Y: batch_y})))
            test_data = test_x.reshape((-1, timesteps, num_input))
            return losses, shown[-1], float(sess.run(accuracy, feed_dict={X: test_data, Y: test_y}))


def test_rows_one_after_the_other_tell_the_digit(device: str) -> None:
    losses, last_shown, accuracy = trained(device)
    assert accuracy > 0.93 and last_shown > 0.93
    assert np.mean(losses[-20:]) < 0.1 * np.mean(losses[:5])
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=2e-2)
