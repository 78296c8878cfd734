"""Kernels compiled by other processes while this one works."""

from __future__ import annotations

import io
import os
import queue
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import graphrun as gr
from graphrun.runtime.executor import BoundPlan
from graphrun.runtime.opencl import ahead, ahead_process, discover, prober
from graphrun.runtime.store import Store

SOURCE = """
kernel void fill(global int *a, ulong at, int value) { a[at + get_global_id(0)] = value; }
kernel void copy(global int *a, global const int *b) { a[get_global_id(0)] = b[get_global_id(0)]; }
"""
FILL = ("fill", [("buffer", 3), ("uint64", 2), ("int32", 7)], (8,), (2,))
COPY = ("copy", [("buffer", 0), ("buffer", 3)], (4, 2), (2, 1))


class FakeProcess:
    """A process that only listens."""

    def __init__(self, command, **options):
        self.command = command
        self.stdin = io.StringIO()
        self.running = True

    def poll(self):
        return None if self.running else 1

    def kill(self):
        self.running = False

    wait = poll

    def tasks(self):
        """What it was told, without the warm-up."""
        told = [ahead.json.loads(line) for line in self.stdin.getvalue().splitlines()]
        return [task for task in told if "gr_warm_up" not in task.get("source", "")]


def settle(compiler):
    """Wait until all has been written."""
    until = time.monotonic() + 60
    while not all(helper.is_told for helper in compiler._helpers):
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.fixture
def processes(monkeypatch):
    """The processes that were started; three would help."""
    started = []
    monkeypatch.setattr(ahead, "process_count", lambda: 3)
    monkeypatch.setattr(ahead.prober, "take_over", lambda: None)
    monkeypatch.setattr(
        ahead.subprocess, "Popen", lambda *a, **k: started.append(FakeProcess(*a, **k)) or started[-1]
    )
    monkeypatch.setattr(ahead.atexit, "register", lambda *a: None)
    return started


def test_parts_are_worked_from_their_ends(processes):
    launches = [(f"k{n}", [], (1,), (1,)) for n in range(8)]
    compiler = ahead.CompileAhead(0, 0)
    compiler.compile("source", ["-O"], {}, launches)
    settle(compiler)
    orders = ["".join(name[1] for name, _, _ in p.tasks()[0]["launches"]) for p in processes]
    assert orders == ["32107654", "54321076", "76543210"]
    assert processes[0].tasks()[0]["options"] == ["-O"]


def test_a_kernel_is_compiled_once_for_a_local_size(processes):
    launches = [FILL, COPY, FILL, (*FILL[:2], (9,), (3,)), (*FILL[:2], (9,), None),
                (*COPY[:2], (70000, 1), (1, 1)), (*COPY[:2], (0, 1), (1, 1))]  # fmt: skip
    compiler = ahead.CompileAhead(0, 0)
    compiler.compile(SOURCE, (), {0: 4, 3: 64}, launches)
    settle(compiler)
    task = processes[-1].tasks()[0]
    assert [(name, local) for name, _, local in task["launches"]] == [
        ("fill", [3]),
        ("copy", [2, 1]),
        ("fill", [2]),
    ]
    assert task["buffers"] == {"0": 4, "3": 64}


def test_processes_are_started_once_and_again_when_they_have_ended(processes):
    compiler = ahead.CompileAhead(1, 2)
    compiler.start()
    compiler.start()
    assert len(processes) == 3
    settle(compiler)
    warm_up = ahead.json.loads(processes[0].stdin.getvalue())
    assert warm_up["device"] == [1, 2] and "gr_warm_up" in warm_up["source"]
    for process in processes:
        process.kill()
    compiler.compile(SOURCE, (), {}, [])
    assert len(processes) == 6
    compiler.stop()
    settle(compiler)
    assert processes[-1].tasks()[-1] == {}


def test_the_process_of_the_probe_is_taken_over(processes, monkeypatch):
    staying = FakeProcess([])
    monkeypatch.setattr(ahead.prober, "take_over", lambda: staying)
    compiler = ahead.CompileAhead(0, 1)
    compiler.compile(SOURCE, (), {}, [FILL])
    settle(compiler)
    assert len(processes) == 2, "one of three was there"
    (told,) = [ahead.json.loads(line) for line in staying.stdin.getvalue().splitlines()]
    assert told["device"] == [0, 1] and told["source"] == SOURCE


