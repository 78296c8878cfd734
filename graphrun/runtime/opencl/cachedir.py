"""The per-user cache directory: files that may vanish, be damaged or be unwritable at any time.

Nothing here raises: a cache that cannot be read is empty, one that cannot be written is forgotten, with one
warning in a process.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from graphrun import environment


def cache_dir() -> Path:
    """Return the directory for graphrun's caches; it need not exist.

    ``GRAPHRUN_CACHE_DIR`` wins; then the platform's own place for caches.
    """
    chosen = os.environ.get("GRAPHRUN_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else _home() / "AppData" / "Local"
        return base / "graphrun" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "graphrun"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path in there is to be ignored.
    base = Path(xdg) if os.path.isabs(xdg) else _home() / ".cache"
    return base / "graphrun"


def enabled() -> bool:
    """Whether files are kept for other processes at all; ``GRAPHRUN_CACHE=0`` switches that off."""
    return environment.flag("GRAPHRUN_CACHE")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME and no entry in the password file: common in containers
        return private_temporary()


@functools.cache
def private_temporary() -> Path:
    """Return a directory of this process alone; compiled code is never read from a place others can write."""
    folder = tempfile.mkdtemp(prefix="graphrun-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the folders above it if it is not there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def read_bytes(name: str) -> bytes | None:
    """Return the contents of a cache file, or None."""
    if not enabled():
        return None
    try:
        return (cache_dir() / name).read_bytes()
    except OSError:
        return None


def write_bytes(name: str, data: bytes) -> Path | None:
    """Write a cache file in one step, so that readers see the old or the new one; return its path or None."""
    if not enabled():
        return None
    path = cache_dir() / name
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(partial, path)
        return path
    except OSError as error:
        if partial:
            try:
                os.unlink(partial)
            except OSError:
                pass
        _warn(str(cache_dir()), error.strerror or type(error).__name__)
        return None


@functools.cache
def _warn(folder: str, reason: str) -> None:
    warnings.warn(
        f"graphrun's cache folder {folder} cannot be written ({reason}), so each process tries the devices"
        " and compiles its kernels again; set GRAPHRUN_CACHE_DIR to a folder that can be written, or"
        " GRAPHRUN_CACHE=0 to do without one",
        RuntimeWarning,
        stacklevel=3,
    )


def read_json(name: str) -> dict[str, Any]:
    """Return the object in a cache file; an empty one if it is missing or damaged."""
    data = read_bytes(name)
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(name: str, value: dict[str, Any]) -> Path | None:
    return write_bytes(name, json.dumps(value, indent=1, sort_keys=True).encode())


def touch(name: str) -> None:
    """Note that a cache file is in use."""
    try:
        os.utime(cache_dir() / name)
    except OSError:
        pass


def delete(name: str) -> None:
    """Delete a cache file."""
    try:
        os.unlink(cache_dir() / name)
    except OSError:
        pass
