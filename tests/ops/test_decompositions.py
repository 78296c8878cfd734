"""What decompositions give back, their gradients, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients

import graphrun as gr
from graphrun import linalg
from graphrun.errors import ExecutionError, GradientError, ShapeError


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def symmetric(x: Any) -> Any:
    return x + gr.matrix_transpose(x)


def weighted(*tensors: Any) -> Any:
    """A sum in which every entry counts differently."""
    parts = []
    for k, t in enumerate(tensors):
        weights = gr.cos(gr.cast(gr.range(gr.size(t)), gr.float64) + k)
        parts.append(gr.reduce_sum(t * gr.reshape(weights, gr.shape(t))))
    return gr.add_n(parts)


def without_signs(vectors: Any) -> Any:
    """The projections on the columns, which do not depend on the columns' signs."""
    return gr.expand_dims(vectors, -2) * gr.expand_dims(vectors, -3)


def _cholesky(x: Any) -> Any:
    return weighted(gr.cholesky(gr.matmul(x, x, transpose_b=True) + gr.eye(4, dtype=gr.float64)))


def _eigh(x: Any) -> Any:
    values, vectors = gr.self_adjoint_eig(symmetric(x))
    return weighted(values, without_signs(vectors))


def _svd(x: Any) -> Any:
    s, u, v = gr.svd(x)
    # u and v change their signs together.
    return weighted(s, without_signs(u), without_signs(v), gr.expand_dims(u, -2) * gr.expand_dims(v, -3))


def _qr(x: Any) -> Any:
    q, r = gr.qr(x)
    return weighted(q, r)


GRADIENTS: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
    (_cholesky, (4, 4)),
    (_cholesky, (2, 4, 4)),
    (lambda x: weighted(gr.self_adjoint_eigvals(symmetric(x))), (2, 3, 3)),
    (_eigh, (3, 3)),
    (lambda x: weighted(gr.svd(x, compute_uv=False)), (2, 3, 4)),
    (lambda x: weighted(gr.svd(x, full_matrices=True)[0]), (5, 3)),
    (lambda x: weighted(gr.svd(x)[0]), (5, 3)),
    (lambda x: weighted(without_signs(gr.svd(x)[1])), (4, 3)),
    (lambda x: weighted(without_signs(gr.svd(x)[2])), (3, 4)),
    (_svd, (3, 3)),
    (_svd, (5, 3)),
    (_svd, (2, 3, 4)),
    (_qr, (3, 3)),
    (_qr, (5, 3)),
    (_qr, (2, 3, 5)),
    (lambda x: weighted(gr.qr(x)[0]), (4, 3)),
    (lambda x: weighted(gr.qr(x)[1]), (4, 3)),
    (lambda x: weighted(linalg.logdet(gr.matmul(x, x, transpose_b=True))), (3, 3)),
    (lambda x: weighted(gr.matrix_solve_ls(gr.reshape(x, [5, 3]), gr.ones([5, 2], gr.float64), 0.1)), (5, 3)),
    (lambda x: weighted(gr.cross(x, x[::-1] * x)), (4, 3)),
]


@pytest.mark.parametrize("function, shape", GRADIENTS)
def test_gradients(function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    check_gradients(function, [random(*shape)])


def test_what_they_give_back() -> None:
    x = random(2, 5, 3)
    a = x.swapaxes(1, 2) @ x
    with gr.Session() as sess:
        s, u, v = sess.run(gr.svd(x))
        np.testing.assert_allclose(u * s[:, None] @ v.swapaxes(1, 2), x, atol=1e-12)
        _, full, _ = sess.run(gr.svd(x, full_matrices=True))
        np.testing.assert_allclose(
            full.swapaxes(1, 2) @ full, np.broadcast_to(np.eye(5), (2, 5, 5)), atol=1e-12
        )
        q, r = sess.run(gr.qr(x))
        np.testing.assert_allclose(q @ r, x, atol=1e-12)
        e, w = sess.run(gr.self_adjoint_eig(a))
        np.testing.assert_allclose(w * e[:, None] @ w.swapaxes(1, 2), a, atol=1e-12)
        factor = sess.run(gr.cholesky(a))
        np.testing.assert_allclose(factor @ factor.swapaxes(1, 2), a, atol=1e-12)
        rhs = random(2, 3, 4, seed=1)
        np.testing.assert_allclose(a @ sess.run(gr.cholesky_solve(factor, rhs)), rhs, atol=1e-10)
        fitted = sess.run(gr.matrix_solve_ls(x, random(2, 5, 1, seed=2)))
        expected = np.stack([np.linalg.lstsq(m, b, None)[0] for m, b in zip(x, random(2, 5, 1, seed=2))])
        np.testing.assert_allclose(fitted, expected, atol=1e-10)


def test_singular_matrices_are_told_in_the_run() -> None:
    x = gr.placeholder(gr.float32, (2, 2), name="x")
    with gr.Session() as sess:
        for y, text in (
            (gr.matrix_inverse(x, name="i"), "matrix_inverse 'i': .*: a matrix is not invertible"),
            (gr.matrix_triangular_solve(x, x, name="t"), "'t': .*: a matrix is not invertible"),
            (gr.cholesky(x, name="c"), "cholesky 'c': .*: a matrix is not positive definite"),
        ):
            with pytest.raises(ExecutionError, match=text):
                sess.run(y, {x: np.zeros((2, 2))})
        np.testing.assert_allclose(sess.run(gr.matrix_inverse(x), {x: np.eye(2) * 2}), np.eye(2) / 2)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"the matrices of x are 2 x 3\n.*\n.*expected square matrices"):
        gr.matrix_inverse(gr.zeros([2, 3]))
    with pytest.raises(ShapeError, match="x has rank 1"):
        gr.matrix_band_part(gr.zeros([3]), 0, 0)
    with pytest.raises(ShapeError, match="matrices of 3 rows, right-hand sides of 2"):
        gr.matrix_solve(gr.eye(3), gr.zeros([2, 1]))
    with pytest.raises(ShapeError, match=r"diagonal has shape \(2,\)"):
        gr.matrix_set_diag(gr.eye(3), gr.zeros([2]))


def test_gradients_that_are_not_defined() -> None:
    x = gr.placeholder(gr.float32, (4, 3))
    with pytest.raises(GradientError, match="use full_matrices=False"):
        gr.gradients(gr.svd(x, full_matrices=True)[1], x)
    with pytest.raises(GradientError, match="use full_matrices=False"):
        gr.gradients(gr.qr(x, full_matrices=True)[0], x)
