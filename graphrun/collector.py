"""Keeping Python's garbage collector out of code that makes very many objects and drops few."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_paused = 0


@contextmanager
def collector_paused() -> Iterator[None]:
    """Do not scan a growing graph again and again, which would make its growth quadratic.

    Blocks may nest and overlap in several threads; a collector that the user has disabled stays so.
    """
    global _paused
    counted = False
    try:  # from here on: an interrupt may come right behind the call that disables it
        with _lock:
            counted = _paused > 0 or gc.isenabled()
            if counted:
                _paused += 1
                gc.disable()
        yield
    finally:
        if counted:
            with _lock:
                _paused = max(_paused - 1, 0)
                if _paused == 0:
                    gc.enable()


def _forked() -> None:
    """Forget the blocks of threads that are not in this process: nobody would end them."""
    global _lock, _paused
    _lock = threading.Lock()
    if _paused:
        _paused = 0
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
