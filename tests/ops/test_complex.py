"""Complex numbers: conversions, gradients through them, transforms there and back, messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients

import graphrun as gr
from graphrun.errors import DTypeError, FeedError


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def parts(z: Any) -> list[Any]:
    return [gr.real(z), gr.imag(z)]


B = np.array([[0.5 - 1j, 2.0 + 0.3j, -1.0 + 0.7j]])

GRADIENTS: list[Callable[[Any], Any]] = [
    lambda z: parts(z * B),
    lambda z: parts(B / z),
    lambda z: parts(z / B),
    lambda z: parts(z * z * gr.conj(z)),
    lambda z: parts(gr.square(z) - gr.exp(z)),
    lambda z: parts(gr.log(z) + gr.sqrt(z) + gr.reciprocal(z)),
    lambda z: parts(-z + gr.reduce_sum(z, 0) + gr.reduce_mean(z)),
    lambda z: [gr.abs(z), gr.angle(z)],
    lambda z: parts(gr.matmul(z, z, adjoint_b=True)),
    lambda z: parts(gr.matmul(z, B, transpose_b=True)),
    lambda z: parts(gr.fft(z)),
    lambda z: parts(gr.ifft(z)),
    lambda z: parts(gr.fft2d(z)),
    lambda z: parts(gr.gather(gr.transpose(z), [0, 2, 0])),
    lambda z: gr.spectral.irfft(z),
    lambda z: gr.cast(z * 2.0, gr.float64),
    lambda z: parts(gr.signal.rfft(gr.real(z))) + parts(gr.signal.rfft2d(gr.imag(z))),
    lambda z: gr.signal.irfft2d(z),
]


@pytest.mark.parametrize("function", GRADIENTS)
def test_gradients_with_regard_to_the_parts(function: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(0)
    re, im = rng.uniform(0.5, 2, (2, 3)), rng.uniform(-1, 1, (2, 3))

    def on_parts(a: Any, b: Any) -> Any:
        z = gr.complex(a, b)
        z.set_shape([2, 3])
        found = function(z)
        return found if isinstance(found, list) else [found]

    check_gradients(on_parts, [re, im])


def test_a_step_against_the_gradient_makes_a_loss_smaller(sess: gr.Session) -> None:
    z = gr.Variable(np.array([1.0 + 2j, -0.5 + 0.1j], np.complex64))
    target = gr.constant([0.3 - 1j, 2.0], gr.complex64)
    loss = gr.reduce_sum(gr.square(gr.abs(z - target)))
    step = z.assign_sub(0.25 * gr.gradients(loss, z)[0])
    sess.run(z.initializer)
    losses = [sess.run([loss, step])[0] for _ in range(12)]
    assert losses[-1] < 1e-5 < losses[0]
    np.testing.assert_allclose(sess.run(z), [0.3 - 1j, 2.0], atol=1e-2)


def test_transforms_agree_with_numpy(sess: gr.Session) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (2, 6, 5)).astype(np.float32)
    z = (x + 1j * rng.uniform(-1, 1, x.shape)).astype(np.complex64)
    real, whole = gr.placeholder(gr.float32, [2, 6, None]), gr.placeholder(gr.complex64, [None, 6, 5])
    known = gr.constant(x)
    pairs = [
        (gr.fft(whole), np.fft.fft(z)),
        (gr.ifft2d(whole), np.fft.ifft2(z)),
        (gr.fft3d(whole), np.fft.fftn(z)),
        (gr.spectral.rfft(real), np.fft.rfft(x)),
        (gr.spectral.rfft(known, [8]), np.fft.rfft(x, 8)),
        (gr.spectral.rfft(known, [3]), np.fft.rfft(x, 3)),
        (gr.spectral.rfft2d(real), np.fft.rfft2(x)),
        (gr.spectral.irfft(gr.spectral.rfft(known), [5]), x),
        (gr.spectral.irfft2d(gr.spectral.rfft2d(known), [6, 5]), x),
        (gr.spectral.irfft(whole), np.fft.irfft(z)),
    ]
    for got, (_, expected) in zip(sess.run([p for p, _ in pairs], {real: x, whole: z}), pairs, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_constants_feeds_and_conversions(sess: gr.Session) -> None:
    assert gr.constant(1j).dtype is gr.complex128 and gr.as_dtype(np.complex64) is gr.complex64
    x = gr.placeholder(gr.complex64, [None])
    got = sess.run([x * 2.0, x + 1j, gr.real(x), gr.cast(gr.real(x), gr.complex64)], {x: [1, 2j]})
    assert [g.dtype.name for g in got] == ["complex64", "complex64", "float32", "complex64"]
    np.testing.assert_allclose(got[1], [1 + 1j, 3j])
    assert sess.run(gr.imag(gr.constant([1.0]))).tolist() == [0]
    assert gr.conj(gr.constant(1.0)).dtype is gr.float32


def test_messages(sess: gr.Session) -> None:
    with pytest.raises(DTypeError, match="x has dtype float32"):
        gr.fft(gr.zeros([4]))
    with pytest.raises(DTypeError, match="a has dtype complex64\n.*\n.*expected a numeric dtype"):
        gr.maximum(gr.constant(1j, gr.complex64), gr.constant(1j, gr.complex64))
    with pytest.raises(FeedError, match="the value is complex"):
        x = gr.placeholder(gr.float32, [1])
        sess.run(x * 1.0, {x: [1j]})
    with pytest.raises(DTypeError, match="cannot become a constant of dtype float32"):
        gr.constant(1j, gr.float32)
