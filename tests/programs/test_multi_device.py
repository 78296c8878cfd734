"""Towers on several devices in one graph: variables and averaged gradients are on the CPU."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from program_data import assert_same_curve, batches, digits

import graphrun as tf


def variable_on_cpu(name, shape, initializer):
    with tf.device("/cpu:0"):
        return tf.get_variable(name, shape, initializer=initializer, dtype=tf.float32)


def tower_loss(scope, images, labels):
    with tf.variable_scope("local1"):
        weights = variable_on_cpu("weights", [64, 48], tf.glorot_uniform_initializer(seed=1))
        biases = variable_on_cpu("biases", [48], tf.constant_initializer(0.1))
        local1 = tf.nn.relu(tf.matmul(images, weights) + biases, name="local1")
        decay = tf.multiply(tf.nn.l2_loss(weights), 1e-4, name="weight_loss")
        tf.add_to_collection("losses", decay)
    with tf.variable_scope("softmax_linear"):
        weights = variable_on_cpu("weights", [48, 10], tf.glorot_uniform_initializer(seed=2))
        biases = variable_on_cpu("biases", [10], tf.constant_initializer(0.0))
        logits = tf.add(tf.matmul(local1, weights), biases, name="logits")
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    tf.add_to_collection("losses", tf.reduce_mean(cross_entropy, name="cross_entropy"))
    # Of this tower alone.
    losses = tf.get_collection("losses", scope)
    assert len(losses) == 2
    return tf.add_n(losses, name="total_loss")


def average_gradients(tower_grads):
    average_grads = []
    for grad_and_vars in zip(*tower_grads, strict=True):
        grads = [tf.expand_dims(g, 0) for g, _ in grad_and_vars]
        grad = tf.reduce_mean(tf.concat(axis=0, values=grads), 0)
        average_grads.append((grad, grad_and_vars[0][1]))
    return average_grads


@functools.cache
def trained(towers: tuple[str, ...]) -> tuple[list[float], float, str]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default(), tf.device("/cpu:0"):
        x = tf.placeholder(tf.float32, [None, 64], name="x")
        y = tf.placeholder(tf.int64, [None], name="y")
        global_step = tf.get_variable(
            "global_step", [], initializer=tf.constant_initializer(0), trainable=False
        )
        opt = tf.train.GradientDescentOptimizer(tf.train.exponential_decay(0.4, global_step, 100, 0.8))
        tower_grads, tower_losses = [], []
        split_x, split_y = tf.split(x, len(towers)), tf.split(y, len(towers))
        with tf.variable_scope(tf.get_variable_scope()):
            for i, device in enumerate(towers):
                with tf.device(device), tf.name_scope(f"tower_{i}") as scope:
                    loss = tower_loss(scope, split_x[i], split_y[i])
                    tf.get_variable_scope().reuse_variables()
                    tower_grads.append(opt.compute_gradients(loss))
                    tower_losses.append(loss)
        assert len(tf.trainable_variables()) == 4
        train_op = opt.apply_gradients(average_gradients(tower_grads), global_step=global_step)
        loss = tf.reduce_mean(tf.stack(tower_losses))
        logits = tf.get_default_graph().get_tensor_by_name("tower_0/softmax_linear/logits:0")

        losses = []
        config = tf.ConfigProto(allow_soft_placement=True, log_device_placement=False)
        with tf.Session(config=config) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys in batches((train_x, train_y.argmax(1)), 100, 12):
                losses.append(float(sess.run([loss, train_op], {x: xs, y: ys})[0]))
            found = sess.run(logits, {split_x[0]: test_x})
            plan = str(sess.plan([loss, train_op], {x: xs, y: ys}))
        return losses, float(np.mean(found.argmax(1) == test_y.argmax(1))), plan


def test_two_towers_on_the_cpu_train_as_one() -> None:
    losses, accuracy, _ = trained(("/cpu:0", "/cpu:0"))
    assert accuracy > 0.93 and np.mean(losses[-10:]) < 0.2 * losses[0]
    assert_same_curve(losses, trained(("/cpu:0",))[0], first=60, early=1e-4, late=1e-3)


@pytest.mark.opencl
def test_a_tower_on_the_cpu_and_one_on_a_device() -> None:
    losses, accuracy, plan = trained(("/cpu:0", "/gpu:0"))
    assert accuracy > 0.93
    assert "opencl:0" in plan and "cpu:0" in plan
    assert_same_curve(losses, trained(("/cpu:0", "/cpu:0"))[0], first=60, early=1e-4, late=1e-3)
