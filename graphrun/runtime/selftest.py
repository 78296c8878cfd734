"""Self-tests: a kernel family is compared with NumPy before a device is trusted with it.

It is done when a family is first needed, once for a device, a driver version and the kernels as they are
written for it; the verdicts are remembered in the cache directory.  What a family of a device gets wrong,
or cannot do, NumPy does instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from graphrun.compiler.epilogue import epilogues
from graphrun.compiler.fusion import fuse
from graphrun.compiler.lower import lower
from graphrun.compiler.placement import Target, place
from graphrun.compiler.plan import Plan
from graphrun.compiler.readthrough import read_through
from graphrun.compiler.rows import rows
from graphrun.runtime.executor import BoundPlan
from graphrun.runtime.opencl import DeviceWarning, advice, cachedir
from graphrun.runtime.selftest_cases import FAMILIES, GROUPS, Builder, difference
from graphrun.runtime.store import Store
from graphrun.shapes import format_shape

# Kernel family -> (agrees with NumPy, what was compared or what went wrong).
Results = dict[str, tuple[bool, str]]

_FILE = "selftests.json"
_VERDICTS_KEPT = 200
# A driver that failed may have been repaired without its version changing.
_FAILURE_LIFETIME_S = 3600.0
_TIMEOUT_S = 120.0
_MARK = "graphrun-selftest:"


class BlockedFamilies(Container[str]):
    """The kernel families that a device must not be trusted with; asking for one tests it.

    The first failure that is found gives a warning, which names the families that were found with it.
    """

    def __init__(self, device: Any) -> None:
        self._name = device.name
        # Weak, since the object is kept for as long as the device.
        self._device = weakref.ref(device)
        self._found: Results = {}
        self._lock = threading.RLock()

    def __contains__(self, family: object) -> bool:
        return not self.verdict(family)[0]

    def verdict(self, family: object) -> tuple[bool, str]:
        """Whether a family agrees with NumPy, and what was compared or what went wrong."""
        found = self._found.get(family)  # type: ignore[call-overload]
        if found is None:
            with self._lock:
                found = self._found.get(family)  # type: ignore[call-overload]
                if found is None:
                    self._test([g for g in GROUPS if family in g])
                    found = self._found.get(family, (True, "there is no test of it"))  # type: ignore[call-overload]
        return found

    def expect(self, families: Collection[str]) -> None:
        """Test at once what is going to be asked for: one large program is compiled faster than several."""
        if len(self._found) == len(FAMILIES):
            return
        with self._lock:
            self._test([g for g in GROUPS if any(f in families and f not in self._found for f in g)])

    def refresh(self) -> None:
        """Test every family again instead of believing what is remembered."""
        with self._lock:
            self._test(GROUPS, refresh=True)

    def _test(self, groups: Sequence[Sequence[str]], refresh: bool = False) -> None:
        device = self._device()
        assert device is not None, "whoever asks has the device"
        found = _verdicts(device, groups, refresh)
        self._found.update(found)
        failed = [f"{family} ({detail})" for family, (ok, detail) in found.items() if not ok]
        if failed:
            warnings.warn(
                f"{self._name} fails its self-test, so NumPy replaces these kernels: {'; '.join(failed)};"
                " `graphrun doctor` shows it",
                DeviceWarning,
                stacklevel=2,
            )


class _NoneBlocked(Container[str]):
    def __contains__(self, family: object) -> bool:
        return False


_blocked: WeakKeyDictionary[Any, BlockedFamilies] = WeakKeyDictionary()
_lock = threading.Lock()


def blocked_families(device: Any) -> Container[str]:
    """The kernel families that failed on this device; a family is tested when it is first asked for."""
    if getattr(device, "report", None) is None:
        return _NoneBlocked()  # a device that computes nothing gets nothing wrong
    with _lock:
        found = _blocked.get(device)
        if found is None:
            found = _blocked[device] = BlockedFamilies(device)
        return found


def results(device: Any, refresh: bool = False) -> Results:
    """The verdict on each kernel family of a device, for `graphrun doctor`.

    Parameters
    ----------
    device
        From `get_device`.
    refresh : bool
        Test again instead of believing what is remembered.

    Returns
    -------
    dict
        Family -> (agrees with NumPy, what was compared or what went wrong).  A device that computes
        nothing has no verdicts.
    """
    blocked = blocked_families(device)
    if not isinstance(blocked, BlockedFamilies):
        return {}
    if refresh:
        blocked.refresh()
    blocked.expect(FAMILIES)
    return {family: blocked.verdict(family) for family in FAMILIES}


def _verdicts(device: Any, groups: Sequence[Sequence[str]], refresh: bool) -> Results:
    verdicts: Results = {}
    together: dict[str, Sequence[str]] = {}
    apart: dict[str, Sequence[str]] = {}
    stored = cachedir.read_json(_FILE) if groups else {}
    for group in groups:
        key = f"{device.report.key} | {'+'.join(group)} | {_fingerprint(_plan(device, _built(group)))}"
        entry = stored.get(key)
        remembered = _remembered(entry, group) if isinstance(entry, dict) else None
        if remembered is not None and not refresh:
            verdicts |= remembered
        elif isinstance(entry, dict) and entry.get("begun") is True and not _is_at_it(entry):
            # Whoever began and left no verdict was taken down by the driver, or interrupted while it hung.
            apart[key] = group
        else:
            together[key] = group
    for keys, tried in ((together, _tried), (apart, _tried_apart)):
        if not keys:
            continue
        _remember(dict.fromkeys(keys, {"begun": True, "by": [platform.node(), os.getpid()]}))
        found = tried(device, [family for group in keys.values() for family in group])
        _remember({key: {"results": {f: found[f] for f in group}} for key, group in keys.items()})
        verdicts |= found
    return verdicts


def _built(families: Sequence[str]) -> Builder:
    builder = Builder()
    for family in families:
        builder.begin(family)
        FAMILIES[family](builder)
    return builder


def _plan(device: Any, builder: Builder) -> Plan:
    target = Target(device.name, {device.name: device.capabilities})
    program = read_through(fuse(rows(place(builder.program(), target))), target)
    return lower(epilogues(program, target), target)


def _fingerprint(plan: Plan) -> str:
    """A hash of the kernels and of how they are called: another version of either is tested anew."""
    calls = [
        (s.kernel, s.global_size, s.local_size, [a for a in s.args if a[0] != "buffer"])
        for s in plan.launches
    ]
    return hashlib.sha256(repr((plan.sources, calls)).encode()).hexdigest()[:32]


# -- trying ---------------------------------------------------------------------------------------


def _tried(device: Any, families: Sequence[str]) -> Results:
    """Run families as one program; where that fails, each alone."""
    builder = _built(families)
    labels = [f"{n.op.name} of {', '.join(format_shape(s.shape) for s in n.input_specs)}"
              for n, _ in builder.checks]  # fmt: skip
    expected = builder.expected()
    remembered = getattr(device, "known_kernels", {})
    before = set(remembered)
    try:
        actual = BoundPlan(_plan(device, builder), Store(), lambda name: device).run([])
    except Exception as fault:  # a driver may raise anything
        if len(families) == 1:
            return {families[0]: (False, _reason(fault))}
        return {f: verdict for family in families for f, verdict in _tried(device, [family]).items()}
    finally:
        # Plans share no kernels with a test that the next process will not run: it would compile them then.
        for kernel in set(remembered) - before:
            remembered.pop(kernel, None)
    faults: dict[str, list[str]] = {family: [] for family in families}
    for label, family, a, e in zip(labels, builder.families, actual, expected):
        text = difference(a, e)
        if text:
            faults[family].append(f"{label}: {text}")
    return {
        family: (False, "; ".join(found)) if found else (True, _passed(builder.families.count(family)))
        for family, found in faults.items()
    }


def _passed(count: int) -> str:
    return f"{count} result{'s agree' if count != 1 else ' agrees'} with NumPy"


def _reason(fault: BaseException) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    text = " ".join(lines)
    return f"{type(fault).__name__}: {text if len(text) <= 400 else text[:397] + '...'}"


def _tried_apart(device: Any, families: Sequence[str]) -> Results:
    """Try each family in a process of its own, since one has taken a process down before."""
    if not sys.executable or getattr(sys, "frozen", False):
        return _tried(device, families)
    return {family: _tried_in_process(device, family) for family in families}


def _tried_in_process(device: Any, family: str) -> tuple[bool, str]:
    command = [sys.executable, "-m", "graphrun.runtime.selftest", device.name, family]
    paths = [str(Path(__file__).resolve().parents[2]), *(p for p in sys.path if p)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8",
            errors="replace", env=environment, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"timed out after {_TIMEOUT_S:g} s"
    except OSError as error:
        return False, f"cannot start {sys.executable}: {error}"
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            ok, detail = json.loads(line[len(_MARK) :])
            return bool(ok), str(detail)
    if done.returncode < 0:
        return False, f"it crashed its process ({advice.signal_name(-done.returncode)})"
    return False, f"it ended its process with status {done.returncode}"


def _main(arguments: Sequence[str]) -> None:
    """``python -m graphrun.runtime.selftest opencl:0 gemm``: print the verdict on one family."""
    from graphrun.runtime.devices import get_device

    name, family = arguments
    verdict = _tried(get_device(name), [family])[family]
    sys.stdout.write(f"{_MARK}{json.dumps(verdict)}\n")


# -- remembering ----------------------------------------------------------------------------------


def _remembered(entry: Mapping[str, Any], families: Sequence[str]) -> Results | None:
    stored = entry.get("results")
    if not isinstance(stored, dict):
        return None
    try:
        found = {family: (bool(stored[family][0]), str(stored[family][1])) for family in families}
    except (TypeError, IndexError, KeyError):
        return None
    recent = 0 <= time.time() - _time_s(entry) < _FAILURE_LIFETIME_S
    return found if recent or all(ok for ok, _ in found.values()) else None


def _is_at_it(entry: Mapping[str, Any]) -> bool:
    """Whether the process that began a test still runs, so that the driver has not taken it down."""
    match entry.get("by"):
        case [node, int(pid)] if node == platform.node() and pid not in (0, os.getpid()):
            if sys.platform == "win32":  # the call below would end it there
                return False
            try:
                os.kill(pid, 0)
            except (OSError, OverflowError):
                return False
            return True
    return False


def _remember(entries: Mapping[str, Mapping[str, Any]]) -> None:
    # Another process may write at the same time; a lost verdict is made again.
    everything = {k: v for k, v in cachedir.read_json(_FILE).items() if isinstance(v, dict)}
    everything |= {key: {**entry, "at_s": time.time()} for key, entry in entries.items()}
    newest = sorted(everything, key=lambda k: _time_s(everything[k]))[-_VERDICTS_KEPT:]
    cachedir.write_json(_FILE, {k: everything[k] for k in newest})


def _time_s(entry: Mapping[str, Any]) -> float:
    """When an entry was made, as seconds since 1970; long ago where the file is damaged."""
    at_s = entry.get("at_s")
    return float(at_s) if isinstance(at_s, int | float) else 0.0


if __name__ == "__main__":
    _main(sys.argv[1:])
