"""Building OpenCL programs: once per source and device, quietly, with an error that helps."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrun.errors import KernelBuildError, message
from graphrun.kernel_files import kernel_source
from graphrun.runtime.opencl import cachedir, kernelcache
from graphrun.runtime.opencl.binding import cl

if TYPE_CHECKING:
    from graphrun.runtime.opencl.discover import DeviceReport

_PROGRAMS_KEPT = 256  # per device, in memory; a plan keeps its own alive beyond that
_LOG_LINES_SHOWN = 40
_POCL = "Portable Computing Language"

# warnings.catch_warnings changes the whole process, so two builds must not interleave theirs.
_build_lock = threading.Lock()


def load(file: str) -> str:
    """Return the text of a file in ``kernels/``, as ``load("gemm.cl")``."""
    return kernel_source(file)


class Program:
    """A built program of one device.

    Attributes
    ----------
    source, options
        What it was built from.
    cold : bool
        The driver compiles kernels when they are first launched, and has not done so with this program's.
    """

    def __init__(
        self, program: Any, device_name: str, source: str = "", options: Sequence[str] = (), digest: str = ""
    ) -> None:
        self._program = program
        self._device_name = device_name
        self.source, self.options = source, options
        self._digest = digest
        names = str(program.get_info(cl.program_info.KERNEL_NAMES))
        self.kernel_names: tuple[str, ...] = tuple(n for n in names.split(";") if n)

        self.cold = bool(digest)

    def compiled(self, kernels: Sequence[str]) -> None:
        """Remember that these kernels have been launched and have run."""
        if self.cold:
            self.cold = False
            kernelcache.note_compiled(self._digest, kernels)

    def kernel(self, name: str) -> Any:
        """Return a new ``pyopencl.Kernel``, whose arguments nobody else sets.

        Raises
        ------
        KernelBuildError
            If the program has no such kernel.
        """
        if name not in self.kernel_names:
            raise KernelBuildError(
                message(
                    f"the program has no kernel {name!r}",
                    where=self._device_name,
                    expected=f"one of {', '.join(self.kernel_names) or '(it has none)'}",
                )
            )
        try:
            return cl.Kernel(self._program, name)
        except OSError as error:  # pyopencl keeps a file for each kernel's arguments
            raise KernelBuildError(
                message(
                    f"pyopencl cannot write its cache: {error}",
                    where=f"{self._device_name}, kernel {name!r}",
                    fix="set XDG_CACHE_HOME to a folder that can be written, or PYOPENCL_NO_CACHE=1",
                )
            ) from error


class ProgramCache:
    """Builds programs for one device and keeps the latest."""

    def __init__(self, report: DeviceReport, context: Any, device: Any) -> None:
        self._report = report
        self._context = context
        self._device = device
        self._programs: OrderedDict[tuple[str, tuple[str, ...]], Program] = OrderedDict()
        self._lock = threading.Lock()
        self._driver_caches = report.platform_name in (_POCL, "NVIDIA CUDA")  # what it has compiled, on disk
        self.compiles_late = report.platform_name == _POCL  # at a kernel's first launch

    def build(self, source: str, options: Sequence[str] = ()) -> Program:
        """Return the program of `source`; see `OpenCLDevice.build`."""
        key = (source, tuple(options))
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
                return program
        with _build_lock:
            with self._lock:
                program = self._programs.get(key)  # another thread may have built it meanwhile
            if program is None:
                with warnings.catch_warnings():
                    # Drivers talk about successful builds too; pyopencl warns that they did.
                    warnings.simplefilter("ignore", cl.CompilerWarning)
                    program = self._built(*key)
        with self._lock:
            self._programs[key] = program
            while len(self._programs) > _PROGRAMS_KEPT:
                self._programs.popitem(last=False)
        return program

    def is_cold(self, source: str, options: Sequence[str] = ()) -> bool:
        """Whether the driver has the kernels of a program still to compile when they are first launched."""
        with self._lock:
            program = self._programs.get((source, tuple(options)))
        if program is not None:
            return program.cold
        return self.compiles_late and not kernelcache.is_compiled(self._digest(source, options))

    def _digest(self, source: str, options: Sequence[str]) -> str:
        return hashlib.sha256("\0".join((self._report.key, *options, source)).encode()).hexdigest()

    def _built(self, source: str, options: tuple[str, ...]) -> Program:
        # pyopencl has a disk cache of its own; it is locked by a file that a killed process leaves behind
        # and then stalls everyone for a minute, so it is not used.
        digest = self._digest(source, options)
        binary = None if self._driver_caches else self._from_binary(digest, options)
        # Asked before the driver looks into its files, which may be damaged.
        cold = self.compiles_late and not kernelcache.is_compiled(digest)
        try:
            program = binary or cl.Program(self._context, source).build(
                list(options), devices=[self._device], cache_dir=False
            )
        except cl.Error as error:
            raise self._failure(source, options, digest, str(error)) from None
        if not self._driver_caches and not binary:
            self._keep_binary(digest, program)
        return Program(program, self._report.name, source, options, digest if cold else "")

    def _from_binary(self, digest: str, options: tuple[str, ...]) -> Any:
        name = f"{kernelcache.BINARIES}/{digest}.bin"
        data = cachedir.read_bytes(name)
        if data is None or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        try:
            program = cl.Program(self._context, [self._device], [data[32:]]).build(
                list(options), devices=[self._device]
            )
        except cl.Error:  # the driver does not want its own binary any more: build from source
            return None
        cachedir.touch(name)
        return program

    def _keep_binary(self, digest: str, program: Any) -> None:
        try:
            binary = bytes(program.get_info(cl.program_info.BINARIES)[0])
        except (cl.Error, IndexError):  # a driver need not give any
            return
        if binary:
            name = f"{kernelcache.BINARIES}/{digest}.bin"
            cachedir.write_bytes(name, hashlib.sha256(binary).digest() + binary)
            kernelcache.shrink()

    def _failure(self, source: str, options: tuple[str, ...], digest: str, text: str) -> KernelBuildError:
        saved = cachedir.write_bytes(f"{kernelcache.FAILED}/{digest[:16]}.cl", source.encode())
        log = _log(text)
        shown = log[:_LOG_LINES_SHOWN]
        if len(log) > len(shown):
            shown.append(f"... ({len(log) - len(shown)} more lines)")
        report = self._report
        return KernelBuildError(
            message(
                f"an OpenCL program of {source.count(chr(10)) + 1} lines does not compile",
                where=report.name,
                got=[
                    f"device: {report.device_name}   driver: {report.platform_name} {report.driver_version}",
                    f"options: {' '.join(options) or '(none)'}",
                    *(f"| {line}" for line in shown or ["(the driver gives no log)"]),
                ],
                fix=f"the full source is in {saved}"
                if saved
                else "the source could not be saved; set GRAPHRUN_CACHE_DIR to a folder that can be written",
            )
        )


def _log(text: str) -> list[str]:
    """Return the compiler's own lines of pyopencl's error text."""
    lines = [line.rstrip() for line in text.splitlines()]
    starts = [k for k, line in enumerate(lines) if line.startswith("Build on <")]
    if starts:
        lines = lines[starts[0] + 1 :]
    return [line for line in lines if line and not line.startswith(("(options: ", "(source saved as "))]


def scalar(value: object) -> Any:
    """Return a kernel argument as OpenCL has it: bool is a uchar."""
    return np.uint8(value) if isinstance(value, np.bool_) else value
