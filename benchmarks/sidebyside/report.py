"""Tables and JSON of what was measured."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from graphrun.cli.peaks import Peak
from graphrun.cli.table import Column, number, render
from sidebyside.measure import Row
from sidebyside.system import System
from sidebyside.work import Kernel, Step

WIDTH = 110
SHORTEST_LIMIT_S = 1e-6  # below, a launch is all there is to it
_TITLES = {"tf1": "TF 1", "xla": "TF XLA", "jax": "JAX", "torch": "PyTorch", "numpy": "NumPy"}


def table(
    title: str, rows: Sequence[Row], systems: Sequence[System], peaks: dict[str, Peak], minimum: bool
) -> str:
    """Return the table of some rows: times, ratios to the fastest peer, and to what the device can do.

    Parameters
    ----------
    title : str
    rows : sequence of Row
    systems : sequence of System
    peaks : dict
        The peak of each of graphrun's devices; the last one is the one that times are compared with.
    minimum : bool
        Minima instead of medians.
    """
    own = [s.key for s in systems if not s.is_peer and s.key != "numpy"]
    peers = [s.key for s in systems if s.is_peer]
    limited = next((k for k in reversed(own) if k in peaks), None)
    columns = [Column(title, right=False)]
    columns += [Column(k, group="graphrun, ms") for k in own]
    columns += [Column(_TITLES[s.key], group="others, ms") for s in systems if s.key not in own]
    if peers:
        columns += [Column(k, group="ratio to the fastest peer") for k in ("peer", *own)] + [Column("aim")]
    if limited:
        columns += [Column(c, group=limited) for c in ("launches", "limit ms", "reached")]
    lines = []
    for row in rows:
        cells = [row.work.name]
        for key in [*own, *(s.key for s in systems if s.key not in own)]:
            cells.append(_cell(row, key, minimum))
        if peers:
            best = row.best_peer(peers, minimum)
            cells.append(_TITLES[best[0]] if best else "-")
            for key in own:
                known = best is not None and key in row.timing
                cells.append(f"{row.seconds(key, minimum) / best[1]:.2f}" if best and known else "-")
            cells.append("-" if row.work.aim is None else f"{row.work.aim:.2f}")
        if limited:
            limit_s = row.limit_s(peaks[limited])
            cells.append(str(row.launches.get(limited, "-")))
            cells.append("-" if limit_s < SHORTEST_LIMIT_S else number(limit_s * 1e3))
            known = limited in row.timing and limit_s >= SHORTEST_LIMIT_S
            cells.append(f"{limit_s / row.seconds(limited, minimum):.0%}" if known else "-")
        lines.append(cells)
    return render(columns, lines)


def _cell(row: Row, key: str, minimum: bool) -> str:
    if key in row.timing:
        return number(row.seconds(key, minimum) * 1e3)
    return row.problem[key].partition(":")[0].upper() if key in row.problem else "-"


def notes(rows: Sequence[Row], peers: bool) -> str:
    """Return what the columns mean."""
    texts = [
        "Systems take turns. Before it was timed, every result was compared with float64: kernels by their"
        " largest error, steps by the losses of three steps and by what these changed in each parameter."
    ]
    said = {
        "resident": "Kernels: operands and results stay where the system computes; each call is waited for.",
        "fetched": "Kernels: operands stay where the system computes, results come out as NumPy arrays.",
        "fed": "What is fed: NumPy arrays go in and NumPy arrays come out in each call.",
    }
    kernels = {row.data for row in rows if isinstance(row.work, Kernel)}
    texts += [text for data, text in said.items() if data in kernels]
    if any(isinstance(row.work, Step) for row in rows):
        texts.append("Steps: NumPy's batch goes in and the loss comes out in each; parameters stay.")
    texts.append(
        "limit: the arithmetic at the device's peak, or the traffic at its copy's rate, whichever takes"
        " longer; where all fits in a cache, more than 100 % of it can be reached."
    )
    if peers:
        texts.append("ratio: graphrun's time over that of the fastest peer (NumPy by hand is none).")
    return "\n".join(textwrap.fill(t, WIDTH) for t in texts)


def as_json(
    rows: Sequence[Row], systems: Sequence[System], peaks: dict[str, Peak], header: dict[str, Any]
) -> dict[str, Any]:
    """Return everything; units are in the keys."""
    peers = [s.key for s in systems if s.is_peer]
    works = []
    for row in rows:
        best = row.best_peer(peers)
        works.append(
            {
                "work": row.work.name,
                "formula": row.work.formula,
                "data": row.data,
                "operations_flop": row.work.flops,
                "traffic_bytes": row.work.traffic_bytes,
                "aim": row.work.aim,
                "fastest_peer": best and best[0],
                "problems": row.problem,
                "launches": row.launches,
                "systems": {
                    key: {
                        "median_ms": timing.median_s * 1e3,
                        "min_ms": timing.min_s * 1e3,
                        "repeats": timing.repeats,
                        "error_over_tolerance": row.error[key],
                        "ratio_to_fastest_peer": best and timing.median_s / best[1],
                    }
                    for key, timing in row.timing.items()
                },
                "limit_ms": {key: row.limit_s(peak) * 1e3 for key, peak in peaks.items()},
            }
        )
    return header | {
        "systems": {s.key: {"detail": s.detail, "is_peer": s.is_peer} for s in systems},
        "peaks": {k: asdict(p) for k, p in peaks.items()},
        "works": works,
    }
