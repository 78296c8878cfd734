"""Feeds, results and variables where a device shares the host's memory, and the same where it does not."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.lower import IN_PLACE_BYTES
from graphrun.compiler.plan import Plan
from graphrun.runtime import devices
from graphrun.runtime.plan_function import RESULT_BYTES
from graphrun.runtime.results import Owner, ResultMemory

pytestmark = pytest.mark.opencl
F32 = np.float32
LARGE = max(IN_PLACE_BYTES, RESULT_BYTES) // 4  # floats of the smallest large array


@pytest.fixture(params=[True, False], ids=["shared", "apart"])
def sess(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[gr.Session]:
    """A session on a device that shares the host's memory, and on the same one with that ability denied."""
    from graphrun.runtime.opencl.device import OpenCLDevice

    opened = devices.get_device("opencl:0")
    if request.param and not opened.capabilities.zero_copy:
        pytest.skip("the device has memory of its own")
    if not request.param:
        capabilities = dataclasses.replace(opened.capabilities, zero_copy=False)
        report = dataclasses.replace(opened.report, capabilities=capabilities)
        apart = OpenCLDevice(report, opened._handle)
        for user in ("graphrun.session", "graphrun.runtime.targets"):
            monkeypatch.setattr(f"{user}.get_device", lambda name: apart)
    with gr.Session(device="opencl:0", verify=True) as session:
        session.shared = request.param  # type: ignore[attr-defined]
        yield session


def kinds(plan: Plan) -> list[str]:
    return [b.kind for b in plan.buffers]


@pytest.mark.parametrize("n", [1, 7, LARGE - 1, LARGE, LARGE + 3, 4 * LARGE + 1])
def test_feeds_and_results_of_all_sizes(sess: gr.Session, n: int, rng: np.random.Generator) -> None:
    x, y = gr.placeholder(gr.float32, (None,)), gr.placeholder(gr.float32, ())
    z = gr.exp(x) * y
    total = gr.reduce_sum(z)
    for factor in (1.0, -2.0):
        array = rng.standard_normal(n, F32)
        before = array.copy()
        got, summed = sess.run([z, total], {x: array, y: factor})
        expected = np.exp(before) * F32(factor)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        np.testing.assert_allclose(summed, expected.sum(dtype=np.float64), rtol=1e-4, atol=1e-2)
        np.testing.assert_array_equal(array, before)  # it is read in place, and nothing is written over it


def test_a_large_feed_is_no_slot(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (LARGE,))
    plan = sess.plan(gr.exp(x) + 1.0, {x: np.ones(LARGE, F32)})
    small = gr.placeholder(gr.float32, (8,))
    assert ("feed" in kinds(plan)) is sess.shared  # type: ignore[attr-defined]
    # What the caller holds anyway is not the run's own memory.
    assert plan.peak_bytes("opencl:0") == LARGE * 4
    assert "feed" not in kinds(sess.plan(gr.exp(small), {small: np.ones(8, F32)}))


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "bool"])
def test_feeds_that_do_not_lie_in_order(sess: gr.Session, dtype: str) -> None:
    x = gr.placeholder(gr.as_dtype(dtype), (None, None))
    flipped = gr.reverse(x, [1])
    wide = (np.arange(4 * LARGE) % 3 != 1).astype(dtype).reshape(2, -1)
    read_only = wide.copy()
    read_only.flags.writeable = False
    for array in (wide, wide.T, wide[:, ::2], read_only, np.asfortranarray(wide)):
        np.testing.assert_array_equal(sess.run(flipped, {x: array}), array[:, ::-1])


def test_a_feed_may_change_between_runs(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (LARGE,))
    v = gr.Variable(np.zeros(LARGE, F32))
    put, twice = v.assign(x), x * 2.0
    sess.run(v.initializer)
    array = np.ones(LARGE, F32)
    for k in range(3):
        array[...] = k
        np.testing.assert_array_equal(sess.run([twice, put.op], {x: array})[0], np.full(LARGE, 2 * k))
        array[...] = -1
        np.testing.assert_array_equal(sess.run(v), np.full(LARGE, k))


def test_results_belong_to_the_caller(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (LARGE,))
    y = x + 1.0
    held = [sess.run(y, {x: np.full(LARGE, k, F32)}) for k in range(4)]
    tails = [sess.run(y, {x: np.full(LARGE, k, F32)})[-3:] for k in range(4)]
    for k in range(4):
        np.testing.assert_array_equal(held[k], np.full(LARGE, k + 1))
        np.testing.assert_array_equal(tails[k], np.full(3, k + 1))
        assert held[k].flags.writeable and held[k].flags.c_contiguous
    # A result that is fed again is not written over by the run that reads it.
    value = held[0]
    for k in range(5):
        value = sess.run(y, {x: value})
        np.testing.assert_array_equal(value, np.full(LARGE, k + 2))


