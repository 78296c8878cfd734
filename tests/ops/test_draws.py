"""Categories, gamma and Poisson numbers: distributions, streams, shapes, messages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import ShapeError

MANY = 20_000


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    gr.set_random_seed(7)
    with gr.Session(device=device, verify=True) as session:
        yield session


def test_categories_come_as_often_as_they_should(sess: gr.Session) -> None:
    chances = np.array([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]], np.float32)
    with np.errstate(divide="ignore"):
        logits = gr.constant(np.log(chances) + 3.0)
    drawn = gr.multinomial(logits, MANY)
    assert (drawn.dtype, drawn.shape.as_list(), drawn.name) == (
        gr.int64,
        [2, MANY],
        "multinomial/Multinomial:0",
    )
    first, second = sess.run(drawn), sess.run(drawn)
    assert (first != second).any()
    for row, p in zip(first, chances, strict=True):
        found = np.bincount(row, minlength=3) / MANY
        np.testing.assert_allclose(found, p, atol=4 * 0.5 / np.sqrt(MANY))
    assert not (first[1] == 1).any()


def test_categories_of_an_open_batch_and_dtype(sess: gr.Session) -> None:
    logits = gr.placeholder(gr.float32, (None, 4))
    drawn = gr.random.categorical(logits, 1, dtype=gr.int32)
    got = sess.run(drawn, {logits: np.eye(4)[[2, 0, 3]] * 1000})
    assert got.dtype == np.int32 and got.tolist() == [[2], [0], [3]]


def test_the_same_seed_gives_the_same_draws_on_every_device(device: str) -> None:
    def drawn(name: str) -> list[np.ndarray]:
        with gr.Graph().as_default():
            gr.set_random_seed(3)
            ops = [
                gr.multinomial(gr.zeros([2, 5]), 9, seed=1),
                gr.random_gamma([4], [0.5, 2.0], seed=3),
                gr.random_poisson([3.0, 50.0], [4], seed=4),
            ]
            with gr.Session(device=name) as session:
                return session.run(ops) + session.run(ops)

    for a, b in zip(drawn(device), drawn("cpu:0"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_moments_of_gamma_and_poisson(sess: gr.Session) -> None:
    alpha, beta, lam = np.array([0.5, 4.0]), 2.0, np.array([3.0, 40.0])
    gamma, poisson = sess.run(
        [gr.random_gamma([MANY], alpha, beta, gr.float64), gr.random_poisson(lam, [MANY], gr.float64)]
    )
    np.testing.assert_allclose(gamma.mean(0), alpha / beta, rtol=0.05)
    np.testing.assert_allclose(gamma.var(0), alpha / beta**2, rtol=0.1)
    np.testing.assert_allclose(poisson.mean(0), lam, rtol=0.03)
    np.testing.assert_allclose(poisson.var(0), lam, rtol=0.06)
    assert (gamma > 0).all() and (poisson == np.floor(poisson)).all()


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"logits of shape \(3,\)"):
        gr.multinomial(gr.zeros([3]), 2)
