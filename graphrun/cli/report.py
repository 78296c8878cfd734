"""The tables of ``graphrun bench``."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from graphrun.cli.digits import REQUIRED_ACCURACY, TITLE, Trained, step_flops
from graphrun.cli.results import Measured, Results, share, speedup
from graphrun.cli.table import Column, number, render
from graphrun.cli.timing import Timing
from graphrun.cli.workloads import ArrayWorkload

WIDTH = 92
_SHORT_S = 1e-4
# So many programs a core wanted to run before the benchmark began.
BUSY_SHARE = 0.75
_RATES = {"gflop_per_s": "GFLOP/s", "gb_per_s": "GB/s"}


def devices_text(results: Results) -> str:
    """Return the devices with their measured peaks."""
    lines = ["devices"]
    width = max(len(d.name) for d in results.devices) + 2
    for d in results.devices:
        start = "  " + d.name.ljust(width)
        lines += textwrap.wrap(d.description, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
        if d.peak is not None:
            lines.append(
                " " * len(start) + f"peak: {number(d.peak.gflop_per_s)} GFLOP/s ({d.peak.compute_by}), "
                f"{number(d.peak.gb_per_s)} GB/s ({d.peak.copy_by})"
            )
        else:
            lines.append(" " * len(start) + "peak: not measured")
    return "\n".join(lines)


def busy_text() -> str:
    """Return a line where other programs keep this machine's cores busy; empty where they do not."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= BUSY_SHARE * cores:
        return ""
    return (
        f"The machine is busy: in the last minute {number(load)} programs wanted to run, on {cores} cores.\n"
        "What follows may be far from what it can do, and NumPy's products suffer most."
    )


def workload_text(results: Results, workload: ArrayWorkload) -> str:
    """Return the table of one array workload."""
    rate = _RATES[workload.rate]
    ways = ["fed and fetched", "resident on the device"]
    columns = [Column("n"), Column("device", right=False), Column("error")]
    titles = ["ms", rate, "of peak", "speed-up"]
    kept = len(titles) if len(results.devices) > 1 else len(titles) - 1  # nothing to be faster than
    for way in ways:
        columns += [Column(t, group=way) for t in titles[:kept]]
    rows: list[list[str]] = []
    rows_of = [m for m in results.measured if m.workload is workload]
    for k, m in enumerate(rows_of):
        first_of_size = k == 0 or rows_of[k - 1].n != m.n
        if first_of_size and k and len(results.devices) > 1:
            rows.append([])
        row = [str(m.n) if first_of_size else "", m.device]
        row.append("-" if m.relative_error is None else f"{m.relative_error:.0e}")
        if m.problem:
            rows.append([*row, m.problem])
            continue
        base = results.baseline(m)
        for timing, base_timing in (
            (m.fed, base.fed if base else None),
            (m.resident, base.resident if base else None),
        ):
            row += _timing_cells(results, m, timing, base_timing)[:kept]
        rows.append(row)
    return f"{workload.name}: {workload.formula}\n" + render(columns, rows)


def _timing_cells(results: Results, m: Measured, timing: Timing | None, base: Timing | None) -> Sequence[str]:
    if timing is None:
        return ["-"] * 4
    rate = m.rate(timing)
    peak = results.device(m.device).peak_of(m.workload.rate)
    return [
        number(timing.median_s * 1e3),
        number(rate),
        _percent(share(rate, peak)),
        _times(speedup(base, timing)),
    ]


def training_text(results: Results) -> str:
    """Return the table of training."""
    columns = [Column("device", right=False)] + [
        Column(t)
        for t in (
            "accuracy",
            "last loss",
            "1st step ms",
            "step ms",
            "steps/s",
            "GFLOP/s",
            "of peak",
            "speed-up",
        )
    ]
    base = results.step_baseline()
    rows = []
    for t in results.trained:
        rate = step_flops() / t.timing.median_s / 1e9
        peak = results.device(t.device).peak_of("gflop_per_s")
        rows.append(
            [
                t.device, f"{t.accuracy:.2%}", f"{t.losses[-1]:.5f}", number(t.first_step_s * 1e3),
                number(t.timing.median_s * 1e3), number(1 / t.timing.median_s), number(rate),
                _percent(share(rate, peak)), _times(speedup(base, t.timing)),
            ]
        )  # fmt: skip
    kept = len(columns) if len(results.devices) > 1 else -1  # nothing to be faster than
    text = "\n".join(textwrap.wrap(f"train: {TITLE}", WIDTH, subsequent_indent="       "))
    return f"{text}\n{render(columns[:kept], [row[:kept] for row in rows])}\n{_curves(results.trained)}"


def _curves(trained: Sequence[Trained]) -> str:
    steps = len(trained[0].losses)
    lines = [
        f"  test accuracy on {t.device}: {t.accuracy:.2%}, "
        + (
            f"{REQUIRED_ACCURACY:.0%} reached"
            if t.passed
            else f"below the {REQUIRED_ACCURACY:.0%} it must reach"
        )
        for t in trained
    ]
    if len(trained) > 1:
        largest = max(t.loss_difference for t in trained[1:])
        lines.append(f"  largest difference between the loss curves over {steps:,} steps: {largest:.1e}")
    return "\n".join(lines)


def notes_text(results: Results) -> str:
    """Return what the columns mean."""
    several = len(results.devices) > 1
    text = ["Times are medians" + (", and devices take turns." if several else ".")]
    if results.measured:
        text[0] += (
            " Every result was compared with float64 before it was timed; error: the largest one, relative to"
            " the largest value."
        )
        text.append(
            "fed and fetched: session.run with feed_dict, the result as an array; copies to and from the"
            " device are included. resident: operands and result stay on the device; each run is waited for."
        )
    if results.trained:
        text.append("step: session.run of the update and the loss with feed_dict, everything included.")
    text.append(
        "of peak: of the device's own peak above. More than 100 %: of GB/s, the arrays fit in a cache; of"
        " GFLOP/s, something else was running while the peak was measured."
    )
    if several:
        text[-1] += f" speed-up: against {results.devices[0].name}."
        if _shortest_s(results) < _SHORT_S:
            text[-1] += (
                f" Where a row takes less than {_SHORT_S * 1e3:g} ms, the start of a run counts as much as"
                " the arithmetic, and its speed-up is no more than an order of magnitude."
            )
    return "\n".join(textwrap.fill(t, WIDTH, break_on_hyphens=False) for t in text)


def _shortest_s(results: Results) -> float:
    timings = [t for m in results.measured for t in (m.fed, m.resident) if t is not None]
    return min((t.median_s for t in timings), default=_SHORT_S)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def _times(value: float | None) -> str:
    """A ratio with the digits that are worth reading: the times behind it vary by some percent."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.2f}x"
    return f"{value:.1f}x" if value < 100 else f"{float(f'{value:.1e}'):,.0f}x"
