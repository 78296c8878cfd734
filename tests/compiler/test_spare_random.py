"""Random programs with less and less memory: the results stay, or the limit is said to be too low."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compiler.programs import assert_same_bits
from compiler.run_plan import STYLES, compile_for, new_store, run_plan, target

import graphrun as gr
from graphrun.compiler.limit import memory_limit, needed_bytes
from graphrun.runtime.devices import get_device
from graphrun.runtime.executor import BoundPlan

ROWS, COLUMNS = 24, 32
SHARES = (0.8, 0.6, 0.45, 0.3)


def _program(seed: int) -> tuple[Any, list[Any]]:
    """Values of each other, then gradients of all: what is made early is read late."""
    rng = np.random.default_rng(seed)
    gr.set_random_seed(seed)
    x = gr.placeholder(gr.float32, (ROWS, COLUMNS), name="x")
    w = gr.constant((rng.standard_normal((COLUMNS, COLUMNS)) / 6).astype(np.float32), name="w")
    pool = [x]
    makers = [
        lambda a, b: gr.tanh(a) * b, lambda a, b: a + gr.sigmoid(b), lambda a, b: gr.matmul(a, w) + b,
        lambda a, b: gr.nn.softmax(a) - b,
        lambda a, b: gr.reshape(gr.reshape(a, [-1]) * 0.5, [ROWS, COLUMNS]),
        lambda a, b: gr.transpose(gr.sin(gr.transpose(a))), lambda a, b: a - gr.reduce_mean(b, 0),
        lambda a, b: gr.concat([a[:, :8], b[:, 8:]], 1), lambda a, b: gr.nn.relu(a) * gr.reduce_max(b),
        lambda a, b: a * gr.random_uniform([ROWS, COLUMNS]),
        lambda a, b: gr.where(a > b, a, gr.exp(-gr.abs(b))),
        lambda a, b: gr.add_n(gr.split(gr.concat([a, b], 0), 2)),
    ]  # fmt: skip
    for _ in range(18):
        a, b = (pool[-1 - min(int(rng.exponential(2)), len(pool) - 1)] for _ in range(2))
        pool.append(makers[int(rng.integers(len(makers)))](a, b))
    loss = gr.reduce_mean(gr.square(pool[-1])) + gr.reduce_sum(pool[int(rng.integers(2, 18))]) * 0.01
    return x, [loss, *(g for g in gr.gradients(loss, [x, w]) if g is not None)]


def _value(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((ROWS, COLUMNS)).astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_on_numpy(seed: int) -> None:
    x, fetches = _program(seed)
    feeds = {x: _value(seed)}
    plan = compile_for("numpy", fetches, feeds).plan
    want = list(BoundPlan(plan, new_store(), get_device).run([feeds[x]]))
    kept = 0
    for share in SHARES:
        limit = int(share * needed_bytes(plan, "cpu:0"))
        try:
            less = compile_for(target("numpy", memory=memory_limit(limit, True)), fetches, feeds).plan
        except gr.errors.MemoryLimitError as error:
            assert f"memory_limit of {limit:,}" in str(error)
            continue
        assert needed_bytes(less, "cpu:0") <= limit
        kept += 1
        for got, expected in zip(BoundPlan(less, new_store(), get_device).run([feeds[x]]), want, strict=True):
            assert_same_bits(np.asarray(got), np.asarray(expected))
    assert kept, "four fifths are always enough"


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", [1, 4])
def test_on_devices(seed: int, style: str) -> None:
    x, fetches = _program(seed)
    feeds = {x: _value(seed)}
    where = target(style)
    want = run_plan(where, fetches, feeds)
    needed = needed_bytes(compile_for(where, fetches, feeds).plan, where.default)
    for share in SHARES:
        told = replace(where, memory=memory_limit(int(share * needed), True), obstacles={})
        try:
            found = run_plan(told, fetches, feeds)
        except gr.errors.MemoryLimitError:
            continue
        for got, expected in zip(found, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
