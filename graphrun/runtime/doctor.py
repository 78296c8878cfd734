"""`graphrun doctor`: what graphrun found on this machine, and what to type where something is amiss."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graphrun.runtime.opencl import discover, loader
from graphrun.runtime.opencl.advice import no_platform

# Device name -> kernel family -> (agrees with NumPy, what was compared or what went wrong).
SelfTests = Mapping[str, Mapping[str, tuple[bool, str]]]

_LABEL_WIDTH = 12


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; `format_diagnosis` makes text of it."""

    python: str
    system: str
    cpu: str
    cpu_count: int
    numpy_version: str
    blas: str
    loader: loader.LoaderReport
    devices: tuple[discover.DeviceReport, ...]
    empty_platforms: tuple[str, ...] = ()
    listing_failure: str = ""
    listing_fix: str = ""
    selftests: SelfTests = field(default_factory=dict)

    @property
    def working(self) -> tuple[discover.DeviceReport, ...]:
        """The devices that can be used, in the order of their names."""
        return tuple(sorted((d for d in self.devices if d.working), key=lambda d: d.index or 0))

    @property
    def exit_code(self) -> int:
        """0 where something better than NumPy works, else 1."""
        return 0 if self.working else 1


def diagnose(refresh: bool = False, selftests: SelfTests | None = None) -> Diagnosis:
    """Look at Python, NumPy, the OpenCL loader and every device.

    Parameters
    ----------
    refresh : bool
        Try every device again instead of believing the last verdict.  Failures are never believed here.
    selftests : mapping, optional
        Results of the kernel families: device name -> family -> (ok, detail).
    """
    devices = tuple(discover.reports(refresh=refresh, warn=False))
    failure, fix = discover.listing_failure()
    if not refresh and (failure or not all(d.working for d in devices)):
        # Who asks has most likely just mended something, and must not get a remembered answer.
        devices = tuple(discover.reports(refresh=True, warn=False))
        failure, fix = discover.listing_failure()
    return Diagnosis(
        python=f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})",
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cpu=_cpu_name(),
        cpu_count=_cpu_count(),
        numpy_version=np.__version__,
        blas=_blas(),
        loader=loader.loader_report(),
        devices=devices,
        empty_platforms=discover.empty_platforms(),
        listing_failure=failure,
        listing_fix=fix,
        selftests=selftests or {},
    )