def test_the_same_is_asked_once_until_it_is_stopped(processes):
    compiler = ahead.CompileAhead(0, 0)
    launches = [("fill", [("float32", float("nan"))], (8,), (2,))]
    for _ in range(2):
        compiler.compile(SOURCE, (), {}, launches)
        settle(compiler)
    assert len(processes[0].tasks()) == 1
    compiler.stop()
    settle(compiler)
    compiler.compile(SOURCE, (), {}, launches)
    settle(compiler)
    assert [bool(task) for task in processes[0].tasks()] == [True, False, True]


def test_the_same_is_asked_again_where_a_process_has_died(processes):
    compiler = ahead.CompileAhead(0, 0)
    compiler.compile(SOURCE, (), {}, [FILL])
    for process in processes:
        process.kill()
    compiler.compile(SOURCE, (), {}, [FILL])
    settle(compiler)
    assert [len(process.tasks()) for process in processes[3:]] == [1, 1, 1]


def test_nobody_waits_for_a_process_that_does_not_read(processes):
    class Stuck(io.StringIO):
        """A pipe that is full."""

        def __init__(self):
            super().__init__()
            self.begun, self.drained = threading.Event(), threading.Event()

        def write(self, text):
            self.begun.set()
            assert self.drained.wait(60)
            return super().write(text)

    compiler = ahead.CompileAhead(0, 0)
    compiler.start()
    settle(compiler)
    process = processes[0]
    process.stdin = Stuck()
    compiler.compile("first", (), {}, [FILL])
    assert process.stdin.begun.wait(60)
    compiler.stop()
    compiler.compile("second", (), {}, [FILL])
    compiler.compile("third", (), {}, [FILL])
    process.stdin.drained.set()
    settle(compiler)
    assert [task["source"] for task in process.tasks()] == ["first", "third"], "the latest alone is wanted"


def test_processes_that_are_gone_hurt_nobody(processes):
    compiler = ahead.CompileAhead(0, 0)
    compiler.start()
    for process in processes:
        process.stdin.close()
    compiler.compile(SOURCE, (), {}, [FILL])
    compiler.stop()
    settle(compiler)


def test_a_process_that_has_ended_is_not_taken_over(monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, text=True)
    ended.wait()
    ended.stdin.close()
    monkeypatch.setattr(prober, "_staying", [ended])
    assert prober.take_over() is None and prober._staying == []


def test_no_process_can_be_started(monkeypatch):
    def fail(*args, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(ahead.subprocess, "Popen", fail)
    ahead.CompileAhead(0, 0).compile(SOURCE, (), {}, [FILL])


def test_process_count(monkeypatch):
    monkeypatch.delenv("GRAPHRUN_COMPILE_AHEAD", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(2)), raising=False)
    assert ahead.process_count() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert ahead.process_count() == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert ahead.process_count() == 3
    monkeypatch.setenv("GRAPHRUN_COMPILE_AHEAD", "0")
    assert ahead.process_count() == 0


# -- with a device ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened():
    """pyopencl, a context and a queue of the first device."""
    working = [r for r in discover.reports(warn=False) if r.index == 0]
    if not working:
        pytest.skip("no working OpenCL device on this machine")
    from graphrun.runtime.opencl.binding import cl

    handle = discover.handle(working[0])
    context = cl.Context([handle])
    return cl, context, cl.CommandQueue(context, handle), working[0]


@pytest.mark.opencl
def test_a_task_launches_one_group_of_each_kernel(opened):
    cl, context, commands, _ = opened
    launches = [[name, args, list(local)] for name, args, _, local in (FILL, COPY)]
    task = {"source": SOURCE, "options": [], "buffers": {"0": 0, "3": 64}, "launches": launches}
    tasks = queue.SimpleQueue()
    assert ahead_process.compile_task(cl, context, commands, task, tasks) == 2
    tasks.put({})
    assert ahead_process.compile_task(cl, context, commands, task, tasks) == 0


