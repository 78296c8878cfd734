"""What `graphrun tune` has found, in one file of the cache: for a device, its driver and the kernels.

The file may come from another machine.  It decides what is quick and nothing else: a choice that does not
exist, or that a plan cannot take, is as good as none.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graphrun.errors import DeviceError, message
from graphrun.graph.descriptor import Tuning
from graphrun.kernel_files import kernel_source
from graphrun.runtime.opencl import cachedir
from graphrun.runtime.opencl.discover import DeviceReport, DeviceWarning

FILE = "tuned.json"
# Family -> the files that its choices are about.
FAMILIES = {"gemm": ("gemm.cl", "gemm_gpu.cl")}
_FORMAT = "graphrun tuned 1"


class Found(NamedTuple):
    """For a class of shapes, the quicker choice, and by what factor; "" where the default is best."""

    family: str
    shapes: str
    choice: str
    gain: float


def device_key(report: DeviceReport) -> str:
    """What choices are kept under: they hold for each such device with that driver."""
    return " | ".join((report.platform_name, report.device_name, report.driver_version))


@functools.cache
def kernels_key(family: str) -> str:
    """A hash of a family's kernels: for other kernels other choices may be best."""
    texts = "".join(kernel_source(name) for name in FAMILIES[family])
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def load(report: DeviceReport) -> Tuning:
    """The choices for a device; none, with one warning, where the file is damaged."""
    data = cachedir.read_bytes(FILE)
    if data is None:
        return Tuning()
    try:
        devices = _parsed(data)
    except ValueError as fault:
        _warn_once(f"{cachedir.cache_dir() / FILE} is not used: {fault}; `graphrun tune` writes it anew")
        return Tuning()
    families = devices.get(device_key(report), {})
    return Tuning(
        tuple(
            (family, shapes, choice)
            for family, entry in families.items()
            if family in FAMILIES and entry["kernels"] == kernels_key(family)
            for shapes, (choice, _) in entry["choices"].items()
        )
    )


def remember(report: DeviceReport, found: Sequence[Found]) -> Path | None:
    """Keep what was found, beside what is known of other shapes; return the file, None if it cannot be."""
    devices = _known()
    families = devices.setdefault(device_key(report), {})
    for f in found:
        entry = families.get(f.family)
        if entry is None or entry["kernels"] != kernels_key(f.family):
            entry = families[f.family] = {"kernels": kernels_key(f.family), "choices": {}}
        if f.choice:
            entry["choices"][f.shapes] = [f.choice, round(f.gain, 3)]
        else:
            entry["choices"].pop(f.shapes, None)
    return cachedir.write_json(FILE, {"format": _FORMAT, "devices": devices})


def export(path: str) -> int:
    """Write the choices of all devices to a file; return how many there are."""
    devices = _known()
    try:
        Path(path).write_text(json.dumps({"format": _FORMAT, "devices": devices}, indent=1), encoding="utf-8")
    except OSError as fault:
        raise DeviceError(message(f"{path} cannot be written: {fault.strerror}")) from None
    return _count(devices)


def take(path: str) -> int:
    """Add the choices in a file to the cache; return how many it has.

    Raises
    ------
    DeviceError
        If it cannot be read, is no such file, or the cache cannot be written.
    """
    try:
        devices = _parsed(Path(path).read_bytes())
    except OSError as fault:
        raise DeviceError(message(f"{path} cannot be read: {fault.strerror}")) from None
    except ValueError as fault:
        raise DeviceError(
            message(f"{path}: {fault}", fix="`graphrun tune --export FILE` writes such a file")
        ) from None
    known = _known()
    for key, families in devices.items():
        for family, entry in families.items():
            mine = known.setdefault(key, {}).setdefault(family, entry)
            if mine["kernels"] == entry["kernels"]:
                mine["choices"].update(entry["choices"])
            else:
                known[key][family] = entry
    if cachedir.write_json(FILE, {"format": _FORMAT, "devices": known}) is None:
        raise DeviceError(
            message(
                f"the cache cannot be written: {cachedir.cache_dir()}",
                fix="GRAPHRUN_CACHE_DIR names another folder; GRAPHRUN_CACHE=0 switches the cache off",
            )
        )
    return _count(devices)


def _count(devices: dict[str, Any]) -> int:
    return sum(len(entry["choices"]) for families in devices.values() for entry in families.values())


def _known() -> dict[str, Any]:
    data = cachedir.read_bytes(FILE)
    try:
        return _parsed(data) if data is not None else {}
    except ValueError:
        return {}


def _parsed(data: bytes) -> dict[str, Any]:
    """The devices in a file; raises ValueError where it is not what `remember` writes."""
    try:
        value = json.loads(data)
    except ValueError:
        raise ValueError("it is damaged") from None
    devices = value.get("devices") if isinstance(value, dict) and value.get("format") == _FORMAT else None
    if not isinstance(devices, dict):
        raise ValueError("it holds no choices of this version of graphrun")
    for families in devices.values():
        for entry in families.values() if isinstance(families, dict) else [None]:
            if not isinstance(entry, dict) or not isinstance(entry.get("kernels"), str):
                raise ValueError("it is damaged")
            choices = entry.get("choices")
            if not isinstance(choices, dict) or not all(map(_is_choice, choices.values())):
                raise ValueError("it is damaged")
    return devices


def _is_choice(pair: Any) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return isinstance(pair[0], str) and isinstance(pair[1], int | float)


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, DeviceWarning, stacklevel=4)
