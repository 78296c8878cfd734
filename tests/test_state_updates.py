"""Updates that read what they overwrite, and long chains of views and writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


UPDATES: list[tuple[Any, Any]] = [
    (lambda v: v, lambda a: a),
    (lambda v: gr.transpose(v), lambda a: a.T),
    (lambda v: v[::-1], lambda a: a[::-1]),
    (lambda v: gr.reverse(v, [1]) + v, lambda a: a[:, ::-1] + a),
    (lambda v: v + gr.transpose(v), lambda a: a + a.T),
    (lambda v: gr.matmul(v, v), lambda a: a @ a),
    (lambda v: gr.concat([v[1:], v[:1]], 0), lambda a: np.roll(a, -1, 0)),
    (lambda v: gr.gather(v, [2, 0, 1]), lambda a: a[[2, 0, 1]]),
    (lambda v: gr.tile(v[:1], [3, 1]) * 2.0, lambda a: np.tile(a[:1], (3, 1)) * 2),
    (lambda v: v * gr.reduce_sum(v, 0), lambda a: a * a.sum(0)),
    (lambda v: gr.reshape(gr.reshape(v, [9])[::-1], [3, 3]), lambda a: a.ravel()[::-1].reshape(3, 3)),
    (lambda v: gr.ones([3, 3]), lambda a: np.ones((3, 3))),
]


@pytest.mark.parametrize("number", range(len(UPDATES)))
def test_an_update_that_reads_other_elements(sess: gr.Session, number: int) -> None:
    """Whether it may be written over the value that it reads is the compiler's business."""
    function, numpy = UPDATES[number]
    first = np.linspace(-1, 1, 9).astype(F32).reshape(3, 3)
    v = gr.Variable(first)
    put, add, old = v.assign(function(v)), v.assign_add(function(v)), v + 0.0
    sess.run(v.initializer)
    value = first.astype(np.float64)
    for _ in range(2):
        got_old, got = sess.run([old, put])
        np.testing.assert_allclose(got_old, value, rtol=1e-5, atol=1e-6)
        value = numpy(value)
        np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(sess.run(v), value, rtol=1e-5, atol=1e-6)
    sess.run(add.op)
    np.testing.assert_allclose(sess.run(v), value + numpy(value), rtol=1e-5, atol=1e-6)


def test_fibonacci(sess: gr.Session) -> None:
    a, b = gr.Variable(0, trainable=False), gr.Variable(1, trainable=False)
    step = gr.group(a.assign(b), b.assign(a + b))
    sess.run(gr.global_variables_initializer())
    assert [int(sess.run([a, step])[0]) for _ in range(10)] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]


def test_variables_without_elements(sess: gr.Session) -> None:
    v = gr.Variable(np.zeros((0, 3), F32))
    sess.run(gr.global_variables_initializer())
    sess.run(v.assign_add(np.zeros((0, 3), F32)))
    got = sess.run([v * 2.0, gr.reduce_sum(v, 0), gr.reduce_sum(v), gr.matmul(gr.transpose(v), v)])
    assert got[0].shape == (0, 3) and got[2] == 0
    np.testing.assert_array_equal(got[1], np.zeros(3))
    np.testing.assert_array_equal(got[3], np.zeros((3, 3)))


@pytest.mark.parametrize("link", [lambda t: gr.identity(t), lambda t: gr.squeeze(gr.expand_dims(t, 0), [0]),
                                  lambda t: t[::-1]], ids=["identity", "shape", "reverse"])  # fmt: skip
def test_long_chains_of_views(sess: gr.Session, link: Any) -> None:
    v = gr.Variable(np.arange(4, dtype=F32))
    y: Any = v
    for _ in range(1_200):
        y = link(y)
    sess.run(gr.global_variables_initializer())
    np.testing.assert_array_equal(sess.run(y + 1.0), [1, 2, 3, 4])


def test_long_chains_of_writes(sess: gr.Session) -> None:
    v, w = gr.Variable(0.0), gr.Variable(0.0)
    adds = [v.assign_add(1.0) for _ in range(1_500)]
    last: Any = w.assign_add(1.0)
    for _ in range(300):
        with gr.control_dependencies([last]):
            last = w.assign_add(w * 0.0 + 1.0)
    sess.run(gr.global_variables_initializer())
    sess.run(gr.group(*adds))
    assert sess.run(v) == 1_500
    assert sess.run(last) == 301
