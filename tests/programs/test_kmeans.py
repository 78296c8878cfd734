"""K-means: assign each point to the nearest centre, move each centre to the mean of its points."""

from __future__ import annotations

import numpy as np

import graphrun as tf

POINTS, CLUSTERS, STEPS = 600, 5, 25


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points around centres that are far apart, with the number of each one's centre."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [6, 0], [0, 6], [6, 6], [3, 12]], np.float32)
    labels = rng.integers(0, CLUSTERS, POINTS)
    points = centres[labels] + rng.normal(0, 0.6, (POINTS, 2))
    return points.astype(np.float32), labels, centres


def k_means(device: str) -> tuple[np.ndarray, np.ndarray, list[float]]:
    points, labels, _ = blobs()
    # One point of each cluster: how to begin is a question of its own.
    first = points[[np.flatnonzero(labels == k)[0] for k in range(CLUSTERS)]]
    with tf.Graph().as_default():
        data = tf.constant(points)
        centroids = tf.Variable(first, name="centroids")
        distances = tf.reduce_sum(
            tf.square(tf.expand_dims(data, 1) - tf.expand_dims(centroids, 0)), reduction_indices=2
        )
        nearest = tf.cast(tf.argmin(distances, 1), tf.int32)
        loss = tf.reduce_mean(tf.reduce_min(distances, 1))
        totals = tf.unsorted_segment_sum(data, nearest, CLUSTERS)
        counts = tf.unsorted_segment_sum(tf.ones([POINTS, 1]), nearest, CLUSTERS)
        update = tf.assign(centroids, totals / tf.maximum(counts, 1.0))
        with tf.Session(device=device) as session:
            session.run(tf.global_variables_initializer())
            losses = [float(session.run([loss, update])[0]) for _ in range(STEPS)]
            return *session.run([centroids, nearest]), losses


def test_k_means_finds_the_clusters(device: str) -> None:
    _, labels, centres = blobs()
    centroids, nearest, losses = k_means(device)
    assert losses[-1] < losses[0] and losses[-1] < 2 * 0.6**2 * 1.1
    assert np.mean(nearest == labels) > 0.99
    np.testing.assert_allclose(centroids, centres, atol=0.25)
    expected, _, curve = k_means("cpu:0")
    np.testing.assert_allclose(losses, curve, rtol=1e-5)
    np.testing.assert_allclose(centroids, expected, rtol=1e-4, atol=1e-5)