def test_results_outlive_the_session(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (LARGE,))
    value = sess.run(gr.sqrt(x), {x: np.full(LARGE, 4, F32)})
    sess.close()
    gc.collect()
    np.testing.assert_array_equal(value, np.full(LARGE, 2))


def test_one_value_fetched_in_several_forms(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (LARGE,))
    y = gr.sqrt(x)
    forms = [y, gr.reshape(y, [1, LARGE]), y[:-1], gr.identity(y)]
    for _ in range(2):
        values = sess.run(forms, {x: np.full(LARGE, 9, F32)})
        for k, value in enumerate(values):
            np.testing.assert_array_equal(value, np.full(value.shape, 3))
            value[...] = -k


def test_host_steps_between_launches(sess: gr.Session) -> None:
    """A value that goes to the device in the middle of a run does not overwrite what a launch still reads."""
    x = gr.placeholder(gr.float32, (LARGE,))
    y = x
    for k in range(6):
        with gr.device("/cpu:0"):
            y = gr.reverse(y, [0]) if k % 2 else y + 1.0
        y = gr.exp(-gr.abs(y)) * 2.0
    array = np.linspace(-1, 1, LARGE, dtype=F32)
    expected = array
    for k in range(6):
        expected = expected[::-1] if k % 2 else expected + 1
        expected = np.exp(-np.abs(expected)) * 2
    for _ in range(3):
        np.testing.assert_allclose(sess.run(y, {x: array}), expected, rtol=1e-5)


def test_a_run_that_fails_leaves_nothing_under_way(sess: gr.Session) -> None:
    x, index = gr.placeholder(gr.float32, (4 * LARGE,)), gr.placeholder(gr.int32, ())
    y = gr.exp(x)
    for _ in range(4):
        y = gr.exp(-y)
    with gr.device("/cpu:0"):
        z = gr.gather(y, index)
    array = np.zeros(4 * LARGE, F32)
    right = sess.run(z, {x: array, index: 3})
    for _ in range(3):
        with pytest.raises(gr.errors.ExecutionError):
            sess.run(z, {x: array, index: -1})
        assert sess.run(z, {x: array, index: 3}) == right


def test_small_feeds_cost_no_call(sess: gr.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = gr.placeholder(gr.float32, ())
    v = gr.Variable(np.ones(5, F32))
    step = v.assign_sub(v * rate).op
    sess.run(v.initializer)
    sess.run(step, {rate: 0.5})
    uploads: list[Any] = []
    device = next(iter(sess._plans.values())).bound.devices("opencl:0")
    monkeypatch.setattr(device, "upload", lambda *a: uploads.append(a))
    for _ in range(3):
        sess.run(step, {rate: 0.5})
    assert not uploads  # each would be waited for
    np.testing.assert_array_equal(sess.run(v), np.full(5, 0.5**4, F32))


# -- memory of results ------------------------------------------------------------------------------


class _Device:
    """Hands out memory and counts it."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Any]] = []

    def pages(self, size_bytes: int) -> Any:
        class Pages:
            memory = np.empty(size_bytes, np.uint8)

        pages = Pages()
        self.made.append(weakref.ref(pages))
        return pages


def test_memory_comes_back_when_nothing_refers_to_it() -> None:
    device = _Device()
    results = ResultMemory(device, 64, (4, 4), np.dtype(F32))
    first, _ = results.take()
    assert first.shape == (4, 4) and first.dtype == F32 and isinstance(first.base, Owner)
    row = first[1]
    address = first.ctypes.data
    del first
    second, _ = results.take()  # the row is still held
    assert second.ctypes.data != address
    row[...] = 1
    del row
    third, _ = results.take()
    assert third.ctypes.data == address and len(device.made) == 2
    np.testing.assert_array_equal(results.filled(np.full((4, 4), 2, F32)), np.full((4, 4), 2))


def test_one_spare_is_kept() -> None:
    device = _Device()
    results = ResultMemory(device, 64, (16,), np.dtype(F32))
    held = [results.take()[0] for _ in range(5)]
    del held
    gc.collect()
    assert sum(made() is not None for made in device.made) == 1
    del results
    gc.collect()
    assert all(made() is None for made in device.made)


# -- the proof --------------------------------------------------------------------------------------


def test_memory_is_shared_where_both_sides_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphrun.runtime.opencl import discover, probe

    report = devices.get_device("opencl:0").report
    verdict = probe.prove(discover.handle(report))
    assert verdict["ok"] and verdict["zero_copy"] == report.capabilities.zero_copy
    # A driver that works on a copy of the array does not share it.
    aligned = probe.page_aligned
    import pyopencl as cl

    monkeypatch.setattr(cl.mem_flags, "USE_HOST_PTR", cl.mem_flags.COPY_HOST_PTR)
    verdict = probe.prove(discover.handle(report))
    assert verdict["ok"] and not verdict["zero_copy"]
    pages = aligned(5000)
    assert pages.nbytes == 8192 and pages.ctypes.data % probe.PAGE_BYTES == 0
