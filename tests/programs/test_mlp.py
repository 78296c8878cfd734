"""A multilayer perceptron on handwritten digits, as the first tutorials write it."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

learning_rate = 0.005
training_epochs = 12
batch_size = 50
display_step = 4

n_hidden_1 = 64
n_hidden_2 = 32
n_input = 64
n_classes = 10


def multilayer_perceptron(x, weights, biases):
    layer_1 = tf.add(tf.matmul(x, weights["h1"]), biases["b1"])
    layer_1 = tf.nn.relu(layer_1)
    layer_2 = tf.add(tf.matmul(layer_1, weights["h2"]), biases["b2"])
    layer_2 = tf.nn.relu(layer_2)
    return tf.matmul(layer_2, weights["out"]) + biases["out"]


@functools.cache
def trained(device: str) -> tuple[list[float], float, dict[str, np.ndarray]]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        x = tf.placeholder("float", [None, n_input], name="x")
        y = tf.placeholder("float", [None, n_classes], name="y")
        weights = {
            "h1": tf.Variable(tf.random_normal([n_input, n_hidden_1], stddev=0.2), name="h1"),
            "h2": tf.Variable(tf.random_normal([n_hidden_1, n_hidden_2], stddev=0.2), name="h2"),
            "out": tf.Variable(tf.random_normal(shape=[n_hidden_2, n_classes], mean=0.0, stddev=0.2)),
        }
        biases = {
            "b1": tf.Variable(tf.zeros([n_hidden_1]), name="b1", dtype=tf.float32),
            "b2": tf.Variable(initial_value=tf.zeros([n_hidden_2]), trainable=True, name="b2"),
            "out": tf.Variable(tf.constant(0.1, shape=[n_classes])),
        }
        pred = multilayer_perceptron(x, weights, biases)
        cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=pred, labels=y), name="cost")
        global_step = tf.Variable(0, name="global_step", trainable=False)
        optimizer = tf.train.AdamOptimizer(learning_rate=learning_rate).minimize(
            cost, global_step=global_step
        )
        correct_prediction = tf.equal(tf.argmax(pred, 1), tf.argmax(y, 1))
        accuracy = tf.reduce_mean(tf.cast(correct_prediction, "float"))
        init = tf.global_variables_initializer()

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(init)
            for batch_x, batch_y in batches((train_x, train_y), batch_size, training_epochs):
                _, c = sess.run([optimizer, cost], feed_dict={x: batch_x, y: batch_y})
                losses.append(float(c))
            assert sess.run(global_step) == len(losses)
            assert tf.train.global_step(sess, global_step) == len(losses)
            score = accuracy.eval({x: test_x, y: test_y})
            # Fewer rows than in a batch: a placeholder of unknown length takes what comes.
            single = sess.run(pred, {x: test_x[:1], y: test_y[:1]})
            assert single.shape == (1, n_classes)
            return losses, float(score), sess.run(weights)


def test_digits_are_recognised(device: str) -> None:
    losses, accuracy, weights = trained(device)
    assert accuracy > 0.95
    assert np.mean(losses[-20:]) < 0.1 * np.mean(losses[:5])
    expected, _, expected_weights = trained("cpu:0")
    assert_same_curve(losses, expected, first=100, early=1e-4, late=1e-3)
    for name, value in expected_weights.items():
        np.testing.assert_allclose(weights[name], value, atol=2e-3, err_msg=name)
