"""Reading what was typed: lists of devices and sizes, and files to write to."""

from __future__ import annotations

import os
from pathlib import Path

from graphrun.device_names import parse_device
from graphrun.errors import DeviceError, GraphrunError
from graphrun.runtime.devices import list_devices

# 16 GiB in each of three arrays; more is a slip of the finger.
MAX_SIZE = 65536


class UsageError(GraphrunError, ValueError):
    """The command line is wrong; the message is one line."""


def device_list(text: str | None) -> tuple[str, ...]:
    """Return canonical names of the devices in ``cpu,opencl:0``; of all that work for None.

    Raises
    ------
    UsageError
        If one is not on this machine.
    """
    present = list_devices()
    if text is None:
        return tuple(present)
    names = []
    for part in _parts(text, "--devices", "cpu,opencl:0"):
        try:
            name = parse_device(part)
        except DeviceError:
            name = ""
        if name not in present:
            raise UsageError(
                f"--devices: there is no device {part!r} here, only {', '.join(present)};"
                " `graphrun doctor` says why"
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def size_list(text: str) -> tuple[int, ...]:
    """Return the numbers of ``256,1024``, ascending and each once."""
    sizes = []
    for part in _parts(text, "--sizes", "256,1024"):
        try:
            size = int(part)
        except ValueError:
            raise UsageError(f"--sizes: {part!r} is not a whole number; write them as 256,1024") from None
        if not 1 <= size <= MAX_SIZE:
            raise UsageError(f"--sizes: {size} is not between 1 and {MAX_SIZE}")
        sizes.append(size)
    return tuple(sorted(set(sizes)))


def _parts(text: str, option: str, example: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"{option}: {text!r} is not a list such as {example}")
    return parts


def output_file(name: str, option: str, endings: tuple[str, ...] = ()) -> Path:
    """Return the path of a file to be written, after a look whether that can work.

    Raises
    ------
    UsageError
        If it cannot be written, or its name does not end in one of `endings`.
    """
    path = Path(name)
    if endings and path.suffix.lower() not in endings:
        raise UsageError(f"{option}: {name!r} does not end in {', '.join(endings)}")
    if path.is_dir():
        raise UsageError(f"{option}: {name!r} is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: there is no folder {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option}: {name!r} cannot be written")
    return path
