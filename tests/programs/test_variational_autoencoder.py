"""A variational autoencoder: the sample of the code is reparametrized, and a decoder shares its variables."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf

latent_dim = 4


def encoder(x):
    with tf.variable_scope("encoder", reuse=tf.AUTO_REUSE):
        h = tf.layers.dense(x, 64, activation=tf.nn.elu, name="fc1")
        params = tf.layers.dense(h, 2 * latent_dim, name="fc2")
        mean, stddev_raw = tf.split(params, num_or_size_splits=2, axis=1)
        return mean, 1e-6 + tf.nn.softplus(stddev_raw)


def decoder(z):
    with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
        h = tf.layers.dense(z, 64, activation=tf.nn.elu, name="fc1")
        return tf.layers.dense(h, 64, activation=None, name="fc2")


@functools.cache
def trained(device: str) -> tuple[list[float], float, np.ndarray]:
    train_x, _, test_x, _ = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(5)
        x = tf.placeholder(tf.float32, shape=[None, 64], name="x")
        z = tf.placeholder_with_default(
            tf.random_normal([16, latent_dim], seed=9), [None, latent_dim], name="z"
        )
        mu, sigma = encoder(x)
        eps = tf.random_normal(shape=tf.shape(mu), mean=0.0, stddev=1.0, dtype=tf.float32)
        logits = decoder(mu + sigma * eps)
        samples = tf.sigmoid(decoder(z))

        likelihood = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=x), axis=1)
        divergence = 0.5 * tf.reduce_sum(
            tf.square(mu) + tf.square(sigma) - tf.log(1e-8 + tf.square(sigma)) - 1, [1]
        )
        loss = tf.reduce_mean(likelihood + divergence)
        train_op = tf.train.AdamOptimizer(0.005, beta1=0.9, beta2=0.999, epsilon=1e-8).minimize(loss)
        assert len(tf.trainable_variables()) == 8  # the second decoder made none

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for (batch,) in batches((train_x,), 100, 30):
                losses.append(float(sess.run([train_op, loss], feed_dict={x: batch})[1]))
            kl = float(sess.run(tf.reduce_mean(divergence), {x: test_x}))
            generated = sess.run(samples)
            assert not np.array_equal(generated, sess.run(samples))
            codes, again = sess.run([mu, samples], {x: test_x, z: np.zeros((1, latent_dim))})
            assert codes.shape == (len(test_x), latent_dim) and again.shape == (1, 64)
            return losses, kl, generated


def test_the_bound_rises_and_samples_look_like_digits(device: str) -> None:
    losses, divergence, generated = trained(device)
    images = digits().train_x
    # By pixel, the best that one image for all could do: the entropy of the mean.
    mean = images.mean(0).astype(np.float64).clip(1e-6, 1 - 1e-6)
    entropy = -np.sum(mean * np.log(mean) + (1 - mean) * np.log(1 - mean))
    assert np.mean(losses[-14:]) < entropy - 2.0
    assert 2.0 < divergence < 12.0

    # Each sample is nearer to some digit than noise of the same kind is.
    def nearest(rows: np.ndarray) -> float:
        return float(np.mean(np.min(((rows[:, None] - images[None]) ** 2).mean(-1), axis=1)))

    shuffled = np.random.default_rng(0).permuted(generated, axis=1)
    assert nearest(generated) < 0.4 * nearest(shuffled)
    expected, _, samples = trained("cpu:0")
    assert_same_curve(losses, expected, first=50, early=1e-4, late=1e-3)
    np.testing.assert_allclose(generated, samples, atol=0.02)
