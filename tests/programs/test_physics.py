"""A network that solves a differential equation: its own second derivative is in the loss."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf


class PhysicsInformedNN:
    def __init__(self, layers, seed):
        rng = np.random.default_rng(seed)
        self.weights, self.biases = [], []
        for fan_in, fan_out in zip(layers[:-1], layers[1:], strict=True):
            std = np.sqrt(2 / (fan_in + fan_out))
            start = rng.normal(0, std, (fan_in, fan_out)).astype(np.float32)
            self.weights.append(tf.Variable(start, dtype=tf.float32))
            self.biases.append(tf.Variable(tf.zeros([1, fan_out], dtype=tf.float32), dtype=tf.float32))
        self.omega = tf.Variable([1.0], dtype=tf.float32, name="omega")
        self.x_u = tf.placeholder(tf.float32, shape=[None, 1])
        self.u = tf.placeholder(tf.float32, shape=[None, 1])
        self.x_f = tf.placeholder(tf.float32, shape=[None, 1])
        self.u_pred = self.net_u(self.x_u)
        self.f_pred = self.net_f(self.x_f)
        self.loss = tf.reduce_mean(tf.square(self.u - self.u_pred)) + 0.02 * tf.reduce_mean(
            tf.square(self.f_pred)
        )
        self.rate = tf.placeholder(tf.float32, shape=[])
        self.train_op = tf.train.AdamOptimizer(self.rate).minimize(self.loss)

    def net_u(self, x):
        H = 2.0 * x / 3.0 - 1.0
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            H = tf.tanh(tf.add(tf.matmul(H, W), b))
        return tf.add(tf.matmul(H, self.weights[-1]), self.biases[-1])

    def net_f(self, x):
        """What is left over of u'' + omega^2 u = 0."""
        u = self.net_u(x)
        u_x = tf.gradients(u, x)[0]
        u_xx = tf.gradients(u_x, x)[0]
        return u_xx + tf.square(self.omega) * u


@functools.cache
def trained(device: str) -> tuple[list[float], float, float]:
    seen = np.linspace(0, 3, 12, dtype=np.float32)[:, None]
    inside = np.linspace(0, 3, 40, dtype=np.float32)[:, None]
    with tf.Graph().as_default():
        model = PhysicsInformedNN([1, 16, 16, 1], seed=3)
        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for step in range(900):
                feed = {
                    model.x_u: seen, model.u: np.sin(2.0 * seen), model.x_f: inside,
                    model.rate: 0.01 if step < 600 else 0.002,
                }  # fmt: skip
                losses.append(float(sess.run([model.loss, model.train_op], feed)[0]))
            error = np.abs(sess.run(model.u_pred, {model.x_u: inside}) - np.sin(2.0 * inside)).max()
            return losses, float(error), float(np.abs(sess.run(model.omega)[0]))


def test_solution_and_frequency_are_found(device: str) -> None:
    losses, error, omega = trained(device)
    assert error < 0.05 and abs(omega - 2.0) < 0.1
    assert losses[-1] < 1e-2 * losses[0]
    assert_same_curve(losses, trained("cpu:0")[0], first=100, early=1e-2, late=1e-2)
