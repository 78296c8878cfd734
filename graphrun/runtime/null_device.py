"""A device that plans and computes nothing: graphs compile, memory is counted, results are zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.graph.descriptor import Capabilities


class NullBuffer:
    """Memory that is only counted."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes


class NullProgram:
    """A program that was not built."""

    def kernel(self, name: str) -> str:
        return name


class NullDevice:
    """The device ``null:0``; its interface is that of an OpenCL device."""

    name = "null:0"

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.capabilities = capabilities or Capabilities()
        self.allocated_bytes = 0
        self.launch_count = 0

    def alloc(self, size_bytes: int) -> NullBuffer:
        self.allocated_bytes += size_bytes
        return NullBuffer(size_bytes)

    def build(self, source: str, options: Sequence[str] = ()) -> NullProgram:
        return NullProgram()

    def upload(self, buffer: Any, array: np.ndarray, offset_bytes: int = 0) -> None:
        pass

    def uploader(
        self, buffer: Any, shape: Sequence[int], numpy_dtype: Any, offset_bytes: int = 0
    ) -> Callable[[Any], object]:
        return lambda value: None

    def download(
        self, buffer: Any, shape: Sequence[int], numpy_dtype: Any, offset_bytes: int = 0
    ) -> np.ndarray:
        return np.zeros(shape, numpy_dtype)

    def copy(
        self, dst: Any, src: Any, size_bytes: int, dst_offset_bytes: int = 0, src_offset_bytes: int = 0
    ) -> None:
        pass

    def launcher(
        self, kernel: Any, args: Sequence[Any], global_size: Sequence[int], local_size: Any = None
    ) -> Callable[[], None]:
        def launch() -> None:
            self.launch_count += 1

        return launch

    def finish(self) -> None:
        pass
