"""Depthwise-separable convolutions, as small nets for telephones have them, with a decaying rate."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def depthwise_block(inputs, filters, stride, training, scope):
    """3x3 in each channel, then 1x1 across channels; both normalized, relu6 behind both."""
    with tf.variable_scope(scope):
        channels = inputs.get_shape()[-1].value
        kernel = tf.get_variable(
            "depthwise_weights", shape=[3, 3, channels, 1], dtype=tf.float32,
            initializer=tf.truncated_normal_initializer(mean=0.0, stddev=0.3),
        )  # fmt: skip
        x = tf.nn.depthwise_conv2d(inputs, kernel, strides=[1, stride, stride, 1], padding="SAME")
        x = tf.nn.relu6(tf.layers.batch_normalization(x, training=training, momentum=0.9))
        x = tf.layers.conv2d(
            x, filters, [1, 1], strides=(1, 1), padding="valid", use_bias=False, activation=None,
            kernel_initializer=tf.glorot_uniform_initializer(), name="pointwise",
        )  # fmt: skip
        return tf.nn.relu6(tf.layers.batch_normalization(x, training=training, momentum=0.9))


@functools.cache
def trained(device: str) -> tuple[list[float], float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(11)
        images = tf.placeholder(dtype=tf.float32, shape=[None, 8, 8, 1], name="images")
        labels = tf.placeholder(dtype=tf.float32, shape=[None, 10], name="labels")
        training = tf.placeholder_with_default(False, shape=[], name="training")

        x = tf.layers.conv2d(
            inputs=images, filters=16, kernel_size=[3, 3], padding="same", activation=tf.nn.relu
        )
        x = depthwise_block(x, 24, 2, training, "block_1")
        x = tf.layers.separable_conv2d(
            x, 32, (3, 3), padding="SAME", depth_multiplier=1, activation=tf.nn.relu, name="separable"
        )
        x = depthwise_block(x, 48, 2, training, "block_2")
        x = tf.layers.average_pooling2d(x, pool_size=[2, 2], strides=[2, 2])
        x = tf.layers.dropout(tf.layers.flatten(x), rate=0.1, training=training)
        logits = tf.layers.dense(x, units=10)

        loss = tf.losses.softmax_cross_entropy(onehot_labels=labels, logits=logits)
        global_step = tf.Variable(0, trainable=False)
        learning_rate = tf.train.exponential_decay(0.01, global_step, 50, 0.7, staircase=True)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = tf.train.AdamOptimizer(learning_rate).minimize(loss, global_step=global_step)
        hits = tf.nn.in_top_k(predictions=logits, targets=tf.argmax(labels, 1), k=1)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        names = {v.name: v.shape.as_list() for v in tf.trainable_variables()}
        assert names["block_1/depthwise_weights:0"] == [3, 3, 16, 1]
        assert names["separable/depthwise_kernel:0"] == [3, 3, 24, 1]
        assert names["separable/pointwise_kernel:0"] == [1, 1, 24, 32]

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for batch_x, batch_y in batches((train_x.reshape([-1, 8, 8, 1]), train_y), 50, 6):
                feed = {images: batch_x, labels: batch_y, training: True}
                losses.append(float(sess.run((loss, train), feed)[0]))
            np.testing.assert_allclose(learning_rate.eval(), 0.01 * 0.7**3, rtol=1e-5)
            return losses, accuracy.eval({images: test_x.reshape([-1, 8, 8, 1]), labels: test_y})


def test_digits_are_recognised(device: str) -> None:
    losses, accuracy = trained(device)
    assert accuracy > 0.95
    assert np.mean(losses[-10:]) < 0.1 * np.mean(losses[:3])
    assert_same_curve(losses, trained("cpu:0")[0], first=30, early=1e-3, late=5e-2)
