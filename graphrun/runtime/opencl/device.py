"""An OpenCL device: memory, transfers, programs and launches."""

from __future__ import annotations

import functools
import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphrun.errors import DeviceError, message
from graphrun.graph.descriptor import Capabilities
from graphrun.runtime.opencl import discover, tuned
from graphrun.runtime.opencl.ahead import CompileAhead
from graphrun.runtime.opencl.binding import cl
from graphrun.runtime.opencl.probe import page_aligned
from graphrun.runtime.opencl.programs import Program, ProgramCache, scalar

# What pyopencl raises; for callers that may not import it.  `OpenCLDevice.failure` makes a DeviceError of it.
DRIVER_ERRORS: tuple[type[BaseException], ...] = (cl.Error,)

_OUT_OF_MEMORY = (
    "MEM_OBJECT_ALLOCATION_FAILURE",
    "OUT_OF_RESOURCES",
    "OUT_OF_HOST_MEMORY",
    "INVALID_BUFFER_SIZE",
)

_devices: dict[int, OpenCLDevice] = {}
_devices_lock = threading.Lock()


class Buffer(cl.Buffer):
    """Device memory, released when nothing refers to it any more.

    Attributes
    ----------
    size_bytes : int
        What was asked for; the driver's own object is never empty.
    memory : array of uint8, or None
        The memory itself, where the device shares the host's (`Capabilities.zero_copy`).  Whoever touches it
        knows that no launch is under way that does.
    """

    memory: np.ndarray | None = None
    size_bytes: int
    _freed: deque[int]

    def __del__(self) -> None:
        # May run in the middle of anything, also inside the device's lock, so it only leaves a note.
        freed = getattr(self, "_freed", None)
        if freed is not None:
            freed.append(self.size_bytes)


