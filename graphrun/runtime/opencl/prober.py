"""Run the probe in another process, and find out what happened to it."""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphrun.runtime.opencl.advice import signal_name
from graphrun.runtime.opencl.probe import MARK

# Between two signs of life.  A first build on a small ARM board takes about 10 s.
TIMEOUT_S = 90.0


@dataclass
class ProbeOutcome:
    """What a probe process reported; places are ``"P.D"``, platform and device as listed.

    `failure` is set where not even listing the devices worked.
    """

    places: list[str] = field(default_factory=list)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str = ""


_lock = threading.Lock()
_staying: list[subprocess.Popen[str]] = []


def take_over() -> subprocess.Popen[str] | None:
    """The process of a probe that has stayed to compile kernels (see `ahead_process`), or None."""
    with _lock:
        process = _staying.pop() if _staying else None
    # It has ended by itself if it was not wanted for long, and is another process's in one that was forked.
    return process if process is not None and process.poll() is None else None


def _keep(process: subprocess.Popen[str]) -> None:
    atexit.register(end, process)
    with _lock:
        _staying.append(process)
        left = _staying[:-1]
        del _staying[:-1]
    for other in left:
        end(other)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process, whatever it is at, and let go of what it would have read."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        try:
            process.stdin.close()
        except OSError:  # what was written last had not been read
            pass


def can_run() -> bool:
    """Whether there is a Python to start: not in a frozen or embedded interpreter."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def probe(
    only: list[str] | None = None, list_only: bool = False, icd: str = "", stay: bool = False
) -> ProbeOutcome:
    """List the devices and try them, surviving whatever the drivers do.

    A device whose driver crashes or hangs gets that as its verdict, and the probe goes on behind it.

    Parameters
    ----------
    only : list of str, optional
        The places to try; all by default.
    list_only : bool
        Only list.
    icd : str
        Show the loader this ``.icd`` file alone.
    stay : bool
        Let the process wait for kernels to compile, if all went well: see `take_over`.  It ends by itself
        when nobody asks for it.
    """
    outcome = ProbeOutcome()
    wanted = only
    while True:
        listed, begun, end = _run_once(wanted, list_only, icd, outcome, stay)
        if not end:
            return outcome
        if not listed:
            outcome.failure = end
            return outcome
        if not begun:  # it listed and died before or after its work
            missing = [p for p in (wanted or outcome.places) if p not in outcome.verdicts]
            for place in [] if list_only else missing:
                outcome.verdicts[place] = _failed(end)
            return outcome
        outcome.verdicts[begun] = _failed(end)
        wanted = [p for p in (wanted or outcome.places) if p not in outcome.verdicts]
        if not wanted:
            return outcome


def _failed(reason: str) -> dict[str, Any]:
    return {"ok": False, "fp64": False, "reason": reason}


def _run_once(
    only: list[str] | None, list_only: bool, icd: str, outcome: ProbeOutcome, stay: bool = False
) -> tuple[bool, str, str]:
    """Start one process; return (it listed, the place it was busy with, how it failed or "")."""
    command = [*script("probe"), *(["--list"] if list_only else (only or [])), *(["--stay"] if stay else [])]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE if stay else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", env=environment(icd),
        )  # fmt: skip
    except OSError as error:
        return False, "", f"cannot start {sys.executable}: {error}"
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read_lines, args=(process, lines), daemon=True),
        threading.Thread(target=_read_errors, args=(process, errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    listed, begun, ended, stays, hung = False, "", False, False, False
    while True:
        try:
            line = lines.get(timeout=TIMEOUT_S)
        except queue.Empty:
            hung = True
            break
        if line is None:
            break
        if not line.startswith(MARK):
            continue
        try:
            event = json.loads(line[len(MARK) :])
        except ValueError:  # a driver printed into the middle of our line
            continue
        kind = event.pop("event")
        if kind == "import" and event["reason"]:
            process.wait()
            return False, "", event["reason"]
        if kind == "listed":
            listed, outcome.places = True, event["places"]
        elif kind == "begin":
            begun = event["place"]
        elif kind == "verdict":
            begun = ""
            outcome.verdicts[event.pop("place")] = event
        elif kind == "end":
            ended, stays = True, bool(event.get("stays"))
            break
    if stays and process.poll() is None:
        _keep(process)
        return listed, "", ""
    if hung or ended:
        # After the end only a driver's own shutdown is left, which takes time and may hang.
        process.kill()
    code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if ended:
        return listed, "", ""
    if hung:
        return listed, begun, f"timed out after {TIMEOUT_S:g} s"
    readers[1].join(timeout=1)
    return listed, begun, _death(code, errors)


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _read_errors(process: subprocess.Popen[str], errors: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        errors.extend(process.stderr)


def _death(code: int, errors: list[str]) -> str:
    said = [line.strip() for line in errors if line.strip()]
    last = f"; it said: {said[-1]}" if said else ""
    if code < 0:
        return f"crashed its process ({signal_name(-code)}){last}"
    if code > 0xC0000000:  # Windows puts the exception's number there
        return f"crashed its process (0x{code:08X}){last}"
    return f"ended its process with status {code}{last}"


def script(name: str) -> list[str]:
    """The command that runs a module of this folder without importing the package, which takes longer."""
    path = Path(__file__).with_name(f"{name}.py")
    if not path.exists():  # imported from an archive
        return [sys.executable, "-m", f"{__package__}.{name}"]
    code = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    return [sys.executable, "-c", code, str(path)]


def environment(icd: str = "") -> dict[str, str]:
    """The environment of a process that finds what this one has imported."""
    # The child has to find graphrun and pyopencl where this process found them, whatever its sys.path.
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *(p for p in sys.path if p)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    environment.pop("PYOPENCL_CTX", None)
    if icd:
        environment["OCL_ICD_VENDORS"] = icd
    return environment
