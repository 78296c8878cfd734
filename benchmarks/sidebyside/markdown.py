"""Turns what `peers.py --json` wrote into a table for RESULTS.md; several files become one table.

python benchmarks/sidebyside/markdown.py kernels.json steps.json [--minimum]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TITLES = {"tf1": "TF 1", "xla": "TF XLA", "jax": "JAX", "torch": "PyTorch", "numpy": "NumPy"}


def markdown(files: Sequence[dict[str, Any]], minimum: bool) -> str:
    """Return a table of milliseconds, ratios to the fastest peer, and shares of the device's limit."""
    figure = "min_ms" if minimum else "median_ms"
    known = {k: v["is_peer"] for f in files for k, v in f["systems"].items()}
    own = [k for k in known if k not in TITLES]
    others = [k for k in TITLES if k in known]
    kernel_device = next((k for k in own if k.startswith("opencl")), own[0] if own else None)
    head = ["work", *own, *(TITLES[k] for k in others), "fastest peer"]
    head += [f"{k} / it" for k in own] + ["aim", "launches", "of the limit"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for file in files:
        for work in file["works"]:
            times = {k: v[figure] for k, v in work["systems"].items()}
            peers = {k: t for k, t in times.items() if known[k]}
            fastest = min(peers, key=lambda k: peers[k]) if peers else None
            row = [work["work"] + ("" if work["data"] == "resident" else f" ({work['data']})")]
            row += [_number(times.get(k)) for k in [*own, *others]]
            row.append(TITLES[fastest] if fastest else "")
            row += [f"{times[k] / peers[fastest]:.2f}" if fastest and k in times else "" for k in own]
            row.append(f"{work['aim']:.2f}" if work["aim"] else "")
            limit_ms = work["limit_ms"].get(kernel_device)
            row.append(str(work["launches"].get(kernel_device, "")))
            # Below a microsecond, a launch is all there is to it.
            shown = limit_ms is not None and limit_ms >= 1e-3 and kernel_device in times
            row.append(f"{limit_ms / times[kernel_device]:.0%}" if shown else "")
            lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--minimum", action="store_true", help="minima instead of medians")
    options = parser.parse_args(argv)
    print(markdown([json.loads(f.read_text("utf-8")) for f in options.files], options.minimum))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
