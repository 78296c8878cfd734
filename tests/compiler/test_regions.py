"""Regions: no circle, whatever the program looks like, and not much time for many nodes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from compiler.run_plan import compile_for, run_plan
from tolerances import assert_close

import graphrun as gr


def _random_program(seed: int, count: int) -> tuple[list[gr.Tensor], dict[gr.Tensor, np.ndarray]]:
    """Values of one size in several shapes, mixed by what fuses and by what does not."""
    rng = np.random.default_rng(seed)
    feeds = {gr.placeholder(gr.float32, (8, 8)): rng.uniform(-1, 1, (8, 8)).astype("f") for _ in range(3)}
    values: list[gr.Tensor] = list(feeds)
    for _ in range(count):
        recent = values[-12:]
        a, b = (recent[int(i)] for i in rng.integers(0, len(recent), 2))
        kind = rng.integers(0, 9)
        if kind < 3:
            y = (a + b) * 0.5
        elif kind == 3:
            y = gr.tanh(a)
        elif kind == 4:
            y = gr.matmul(a, b) * 0.3
        elif kind == 5:
            y = a - gr.reduce_max(b, 1, keepdims=True)
        elif kind == 6:
            y = gr.transpose(a) * b
        elif kind == 7:
            y = gr.reshape(gr.reshape(a, [4, 16]) * gr.constant(np.linspace(0, 1, 16, dtype="f")), [8, 8])
        else:
            y = gr.nn.softmax(gr.reduce_mean(a, 0) + b)
        values.append(gr.tanh(y) if rng.random() < 0.2 else y)
    fetches = [values[int(i)] for i in rng.integers(3, len(values), 4)]
    return [*fetches, values[-1]], feeds


@pytest.mark.opencl
@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed: int) -> None:
    fetches, feeds = _random_program(seed, 30)
    expected = run_plan("numpy", fetches, feeds)
    for e, found in zip(expected, run_plan("loops", fetches, feeds), strict=True):
        assert_close(found, e, 64)


@pytest.mark.parametrize("seed", range(25, 85))
def test_random_programs_have_no_circle(seed: int) -> None:
    fetches, feeds = _random_program(seed, 40 + 10 * seed)
    assert compile_for("null", fetches, feeds).plan.launches


def test_many_nodes_take_little_time() -> None:
    """Ten times as long as it takes; what is squared in the number of nodes takes much longer."""
    fetches, feeds = _random_program(0, 3000)
    started = time.perf_counter()
    compile_for("null", fetches, feeds)
    assert time.perf_counter() - started < 40
