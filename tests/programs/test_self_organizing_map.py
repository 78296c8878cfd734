"""A self-organizing map: colours find their places on a grid, similar ones beside each other."""

from __future__ import annotations

import numpy as np

import graphrun as tf

SIDE, STEPS = 8, 400


def colours() -> np.ndarray:
    """Fifteen colours, each of them many times."""
    rng = np.random.default_rng(1)
    palette = rng.uniform(0, 1, (15, 3)).astype(np.float32)
    return palette[rng.integers(0, 15, STEPS)]


def trained(device: str) -> tuple[np.ndarray, list[float]]:
    """The weights of the map, and how far each colour was from the best one when it came."""
    places = np.array([[i, j] for i in range(SIDE) for j in range(SIDE)], np.float32)
    start = np.random.default_rng(0).uniform(0.4, 0.6, (SIDE * SIDE, 3)).astype(np.float32)
    with tf.Graph().as_default():
        weightage = tf.Variable(start)
        locations = tf.constant(places)
        vect_input = tf.placeholder("float", [3])
        iter_input = tf.placeholder("float")
        gaps = tf.sqrt(tf.reduce_sum(tf.pow(weightage - tf.stack([vect_input] * SIDE**2), 2), 1))
        bmu_index = tf.argmin(gaps, 0)
        slice_input = tf.pad(tf.reshape(bmu_index, [1]), np.array([[0, 1]]))
        bmu_loc = tf.reshape(tf.slice(locations, tf.cast(slice_input, tf.int32), [1, 2]), [2])
        rate = 1.0 - iter_input / STEPS
        alpha, sigma = 0.3 * rate, SIDE / 2.0 * rate + 0.3
        squares = tf.reduce_sum(tf.pow(locations - tf.stack([bmu_loc] * SIDE**2), 2), 1)
        neighbourhood = tf.exp(-squares / tf.pow(sigma, 2))
        factor = tf.expand_dims(alpha * neighbourhood, 1)
        train = tf.assign(weightage, weightage + factor * (vect_input - weightage))
        nearest = tf.reduce_min(gaps)
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            found = [
                float(sess.run([nearest, train], {vect_input: colour, iter_input: step})[0])
                for step, colour in enumerate(colours())
            ]
            return sess.run(weightage), found


def test_the_map_is_fine_and_in_order(device: str) -> None:
    weights, found = trained(device)
    assert np.mean(found[-100:]) < 0.12 < 0.2 < np.mean(found[:100])
    grid = weights.reshape(SIDE, SIDE, 3)
    beside = np.linalg.norm(np.diff(grid, axis=0), axis=-1).mean()
    pairs = np.random.default_rng(2).integers(0, SIDE**2, (2, 500))
    anywhere = np.linalg.norm(weights[pairs[0]] - weights[pairs[1]], axis=-1).mean()
    assert beside < 0.4 * anywhere
    expected, curve = trained("cpu:0")
    np.testing.assert_allclose(found, curve, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-4)