def _compiles_and_ends(process, folder):
    """Wait until a process has compiled both kernels, and for its end."""
    until = time.monotonic() + 60
    while not {p.stem for p in folder.glob("*/*/*/*/*.so")} >= {"fill", "copy"}:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.stdin.close()  # as when this process ends
    assert process.wait(timeout=30) == 0


@pytest.mark.opencl
def test_the_process_compiles_for_this_one(opened, monkeypatch, tmp_path):
    report = opened[-1]
    if report.platform_name != "Portable Computing Language":
        pytest.skip("the first device's driver compiles whole programs at once")
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ahead, "process_count", lambda: 1)
    compiler = ahead.CompileAhead(report.platform_index, report.device_index)
    compiler.compile(SOURCE, (), {0: 64, 3: 64}, [FILL, COPY])
    (process,) = [helper.process for helper in compiler._helpers]
    _compiles_and_ends(process, tmp_path)


@pytest.mark.opencl
def test_a_probe_stays_to_compile(opened, monkeypatch, tmp_path):
    report = opened[-1]
    if report.platform_name != "Portable Computing Language":
        pytest.skip("the first device's driver compiles whole programs at once")
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(ahead, "process_count", lambda: 1)
    outcome = prober.probe(only=[f"{report.platform_index}.{report.device_index}"], stay=True)
    assert [v["ok"] for v in outcome.verdicts.values()] == [True]
    (staying,) = prober._staying
    compiler = ahead.CompileAhead(report.platform_index, report.device_index)
    compiler.compile(SOURCE, (), {0: 64, 3: 64}, [FILL, COPY])
    assert [helper.process for helper in compiler._helpers] == [staying] and prober.take_over() is None
    _compiles_and_ends(staying, tmp_path)


@pytest.mark.opencl
def test_a_probe_that_stays_lets_go_of_its_pipes(opened):
    report = opened[-1]
    threads = threading.active_count()
    prober.probe(only=[f"{report.platform_index}.{report.device_index}"], stay=True)
    staying = prober.take_over()
    until = time.monotonic() + 60
    while threading.active_count() > threads or not (staying.stdout.closed and staying.stderr.closed):
        assert staying.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    prober.end(staying)
    assert staying.stdin.closed


# -- a plan's first run -----------------------------------------------------------------------------


class Recorder:
    """A device that notes what a first run asks of it."""

    def __init__(self, device, log):
        self._device, self._log = device, log

    def __getattr__(self, name):
        return getattr(self._device, name)

    def compile_ahead(self, program, buffers, launches):
        self._log.append(("ahead", buffers, launches))

    def stop_ahead(self):
        self._log.append(("stop",))


@pytest.mark.opencl
def test_only_the_first_run_asks_for_help(opened, monkeypatch, tmp_path):
    from graphrun.runtime.opencl.device import OpenCLDevice

    monkeypatch.setenv("GRAPHRUN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHRUN_COMPILE_AHEAD", "0")
    log = []
    device = Recorder(OpenCLDevice(opened[-1], discover.handle(opened[-1])), log)
    if not device._programs.compiles_late:
        pytest.skip("the first device's driver compiles whole programs at once")
    x = gr.placeholder(gr.float32, (3,))
    with gr.Session(device="opencl:0") as session:
        plan = session.plan(x * 2 + 1, {x: [1, 2, 3]})
    feed = [np.array([1, 2, 3], np.float32)]
    bound = BoundPlan(plan, Store(), lambda name: device)
    for _ in range(2):
        np.testing.assert_array_equal(bound.run(feed)[0], [3, 5, 7])
    # While the program is built, and once more when it runs, should it have been a while.
    (_, buffers, ((kernel, args, global_size, local_size),)), again, stop = log
    assert again == log[0] and stop == ("stop",) and kernel == plan.launches[0].kernel
    assert (global_size, local_size) == (plan.launches[0].global_size, plan.launches[0].local_size)
    assert all(buffers[number] == 12 for dtype, number in args if dtype == "buffer")
    assert ("uint64", 3) in args
    # What has run here is known to the next process, and to the next device object of this one.
    again = Recorder(OpenCLDevice(opened[-1], discover.handle(opened[-1])), log)
    BoundPlan(plan, Store(), lambda name: again).run(feed)
    assert len(log) == 3
