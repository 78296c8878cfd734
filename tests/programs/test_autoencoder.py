"""An autoencoder of digits, trained by RMSProp, and a denoising one."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

n_input, n_hidden_1, n_hidden_2 = 64, 48, 16


@functools.cache
def trained(device: str, noise: float) -> tuple[list[float], np.ndarray]:
    train_x, _, test_x, _ = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(0)
        X = tf.placeholder("float", [None, n_input])

        def matrix(*shape):
            limit = np.sqrt(6.0 / sum(shape))
            return tf.Variable(tf.random_uniform(shape, minval=-limit, maxval=limit, dtype=tf.float32))

        weights = {
            "encoder_h1": matrix(n_input, n_hidden_1),
            "encoder_h2": matrix(n_hidden_1, n_hidden_2),
            "decoder_h1": matrix(n_hidden_2, n_hidden_1),
            "decoder_h2": matrix(n_hidden_1, n_input),
        }
        biases = {
            "encoder_b1": tf.Variable(tf.zeros([n_hidden_1])),
            "encoder_b2": tf.Variable(tf.zeros([n_hidden_2])),
            "decoder_b1": tf.Variable(tf.zeros([n_hidden_1])),
            "decoder_b2": tf.Variable(tf.zeros([n_input])),
        }

        def layer(x, name, number, activation=tf.nn.tanh):
            return activation(tf.add(tf.matmul(x, weights[f"{name}_h{number}"]), biases[f"{name}_b{number}"]))

        # With noise of no size the graph has no noise in it.
        seen = X + noise * tf.random_normal(tf.shape(X), seed=4) if noise else X
        encoder_op = layer(layer(seen, "encoder", 1), "encoder", 2)
        decoder_op = layer(layer(encoder_op, "decoder", 1), "decoder", 2, tf.sigmoid)
        y_pred, y_true = decoder_op, X
        cost = tf.reduce_mean(tf.pow(y_true - y_pred, 2))
        optimizer = tf.train.RMSPropOptimizer(
            learning_rate=0.005, decay=0.9, momentum=0.0, epsilon=1e-8, name="RMSProp"
        ).minimize(cost)

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for (batch_xs,) in batches((train_x,), 50, 20):
                _, c = sess.run([optimizer, cost], feed_dict={X: batch_xs})
                losses.append(float(c))
            # The code, fed in place of what computes it.
            code = sess.run(encoder_op, feed_dict={X: test_x})
            again = sess.run(y_pred, feed_dict={encoder_op: code})
            if not noise:
                np.testing.assert_allclose(again, sess.run(y_pred, {X: test_x}), rtol=1e-5, atol=1e-6)
            return losses, again


def test_sixteen_numbers_describe_a_digit(device: str) -> None:
    losses, again = trained(device, 0.0)
    images = digits().test_x
    assert np.mean((again - images) ** 2) < 0.25 * np.mean((images - images.mean(0)) ** 2)
    expected, _ = trained("cpu:0", 0.0)
    assert_same_curve(losses, expected, first=150, early=1e-4, late=5e-2)


def test_noise_is_taken_away(device: str) -> None:
    losses, again = trained(device, 0.3)
    images = digits().test_x
    assert np.mean((again - images) ** 2) < 0.45 * np.mean((images - images.mean(0)) ** 2)
    expected, _ = trained("cpu:0", 0.3)
    assert_same_curve(losses, expected, first=150, early=1e-4, late=5e-2)
