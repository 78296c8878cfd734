"""The orbit of a planet: Newton's method in a while_loop until it is exact enough, with gradients."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

ECCENTRICITY, AXIS, TOLERANCE = 0.55, 1.7, 1e-5


def observed(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Times as mean anomalies, and places, by bisection of Kepler's equation M = E - e sin E."""
    mean = np.linspace(0.1, 6.1, count)
    low, high = np.zeros(count), np.full(count, 2 * np.pi)
    for _ in range(60):
        middle = (low + high) / 2
        below = middle - ECCENTRICITY * np.sin(middle) < mean
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    places = [AXIS * (np.cos(low) - ECCENTRICITY), AXIS * np.sqrt(1 - ECCENTRICITY**2) * np.sin(low)]
    return mean.astype(np.float32), np.stack(places, 1).astype(np.float32)


@functools.cache
def trained(device: str) -> tuple[list[float], float, float, list[int]]:
    mean, places = observed(32)
    with tf.Graph().as_default():
        M = tf.placeholder(tf.float32, [None], name="mean_anomaly")
        seen = tf.placeholder(tf.float32, [None, 2], name="places")
        with tf.variable_scope("orbit"):
            e = tf.sigmoid(tf.get_variable("e", [], initializer=tf.constant_initializer(-1.5)))
            axis = tf.get_variable("axis", [], initializer=tf.ones_initializer())

        def condition(i, E):
            # In the worst place; a loop whose count only the numbers know.
            return tf.logical_and(tf.reduce_max(tf.abs(E - e * tf.sin(E) - M)) > TOLERANCE, i < 30)

        def body(i, E):
            return i + 1, E - (E - e * tf.sin(E) - M) / (1.0 - e * tf.cos(E))

        count, E = tf.while_loop(condition, body, [tf.constant(0), M + e * tf.sin(M)])
        place = tf.stack([axis * (tf.cos(E) - e), axis * tf.sqrt(1.0 - e * e) * tf.sin(E)], axis=1)
        loss = tf.losses.mean_squared_error(seen, place)
        train = tf.train.AdamOptimizer(0.05).minimize(loss)

        losses, counts = [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(150):
                value, needed, _ = sess.run([loss, count, train], {M: mean, seen: places})
                losses.append(float(value))
                counts.append(int(needed))
            found_e, found_axis = sess.run([e, axis])
            return losses, float(found_e), float(found_axis), counts


def test_the_orbit_is_found(device: str) -> None:
    losses, e, axis, counts = trained(device)
    assert abs(e - ECCENTRICITY) < 5e-3 and abs(axis - AXIS) < 5e-3
    assert losses[-1] < 1e-4 * losses[0]
    # The farther from a circle, the more iterations.
    assert 0 < counts[0] < max(counts) < 10
    assert_same_curve(losses, trained("cpu:0")[0], first=60, early=1e-3, late=1e-4)
