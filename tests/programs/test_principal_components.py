"""Principal components: by singular values, by eigenvalues of the covariance, and by powers of it."""

from __future__ import annotations

import numpy as np

import graphrun as tf

ROWS, WIDTH, KEPT = 300, 12, 3


def data() -> np.ndarray:
    """Three directions with much variance, in noise."""
    rng = np.random.default_rng(0)
    factors = rng.normal(0, 1, (ROWS, KEPT)) * [5.0, 3.0, 2.0]
    turn = np.linalg.qr(rng.normal(0, 1, (WIDTH, KEPT)))[0]
    return (factors @ turn.T + rng.normal(0, 0.1, (ROWS, WIDTH)) + 1.0).astype(np.float32)


def components(device: str) -> dict[str, np.ndarray]:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, WIDTH])
        centred = x - tf.reduce_mean(x, 0, keepdims=True)
        singular, _, v = tf.svd(centred)
        covariance = tf.matmul(centred, centred, transpose_a=True) / tf.cast(tf.shape(x)[0] - 1, tf.float32)
        values, vectors = tf.self_adjoint_eig(covariance)
        # Powers of the covariance, made orthonormal again after each step.
        basis = tf.constant(np.eye(WIDTH, KEPT, dtype=np.float32))
        for _ in range(30):
            basis, _ = tf.qr(tf.matmul(covariance, basis))
        scores = tf.matmul(centred, v[:, :KEPT])
        back = tf.matmul(scores, v[:, :KEPT], transpose_b=True) + tf.reduce_mean(x, 0)
        projections = {
            "svd": tf.matmul(v[:, :KEPT], v[:, :KEPT], transpose_b=True),
            "eig": tf.matmul(vectors[:, -KEPT:], vectors[:, -KEPT:], transpose_b=True),
            "powers": tf.matmul(basis, basis, transpose_b=True),
        }
        fetches = {
            **projections, "variance": singular**2 / (ROWS - 1), "eigenvalues": tf.reverse(values, [0]),
            "error": tf.reduce_mean(tf.square(back - x)),
        }  # fmt: skip
        with tf.Session(device=device) as sess:
            return sess.run(fetches, {x: data()})


def test_three_ways_to_the_same_components(device: str) -> None:
    found = components(device)
    for way in ("eig", "powers"):
        np.testing.assert_allclose(found[way], found["svd"], atol=2e-4)
    np.testing.assert_allclose(found["variance"], found["eigenvalues"], rtol=1e-3, atol=1e-3)
    assert found["variance"][:KEPT].sum() / found["variance"].sum() > 0.99
    assert found["error"] < 0.012
    centred = data().astype(np.float64) - data().mean(0)
    exact = np.linalg.svd(centred)[2][:KEPT]
    np.testing.assert_allclose(found["svd"], exact.T @ exact, atol=1e-4)
    expected = components("cpu:0")
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
