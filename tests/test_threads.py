"""One session in several threads, and what thousands of runs leave in memory."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.device_names import NUMPY
from graphrun.runtime.devices import get_device

F32 = np.float32
THREADS = 4


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device) as session:
        yield session


def in_threads(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Run ``work(k)`` in threads that start together; raise what one of them raised."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def body(k: int) -> None:
        try:
            barrier.wait()
            results[k] = work(k)
        except BaseException as fault:
            results[k] = fault

    threads = [threading.Thread(target=body, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        if isinstance(r, BaseException):
            raise r
    return results


# -- threads -----------------------------------------------------------------------------------


def test_feeds_of_one_thread_do_not_reach_another(sess: gr.Session) -> None:
    """Also where the threads compile the plan at the same time, and for several shapes."""
    x = gr.placeholder(gr.float32, (None,))
    y = gr.reduce_sum(x * 2.0 + 1.0)
    call = sess.make_callable([y, x + 1.0], [x])

    def work(k: int) -> None:
        for i in range(100):
            n = 1 + (k + i) % 5
            fed = np.full(n, k * 100 + i, F32)
            assert sess.run(y, {x: fed}) == n * (2 * fed[0] + 1)
            total, more = call(fed)
            assert total == n * (2 * fed[0] + 1)
            np.testing.assert_array_equal(more, fed + 1)

    in_threads(work)


def test_no_update_is_lost(sess: gr.Session) -> None:
    v = gr.Variable(np.zeros(8, F32))
    n = gr.Variable(0, trainable=False)
    x = gr.placeholder(gr.float32, ())
    step = [v.assign_add(x * np.ones(8, F32)), n.assign_add(1)]
    sess.run(gr.global_variables_initializer())

    def work(k: int) -> None:
        for _ in range(200):
            sess.run(step, {x: k + 1.0})

    in_threads(work)
    np.testing.assert_array_equal(sess.run(v), np.full(8, 200 * (1 + 2 + 3 + 4)))
    assert sess.run(n) == 200 * THREADS


def test_readers_see_whole_runs(sess: gr.Session) -> None:
    """Two variables that every run keeps equal are equal for whoever reads them meanwhile."""
    a, b = gr.Variable(np.zeros(16, F32)), gr.Variable(np.zeros(16, F32))
    step = gr.group(a.assign_add(np.ones(16, F32)), b.assign_add(np.ones(16, F32)))
    both, difference = [a, b], a - b
    with gr.device("/cpu:0"):
        on_host = gr.reduce_sum(a) - gr.reduce_sum(b)
    sess.run(gr.global_variables_initializer())
    done = threading.Event()

    def work(k: int) -> None:
        if k == 0:
            for _ in range(300):
                sess.run(step)
            done.set()
        last = -1.0
        while k and not done.is_set():
            got_a, got_b = sess.run(both)
            np.testing.assert_array_equal(got_a, got_b)
            assert got_a[0] >= last and (got_a == got_a[0]).all()
            last = got_a[0]
            assert not sess.run(difference).any()
            assert sess.run(on_host) == 0

    in_threads(work, 3)
    assert sess.run(a)[0] == 300


def test_threads_build_and_run(device: str) -> None:
    """Each thread adds its own operations to one graph and runs them in one session."""
    graph = gr.Graph()
    with graph.as_default():
        v = gr.Variable(1.0)
        init = gr.global_variables_initializer()
    with gr.Session(graph=graph, device=device, max_plans=3) as sess:
        sess.run(init)

        def work(k: int) -> None:
            with graph.as_default(), gr.name_scope(f"thread{k}"):
                for i in range(10):
                    x = gr.placeholder(gr.float32, (), name="x")
                    assert sess.run(v * x + float(i), {x: k}) == k + i

        in_threads(work)


def test_default_session_is_of_its_thread() -> None:
    x = gr.constant(1.0)
    with gr.Session() as sess:

        def work(k: int) -> None:
            assert gr.get_default_session() is None
            with sess.as_default():
                assert x.eval() == 1.0

        in_threads(work)
        assert gr.get_default_session() is sess


def test_two_sessions_in_two_threads(device: str) -> None:
    v = gr.Variable(np.zeros(4, F32))
    step, init = v.assign_add(np.ones(4, F32)), gr.global_variables_initializer()

    def work(k: int) -> float:
        with gr.Session(device=device) as sess:
            sess.run(init)
            for _ in range(50 * (k + 1)):
                sess.run(step)
            return float(sess.run(v)[0])

    assert in_threads(work) == [50.0, 100.0, 150.0, 200.0]


# -- memory ------------------------------------------------------------------------------------


def peak_kib() -> int:
    """The most memory that this process has had resident."""
    resource = pytest.importorskip("resource", reason="the platform does not count resident memory")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / 1024 if sys.platform == "darwin" else peak)


RUNS = 5_000
WARM_UP = 200


def test_training_leaves_memory_flat(sess: gr.Session, device: str) -> None:
    x = gr.placeholder(gr.float32, (None, 8))
    y = gr.placeholder(gr.float32, (None, 1))
    w, b = gr.Variable(np.zeros((8, 1), F32)), gr.Variable(np.zeros(1, F32))
    loss = gr.reduce_mean(gr.square(gr.matmul(x, w) + b - y))
    noise = gr.random_normal([4])
    grads = gr.gradients(loss, [w, b])
    train = gr.group(*[v.assign_sub(0.01 * g) for v, g in zip([w, b], grads, strict=True)])
    sess.run(gr.global_variables_initializer())
    feeds = {x: np.ones((16, 8), F32), y: np.full((16, 1), 3, F32)}

    def steps(count: int) -> None:
        for _ in range(count):
            sess.run([train, loss, noise], feeds)

    steps(WARM_UP)
    gc.collect()
    on_device = get_device(device).allocated_bytes if device != NUMPY else 0
    resident = peak_kib()
    tracemalloc.start()
    try:
        steps(50)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        steps(500)
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    steps(RUNS - WARM_UP - 550)
    assert traced < 32_000, f"500 runs left {traced} bytes"
    grown = peak_kib() - resident
    assert grown < 12_000, f"{RUNS} runs took {grown} KiB more"
    if device != NUMPY:
        assert get_device(device).allocated_bytes == on_device
    assert sess.run(loss, feeds) < 1e-3


@pytest.mark.parametrize("close", [True, False])
def test_sessions_and_graphs_are_freed(device: str, close: bool) -> None:
    def use() -> None:
        with gr.Graph().as_default():
            v = gr.Variable(np.zeros(1000, F32))
            y = v.assign_add(np.ones(1000, F32)) * 2.0
            sess = gr.Session(device=device)
            sess.run(gr.global_variables_initializer())
            sess.make_callable(y)()
            if close:
                sess.close()

    def objects() -> int:
        gc.collect()
        return sum(isinstance(o, gr.Session | gr.Graph) for o in gc.get_objects())

    use()
    before, on_device = objects(), get_device(device).allocated_bytes if device != NUMPY else 0
    for _ in range(5):
        use()
    assert objects() == before
    if device != NUMPY:
        assert get_device(device).allocated_bytes == on_device
