"""The text of `graphrun doctor`, for machines in every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphrun.graph.descriptor import Capabilities
from graphrun.runtime import doctor
from graphrun.runtime.opencl import discover, loader

LOADER = loader.LoaderReport(
    disabled=False,
    pyopencl_version="2026.1",
    pyopencl_reason="",
    pyopencl_fix="",
    icd_folders=("/etc/OpenCL/vendors",),
    icd_files=(loader.IcdFile("/etc/OpenCL/vendors/a.icd", "liba.so", "/usr/lib/liba.so", True),),
    hints=(),
)
GPU = discover.DeviceReport(
    platform_name="Vendor CL", platform_vendor="Vendor", platform_version="OpenCL 3.0",
    device_name="Fast 9000", type="gpu", driver_version="24.1", opencl_c_version="OpenCL C 3.0",
    memory_bytes=8 << 30, compute_units=32, working=True, reason="", fix="",
    capabilities=Capabilities(kind="gpu", fp64=False, max_alloc_bytes=2 << 30), index=0,
)  # fmt: skip
BROKEN = replace(
    GPU, device_name="Old CPU", type="cpu", working=False, index=None, compute_units=1,
    reason="every build fails: error: unknown target CPU 'generic'",
    fix="sudo apt-get install pocl-opencl-icd",
)  # fmt: skip
HEALTHY = doctor.Diagnosis(
    python="3.12.1 (CPython, /usr/bin/python3)",
    system="Linux 6.1, x86_64",
    cpu="Some CPU",
    cpu_count=8,
    numpy_version="2.1.0",
    blas="openblas 0.3.28",
    loader=LOADER,
    devices=(BROKEN, GPU),
)


def text(diagnosis, **options):
    return doctor.format_diagnosis(diagnosis, **{"width": 90, "ascii_only": False, **options})


def test_whole_page():
    assert (
        text(HEALTHY)
        == """\
Host
  Python      3.12.1 (CPython, /usr/bin/python3)
  system      Linux 6.1, x86_64
  processor   Some CPU, 8 CPUs usable
  NumPy       2.1.0, BLAS: openblas 0.3.28

OpenCL loader
  ✓ pyopencl 2026.1
    drivers in  /etc/OpenCL/vendors
  ✓ a.icd: /usr/lib/liba.so

OpenCL devices
  ✓ opencl:0  Fast 9000
    type        gpu, 32 compute units, 8.0 GiB
    platform    Vendor CL
    driver      24.1, OpenCL C 3.0
    limits      float64 no, work-group 1,024, local memory 32 KiB, largest buffer 2.0 GiB
  ✗ Old CPU
    type        cpu, 1 compute unit, 8.0 GiB
    platform    Vendor CL
    driver      24.1, OpenCL C 3.0
    problem     every build fails: error: unknown target CPU 'generic'
    fix         sudo apt-get install pocl-opencl-icd

Device names
  "/cpu:0"    NumPy on the processor
  "/gpu:0"    also "opencl:0": Fast 9000 (Vendor CL)

✓ 1 OpenCL device can be used; 1 listed device does not work.
"""
    )
    assert HEALTHY.exit_code == 0


def test_nothing_installed():
    bare = replace(HEALTHY, loader=replace(LOADER, icd_files=()), devices=())
    page = text(bare)
    assert "✗ no driver announces itself there" in page
    assert "✗ none: no OpenCL driver is installed\n    fix         " in page
    assert page.endswith("✗ No OpenCL device can be used: graphrun computes with NumPy.\n")
    assert bare.exit_code == 1


def test_only_broken_devices():
    sick = replace(HEALTHY, devices=(BROKEN,))
    assert sick.exit_code == 1
    assert "fix         sudo apt-get install pocl-opencl-icd" in text(sick)


def test_pyopencl_missing():
    problem = replace(
        LOADER,
        pyopencl_version="",
        pyopencl_reason="ModuleNotFoundError: No module named 'pyopencl'",
        pyopencl_fix="python -m pip install pyopencl",
    )
    page = text(replace(HEALTHY, loader=problem, devices=(), listing_failure="ModuleNotFoundError: ..."))
    assert (
        "✗ pyopencl: ModuleNotFoundError: No module named 'pyopencl'\n    fix         python -m pip" in page
    )
    assert page.count("ModuleNotFoundError") == 1


def test_switched_off():
    page = text(replace(HEALTHY, loader=replace(LOADER, disabled=True), devices=()))
    assert "GRAPHRUN_OPENCL is set to 0\n    fix         unset GRAPHRUN_OPENCL" in page
    assert "OpenCL devices" not in page


def test_broken_icd_hints_and_crashes():
    icd = loader.IcdFile(
        "/etc/OpenCL/vendors/b.icd", "libb.so", reason="its library is not there", fix="line 1\nor: 2"
    )
    hints = (("you may not open /dev/kfd", "sudo usermod -aG render,video $USER"),)
    page = text(
        replace(
            HEALTHY,
            loader=replace(LOADER, icd_files=(icd,), hints=hints),
            devices=(),
            listing_failure="the driver libb.so crashed its process (SIGSEGV)",
            listing_fix="mv b.icd b.icd.off",
            empty_platforms=("Empty CL (OpenCL 2.0)",),
        )
    )
    assert (
        "✗ b.icd names libb.so: its library is not there\n    fix         line 1\n                or: 2"
        in page
    )
    assert "✗ you may not open /dev/kfd\n    fix         sudo usermod -aG render,video $USER" in page
    assert "✗ the driver libb.so crashed its process (SIGSEGV)\n    fix         mv b.icd b.icd.off" in page
    assert "✗ Empty CL (OpenCL 2.0) is installed and finds no device" in page


def test_selftests_of_kernel_families():
    results = {
        "opencl:0": {"gemm": (True, ""), "conv": (True, ""), "softmax": (False, "error 0.3 at (0, 1)")}
    }
    page = text(replace(HEALTHY, selftests=results))
    assert "    kernels     ✓ gemm, conv\n" in page
    assert "    kernels     ✗ softmax: error 0.3 at (0, 1); NumPy runs these instead\n" in page


@pytest.mark.parametrize("width", [60, 80, 100])
def test_fits_the_terminal(width):
    long = replace(GPU, device_name="A processor with a long name " * 4, reason="because " * 30)
    page = text(replace(HEALTHY, devices=(long,)), width=width)
    assert max(len(line) for line in page.splitlines()) <= width


def test_plain_ascii():
    page = text(HEALTHY, ascii_only=True)
    page.encode("ascii")
    assert "  ok opencl:0  Fast 9000" in page and "  -- Old CPU" in page


def test_this_machine(monkeypatch):
    diagnosis = doctor.diagnose()
    page = text(diagnosis)
    assert page.startswith("Host\n  Python      3.")
    assert diagnosis.exit_code == (0 if any(r.working for r in discover.reports(warn=False)) else 1)
    for report in diagnosis.devices:
        assert report.device_name in page
