"""Kernels that a device has are not built again for another plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.runtime import kernel_set
from graphrun.runtime.devices import get_device
from graphrun.runtime.kernel_set import KernelSet, Known

pytestmark = pytest.mark.opencl


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are built, on a device that knows no kernels yet."""
    device = get_device("opencl:0")
    monkeypatch.setattr(device, "known_kernels", {})
    sources: list[str] = []
    real = device.build

    def build(source: str, options: Any = ()) -> Any:
        sources.append(source)
        return real(source, options)

    monkeypatch.setattr(device, "build", build)
    return sources


def kernels_in(source: str) -> int:
    return source.count("__kernel void")


def net(rows: int | None = None):
    x = gr.placeholder(gr.float32, (rows, 6), name="x")
    w = gr.Variable(np.full((6, 5), 0.1, np.float32))
    h = gr.tanh(gr.matmul(x, w))
    return x, [gr.reduce_sum(h, 0), gr.nn.softmax(h), gr.exp(h) + x[:, :5], gr.cumsum(h, 0)]


def test_another_batch_size_or_fetch_builds_what_is_new_alone(built: list[str]) -> None:
    with gr.Graph().as_default(), gr.Session(device="opencl:0") as sess:
        x, y = net()
        more = gr.sort(x, 1)
        sess.run(gr.global_variables_initializer())
        rng = np.random.default_rng(0)

        def check(rows: int, *others: Any) -> dict[str, str]:
            feed = rng.random((rows, 6), np.float32)
            h = np.tanh(feed @ np.full((6, 5), 0.1, np.float32))
            got = sess.run([*y, *others], {x: feed})
            soft = np.exp(h) / np.exp(h).sum(1, keepdims=True)
            for g, want in zip(got, [h.sum(0), soft, np.exp(h) + feed[:, :5], h.cumsum(0)], strict=False):
                np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-5)
            return list(sess._plans.values())[-1].bound.plan.kernels["opencl:0"]

        del built[:]
        first = check(16)
        assert len(built) == 1 and kernels_in(built[0]) >= len(first) > 3
        assert check(15) == check(14) == first and len(built) == 1, "the same kernels do for another size"
        texts = check(16, more)
        new = {n: t for n, t in texts.items() if n not in first}
        assert len(built) == 2 and new and all(t in built[1] for t in new.values())
        assert not any(t in built[1] for t in first.values())


def test_a_plan_with_little_in_common_has_its_own_program(built: list[str]) -> None:
    with gr.Graph().as_default(), gr.Session(device="opencl:0") as sess:
        x, y = net(8)
        feed = np.ones((8, 6), np.float32)
        sess.run(gr.global_variables_initializer())
        sess.run(y[0], {x: feed})
        del built[:]
        sess.run([y[0], gr.sort(x * 3.0, 1), gr.sin(x), gr.reduce_max(x), gr.cumprod(x, 0)], {x: feed})
        (source,) = built
        plan = list(sess._plans.values())[-1].bound.plan
        assert source == plan.sources["opencl:0"]


def test_nothing_is_built_where_all_is_known(built: list[str]) -> None:
    with gr.Graph().as_default():
        x, y = net(8)
        feed = np.ones((8, 6), np.float32)
        found = []
        for _ in range(2):
            with gr.Session(device="opencl:0") as sess:
                sess.run(gr.global_variables_initializer())
                found.append(sess.run(y, {x: feed}))
                before = len(built)
                # The same kernels in another order of fetches.
                sess.run(y[::-1], {x: feed})
                assert len(built) <= before + 1
        assert len(built) < 5
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)


def plan_of(name: str = "x"):
    with gr.Graph().as_default(), gr.Session(device="opencl:0") as sess:
        x = gr.placeholder(gr.float32, (100,))
        return sess.plan(gr.exp(x) * 2.0, {x: np.zeros(100)})


def test_a_kernel_that_was_launched_otherwise_is_built(built: list[str]) -> None:
    plan, device = plan_of(), get_device("opencl:0")
    count = len(built)
    KernelSet(plan, "opencl:0", device)
    assert len(built) == count
    for known in device.known_kernels.values():
        known.variants = {((7,), True)}
    KernelSet(plan, "opencl:0", device)
    assert len(built) == count + 1
    for known in device.known_kernels.values():
        known.text = "another"
    KernelSet(plan, "opencl:0", device)
    assert len(built) == count + 2


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_set, "_MOST_KNOWN", 10)

    class Program:
        pass

    alive = Program()
    known: dict[str, Known] = {}
    for k in range(50):
        program = alive if k % 2 else Program()
        KernelSet._remember(known, {f"k{k}": Known("", kernel_set.ref(program))})
        assert len(known) <= 10 and f"k{k}" in known
