"""Batch normalization by layers: UPDATE_OPS run before the step, `training` is fed."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def conv_bn_relu(x, filters, training, strides=1):
    x = tf.layers.conv2d(
        x, filters, 3, strides=strides, padding="same", use_bias=False,
        kernel_initializer=tf.variance_scaling_initializer(),
    )  # fmt: skip
    x = tf.layers.batch_normalization(x, training=training, momentum=0.9)
    return tf.nn.relu(x)


@functools.cache
def trained(device: str, updating: bool) -> tuple[list[float], float, np.ndarray]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        images = tf.placeholder(tf.float32, [None, 64], name="images")
        labels = tf.placeholder(tf.int64, [None], name="labels")
        training = tf.placeholder_with_default(False, shape=(), name="training")
        net = conv_bn_relu(tf.reshape(images, [-1, 8, 8, 1]), 8, training, strides=2)
        net = conv_bn_relu(net, 16, training, strides=2)
        net = tf.layers.flatten(net)
        logits = tf.layers.dense(net, 10)
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
        optimizer = tf.train.AdamOptimizer(0.01)
        update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        assert len(update_ops) == 4
        with tf.control_dependencies(update_ops if updating else []):
            train_op = optimizer.minimize(loss, global_step=tf.train.get_or_create_global_step())
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
        moving = [v for v in tf.global_variables() if "moving_variance" in v.name]
        assert [v.name for v in moving] == [
            "batch_normalization/moving_variance:0", "batch_normalization_1/moving_variance:0"
        ]  # fmt: skip
        assert not set(moving) & set(tf.trainable_variables())

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for x, y in batches((train_x, train_y.argmax(1)), 50, 4):
                _, value = sess.run([train_op, loss], {images: x, labels: y, training: True})
                losses.append(float(value))
            # `training` is False where it is not fed.
            score = sess.run(accuracy, {images: test_x, labels: test_y.argmax(1)})
            return losses, float(score), sess.run(moving[1])


def test_it_classifies_with_moving_moments(device: str) -> None:
    losses, accuracy, variance = trained(device, True)
    assert accuracy > 0.95 and np.mean(losses[-20:]) < 0.15 * np.mean(losses[:5])
    expected, _, expected_variance = trained("cpu:0", True)
    assert_same_curve(losses, expected, first=60, early=1e-3, late=1e-2)
    np.testing.assert_allclose(variance, expected_variance, rtol=0.05)


def test_without_the_updates_the_moments_stay_where_they_began() -> None:
    losses, accuracy, variance = trained("cpu:0", False)
    np.testing.assert_allclose(losses, trained("cpu:0", True)[0], rtol=1e-5)
    assert (variance == 1.0).all() and accuracy < trained("cpu:0", True)[1]
