"""A residual net of tf.layers: batch normalization with update operations, strided blocks."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

WEIGHT_DECAY = 1e-4


def batch_norm_relu(inputs, is_training, name):
    inputs = tf.layers.batch_normalization(
        inputs=inputs, axis=3, momentum=0.9, epsilon=1e-5, center=True, scale=True, training=is_training,
        fused=True, name=name,
    )  # fmt: skip
    return tf.nn.relu(inputs)


def conv(inputs, filters, kernel_size, strides, name):
    return tf.layers.conv2d(
        inputs=inputs, filters=filters, kernel_size=kernel_size, strides=strides, padding="SAME",
        use_bias=False, kernel_initializer=tf.variance_scaling_initializer(scale=2.0),
        kernel_regularizer=lambda w: WEIGHT_DECAY * tf.nn.l2_loss(w), name=name,
    )  # fmt: skip


def building_block(inputs, filters, is_training, strides, name):
    with tf.variable_scope(name):
        shortcut = inputs
        inputs = batch_norm_relu(inputs, is_training, "preact")
        if strides != 1 or shortcut.get_shape()[-1].value != filters:
            shortcut = conv(inputs, filters, 1, strides, "shortcut")
        inputs = conv(inputs, filters, 3, strides, "conv1")
        inputs = batch_norm_relu(inputs, is_training, "bn")
        inputs = conv(inputs, filters, 3, 1, "conv2")
        return inputs + shortcut


def network(images, is_training):
    with tf.variable_scope("resnet", reuse=tf.AUTO_REUSE):
        x = conv(images, 8, 3, 1, "initial_conv")
        x = building_block(x, 8, is_training, 1, "block1")
        x = building_block(x, 16, is_training, 2, "block2")
        x = building_block(x, 32, is_training, 2, "block3")
        x = batch_norm_relu(x, is_training, "final")
        x = tf.reduce_mean(x, [1, 2], keep_dims=True)
        x = tf.squeeze(x, axis=[1, 2])
        return tf.layers.dense(inputs=x, units=10, name="logits")


@functools.cache
def trained(device: str) -> tuple[list[float], float, dict[str, np.ndarray]]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        x = tf.placeholder(tf.float32, [None, 8, 8, 1])
        y = tf.placeholder(tf.int64, [None])
        is_training = tf.placeholder(tf.bool, name="is_training")
        logits = network(x, is_training)

        cross_entropy = tf.losses.sparse_softmax_cross_entropy(labels=y, logits=logits)
        loss = cross_entropy + tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
        global_step = tf.train.get_or_create_global_step()
        rate = tf.train.piecewise_constant(global_step, [90, 120], [0.05, 0.02, 0.005])
        optimizer = tf.train.MomentumOptimizer(learning_rate=rate, momentum=0.9)
        update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        assert len(update_ops) == 2 * 7
        with tf.control_dependencies(update_ops):
            train_op = optimizer.minimize(loss, global_step)
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, axis=1), y), tf.float32))

        names = [v.op.name for v in tf.trainable_variables()]
        assert "resnet/block2/shortcut/kernel" in names and "resnet/block1/bn/gamma" in names
        moving = [v for v in tf.global_variables() if "moving_" in v.name]
        assert len(moving) == 14 and not set(moving) & set(tf.trainable_variables())

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for images, labels in batches((train_x, train_y.argmax(1)), 50, 5):
                feed = {x: images.reshape([-1, 8, 8, 1]), y: labels, is_training: True}
                losses.append(float(sess.run([cross_entropy, train_op], feed_dict=feed)[0]))
            feed = {x: test_x.reshape([-1, 8, 8, 1]), y: test_y.argmax(1), is_training: False}
            score = float(sess.run(accuracy, feed_dict=feed))
            return losses, score, {v.op.name: v.eval(sess) for v in moving}


def test_digits_are_recognised_with_moving_averages(device: str) -> None:
    losses, accuracy, moving = trained(device)
    assert accuracy > 0.96
    assert np.mean(losses[-20:]) < 0.05 * np.mean(losses[:5])
    expected, _, averages = trained("cpu:0")
    assert_same_curve(losses, expected, first=50, early=1e-3, late=1e-2)
    for name, value in averages.items():
        assert not np.array_equal(value, np.zeros_like(value)), name
        np.testing.assert_allclose(moving[name], value, rtol=0.05, atol=0.05, err_msg=name)
