"""The OpenCL loader: is pyopencl there, and which drivers does the loader see?

A driver announces itself by an ``.icd`` file, one line with the name of its library.  This file reads
those the way the loaders do, without loading anything itself.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from graphrun import environment
from graphrun.errors import DeviceError
from graphrun.runtime.opencl import advice, cachedir
from graphrun.runtime.opencl.probe import PROBE_VERSION

_SYSTEM_VENDORS = "/etc/OpenCL/vendors"

# What decides which drivers and devices a process sees; part of the key of every verdict.
_LOADER_VARIABLES = (
    "OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH", "OPENCL_LAYERS", "LD_LIBRARY_PATH",
    "RUSTICL_ENABLE",
)  # fmt: skip


@dataclass(frozen=True)
class IcdFile:
    """One announced driver.

    `library_path` is empty where the library was not found; `loads` is None where nobody has tried.
    """

    path: str
    library: str
    library_path: str = ""
    loads: bool | None = None
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True)
class LoaderReport:
    """What stands between Python and the OpenCL drivers."""

    disabled: bool
    pyopencl_version: str
    pyopencl_reason: str  # why pyopencl cannot be imported; empty if it can
    pyopencl_fix: str
    icd_folders: tuple[str, ...]
    icd_files: tuple[IcdFile, ...]
    hints: tuple[tuple[str, str], ...]  # (what is wrong on this machine, the line that fixes it)


def disabled() -> bool:
    """Whether the user has switched OpenCL off with ``GRAPHRUN_OPENCL=0``."""
    return not environment.flag("GRAPHRUN_OPENCL")


def pyopencl_folder() -> Path | None:
    """Return where pyopencl is installed, without importing it."""
    try:
        spec = importlib.util.find_spec("pyopencl")
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin else None


def prepare_environment() -> None:
    """Say where PoCL keeps kernels, and let it and pyopencl work where nothing can be written.

    Without these settings pyopencl then fails at every kernel and PoCL lists no device at all.
    """
    if sys.platform == "win32":
        return
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not cachedir.can_be_written(Path(base)):
        os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
    if not os.environ.get("POCL_CACHE_DIR"):  # PoCL ends a process in which it is empty
        folder = cachedir.cache_dir()
        if not (cachedir.enabled() and cachedir.can_be_written(folder)):
            folder = cachedir.private_temporary()
        os.environ["POCL_CACHE_DIR"] = str(folder / "pocl")


def import_problem() -> str:
    """Import pyopencl; return why that fails, or an empty string."""
    try:
        from graphrun.runtime.opencl.binding import cl  # noqa: F401
    except DeviceError as error:
        return f"{type(error.__cause__).__name__}: {error.__cause__}"
    return ""


def icd_folders() -> list[str]:
    """Return the places that the loader reads: folders, or single ``.icd`` files, in its order."""
    chosen = os.environ.get("OCL_ICD_VENDORS") or os.environ.get("OPENCL_VENDOR_PATH")
    if chosen and not os.path.exists(chosen):
        return [chosen]
    places = [chosen or _SYSTEM_VENDORS]
    conda = "" if chosen else os.environ.get("CONDA_PREFIX")
    if conda:
        places.append(os.path.join(conda, "etc", "OpenCL", "vendors"))
    package = pyopencl_folder()
    if package:  # where driver wheels put their files; pyopencl's own wheel brings a loader that looks there
        places.append(str(package / ".libs"))
    return [p for k, p in enumerate(dict.fromkeys(places)) if k == 0 or os.path.isdir(p)]


def icd_files() -> list[IcdFile]:
    """Return every driver that is announced to the loader, with the file that its library is."""
    found = []
    for place in icd_folders():
        if os.path.isdir(place):
            paths = sorted(glob.glob(os.path.join(glob.escape(place), "*.icd")))
        elif place.endswith(".icd"):
            paths = [place] if os.path.exists(place) else []
        else:  # OCL_ICD_VENDORS may name a library itself
            found += [_resolved(place, place)] if ".so" in place else []
            continue
        for path in paths:
            try:
                lines = Path(path).read_text(errors="replace").split("\n")
            except OSError as error:
                found.append(IcdFile(path, "", reason=f"cannot be read: {error.strerror}"))
                continue
            found.append(_resolved(path, lines[0].strip()))
    for name in filter(None, os.environ.get("OCL_ICD_FILENAMES", "").split(os.pathsep)):
        found.append(_resolved("OCL_ICD_FILENAMES", name))
    return found


def _resolved(path: str, library: str) -> IcdFile:
    if not library:
        return IcdFile(path, "", reason="is empty; it should hold the name of a library")
    if os.path.isabs(library):
        where = library if os.path.exists(library) else ""
    else:
        beside = os.path.dirname(os.path.abspath(path))
        where = _search(library, (beside, *_library_folders(os.environ.get("LD_LIBRARY_PATH", ""))))
    icd = IcdFile(path, library, where)
    # A name without a folder may lie where only the dynamic linker looks, so its absence proves nothing.
    if not where and (os.path.isabs(library) or sys.platform == "linux"):
        return replace(icd, reason="its library is not there", fix=advice.missing_library(path, library))
    return icd


def _search(name: str, folders: tuple[str, ...]) -> str:
    for folder in folders:
        candidate = os.path.join(folder, name)
        if os.path.exists(candidate):
            return candidate
    return ""


@functools.lru_cache(maxsize=4)
def _library_folders(search_path: str) -> tuple[str, ...]:
    """Return the folders of the dynamic linker: its variable, its configuration, its defaults."""
    folders = [p for p in search_path.split(":") if p]
    for path in ["/etc/ld.so.conf", *sorted(glob.glob("/etc/ld.so.conf.d/*.conf"))]:
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except OSError:
            continue
        folders += [line.strip() for line in lines if line.startswith("/")]
    folders += glob.glob("/usr/lib/*-linux-gnu*") + glob.glob("/lib/*-linux-gnu*")
    folders += ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/usr/local/lib64"]
    return tuple(dict.fromkeys(folders))


def fingerprint() -> str:
    """Return a key that changes when a driver, the loader's settings or the probe change."""
    parts: list[object] = [PROBE_VERSION, sys.platform, _version("pyopencl"), _version("numpy")]
    parts += [(name, os.environ.get(name, "")) for name in _LOADER_VARIABLES]
    # PoCL has many, and some values make it crash.
    parts += sorted((k, v) for k, v in os.environ.items() if k.startswith("POCL_") and k != "POCL_CACHE_DIR")
    for icd in icd_files():
        parts.append((icd.path, icd.library, icd.library_path, _stamp(icd.path), _stamp(icd.library_path)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _try_loading(icd: IcdFile, timeout_s: float) -> IcdFile:
    """Load a driver's library in another process, since its start-up code may do anything."""
    if not icd.library or not sys.executable or icd.reason:
        return icd
    code = "import ctypes, sys\ntry: ctypes.CDLL(sys.argv[1])\nexcept OSError as e: sys.exit(str(e))"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, icd.library_path or icd.library],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return replace(icd, loads=False, reason=f"loading its library takes longer than {timeout_s:g} s")
    except OSError:
        return icd
    if done.returncode == 0:
        return replace(icd, loads=True)
    if done.returncode < 0:
        reason = f"loading its library crashes ({advice.signal_name(-done.returncode)})"
        return replace(icd, loads=False, reason=reason, fix=advice.leave_out(icd.path))
    text = (done.stderr.strip().splitlines() or ["its library does not load"])[-1]
    return replace(icd, loads=False, reason=text, fix=advice.unloadable(text, icd.path, icd.library))


def _variable_hints() -> list[tuple[str, str]]:
    chosen = os.environ.get("OCL_ICD_VENDORS")
    if chosen and not os.path.exists(chosen):
        return [(f"OCL_ICD_VENDORS is set to {chosen}, which does not exist", "unset OCL_ICD_VENDORS")]
    return []


def loader_report(try_loading: bool = True, timeout_s: float = 20.0) -> LoaderReport:
    """Describe pyopencl, the loader and the announced drivers; never raises.

    Parameters
    ----------
    try_loading : bool
        Load each driver's library in a process of its own, which takes about 50 ms each.
    timeout_s : float
        Of each such process.
    """
    off = disabled()
    problem = "" if off else import_problem()
    files = icd_files()
    if try_loading and not off:
        files = [_try_loading(icd, timeout_s) for icd in files]
    return LoaderReport(
        disabled=off,
        pyopencl_version=_version("pyopencl"),
        pyopencl_reason=problem,
        pyopencl_fix=advice.pyopencl(problem) if problem else "",
        icd_folders=tuple(icd_folders()),
        icd_files=tuple(files),
        hints=(*_variable_hints(), *advice.machine_hints([icd.library for icd in files])),
    )
