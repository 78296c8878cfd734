"""A generative adversarial net on a ring of points: two optimizers, each with its own variables."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

NOISE, BATCH, STEPS, RADIUS = 8, 128, 1500, 2.0


def ring(rng: np.random.Generator, count: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, count)
    points = RADIUS * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (points + rng.normal(0, 0.05, points.shape)).astype(np.float32)


def xavier_init(size):
    return tf.random_normal(shape=size, stddev=1.0 / np.sqrt(size[0] / 2.0))


def generator(z, reuse=None):
    with tf.variable_scope("generator", reuse=reuse):
        h = tf.layers.dense(z, 32, activation=tf.nn.tanh)
        h = tf.layers.dense(h, 32, activation=tf.nn.tanh)
        return tf.layers.dense(h, 2)


def discriminator(x, reuse=False):
    with tf.variable_scope("discriminator") as scope:
        if reuse:
            scope.reuse_variables()
        w = tf.get_variable("w", [2, 48], initializer=tf.random_normal_initializer(stddev=0.7))
        b = tf.get_variable("b", [48], initializer=tf.constant_initializer(0.0))
        h = tf.nn.leaky_relu(tf.matmul(x, w) + b, alpha=0.2)
        h = tf.layers.dense(h, 48, activation=lambda t: tf.maximum(0.2 * t, t), name="hidden")
        logit = tf.layers.dense(h, 1, name="logit")
        return tf.nn.sigmoid(logit), logit


@functools.cache
def trained(device: str) -> tuple[list[float], list[float], np.ndarray]:
    rng = np.random.default_rng(0)
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        X = tf.placeholder(tf.float32, shape=[None, 2], name="X")
        Z = tf.placeholder(tf.float32, shape=[None, NOISE], name="Z")
        G_sample = generator(Z)
        D_real, D_logit_real = discriminator(X)
        _, D_logit_fake = discriminator(G_sample, reuse=True)

        def cross_entropy(logits, labels):
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=labels))

        D_loss = cross_entropy(D_logit_real, 0.9 * tf.ones_like(D_logit_real)) + cross_entropy(
            D_logit_fake, tf.zeros_like(D_logit_fake)
        )
        G_loss = cross_entropy(D_logit_fake, tf.ones_like(D_logit_fake))
        t_vars = tf.trainable_variables()
        theta_D = [var for var in t_vars if "discriminator" in var.name]
        theta_G = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="generator")
        assert (len(theta_D), len(theta_G)) == (6, 6) and not set(theta_D) & set(theta_G)
        D_solver = tf.train.AdamOptimizer(2e-3, beta1=0.5).minimize(D_loss, var_list=theta_D)
        G_solver = tf.train.AdamOptimizer(1e-3, beta1=0.5).minimize(G_loss, var_list=theta_G)

        d_losses, g_losses = [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            before = sess.run(theta_G)
            noise = rng.uniform(-1.0, 1.0, size=[BATCH, NOISE])
            sess.run(D_solver, feed_dict={X: ring(rng, BATCH), Z: noise})
            for one, two in zip(before, sess.run(theta_G), strict=True):
                np.testing.assert_array_equal(one, two)  # the discriminator's step is its own
            for _ in range(STEPS):
                noise = rng.uniform(-1.0, 1.0, size=[BATCH, NOISE])
                _, d = sess.run([D_solver, D_loss], feed_dict={X: ring(rng, BATCH), Z: noise})
                _, g = sess.run([G_solver, G_loss], feed_dict={Z: rng.uniform(-1.0, 1.0, [BATCH, NOISE])})
                d_losses.append(float(d))
                g_losses.append(float(g))
            points = sess.run(G_sample, {Z: np.random.default_rng(5).uniform(-1, 1, [500, NOISE])})
            return d_losses, g_losses, points


def test_points_come_to_lie_on_the_ring(device: str) -> None:
    d_losses, g_losses, points = trained(device)
    radius = np.linalg.norm(points, axis=1)
    assert abs(np.median(radius) - RADIUS) < 0.25
    assert np.mean(np.abs(radius - RADIUS) < 0.5) > 0.8
    # All around: points in each of eight sectors.
    sectors = np.floor((np.arctan2(points[:, 1], points[:, 0]) + np.pi) / (np.pi / 4)).astype(int) % 8
    assert len(set(sectors.tolist())) >= 6
    expected_d, expected_g, _ = trained("cpu:0")
    # A unit at the kink of its activation takes one side or the other by rounding, and the nets part there.
    assert_same_curve(d_losses[:300], expected_d[:300], first=50, early=1e-4, late=5e-2)
    assert_same_curve(g_losses[:300], expected_g[:300], first=50, early=1e-4, late=5e-2)
