"""The garbage collector is paused while something grows, and always goes on afterwards."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from graphrun import collector
from graphrun.collector import collector_paused


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    assert gc.isenabled() and collector._paused == 0
    yield
    gc.enable()


def test_blocks_nest() -> None:
    with pytest.raises(ValueError), collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()


def test_what_the_user_has_disabled_stays_so() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


def test_an_interrupt_right_behind_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    disable = gc.disable

    def interrupted() -> None:
        disable()
        raise KeyboardInterrupt

    monkeypatch.setattr(gc, "disable", interrupted)
    with pytest.raises(KeyboardInterrupt), collector_paused():
        raise AssertionError("the block begins")
    assert gc.isenabled() and collector._paused == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_forked_while_another_thread_pauses() -> None:
    paused, done = threading.Event(), threading.Event()

    def pause() -> None:
        with collector_paused():
            paused.set()
            done.wait(60)

    thread = threading.Thread(target=pause)
    thread.start()
    assert paused.wait(60)
    child = os.fork()
    if child == 0:
        try:
            went_on = gc.isenabled()
            with collector_paused():
                rested = not gc.isenabled()
            os._exit(0 if went_on and rested and gc.isenabled() else 1)
        finally:
            os._exit(2)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert gc.isenabled()
