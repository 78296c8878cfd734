"""A convolutional autoencoder: the output shape of conv2d_transpose comes from the batch."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def lrelu(x, leak=0.2, name="lrelu"):
    with tf.variable_scope(name):
        f1 = 0.5 * (1 + leak)
        f2 = 0.5 * (1 - leak)
        return f1 * x + f2 * abs(x)


def autoencoder(input_shape, n_filters, filter_sizes):
    x = tf.placeholder(tf.float32, input_shape, name="x")
    x_tensor = tf.reshape(x, [-1, 8, 8, 1])
    current_input = x_tensor
    encoder = []
    shapes = []
    for layer_i, n_output in enumerate(n_filters[1:]):
        n_input = current_input.get_shape().as_list()[3]
        shapes.append(current_input.get_shape().as_list())
        W = tf.Variable(
            tf.random_uniform(
                [filter_sizes[layer_i], filter_sizes[layer_i], n_input, n_output],
                -1.0 / np.sqrt(9 * n_input),
                1.0 / np.sqrt(9 * n_input),
            )
        )
        b = tf.Variable(tf.zeros([n_output]))
        encoder.append(W)
        current_input = lrelu(
            tf.add(tf.nn.conv2d(current_input, W, strides=[1, 2, 2, 1], padding="SAME"), b), name="encode"
        )
    z = current_input
    encoder.reverse()
    shapes.reverse()
    for layer_i, shape in enumerate(shapes):
        W = encoder[layer_i]
        b = tf.Variable(tf.zeros([W.get_shape().as_list()[2]]))
        last = layer_i == len(shapes) - 1
        deconv = tf.nn.conv2d_transpose(
            value=current_input, filter=W,
            output_shape=tf.stack([tf.shape(x)[0], shape[1], shape[2], shape[3]]),
            strides=[1, 2, 2, 1], padding="SAME",
        )  # fmt: skip
        current_input = tf.add(deconv, b) if last else lrelu(tf.add(deconv, b), name="decode")
    y = current_input
    cost = tf.reduce_sum(tf.square(y - x_tensor)) / tf.to_float(tf.shape(x)[0])
    return {"x": x, "z": z, "y": y, "cost": cost}


@functools.cache
def trained(device: str) -> tuple[list[float], float]:
    train_x, _, test_x, _ = digits()
    mean_img = np.mean(train_x, axis=0)
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        ae = autoencoder([None, 64], n_filters=[1, 16, 24], filter_sizes=[3, 3])
        assert ae["z"].get_shape().as_list() == [None, 2, 2, 24]
        optimizer = tf.train.AdamOptimizer(learning_rate=0.005).minimize(ae["cost"])
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for (batch_xs,) in batches((train_x - mean_img,), 100, 16):
                losses.append(float(sess.run([ae["cost"], optimizer], feed_dict={ae["x"]: batch_xs})[0]))
            # Another number of images than in training.
            recon = sess.run(ae["y"], feed_dict={ae["x"]: test_x - mean_img})
        return losses, float(np.mean((recon.reshape([-1, 64]) + mean_img - test_x) ** 2))


def test_images_are_made_again(device: str) -> None:
    losses, error = trained(device)
    assert error < 0.25 * np.var(digits().test_x - digits().test_x.mean(0))
    assert_same_curve(losses, trained("cpu:0")[0], first=100, early=1e-4, late=1e-3)
