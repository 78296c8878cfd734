"""Which OpenCL devices are there, and which of them work.

A device that is listed is not a device that works.  Each one is tried by `probe` in a process of its own
before this process touches it, and the verdict is remembered in the cache directory.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from graphrun.graph.descriptor import Capabilities
from graphrun.runtime.opencl import advice, ahead, cachedir, loader, probe, prober

# A driver that failed may have been repaired without a file of it changing (a reboot, a group, a setting).
_FAILURE_LIFETIME_S = 3600.0
_VERDICTS_FILE = "opencl_devices.json"
_FINGERPRINTS_KEPT = 8

_logger = logging.getLogger("graphrun.opencl")


class DeviceWarning(RuntimeWarning):
    """An OpenCL device is listed, does not work, and is left out."""


@dataclass(frozen=True)
class DeviceReport:
    """One OpenCL device, working or not.

    Attributes
    ----------
    index : int or None
        N of ``opencl:N``: working devices, GPUs first, then in the platforms' order.
    working : bool
        It built and ran the probe, and the numbers were right.
    reason, fix : str
        Why it does not work and what to type; for a working device, what is amiss with it (float64
        that is claimed and fails), or empty.
    """

    platform_name: str
    platform_vendor: str
    platform_version: str
    device_name: str
    type: str  # "gpu", "cpu" or "accelerator"
    driver_version: str
    opencl_c_version: str
    memory_bytes: int
    compute_units: int
    working: bool
    reason: str
    fix: str
    capabilities: Capabilities
    index: int | None = None
    platform_index: int = 0
    device_index: int = 0  # within its platform

    @property
    def name(self) -> str:
        """``"opencl:0"``; empty for a device that does not work."""
        return "" if self.index is None else f"opencl:{self.index}"

    @property
    def key(self) -> str:
        """What the verdict on this device is kept under, and what binaries for it are named by."""
        return " | ".join(
            (self.platform_name, self.platform_version, self.device_name, self.driver_version,
             self.opencl_c_version, str(self.device_index))
        )  # fmt: skip


@dataclass
class _Discovery:
    reports: list[DeviceReport]
    handles: dict[tuple[int, int], Any]  # (platform, device) -> pyopencl.Device
    failure: str = ""
    fix: str = ""
    empty_platforms: tuple[str, ...] = ()


_lock = threading.RLock()
_found: _Discovery | None = None
_warned: set[str] = set()
_new_here: set[str] = set()  # keys of the devices that this process has tried


def reports(refresh: bool = False, warn: bool = True) -> list[DeviceReport]:
    """Return all OpenCL devices, tried; found once per process.

    Parameters
    ----------
    refresh : bool
        Try every device again.  Drivers that were installed meanwhile show up in a new process only:
        the loader reads their list once.
    warn : bool
        Warn of devices that are left out, once per process and device.

    Notes
    -----
    Never raises for anything that a driver does.  The first call on a machine starts a process and takes
    about a second; later ones read the verdict from the cache directory.
    """
    found = _discovered(refresh)
    if warn:
        _warn(found)
    return list(found.reports)


def listing_failure() -> tuple[str, str]:
    """Return (reason, fix) where not even the list of devices can be had; empty ones otherwise."""
    found = _discovered(False)
    return found.failure, found.fix


def empty_platforms() -> tuple[str, ...]:
    """Return the platforms (name and version) that are there and list no device."""
    return _discovered(False).empty_platforms


def is_new(report: DeviceReport) -> bool:
    """Whether this process has tried the device itself, so that nothing can have been compiled for it yet."""
    return report.key in _new_here


def handle(report: DeviceReport) -> Any:
    """Return the ``pyopencl.Device`` of a report."""
    return _discovered(False).handles[report.platform_index, report.device_index]


def _discovered(refresh: bool) -> _Discovery:
    global _found
    with _lock:
        if _found is None or refresh:
            try:
                _found = _discover(refresh)
            except Exception as error:
                # The engine works without OpenCL, so nothing here may take it down; doctor shows this text.
                _logger.exception("looking for OpenCL devices failed")
                _found = _Discovery([], {}, f"{type(error).__name__}: {error}", advice.RETRY)
        return _found


def _warn(found: _Discovery) -> None:
    texts = {
        r.key: f"OpenCL device {r.device_name!r} ({r.platform_name}) is skipped: {r.reason}"
        for r in found.reports
        if not r.working
    }
    if found.failure and loader.pyopencl_folder():
        texts[""] = f"OpenCL is not used: {found.failure}"
    for key, text in texts.items():
        with _lock:
            if key in _warned:
                continue
            _warned.add(key)
        warnings.warn(f"{text}; run `graphrun doctor`", DeviceWarning, stacklevel=3)


def _discover(refresh: bool) -> _Discovery:
    if loader.disabled():
        return _Discovery([], {})
    loader.prepare_environment()
    fingerprint = loader.fingerprint()
    memory = _Memory(fingerprint)
    place_verdicts: dict[str, dict[str, Any]] = {}
    if not memory.listing_works and prober.can_run() and loader.pyopencl_folder():
        failure = memory.listing_failure(refresh)
        if not failure:
            outcome = prober.probe(stay=ahead.process_count() > 0)
            failure = outcome.failure
            memory.remember_listing(failure)
            place_verdicts = outcome.verdicts
        if failure:
            return _Discovery([], {}, *_blame(failure))
    problem = loader.import_problem()
    if problem:
        return _Discovery([], {}, problem, advice.pyopencl(problem))
    listed, empty = _list_devices()
    verdicts = _verdicts(listed, memory, place_verdicts, refresh)
    found = [_judged(report, verdict) for (report, _), verdict in zip(listed, verdicts)]
    handles = {(r.platform_index, r.device_index): device for r, device in listed}
    return _Discovery(_numbered(_with_better_fixes(found)), handles, empty_platforms=empty)


def _verdicts(
    listed: list[tuple[DeviceReport, Any]],
    memory: _Memory,
    fresh: dict[str, dict[str, Any]],
    refresh: bool,
) -> list[dict[str, Any]]:
    """Return one verdict for each listed device: just made, remembered, or made now."""
    places = {f"{r.platform_index}.{r.device_index}": r for r, _ in listed}
    known = {place: fresh[place] for place in places if place in fresh}
    for place, report in places.items():
        remembered = None if refresh or place in known else memory.verdict(report.key)
        if remembered:
            known[place] = remembered
    missing = [place for place in places if place not in known]
    made = {place: known[place] for place in fresh if place in known}
    if missing and prober.can_run():
        made.update(prober.probe(only=missing, stay=ahead.process_count() > 0).verdicts)
    elif missing:
        for report, device in listed:
            place = f"{report.platform_index}.{report.device_index}"
            if place in missing:
                made[place] = probe.prove(device)
    lost = {"ok": False, "fp64": False, "reason": "the probe reported nothing on this device"}
    for place in missing:
        known[place] = made.get(place, lost)
    memory.remember({places[p].key: v for p, v in made.items() if p in places})
    _new_here.update(places[p].key for p in made if p in places)
    return [known[place] for place in places]


def _judged(report: DeviceReport, verdict: dict[str, Any]) -> DeviceReport:
    text = str(verdict.get("reason", ""))
    reason, fix = advice.explain(text, report.platform_version) if text else ("", "")
    fp64, shared = bool(verdict.get("fp64")), bool(verdict.get("zero_copy"))
    capabilities = replace(report.capabilities, fp64=fp64, zero_copy=shared)
    return replace(report, working=bool(verdict.get("ok")), reason=reason, fix=fix, capabilities=capabilities)


def _with_better_fixes(found: list[DeviceReport]) -> list[DeviceReport]:
    """Where another PoCL works already, the broken one wants removing and not installing."""
    if not any(r.working and r.platform_name == "Portable Computing Language" for r in found):
        return found
    install = advice.install_pocl()
    return [replace(r, fix=advice.remove_pocl_wheel()) if r.fix == install else r for r in found]


def _numbered(found: list[DeviceReport]) -> list[DeviceReport]:
    def rank(k: int) -> tuple[bool, bool, int]:
        # Oclgrind calls itself a GPU and simulates every instruction: nobody wants that by default.
        return found[k].platform_name == "Oclgrind", found[k].type != "gpu", k

    working = sorted((k for k, report in enumerate(found) if report.working), key=rank)
    index = {k: n for n, k in enumerate(working)}
    return [replace(report, index=index.get(k)) for k, report in enumerate(found)]


def _list_devices() -> tuple[list[tuple[DeviceReport, Any]], tuple[str, ...]]:
    """Ask the drivers in this process: reports, not judged yet, and the platforms without a device."""
    from graphrun.runtime.opencl.binding import cl

    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        if "PLATFORM_NOT_FOUND" in str(error):
            return [], ()
        raise
    listed: list[tuple[DeviceReport, Any]] = []
    empty = []
    seen: set[int] = set()  # a driver announced twice lists the same devices twice
    for p, platform in enumerate(platforms):
        try:
            devices = platform.get_devices()
        except cl.Error:  # a platform without devices reports DEVICE_NOT_FOUND
            devices = []
        if not devices:
            empty.append(_asked(functools.partial(_platform_text, platform), "a platform without a name"))
        for d, device in enumerate(devices):
            if device.int_ptr in seen:
                continue
            seen.add(device.int_ptr)
            listed.append((_describe(cl, p, platform, d, device), device))
    return listed, tuple(empty)


def _describe(cl: Any, p: int, platform: Any, d: int, device: Any) -> DeviceReport:
    kind = _asked(lambda: device.type, cl.device_type.CPU)
    is_gpu, is_cpu = bool(kind & cl.device_type.GPU), bool(kind & cl.device_type.CPU)
    memory = _asked(lambda: int(device.global_mem_size), 0)
    units = _asked(lambda: int(device.max_compute_units), 1)
    capabilities = Capabilities(
        kind="cpu" if is_cpu and not is_gpu else "gpu",
        fp64=probe.claims_fp64(device),
        max_work_group_size=_asked(lambda: int(device.max_work_group_size), 1),
        compute_units=units,
        local_mem_bytes=_asked(lambda: int(device.local_mem_size), 0),
        global_mem_bytes=memory,
        max_alloc_bytes=_asked(lambda: int(device.max_mem_alloc_size), memory // 4),
        vector_width_float=max(1, _asked(lambda: int(device.native_vector_width_float), 1)),
        unified_memory=_asked(lambda: bool(device.host_unified_memory), is_cpu),
    )
    return DeviceReport(
        platform_name=_asked(lambda: platform.name.strip(), ""),
        platform_vendor=_asked(lambda: platform.vendor.strip(), ""),
        platform_version=_asked(lambda: platform.version.strip(), ""),
        device_name=_asked(lambda: device.name.strip(), ""),
        type="gpu" if is_gpu else "cpu" if is_cpu else "accelerator",
        driver_version=_asked(lambda: device.driver_version.strip(), ""),
        opencl_c_version=_asked(lambda: device.opencl_c_version.strip(), ""),
        memory_bytes=memory,
        compute_units=units,
        working=False,
        reason="",
        fix="",
        capabilities=capabilities,
        platform_index=p,
        device_index=d,
    )


def _platform_text(platform: Any) -> str:
    return f"{platform.name.strip()} ({platform.version.strip()})"


def _asked(question: Callable[[], Any], otherwise: Any) -> Any:
    """Return a property, or a harmless value where the driver rejects the question."""
    try:
        return question()
    except Exception:
        # Whatever a broken driver makes pyopencl raise; a device proves itself before it is believed.
        return otherwise


def _blame(failure: str) -> tuple[str, str]:
    """Return (reason, fix) for a list that cannot be had, naming the driver at fault if there is one."""
    problem = loader.import_problem()
    if problem:
        return problem, advice.pyopencl(problem)
    announced = [icd for icd in loader.icd_files() if icd.path.endswith(".icd")]
    for icd in announced:
        alone = prober.probe(list_only=True, icd=icd.path).failure if len(announced) > 1 else failure
        if alone:
            return f"the driver {icd.library} ({icd.path}) {alone}", advice.leave_out(icd.path)
    return f"listing the devices {failure}", "graphrun doctor   (again, after a reboot or a driver update)"


class _Memory:
    """The verdicts in the cache directory, for one state of the drivers' files."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        entry = cachedir.read_json(_VERDICTS_FILE).get(fingerprint)
        self._entry: dict[str, Any] = entry if isinstance(entry, dict) else {}

    @property
    def listing_works(self) -> bool:
        listing = self._entry.get("listing")
        return isinstance(listing, dict) and not listing.get("reason", "?")

    def listing_failure(self, refresh: bool) -> str:
        """Return how listing failed not long ago, or an empty string."""
        listing = self._entry.get("listing")
        if refresh or not isinstance(listing, dict) or not _recent(listing):
            return ""
        return str(listing.get("reason", ""))

    def verdict(self, key: str) -> dict[str, Any] | None:
        verdicts = self._entry.get("verdicts")
        verdict = verdicts.get(key) if isinstance(verdicts, dict) else None
        if not isinstance(verdict, dict) or not isinstance(verdict.get("ok"), bool):
            return None
        settled = verdict["ok"] and not verdict.get("reason")
        return verdict if settled or _recent(verdict) else None

    def remember_listing(self, reason: str) -> None:
        self._entry["listing"] = {"reason": reason, "at_s": time.time()}
        self._write()

    def remember(self, verdicts: dict[str, dict[str, Any]]) -> None:
        if not verdicts:
            return
        kept = self._entry.get("verdicts")
        now = time.time()
        fresh = {key: {**verdict, "at_s": now} for key, verdict in verdicts.items()}
        self._entry["verdicts"] = {**(kept if isinstance(kept, dict) else {}), **fresh}
        self._write()

    def _write(self) -> None:
        # Another process may have written meanwhile; a lost verdict is made again, so no lock is needed.
        everything = cachedir.read_json(_VERDICTS_FILE)
        self._entry["used_s"] = time.time()
        everything[self._fingerprint] = self._entry
        entries = {k: v for k, v in everything.items() if isinstance(v, dict)}
        newest = sorted(entries, key=lambda k: _number(entries[k].get("used_s")))[-_FINGERPRINTS_KEPT:]
        cachedir.write_json(_VERDICTS_FILE, {k: entries[k] for k in newest})


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _recent(entry: dict[str, Any]) -> bool:
    age_s = time.time() - _number(entry.get("at_s"))
    return 0 <= age_s < _FAILURE_LIFETIME_S
