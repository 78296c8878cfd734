"""Compiled kernels on disk: what is there, what may be used, and how much of it is kept.

Two kinds lie in the cache directory.  ``programs/`` holds binaries that graphrun keeps for drivers that
keep none.  ``pocl/`` belongs to PoCL, which writes there what it compiles at a kernel's first launch; it
loads what it finds there without a look and takes the process down where a file is damaged.  So a note is
kept of each program whose kernels have run, with a checksum of each of its files, and PoCL meets those
files alone that are as they were.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphrun import environment
from graphrun.runtime.opencl import cachedir

BINARIES = "programs"
NOTES = "compiled"
POCL = "pocl"
FAILED = "failed"
VERDICTS = "verdicts"
TUNED = "tuned"

DEFAULT_LIMIT_MIB = 512
# What another process may be about to use is left alone.
_SPARED_S = 600.0
_STAMP = "last_accessed"  # PoCL touches this file in a program's folder whenever it builds the program


def pocl_folder() -> Path:
    """Where PoCL keeps what it compiles."""
    return Path(os.environ.get("POCL_CACHE_DIR") or cachedir.cache_dir() / POCL)


def is_compiled(digest: str) -> bool:
    """Whether a program's kernels have run before, and what PoCL made of them is undamaged.

    What is damaged is deleted, so that it is compiled again.
    """
    note = cachedir.read_json(f"{NOTES}/{digest}.json")
    files = note.get("files")
    if not isinstance(files, dict):
        if cachedir.read_bytes(f"{NOTES}/{digest}.json") is not None:
            _forget_all(digest)
        return False
    place = Path(str(note.get("folder", "")))
    folder = pocl_folder() / place
    for name, checksum in files.items():
        if _checksum(folder / name) != checksum:
            if len(place.parts) == 2 and not place.is_absolute() and ".." not in place.parts:
                shutil.rmtree(folder, ignore_errors=True)
            cachedir.delete(f"{NOTES}/{digest}.json")
            return False
    cachedir.touch(f"{NOTES}/{digest}.json")
    return True


def _forget_all(digest: str) -> None:
    """Drop all that PoCL has written: a note that cannot be read does not tell which files it was about."""
    if pocl_folder() == cachedir.cache_dir() / POCL:  # and not a folder that the user has named
        shutil.rmtree(pocl_folder(), ignore_errors=True)
    cachedir.delete(f"{NOTES}/{digest}.json")


def note_compiled(digest: str, kernels: Sequence[str]) -> None:
    """Remember that these kernels of a program have run, and what PoCL has written for them."""
    folder = _folder_of(kernels)
    files = {}
    if folder is not None:
        for kernel in (*kernels, ""):
            for path in (folder / kernel).rglob("*") if kernel else folder.glob("*.bc"):
                if path.is_file():
                    files[str(path.relative_to(folder))] = _checksum(path)
    place = "" if folder is None else str(folder.relative_to(pocl_folder()))
    cachedir.write_json(f"{NOTES}/{digest}.json", {"folder": place, "files": files})
    shrink()


def _folder_of(kernels: Sequence[str]) -> Path | None:
    """The newest of the programs that have all these kernels compiled."""
    if not kernels:
        return None
    found = [
        path.parent
        for path in pocl_folder().glob(f"*/*/{kernels[0]}")
        if all((path.parent / kernel).is_dir() for kernel in kernels)
    ]
    return max(found, key=_used_at, default=None)


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _used_at(path: Path) -> float:
    """When a program was last used, as seconds since 1970."""
    times = [0.0]
    for each in (path, path / _STAMP):
        try:
            times.append(each.stat().st_mtime)
        except OSError:
            pass
    return max(times)


@dataclass(frozen=True)
class Entry:
    """A compiled program, or another thing in the cache that can be deleted alone."""

    kind: str
    path: Path
    size_bytes: int
    used_at_s: float


# What is graphrun's in the cache directory, which may be one that other programs use too.
_PATTERNS = (
    (POCL, f"{POCL}/??/*"),
    (POCL, f"{POCL}/tempfile_*"),
    (NOTES, f"{NOTES}/*.json*"),
    (BINARIES, f"{BINARIES}/*.bin*"),
    (FAILED, f"{FAILED}/*.cl*"),
    (VERDICTS, "opencl_devices.json*"),
    (VERDICTS, "selftests.json*"),
    (TUNED, "tuned.json*"),
)


def entries() -> list[Entry]:
    """Everything in the cache, PoCL's kernels only where they lie in graphrun's folder."""
    base = cachedir.cache_dir()
    found = []
    for kind, pattern in _PATTERNS:
        try:
            found += [_entry(kind, path) for path in sorted(base.glob(pattern))]
        except OSError:
            pass
    return found


def _entry(kind: str, path: Path) -> Entry:
    size_bytes = 0
    for part in path.rglob("*") if path.is_dir() else (path,):
        try:
            size_bytes += part.stat().st_size if part.is_file() else 0
        except OSError:  # it has just been deleted
            pass
    return Entry(kind, path, size_bytes, _used_at(path))


def limit_bytes() -> int:
    """What the cache may hold: ``GRAPHRUN_CACHE_MIB``, or a default."""
    return int(environment.number("GRAPHRUN_CACHE_MIB", DEFAULT_LIMIT_MIB) * 2**20)


def shrink(limit: int | None = None) -> int:
    """Delete what was not used for longest until the rest is within the limit; return the bytes deleted."""
    limit = limit_bytes() if limit is None else limit
    found = [e for e in entries() if e.kind not in (VERDICTS, TUNED)]
    total = sum(e.size_bytes for e in found)
    deleted = 0
    now = time.time()
    for entry in sorted(found, key=lambda e: e.used_at_s):
        if total - deleted <= limit or now - entry.used_at_s < _SPARED_S:
            break
        _delete(entry.path)
        deleted += entry.size_bytes
    return deleted


def clear() -> tuple[int, int]:
    """Delete everything; return how many entries and bytes that were."""
    found = entries()
    for entry in found:
        _delete(entry.path)
    left = {e.path for e in entries()}
    gone = [e for e in found if e.path not in left]
    return len(gone), sum(e.size_bytes for e in gone)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink()
    except OSError:
        pass
