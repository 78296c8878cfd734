"""What is known of the ways in which OpenCL fails, and the line to type for each.

The texts of drivers go in, a short reason and a command come out.  An unknown failure keeps its own words.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Package names by distribution family: PoCL, the OpenCL loader, Intel's GPU driver, Mesa's drivers.
_INSTALL: dict[str, tuple[str, dict[str, str]]] = {
    "debian": (
        "sudo apt-get install",
        {"pocl": "pocl-opencl-icd", "loader": "ocl-icd-libopencl1", "intel": "intel-opencl-icd",
         "mesa": "mesa-opencl-icd"},
    ),
    "fedora": (
        "sudo dnf install",
        {"pocl": "pocl", "loader": "ocl-icd", "intel": "intel-compute-runtime", "mesa": "mesa-libOpenCL"},
    ),
    "suse": (
        "sudo zypper install",
        {"pocl": "pocl", "loader": "libOpenCL1", "intel": "intel-opencl", "mesa": "Mesa-libOpenCL"},
    ),
    "arch": (
        "sudo pacman -S",
        {"pocl": "pocl", "loader": "ocl-icd", "intel": "intel-compute-runtime", "mesa": "opencl-mesa"},
    ),
}  # fmt: skip

_LIBRARY_PACKAGES = (("pocl", "pocl"), ("igdrcl", "intel"), ("mesaopencl", "mesa"), ("rusticl", "mesa"))

RETRY = "graphrun doctor"


@functools.cache
def _distribution() -> str:
    if sys.platform != "linux":
        return sys.platform
    try:
        text = Path("/etc/os-release").read_text(errors="replace").lower()
    except OSError:
        return "debian"
    words = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^id(?:_like)?=(.*)$", text, re.MULTILINE))))
    for family, names in {
        "fedora": {"fedora", "rhel"},
        "suse": {"suse", "opensuse"},
        "arch": {"arch"},
    }.items():
        if words & names:
            return family
    return "debian"


def _install(package: str) -> str:
    command, names = _INSTALL.get(_distribution(), _INSTALL["debian"])
    return f"{command} {names[package]}"


def install_pocl() -> str:
    """Return the line that installs a CPU driver that knows new CPUs."""
    if sys.platform == "win32":
        return "install the 'Intel CPU Runtime for OpenCL Applications' (it runs on AMD processors too)"
    if sys.platform == "darwin":
        return "brew install pocl"
    return _install("pocl")


def no_platform() -> str:
    """Return what to do where no driver announces itself at all."""
    if sys.platform == "linux":
        return f"{install_pocl()}\nor: pip install pocl-binary-distribution"
    return install_pocl()


def pyopencl(problem: str) -> str:
    """Return the fix for pyopencl that does not import."""
    if "libOpenCL" in problem or "OpenCL.dll" in problem:
        return _install("loader") if sys.platform == "linux" else "install your GPU's driver"
    if "No module named 'pyopencl'" in problem:
        return f"{_python()} -m pip install pyopencl"
    return f"{_python()} -m pip install --force-reinstall pyopencl"


def _python() -> str:
    name = os.path.basename(sys.executable or "python")
    return name if re.fullmatch(r"python[0-9.]*(\.exe)?", name) else "python"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def leave_out(icd_path: str) -> str:
    """Return the line that hides a driver from the loader."""
    if os.path.isabs(icd_path) and icd_path.endswith(".icd"):
        quoted = shlex.quote(icd_path)
        return (
            f"sudo mv {quoted} {quoted}.off" if icd_path.startswith("/etc/") else f"mv {quoted} {quoted}.off"
        )
    return "set OCL_ICD_VENDORS to a folder without it"


def missing_library(icd_path: str, library: str) -> str:
    """Return the fix for an ``.icd`` file whose library is not there."""
    low = os.path.basename(library).lower()
    if "nvidia" in low:
        return "install the NVIDIA driver's OpenCL library (Debian: nvidia-opencl-icd), or in a container " \
               "start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility"  # fmt: skip
    for part, package in _LIBRARY_PACKAGES:
        if part in low and sys.platform == "linux":
            return f"{_install(package)}\nor: {leave_out(icd_path)}"
    return f"install the driver again, or: {leave_out(icd_path)}"


def unloadable(text: str, icd_path: str, library: str) -> str:
    """Return the fix for a library that the dynamic linker refuses."""
    missing = re.match(r"(\S+): cannot open shared object file", text)
    if missing and os.path.basename(missing[1]) != os.path.basename(library):
        return f"install what holds {missing[1]}, or put its folder on LD_LIBRARY_PATH"
    if missing:
        return missing_library(icd_path, library)
    return f"install the driver again, or: {leave_out(icd_path)}"


def _pocl_cpu(match: re.Match[str], platform_version: str) -> tuple[str, str]:
    llvm = re.search(r"LLVM ([0-9.]+)", platform_version)
    built = f" (LLVM {llvm[1]})" if llvm else ""
    return (
        f"every build fails: {match[0]}; this PoCL's compiler{built} does not know this processor",
        install_pocl(),
    )


_Rule = Callable[[re.Match[str], str], tuple[str, str]]

# (pattern in the failure's text, (match, platform version) -> (reason, fix)); the first that fits counts.
_PATTERNS: tuple[tuple[str, _Rule], ...] = (
    (r"error: unknown target CPU '[^']*'", _pocl_cpu),
    (
        r"timed out after .*",
        lambda m, _: (
            f"the driver hangs: {m[0]}",
            "reboot or install the driver again; `dmesg` may say more",
        ),
    ),
    (r"crashed .*", lambda m, _: (f"the driver {m[0]}", "install a newer driver")),
    (
        r"'?opencl-c[-a-z]*\.h'? file not found",
        lambda m, _: (f"every build fails: {m[0]}", "install the driver's headers (Debian: libclc, clang)"),
    ),
    (
        r"Permission denied",
        lambda m, _: ("the device file may not be opened: permission denied", _add_to_groups()),
    ),
    (
        r"(OUT_OF_RESOURCES|OUT_OF_HOST_MEMORY|MEM_OBJECT_ALLOCATION_FAILURE)",
        lambda m, _: (f"no room on the device: {m[0]}", "end other programs that use the device"),
    ),
    (
        r"DEVICE_NOT_AVAILABLE",
        lambda m, _: ("the driver says DEVICE_NOT_AVAILABLE", "end other programs that use the device"),
    ),
    (
        r"wrong numbers: .*",
        lambda m, _: (m[0], "install a newer driver; until then graphrun leaves this device alone"),
    ),
)


def explain(text: str, platform_version: str = "") -> tuple[str, str]:
    """Return (reason in one line, fix) for the text of a failed probe."""
    for pattern, rule in _PATTERNS:
        match = re.search(pattern, text)
        if match:
            return rule(match, platform_version)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\berror\b", line)]
    reason = lines[0] if lines else "it failed without a word"
    if telling and telling[0] != reason:
        reason = f"{reason}: {telling[0]}"
    return reason[:300], "install a newer driver"


def remove_pocl_wheel() -> str:
    return f"{_python()} -m pip uninstall pocl-binary-distribution"


def _add_to_groups() -> str:
    return "sudo usermod -aG render,video $USER    (then log in again)"


def machine_hints(libraries: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what this machine's hardware says about missing drivers and permissions (Linux).

    Parameters
    ----------
    libraries : list of str
        The drivers' libraries that are announced already.
    """
    if sys.platform != "linux":
        return
    closed = [
        path for path in [*sorted(glob.glob("/dev/dri/renderD*")), "/dev/kfd"]
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)
    ]  # fmt: skip
    if closed:
        yield f"you may not open {', '.join(closed)}", _add_to_groups()
    known = " ".join(libraries).lower()
    vendors = _gpu_vendors()
    if "nvidia" in vendors and "nvidia" not in known:
        yield (
            "an NVIDIA GPU is here, its OpenCL driver is not announced",
            "echo libnvidia-opencl.so.1 | sudo tee /etc/OpenCL/vendors/nvidia.icd",
        )
    if "amd" in vendors and not any(n in known for n in ("amdocl", "rusticl", "mesa")):
        yield "an AMD GPU is here, no OpenCL driver for it is announced", _install("mesa")
    if "intel" in vendors and not any(n in known for n in ("igdrcl", "intel", "rusticl")):
        yield "an Intel GPU is here, no OpenCL driver for it is announced", _install("intel")


def _gpu_vendors() -> set[str]:
    found = {"nvidia"} if os.path.exists("/proc/driver/nvidia/version") else set()
    for path in glob.glob("/sys/class/drm/card[0-9]*/device/vendor"):
        try:
            number = Path(path).read_text().strip()
        except OSError:
            continue
        found |= {{"0x1002": "amd", "0x8086": "intel"}.get(number, "")} - {""}
    return found
