"""`DeviceArray`: a value that stays on its device between runs."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from graphrun.device_names import NUMPY
from graphrun.dtypes import DType
from graphrun.graph.descriptor import Spec
from graphrun.runtime.results import SPARES
from graphrun.shapes import num_elements


class DeviceArray:
    """An array in a device's memory, which `Session.run` takes as a feed without a trip through the host.

    `Session.device_array` makes one of a NumPy array, `Session.fetch_to_device` one of each result.  Its
    values never change; the memory is used again when the array is gone.

    Attributes
    ----------
    shape : tuple of int
    dtype : DType
    device : str
        ``"opencl:0"``, or ``"cpu:0"`` for NumPy.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.float32, (3,))
    ...     a = sess.device_array([1.0, 2.0, 3.0])
    ...     for _ in range(4):
    ...         a = sess.fetch_to_device(x * 2, {x: a})
    ...     print(a.numpy())
    [16. 32. 48.]
    """

    __slots__ = ("shape", "dtype", "device", "placed_shape", "_memory", "_buffer", "_spares")

    def __init__(self, spec: Spec, device: Any, buffer: Any, spares: deque[Any] | None = None) -> None:
        self.shape: tuple[int, ...] = spec.dims
        self.dtype: DType = spec.dtype
        self.device: str = NUMPY if device is None else device.name
        # What tells plans for this array from plans for one on the host.
        self.placed_shape = (self.device, *self.shape)
        self._memory = device
        self._buffer = buffer
        self._spares = spares

    def __del__(self) -> None:
        # May run in any thread and in the middle of anything; appending to a deque is one step.
        if getattr(self, "_spares", None) is not None:
            self._spares.append(self._buffer)  # type: ignore[union-attr]

    @property
    def size_bytes(self) -> int:
        """Bytes of the values."""
        return (num_elements(self.shape) or 0) * self.dtype.size_bytes

    @property
    def buffer(self) -> Any:
        """The device's buffer; on NumPy an array, which nobody may change."""
        return self._buffer

    @property
    def on_device(self) -> bool:
        """Whether it is somewhere else than in an array of NumPy."""
        return self._memory is not None

    def numpy(self) -> np.ndarray:
        """A copy of the values in an array on the host."""
        if self._memory is None:
            return np.array(self._buffer)
        if not self.size_bytes:
            return np.zeros(self.shape, self.dtype.numpy)
        found: np.ndarray = self._memory.download(self._buffer, self.shape, self.dtype.numpy)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a DeviceArray's values must be copied to the host")
        return self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a DeviceArray of shape () has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<DeviceArray {self.shape} {self.dtype} on {self.device}>"


def on_host(array: np.ndarray, dtype: DType) -> DeviceArray:
    """Values on the host as a `DeviceArray`; nobody else may change `array`."""
    return DeviceArray(Spec(array.shape, dtype), None, array)


def uploaded(array: np.ndarray, dtype: DType, device: Any) -> DeviceArray:
    """A copy of `array` on a device."""
    spec = Spec(array.shape, dtype)
    made = DeviceArray(spec, device, device.alloc(array.nbytes))
    if array.nbytes:
        device.upload(made.buffer, np.ascontiguousarray(array))
        device.finish()  # the caller may change his array now
    return made


class DeviceMemory:
    """Memory for one result of a plan that stays on its device, another one in each run."""

    def __init__(self, device: Any, size_bytes: int) -> None:
        self._device = device
        self._size_bytes = size_bytes
        self._spares: deque[Any] = deque(maxlen=SPARES)

    def take(self) -> Any:
        """A buffer with any content."""
        try:
            return self._spares.pop()
        except IndexError:
            return self._device.alloc(self._size_bytes)

    def array(self, spec: Spec, buffer: Any) -> DeviceArray:
        """What the caller gets."""
        return DeviceArray(spec, self._device, buffer, self._spares)
