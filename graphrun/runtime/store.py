"""What a session keeps between runs: the values of variables and the counters of random streams."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun.dtypes import int64
from graphrun.graph.descriptor import Spec


class Cell:
    """One state.  Its value is on the host, on devices, or both; `valid` names the places that have it.

    Whoever holds an array of `host` during a run holds the value of that run: see `Store.change_host`.
    """

    __slots__ = ("key", "host", "buffers", "valid", "spec", "version")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.host: np.ndarray | None = None
        self.buffers: dict[str, Any] = {}
        self.valid: set[str] = set()
        self.spec: Spec | None = None
        self.version = 0  # another one for each value

    @property
    def initialized(self) -> bool:
        return self.spec is not None


class Store:
    """The cells of a session."""

    def __init__(self) -> None:
        self.cells: dict[Any, Cell] = {}
        # `lock` is held for a whole run that writes; `commit` only while new values are put in place, so
        # that those who just read need not wait for such a run.
        self.lock = threading.RLock()
        self.commit = threading.Lock()
        # Runs under way that read host values without `lock`; counted within `commit`.
        self.readers = 0

    def cell(self, key: Any) -> Cell:
        """The cell of a state; it has no value at first, except for counters, which start at 0."""
        found = self.cells.get(key)
        if found is None:
            new = Cell(key)
            if getattr(key, "kind", "") == "counter":
                self.set_host(new, np.int64(0), Spec((), int64))
            found = self.cells.setdefault(key, new)
        return found

    def set_host(self, cell: Cell, array: Any, spec: Spec) -> None:
        """Give the state a value on the host; copies on devices are out of date."""
        cell.host = array
        cell.spec = spec
        cell.version += 1
        cell.valid.clear()

    def change_host(self, cell: Cell, write: Callable[[np.ndarray], None]) -> None:
        """Let `write` change the value on the host: in its place, unless somebody may hold it.

        To be called within `commit`, so that no run that only reads can begin.
        """
        array = cell.host
        assert array is not None and cell.spec is not None, "the run has read it"
        if (
            self.readers
            or array.base is not None
            or not array.flags.writeable
            or not array.flags.c_contiguous
        ):
            array = np.array(array, order="C")
        write(array)
        self.set_host(cell, array, cell.spec)

    def host_value(self, cell: Cell, devices: Any) -> np.ndarray | None:
        """The value as an array, brought from a device where it must be; None without a value."""
        if cell.spec is None:
            return None
        if cell.host is None:
            with self.lock:
                if cell.host is None:
                    name = next(iter(cell.valid))
                    cell.host = devices(name).download(
                        cell.buffers[name], cell.spec.shape, cell.spec.dtype.numpy
                    )
        return cell.host

    def clear(self) -> None:
        self.cells.clear()
