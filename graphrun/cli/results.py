"""What ``graphrun bench`` measured, as data, and the same as JSON."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphrun import __version__
from graphrun.cli.digits import Trained, step_flops
from graphrun.cli.peaks import Peak
from graphrun.cli.timing import Timing
from graphrun.cli.usage import UsageError
from graphrun.cli.workloads import ArrayWorkload

_FORMAT = 1  # raised when a key changes its meaning


@dataclass(frozen=True)
class Device:
    """A device that takes part; `peak` is None where measuring it failed."""

    name: str
    description: str
    peak: Peak | None

    def peak_of(self, rate: str) -> float | None:
        """Return the peak that a rate, ``"gflop_per_s"`` or ``"gb_per_s"``, is compared with."""
        return None if self.peak is None else float(getattr(self.peak, rate))


@dataclass(frozen=True)
class Measured:
    """One array workload, one size, one device; without timings where it failed or was wrong."""

    workload: ArrayWorkload
    n: int
    device: str
    relative_error: float | None = None
    fed: Timing | None = None
    resident: Timing | None = None
    problem: str = ""

    def rate(self, timing: Timing) -> float:
        """Return GFLOP/s or GB/s."""
        return self.workload.amount(self.n) / timing.median_s / 1e9


@dataclass
class Results:
    """Everything that one call of ``graphrun bench`` found."""

    devices: list[Device] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def device(self, name: str) -> Device:
        """Return the device called `name`."""
        return next(d for d in self.devices if d.name == name)

    def baseline(self, of: Measured) -> Measured | None:
        """Return the same work on the first device, which speed-ups are relative to."""
        first = self.devices[0].name
        same = (m for m in self.measured if m.workload is of.workload and m.n == of.n and m.device == first)
        return next(same, None)

    def step_baseline(self) -> Timing | None:
        """Return the time of a training step on the first device."""
        return next((t.timing for t in self.trained if t.device == self.devices[0].name), None)


def speedup(baseline: Timing | None, timing: Timing | None) -> float | None:
    """Return how many times faster `timing` is."""
    if baseline is None or timing is None:
        return None
    return baseline.median_s / timing.median_s


def share(rate: float, peak: float | None) -> float | None:
    """Return the part of the peak that a rate is."""
    return None if not peak else rate / peak


def _timing(timing: Timing, base: Timing | None) -> dict[str, Any]:
    return {
        "median_ms": timing.median_s * 1e3,
        "min_ms": timing.min_s * 1e3,
        "repeats": timing.repeats,
        "speedup": speedup(base, timing),
    }


def as_json(results: Results) -> dict[str, Any]:
    """Return what the JSON file holds; units are in the keys."""
    rows = []
    for m in results.measured:
        base = results.baseline(m)
        row: dict[str, Any] = {
            "workload": m.workload.name,
            "n": m.n,
            "dtype": "float32",
            "device": m.device,
            "operations_flop" if m.workload.rate == "gflop_per_s" else "traffic_bytes": m.workload.amount(
                m.n
            ),
            "relative_error": m.relative_error,
            "relative_error_limit": m.workload.error_limit(m.n),
            "problem": m.problem or None,
        }
        peak = results.device(m.device).peak_of(m.workload.rate)
        for way in ("fed", "resident"):
            timing: Timing | None = getattr(m, way)
            if timing is not None:
                rate = m.rate(timing)
                row[way] = _timing(timing, getattr(base, way)) | {
                    m.workload.rate: rate,
                    "share_of_peak": share(rate, peak),
                }
        rows.append(row)
    training = []
    for t in results.trained:
        rate = step_flops() / t.timing.median_s / 1e9
        training.append(
            {
                "device": t.device,
                "test_accuracy": t.accuracy,
                "first_step_ms": t.first_step_s * 1e3,
                "step": _timing(t.timing, results.step_baseline()),
                "steps_per_s": 1 / t.timing.median_s,
                "gflop_per_s": rate,
                "share_of_peak": share(rate, results.device(t.device).peak_of("gflop_per_s")),
                "largest_loss_difference": t.loss_difference,
                "losses": t.losses,
            }
        )
    return {
        "format": _FORMAT,
        "graphrun": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "speedup_over": results.devices[0].name,
        "devices": [
            {
                "name": d.name,
                "description": d.description,
                "peak": None if d.peak is None else asdict(d.peak),
            }
            for d in results.devices
        ],
        "results": rows,
        "training": training,
        "problems": results.problems,
    }  # fmt: skip


def write_json(results: Results, path: Path) -> None:
    """Write `as_json` to a file."""
    text = json.dumps(_finite(as_json(results)), indent=2, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as fault:
        raise UsageError(f"cannot write {path}: {fault.strerror or fault}") from None


def _finite(value: Any) -> Any:
    """Put None for NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return value
