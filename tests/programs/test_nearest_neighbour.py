"""The nearest neighbours of handwritten digits: a vote of the k training images that differ least."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as tf


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, ...]:
    found: Any = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = (found.data / 16).astype(np.float32), found.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def test_one_image_after_another(device: str, digits: tuple[np.ndarray, ...]) -> None:
    """As the first TensorFlow courses have it: one query a run, sums of absolute differences."""
    train_x, train_y, test_x, test_y = digits
    xtr = tf.placeholder("float", [None, 64])
    xte = tf.placeholder("float", [64])
    distance = tf.reduce_sum(tf.abs(tf.add(xtr, tf.negative(xte))), reduction_indices=1)
    pred = tf.arg_min(distance, 0)
    hits = 0
    with tf.Session(device=device) as sess:
        for i in range(100):
            nearest = sess.run(pred, feed_dict={xtr: train_x, xte: test_x[i, :]})
            hits += int(train_y[nearest] == test_y[i])
    assert hits >= 96


def votes(device: str, digits: tuple[np.ndarray, ...], k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    train_x, train_y, test_x, _ = digits
    with tf.Graph().as_default():
        queries = tf.placeholder(tf.float32, [None, 64])
        known, classes = tf.constant(train_x), tf.constant(train_y)
        squares = tf.reduce_sum(known**2, 1)
        closeness = 2 * tf.matmul(queries, known, transpose_b=True) - squares
        values, places = tf.nn.top_k(closeness, k=k)
        ballots = tf.one_hot(tf.gather(classes, places), 10)
        winner = tf.argmax(tf.reduce_sum(ballots, 1), 1)
        with tf.Session(device=device) as sess:
            return sess.run([winner, values], {queries: test_x})


def test_all_at_once(device: str, digits: tuple[np.ndarray, ...]) -> None:
    winner, values = votes(device, digits)
    assert np.mean(winner == digits[3]) > 0.97
    expected, closeness = votes("cpu:0", digits)
    np.testing.assert_allclose(values, closeness, rtol=1e-4, atol=1e-4)
    assert np.mean(winner == expected) > 0.995
