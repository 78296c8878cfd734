"""Memory of large results that a device shares with the host: kernels write where the caller will read.

A fresh page costs more than writing it does, so memory comes back when the last array over it is gone, and
the next run takes it again.  Nobody is asked to give anything back: as long as the caller, or a view that
he made, refers to a result, its memory is his.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

SPARES = 1  # of one result: while the caller holds the last one, the next is written


class Owner:
    """What the array of a result refers to as its base; returns the memory when it dies."""

    __slots__ = ("__array_interface__", "_buffer", "_spares")

    def __init__(self, buffer: Any, spares: deque[Any], interface: dict[str, Any]) -> None:
        self._buffer = buffer
        self._spares = spares
        self.__array_interface__ = interface

    def __del__(self) -> None:
        # May run in any thread and in the middle of anything; appending to a deque is one step.
        self._spares.append(self._buffer)


class ResultMemory:
    """Memory for the results of one step.

    Parameters
    ----------
    device
        One with `Capabilities.zero_copy`.
    size_bytes : int
        Of the memory; the result may be smaller.
    shape, numpy_dtype
        Of the result, which lies at the memory's start.
    """

    def __init__(self, device: Any, size_bytes: int, shape: Sequence[int], numpy_dtype: Any) -> None:
        self._device = device
        self._size_bytes = size_bytes
        self._shape = tuple(shape)
        self._typestr = np.dtype(numpy_dtype).str
        self._spares: deque[Any] = deque(maxlen=SPARES)

    def take(self) -> tuple[np.ndarray, Any]:
        """An array with any content, and the device's buffer over the same memory."""
        try:
            buffer = self._spares.pop()
        except IndexError:
            buffer = self._device.pages(self._size_bytes)
        interface = {
            "version": 3, "shape": self._shape, "typestr": self._typestr,
            "data": (buffer.memory.ctypes.data, False),
        }  # fmt: skip
        return np.asarray(Owner(buffer, self._spares, interface)), buffer

    def filled(self, values: np.ndarray) -> np.ndarray:
        """An array with these values."""
        array, _ = self.take()
        array[...] = values
        return array
