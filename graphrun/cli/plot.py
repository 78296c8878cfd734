"""The chart of ``graphrun bench --plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphrun.cli.digits import REQUIRED_ACCURACY
from graphrun.cli.results import Results
from graphrun.cli.workloads import ArrayWorkload
from graphrun.errors import missing_extra

PLOT_ENDINGS = (".png", ".svg", ".pdf")
# Colours that colour-blind readers can tell apart (Okabe and Ito), and a marker each besides.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*"
_LABELS = {"gflop_per_s": "GFLOP/s", "gb_per_s": "GB/s"}


def load_figure() -> Any:
    """Return matplotlib's ``Figure`` class, which needs no display.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "plot", "--plot") from error
    return Figure


def draw(results: Results, path: Path) -> None:
    """Draw one panel for each workload, and write the picture."""
    workloads = list({m.workload.name: m.workload for m in results.measured}.values())
    count = len(workloads) + bool(results.trained)
    figure = load_figure()(figsize=(5.2 * max(count, 1), 4.4), layout="constrained")
    axes = list(figure.subplots(1, max(count, 1), squeeze=False)[0])
    for axis, workload in zip(axes, workloads):
        _rates(axis, results, workload)
    if results.trained:
        _losses(axes[-1], results)
    figure.savefig(path, dpi=130)


def _style(results: Results, device: str) -> dict[str, str]:
    k = [d.name for d in results.devices].index(device)
    return {"color": _COLOURS[k % len(_COLOURS)], "marker": _MARKERS[k % len(_MARKERS)]}


def _rates(axis: Any, results: Results, workload: ArrayWorkload) -> None:
    rows = [m for m in results.measured if m.workload is workload]
    for d in results.devices:
        style = _style(results, d.name)
        for way, line in (("resident", "-"), ("fed", "--")):
            points = [(m.n, m.rate(t)) for m in rows if m.device == d.name and (t := getattr(m, way))]
            if points:
                axis.plot(*zip(*points), line, label=f"{d.name}, {way}", markersize=5, **style)
        peak = d.peak_of(workload.rate)
        if peak:
            axis.axhline(peak, color=style["color"], linestyle=":", linewidth=1.2, label=f"{d.name}, peak")
    sizes = sorted({m.n for m in rows})
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()
    axis.set_title(f"{workload.name}: {workload.formula.partition(',')[0]}")
    axis.set_xlabel("n, for n x n float32")
    axis.set_ylabel(_LABELS[workload.rate])
    axis.grid(alpha=0.3)
    axis.margins(y=0.08)
    axis.set_ylim(bottom=0)
    _legend(axis, len(results.devices))


def _legend(axis: Any, columns: int) -> None:
    # Below the axes, where it hides nothing.
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, fontsize=8, frameon=False)


def _losses(axis: Any, results: Results) -> None:
    per_epoch = max(1, len(results.trained[0].losses) // 40)
    for k_device, t in enumerate(results.trained):
        means = [
            sum(part) / len(part)
            for k in range(0, len(t.losses), per_epoch)
            if (part := t.losses[k : k + per_epoch])
        ]
        style = _style(results, t.device)
        # The curves agree; each one is thinner than the one below it, so that both are seen.
        size = {"linewidth": max(1.0, 4.0 - 2.5 * k_device), "markersize": max(3.0, 7.0 - 3.0 * k_device)}
        label = f"{t.device}: test accuracy {t.accuracy:.1%}, {t.timing.median_s * 1e3:.3g} ms a step"
        axis.plot([per_epoch * (k + 0.5) for k in range(len(means))], means, label=label, **size, **style)
    axis.set_yscale("log")
    axis.set_title(f"train: loss on the digits ({REQUIRED_ACCURACY:.0%} accuracy required)")
    axis.set_xlabel("step")
    axis.set_ylabel("loss, mean over an epoch")
    axis.grid(alpha=0.3)
    _legend(axis, 1)
