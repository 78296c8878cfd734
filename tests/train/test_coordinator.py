"""Threads that stop together."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import Any

import pytest

from graphrun import errors
from graphrun.train import Coordinator, LooperThread


def _started(function: Any) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_threads_end_together() -> None:
    coord = Coordinator()
    threads = [_started(lambda: coord.wait_for_stop()) for _ in range(3)]
    assert not coord.should_stop() and not coord.wait_for_stop(0.01)
    _started(coord.request_stop)
    coord.join(threads)
    assert coord.should_stop() and coord.joined and coord.wait_for_stop()
    coord.clear_stop()
    assert not coord.should_stop() and not coord.joined


@pytest.mark.parametrize("as_info", [False, True])
def test_the_first_error_is_told(as_info: bool) -> None:
    coord = Coordinator()

    def fail() -> None:
        try:
            raise ZeroDivisionError("first")
        except ZeroDivisionError as fault:
            coord.request_stop(sys.exc_info() if as_info else fault)

    coord.register_thread(_started(fail))
    assert coord.wait_for_stop(10)
    coord.request_stop(ValueError("second"))
    with pytest.raises(ZeroDivisionError, match="first"):
        coord.raise_requested_exception()
    with pytest.raises(ZeroDivisionError, match="first"):
        coord.join()
    with pytest.raises(ValueError, match="late"):  # nobody would hear of it
        coord.request_stop(ValueError("late"))
    with pytest.raises(errors.DTypeError, match=r"request_stop\('text'\)"):
        coord.request_stop("text")


def test_a_clean_stop_is_no_error() -> None:
    coord = Coordinator()
    with coord.stop_on_exception():
        raise errors.OutOfRangeError(None, None, "the end")
    coord.join()
    other = Coordinator(clean_stop_exception_types=[KeyError])
    with other.stop_on_exception():
        raise KeyError
    other.join()
    strict = Coordinator(clean_stop_exception_types=())
    with strict.stop_on_exception():
        raise errors.OutOfRangeError("the end")
    with pytest.raises(errors.OutOfRangeError):
        strict.join()


def test_threads_that_do_not_end() -> None:
    coord, go_on = Coordinator(), threading.Event()
    thread = _started(go_on.wait)
    coord.request_stop()
    text = rf"threads still running: {re.escape(thread.name)}\n.*\n.*within 0.01 sec"
    with pytest.raises(errors.ExecutionError, match=text):
        coord.join([thread], stop_grace_period_secs=0.01)
    coord.join([thread], 0.01, ignore_live_threads=True)
    go_on.set()
    thread.join()


def test_join_waits_for_threads_that_end_by_themselves() -> None:
    coord, done = Coordinator(), []
    coord.join([_started(lambda: (time.sleep(0.05), done.append(1)))])
    assert done == [1] and not coord.should_stop()


def test_loopers() -> None:
    coord, turns = Coordinator(), []

    def turn(x: int, y: int = 0) -> None:
        turns.append(x + y)
        if len(turns) == 4:
            coord.request_stop()

    LooperThread.loop(coord, 0.001, turn, (1,), {"y": 2})
    coord.join()
    assert turns == [3] * 4

    class Looper(LooperThread):
        def start_loop(self) -> None:
            turns.append("start")

        def run_loop(self) -> None:
            turns.append("run")
            raise ZeroDivisionError

        def stop_loop(self) -> None:
            turns.append("stop")

    coord.clear_stop()
    Looper(coord, None).start()
    with pytest.raises(ZeroDivisionError):
        coord.join()
    assert turns[4:] == ["start", "run"]
    with pytest.raises(errors.DTypeError, match="expected a Coordinator"):
        LooperThread(None, 1)  # type: ignore[arg-type]
    with pytest.raises(errors.GraphError, match="args without a target"):
        LooperThread(coord, 1, args=(1,))