def _blas() -> str:
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        name, version = str(built.get("name", "")), str(built.get("version", ""))
    except Exception:  # show_config is for people; its form is not promised
        return ""
    return " ".join(part for part in (name, version) if part and part != "unknown")


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.lower().startswith(("model name", "hardware", "cpu model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cpu_count() -> int:
    # A container or taskset may allow fewer CPUs than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def format_diagnosis(diagnosis: Diagnosis, width: int | None = None, ascii_only: bool | None = None) -> str:
    """Return the text of `graphrun doctor`.

    Parameters
    ----------
    width : int, optional
        Columns; the terminal's by default, between 60 and 100.
    ascii_only : bool, optional
        Write ``ok`` and ``--`` for the check marks; by default where standard output cannot show them.
    """
    if width is None:
        width = max(60, min(100, shutil.get_terminal_size().columns))
    if ascii_only is None:
        ascii_only = not _can_print("✓✗")
    page = _Page(width, *(("ok", "--") if ascii_only else ("✓", "✗")))
    _host(page, diagnosis)
    _loader(page, diagnosis)
    _devices(page, diagnosis)
    _conclusion(page, diagnosis)
    return "\n".join(page.lines) + "\n"


def _can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
        return True
    except (UnicodeEncodeError, LookupError):
        return False


class _Page:
    def __init__(self, width: int, yes: str, no: str) -> None:
        self.lines: list[str] = []
        self.yes, self.no = yes, no
        self._width = width

    def heading(self, text: str) -> None:
        if self.lines:
            self.lines.append("")
        self.lines.append(text)

    def entry(self, label: str, text: str, indent: int = 2) -> None:
        """Add ``label  text``, the text wrapped beside its label."""
        start = " " * indent + label.ljust(_LABEL_WIDTH)
        self._wrapped(start, text)

    def item(self, ok: bool, text: str, indent: int = 2) -> None:
        """Add a line with a check mark."""
        self._wrapped(" " * indent + f"{self.yes if ok else self.no} ", text)

    def command(self, text: str, indent: int) -> None:
        """Add what to do; commands are never wrapped, so that they can be copied."""
        for k, line in enumerate(text.splitlines()):
            self.lines.append(
                " " * indent + ("fix".ljust(_LABEL_WIDTH) if k == 0 else " " * _LABEL_WIDTH) + line
            )

    def _wrapped(self, start: str, text: str) -> None:
        self.lines += textwrap.wrap(
            text or "-", self._width, initial_indent=start, subsequent_indent=" " * len(start),
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _host(page: _Page, d: Diagnosis) -> None:
    page.heading("Host")
    page.entry("Python", d.python)
    page.entry("system", d.system)
    page.entry("processor", f"{d.cpu}, {d.cpu_count} CPU{'s' if d.cpu_count != 1 else ''} usable")
    page.entry("NumPy", f"{d.numpy_version}" + (f", BLAS: {d.blas}" if d.blas else ""))


def _loader(page: _Page, d: Diagnosis) -> None:
    report = d.loader
    page.heading("OpenCL loader")
    if report.disabled:
        page.item(False, "OpenCL is switched off: the environment variable GRAPHRUN_OPENCL is set to 0")
        page.command("unset GRAPHRUN_OPENCL", 4)
        return
    if report.pyopencl_reason:
        page.item(False, f"pyopencl {report.pyopencl_version}".strip() + f": {report.pyopencl_reason}")
        page.command(report.pyopencl_fix, 4)
    else:
        page.item(True, f"pyopencl {report.pyopencl_version}")
    page.entry("drivers in", ", ".join(report.icd_folders), indent=4)
    for icd in report.icd_files:
        name = os.path.basename(icd.path)
        if icd.reason:
            page.item(False, f"{name} names {icd.library or 'nothing'}: {icd.reason}")
        else:
            page.item(True, f"{name}: {icd.library_path or icd.library}")
        if icd.fix:
            page.command(icd.fix, 4)
    if not report.icd_files:
        page.item(False, "no driver announces itself there")
    for what, fix in report.hints:
        page.item(False, what)
        page.command(fix, 4)


def _devices(page: _Page, d: Diagnosis) -> None:
    if d.loader.disabled:
        return
    page.heading("OpenCL devices")
    if d.listing_failure and not d.loader.pyopencl_reason:
        page.item(False, d.listing_failure)
        page.command(d.listing_fix, 4)
    for report in (*d.working, *(r for r in d.devices if not r.working)):
        _device(page, d, report)
    for text in d.empty_platforms:
        page.item(False, f"{text} is installed and finds no device")
    if not d.devices and not d.empty_platforms and not d.listing_failure:
        announced = d.loader.icd_files
        page.item(
            False,
            "none: " + ("the drivers above list none" if announced else "no OpenCL driver is installed"),
        )
        page.command(no_platform(), 4)


def _device(page: _Page, d: Diagnosis, report: discover.DeviceReport) -> None:
    name = f"{report.name}  " if report.working else ""
    page.item(report.working, f"{name}{report.device_name}")
    units = f"{report.compute_units} compute unit{'s' if report.compute_units != 1 else ''}"
    page.entry("type", f"{report.type}, {units}, {report.memory_bytes / 2**30:.1f} GiB", indent=4)
    page.entry("platform", report.platform_name, indent=4)
    page.entry("driver", f"{report.driver_version}, {report.opencl_c_version}", indent=4)
    if report.working:
        limits = report.capabilities
        page.entry(
            "limits",
            f"float64 {'yes' if limits.fp64 else 'no'}, work-group {limits.max_work_group_size:,}, "
            f"local memory {limits.local_mem_bytes // 1024:,} KiB, "
            f"largest buffer {limits.max_alloc_bytes / 2**30:.1f} GiB",
            indent=4,
        )
    if report.reason:
        page.entry("problem", report.reason, indent=4)
    if report.fix:
        page.command(report.fix, 4)
    _selftests(page, d.selftests.get(report.name, {}) if report.name else {})


def _selftests(page: _Page, results: Mapping[str, tuple[bool, str]]) -> None:
    if not results:
        return
    passed = [family for family, (ok, _) in results.items() if ok]
    if passed:
        page.entry("kernels", f"{page.yes} {', '.join(passed)}", indent=4)
    for family, (ok, detail) in results.items():
        if not ok:
            text = f"{page.no} {family}: {detail}" if detail else f"{page.no} {family}"
            page.entry("kernels", f"{text}; NumPy runs these instead", indent=4)


def _conclusion(page: _Page, d: Diagnosis) -> None:
    page.heading("Device names")
    page.entry('"/cpu:0"', "NumPy on the processor")
    for report in d.working:
        page.entry(
            f'"/gpu:{report.index}"', f'also "{report.name}": {report.device_name} ({report.platform_name})'
        )
    page.lines.append("")
    if d.working:
        rest = len(d.devices) - len(d.working)
        broken = f"; {rest} listed device{'s do' if rest != 1 else ' does'} not work" if rest else ""
        n = len(d.working)
        page.item(True, f"{n} OpenCL device{'s' if n != 1 else ''} can be used{broken}.", indent=0)
    else:
        page.item(False, "No OpenCL device can be used: graphrun computes with NumPy.", indent=0)
