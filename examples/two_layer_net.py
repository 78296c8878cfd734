"""A two-layer network on random data, in the three stages in which Stanford's CS231n teaches static graphs.

1. The gradients are tensors of the graph; the weights live in NumPy, are fed, and are updated by hand.
2. The weights are variables in the session and are updated by assignments in the graph: nothing but the
   loss comes back.
3. An optimizer makes the gradients and the assignments.

    python examples/two_layer_net.py [--device opencl:0] [--steps 50]
"""

from __future__ import annotations

import argparse

import numpy as np

import graphrun as tf

N, D, H = 64, 1000, 100
LEARNING_RATE = 1e-5


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, D), np.float32), rng.standard_normal((N, D), np.float32)


def weights_in_numpy(device, steps):
    x = tf.placeholder(tf.float32, shape=(N, D))
    y = tf.placeholder(tf.float32, shape=(N, D))
    w1 = tf.placeholder(tf.float32, shape=(D, H))
    w2 = tf.placeholder(tf.float32, shape=(H, D))

    h = tf.maximum(tf.matmul(x, w1), 0)
    y_pred = tf.matmul(h, w2)
    diff = y_pred - y
    loss = tf.reduce_mean(tf.reduce_sum(diff**2, axis=1))
    grad_w1, grad_w2 = tf.gradients(loss, [w1, w2])

    rng = np.random.default_rng(1)
    x_values, y_values = data()
    values = {
        x: x_values,
        y: y_values,
        w1: rng.standard_normal((D, H), np.float32),
        w2: rng.standard_normal((H, D), np.float32),
    }
    losses = []
    with tf.Session(device=device) as sess:
        for _ in range(steps):
            loss_value, g1, g2 = sess.run([loss, grad_w1, grad_w2], feed_dict=values)
            values[w1] -= LEARNING_RATE * g1
            values[w2] -= LEARNING_RATE * g2
            losses.append(loss_value)
    return losses


def weights_in_the_graph(device, steps):
    x = tf.placeholder(tf.float32, shape=(N, D))
    y = tf.placeholder(tf.float32, shape=(N, D))
    w1 = tf.Variable(tf.random_normal((D, H), seed=1))
    w2 = tf.Variable(tf.random_normal((H, D), seed=2))

    h = tf.maximum(tf.matmul(x, w1), 0)
    y_pred = tf.matmul(h, w2)
    diff = y_pred - y
    loss = tf.reduce_mean(tf.reduce_sum(diff**2, axis=1))
    grad_w1, grad_w2 = tf.gradients(loss, [w1, w2])

    new_w1 = w1.assign(w1 - LEARNING_RATE * grad_w1)
    new_w2 = w2.assign(w2 - LEARNING_RATE * grad_w2)
    updates = tf.group(new_w1, new_w2)

    x_values, y_values = data()
    losses = []
    with tf.Session(device=device) as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(steps):
            loss_value, _ = sess.run([loss, updates], feed_dict={x: x_values, y: y_values})
            losses.append(loss_value)
    return losses


def with_an_optimizer(device, steps):
    x = tf.placeholder(tf.float32, shape=(N, D))
    y = tf.placeholder(tf.float32, shape=(N, D))
    w1 = tf.Variable(tf.random_normal((D, H), seed=1))
    w2 = tf.Variable(tf.random_normal((H, D), seed=2))

    h = tf.maximum(tf.matmul(x, w1), 0)
    y_pred = tf.matmul(h, w2)
    diff = y_pred - y
    loss = tf.reduce_mean(tf.reduce_sum(diff**2, axis=1))

    optimizer = tf.train.GradientDescentOptimizer(LEARNING_RATE)
    updates = optimizer.minimize(loss)

    x_values, y_values = data()
    losses = []
    with tf.Session(device=device) as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(steps):
            loss_value, _ = sess.run([loss, updates], feed_dict={x: x_values, y: y_values})
            losses.append(loss_value)
    return losses


STAGES = {
    "weights in NumPy": weights_in_numpy,
    "weights in the graph": weights_in_the_graph,
    "an optimizer": with_an_optimizer,
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", help="as cpu:0 (NumPy) or opencl:0")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args(argv)
    curves = {}
    for name, stage in STAGES.items():
        with tf.Graph().as_default():
            curves[name] = stage(arguments.device, arguments.steps)
        print(f"{name:<22} loss {curves[name][0]:>14,.0f} -> {curves[name][-1]:>10,.0f}")
    return curves


if __name__ == "__main__":
    main()
