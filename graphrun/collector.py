"""Keeping Python's garbage collector out of code that makes very many objects and drops few."""

from __future__ import annotations

import gc
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
    with _lock:
        counted = _paused > 0 or gc.isenabled()
        if counted:
            _paused += 1
            gc.disable()
    try:
        yield
    finally:
        if counted:
            with _lock:
                _paused -= 1
                if _paused == 0:
                    gc.enable()