class OpenCLDevice:
    """One device with its context and its in-order queue; made by `open_device`.

    Attributes
    ----------
    name : str
        ``"opencl:0"``.
    report : DeviceReport
    capabilities : Capabilities
    context, queue
        pyopencl's objects.
    """

    def __init__(self, report: discover.DeviceReport, handle: Any) -> None:
        self.name = report.name
        self.process = os.getpid()
        self.report = report
        self.capabilities: Capabilities = replace(report.capabilities, tuning=tuned.load(report))
        try:
            self.context = cl.Context([handle])
            self.queue = cl.CommandQueue(self.context, handle)
            self._max_item_sizes: Sequence[int] = tuple(handle.max_work_item_sizes)
        except cl.Error as error:
            raise self.failure(error, "opening the device") from error
        self._handle = handle
        self._programs = ProgramCache(report, self.context, handle)
        # Kernels of the plans that were made, for those that will be: see `KernelSet`.
        self.known_kernels: dict[str, Any] = {}
        self._ahead = CompileAhead(report.platform_index, report.device_index)
        if discover.is_new(report) and self._programs.compiles_late:
            self._ahead.start()
        self._lock = threading.Lock()
        self._freed: deque[int] = deque()
        self._allocated_bytes = 0
        self._peak_bytes = 0

    def __repr__(self) -> str:
        return f"<OpenCLDevice {self.name} {self.report.device_name!r}>"

    # ---------------------------------------------------------------- memory

    @property
    def allocated_bytes(self) -> int:
        """Bytes in buffers that are alive."""
        with self._lock:
            self._settle()
            return self._allocated_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that `allocated_bytes` has been since the start or `reset_peak`."""
        with self._lock:
            return self._peak_bytes

    def reset_peak(self) -> None:
        """Count `peak_bytes` from the present state."""
        with self._lock:
            self._settle()
            self._peak_bytes = self._allocated_bytes

    def _settle(self) -> None:
        while self._freed:
            self._allocated_bytes -= self._freed.popleft()

    def alloc(self, size_bytes: int) -> Buffer:
        """Return uninitialised memory; no bytes are fine.

        Raises
        ------
        DeviceError
            If the device has no room for it or does not allow a buffer that large.
        """
        size_bytes = int(size_bytes)
        if size_bytes < 0:
            raise DeviceError(message(f"a buffer of {size_bytes} bytes is asked for", where=self.name))
        if size_bytes > self.capabilities.max_alloc_bytes > 0:
            raise self._no_room(size_bytes, "that is more than the device allows in one buffer")
        if self.allocated_bytes + size_bytes > self.capabilities.global_mem_bytes > 0:
            gc.collect()  # buffers in reference cycles
            if self.allocated_bytes + size_bytes > self.capabilities.global_mem_bytes:
                raise self._no_room(size_bytes, "the device's memory is full")
        try:
            buffer = self._new_buffer(size_bytes)
        except (cl.Error, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise self.failure(error, f"allocating {size_bytes} bytes") from error
            gc.collect()
            try:
                buffer = self._new_buffer(size_bytes)
            except (cl.Error, MemoryError) as again:
                raise self._no_room(size_bytes, f"the driver says {again}") from again
        buffer.size_bytes = size_bytes
        buffer._freed = self._freed
        with self._lock:
            self._settle()
            self._allocated_bytes += size_bytes
            self._peak_bytes = max(self._peak_bytes, self._allocated_bytes)
        return buffer

    def _new_buffer(self, size_bytes: int) -> Buffer:
        if self.capabilities.zero_copy:
            return self._buffer_over(page_aligned(size_bytes))
        # OpenCL has no empty buffers; 16 bytes hold the widest element that a stray vector load may touch.
        return Buffer(self.context, cl.mem_flags.READ_WRITE, max(size_bytes, 16))

    def _buffer_over(self, memory: np.ndarray) -> Buffer:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        buffer = Buffer(self.context, flags, hostbuf=memory)
        buffer.memory = memory
        return buffer

    def pages(self, size_bytes: int) -> Buffer:
        """Return memory of the host that a launch may write, for a result; it does not count as the device's.

        For devices with `Capabilities.zero_copy`.
        """
        try:
            return self._buffer_over(page_aligned(size_bytes))
        except (cl.Error, MemoryError) as error:
            raise self.failure(error, f"allocating {size_bytes} bytes for a result") from error

    def over(self, array: np.ndarray) -> Buffer:
        """Return a buffer that is the memory of an array, for launches that only read it.

        For devices with `Capabilities.zero_copy`.  The array is C-contiguous and not empty, and stays as it
        is until the launches have run.  Its bytes do not count as the device's.
        """
        try:
            buffer = Buffer(self.context, cl.mem_flags.READ_ONLY | cl.mem_flags.USE_HOST_PTR, hostbuf=array)
        except cl.Error as error:
            raise self.failure(error, f"using an array of {array.nbytes} bytes in place") from error
        buffer.memory = array.reshape(-1).view(np.uint8)
        return buffer

    def _no_room(self, size_bytes: int, why: str) -> DeviceError:
        limits = self.capabilities
        return DeviceError(
            message(
                f"cannot allocate {_mib(size_bytes)}: {why}",
                where=self.name,
                got=[
                    f"asked for: {size_bytes:,} bytes   in use: {self.allocated_bytes:,} bytes",
                    f"device: {self.report.device_name}   memory: {_mib(limits.global_mem_bytes)}   "
                    f"largest buffer: {_mib(limits.max_alloc_bytes)}",
                ],
                fix="use a smaller batch, close sessions that are not needed, or run on another device",
            )
        )

    # ------------------------------------------------------------- transfers

    def upload(self, buffer: Any, array: np.ndarray, offset_bytes: int = 0) -> None:
        """Copy an array into a buffer, behind everything that is queued; wait until it is there."""
        array = np.ascontiguousarray(array)
        self._check_range(buffer, offset_bytes, array.nbytes, "upload")
        if not array.nbytes:
            return
        memory = getattr(buffer, "memory", None)
        if memory is not None:
            self.finish()
            memory[offset_bytes : offset_bytes + array.nbytes] = array.reshape(-1).view(np.uint8)
            return
        try:
            cl.enqueue_copy(self.queue, buffer, array, dst_offset=offset_bytes)
        except cl.Error as error:
            raise self.failure(error, f"uploading {array.nbytes} bytes") from error

    def uploader(
        self, buffer: Any, shape: Sequence[int], numpy_dtype: Any, offset_bytes: int = 0
    ) -> Callable[[Any], object]:
        """Return a function that queues the upload of an array of this shape and does not wait.

        The array may change at once: its values are kept until the next call, before which the queue has to
        be waited for.  What is returned must live until then, since its end waits.
        """
        kept = np.empty(tuple(shape), numpy_dtype)
        self._check_range(buffer, offset_bytes, kept.nbytes, "upload")

        def upload(value: Any) -> object:
            kept[...] = value
            try:
                return cl.enqueue_copy(self.queue, buffer, kept, dst_offset=offset_bytes, is_blocking=False)
            except cl.Error as error:
                raise self.failure(error, f"uploading {kept.nbytes} bytes") from error

        return upload

    def download(
        self, buffer: Any, shape: Sequence[int], numpy_dtype: Any, offset_bytes: int = 0
    ) -> np.ndarray:
        """Return a new array with a buffer's contents, after everything that is queued has run."""
        array = np.empty(tuple(shape), numpy_dtype)
        self._check_range(buffer, offset_bytes, array.nbytes, "download")
        if not array.nbytes:
            return array
        if getattr(buffer, "memory", None) is not None:
            self.finish()
            array[...] = self.view(buffer, shape, numpy_dtype, offset_bytes)
            return array
        try:
            cl.enqueue_copy(self.queue, array, buffer, src_offset=offset_bytes)
        except cl.Error as error:
            raise self.failure(error, f"downloading {array.nbytes} bytes") from error
        return array

    def view(self, buffer: Any, shape: Sequence[int], numpy_dtype: Any, offset_bytes: int = 0) -> np.ndarray:
        """Return an array that is a part of a buffer's memory; for devices with `Capabilities.zero_copy`."""
        return np.ndarray(tuple(shape), numpy_dtype, buffer.memory, offset_bytes)

    def copy(
        self, dst: Any, src: Any, size_bytes: int, dst_offset_bytes: int = 0, src_offset_bytes: int = 0
    ) -> None:
        """Queue a copy between buffers; the ranges must not overlap.  Does not wait."""
        self._check_range(dst, dst_offset_bytes, size_bytes, "copy to")
        self._check_range(src, src_offset_bytes, size_bytes, "copy from")
        if not size_bytes:
            return
        try:
            cl.enqueue_copy(
                self.queue, dst, src,
                byte_count=size_bytes, dst_offset=dst_offset_bytes, src_offset=src_offset_bytes,
            )  # fmt: skip
        except cl.Error as error:
            raise self.failure(error, f"copying {size_bytes} bytes") from error

    def _check_range(self, buffer: Any, offset_bytes: int, size_bytes: int, what: str) -> None:
        capacity = getattr(buffer, "size_bytes", None)
        if capacity is None:
            capacity = buffer.size
        if offset_bytes < 0 or size_bytes < 0 or offset_bytes + size_bytes > capacity:
            raise DeviceError(
                message(
                    f"{what}: bytes {offset_bytes} to {offset_bytes + size_bytes} are not in the buffer",
                    where=self.name,
                    got=f"a buffer of {capacity} bytes",
                )
            )

    # -------------------------------------------------- programs and launches

    def build(self, source: str, options: Sequence[str] = ()) -> Program:
        """Compile OpenCL C, or return it from the cache.

        Raises
        ------
        KernelBuildError
            With the compiler's log and the place where the source was saved.
        """
        return self._programs.build(source, options)

    def compile_ahead(self, source: str, buffers: dict[int, int], launches: Sequence[Any]) -> None:
        """Let other processes compile a program's kernels for these launches; see `CompileAhead.compile`."""
        self._ahead.compile(source, (), buffers, launches)

    def is_cold(self, source: str) -> bool:
        """Whether the driver has the kernels of a program still to compile when they are first launched."""
        return self._programs.is_cold(source)

    def stop_ahead(self) -> None:
        """Let other processes stop compiling."""
        self._ahead.stop()

    def launcher(
        self,
        kernel: Any,
        args: Sequence[Any],
        global_size: Sequence[int],
        local_size: Sequence[int] | None = None,
    ) -> Callable[[], object]:
        """Set a kernel's arguments, once, and return what queues it.

        Parameters
        ----------
        kernel
            From ``Program.kernel``; it must not be used for anything else afterwards.
        args : sequence
            Buffers, NumPy scalars, or ``pyopencl.LocalMemory``.
        global_size : sequence of int
            One to three sizes; with a 0 among them the launch does nothing.
        local_size : sequence of int, optional
            Must divide `global_size`; the driver chooses by default.

        Returns
        -------
        callable
            Queues the kernel and does not wait.  It raises what pyopencl raises (`DRIVER_ERRORS`): a handler
            around a whole run costs less than one in each launch.  It keeps the buffers alive.
        """
        name = kernel.get_info(cl.kernel_info.FUNCTION_NAME)
        global_size = tuple(int(n) for n in global_size)
        local_size = None if local_size is None else tuple(int(n) for n in local_size)
        self._check_sizes(name, kernel, global_size, local_size)
        expected = int(kernel.get_info(cl.kernel_info.NUM_ARGS))
        if len(args) != expected:
            raise DeviceError(
                message(
                    "wrong number of kernel arguments",
                    where=f"{self.name}, kernel {name!r}",
                    got=f"{len(args)} arguments",
                    expected=f"{expected}",
                )
            )
        for k, arg in enumerate(args):
            try:
                kernel.set_arg(k, scalar(arg))
            except (cl.Error, TypeError) as error:
                raise DeviceError(
                    message(
                        f"argument {k} does not fit: {error}",
                        where=f"{self.name}, kernel {name!r}",
                        got=f"{type(arg).__module__}.{type(arg).__name__}",
                        expected="a buffer, or a NumPy scalar of the parameter's own size",
                    )
                ) from error
        if 0 in global_size:
            return _nothing
        # A partial of pyopencl's own function has no Python frame.  All arguments are positional, since
        # keywords cost as much as the call itself; the two flags mean: sizes are in items, not empty.
        launch = functools.partial(
            cl.enqueue_nd_range_kernel, self.queue, kernel, global_size, local_size, None, None, False, False
        )
        # OpenCL does not count a set argument as a use of the buffer.
        launch.buffers = tuple(a for a in args if isinstance(a, cl.MemoryObjectHolder))  # type: ignore[attr-defined]
        return launch

    def _check_sizes(
        self, name: str, kernel: Any, global_size: tuple[int, ...], local_size: tuple[int, ...] | None
    ) -> None:
        def wrong(what: str, expected: str) -> DeviceError:
            got = f"global size {global_size}, local size {local_size}"
            return DeviceError(
                message(what, where=f"{self.name}, kernel {name!r}", got=got, expected=expected)
            )

        if not 1 <= len(global_size) <= 3 or min(global_size) < 0:
            raise wrong("not a global size", "one to three sizes, none negative")
        if local_size is None:
            return
        if len(local_size) != len(global_size) or min(local_size) < 1:
            raise wrong("not a local size", f"{len(global_size)} sizes of 1 or more")
        group = int(np.prod(local_size))
        limit = self.capabilities.max_work_group_size
        if group <= limit:  # the kernel's own limit, by its registers, can be lower than the device's
            limit = kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, self._handle)
        if group > limit:
            raise wrong(f"a work-group of {group} work-items is too large", f"at most {limit}")
        for n_local, limit in zip(local_size, self._max_item_sizes):
            if n_local > limit:
                raise wrong(f"{n_local} work-items in one dimension of a work-group", f"at most {limit}")
        if any(n % n_local for n, n_local in zip(global_size, local_size)):
            raise wrong("the local size does not divide the global size", "a multiple in each dimension")

    def flush(self) -> None:
        """Hand what is queued to the device without waiting for it."""
        self.queue.flush()

    def finish(self) -> None:
        """Wait until everything that is queued has run."""
        try:
            self.queue.finish()
        except cl.Error as error:
            raise self.failure(error, "waiting for the device") from error

    def failure(self, error: BaseException, doing: str) -> DeviceError:
        """Return a `DeviceError` for what pyopencl raised while `doing` something."""
        if _is_out_of_memory(error) and hasattr(self, "_lock"):
            fix = f"{_mib(self.allocated_bytes)} are in use by graphrun; use a smaller batch"
        else:
            fix = "`graphrun doctor` tries the device again"
        return DeviceError(
            message(
                f"{doing} failed: {error}",
                where=self.name,
                got=f"device: {self.report.device_name}   driver: {self.report.driver_version}",
                fix=fix,
            )
        )


def _nothing() -> None:
    """The launch of no work-items."""


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(code in str(error) for code in _OUT_OF_MEMORY)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"


def open_device(index: int) -> OpenCLDevice:
    """Return the device ``opencl:<index>``; the same object at every call.

    Raises
    ------
    DeviceError
        If there is none; the message lists those that are.
    """
    with _devices_lock:
        device = _devices.get(index)
        if device is None:
            device = _devices[index] = _open(index)
        return device


def _open(index: int) -> OpenCLDevice:
    found = discover.reports()
    for report in found:
        if report.index == index:
            return OpenCLDevice(report, discover.handle(report))
    working = sorted((r for r in found if r.working), key=lambda r: r.index or 0)
    lines = [f"{r.name}: {r.device_name} ({r.platform_name})" for r in working]
    lines += [f"not usable: {r.device_name}: {r.reason}" for r in found if not r.working]
    failure, _ = discover.listing_failure()
    raise DeviceError(
        message(
            f"there is no device opencl:{index}",
            got=lines or [failure or "no OpenCL device was found"],
            expected=f"opencl:0 to opencl:{len(working) - 1}" if len(working) > 1 else
            "opencl:0" if working else 'only "cpu:0" (NumPy) on this machine',
            fix="`graphrun doctor` says what is missing",
        )
    )  # fmt: skip
