"""How long does the first training step take in a new process, with cold and with warm caches?

The step is the CNN of `peers.py`.  Each figure is of a process of its own.  For the cold ones, the caches of
graphrun, of pyopencl and of the driver are an empty folder; for the warm ones, the folder that a process
before has filled.  A cold start includes what graphrun does once for a new driver: trying the device in a
process of its own, and comparing kernels with NumPy.  Nothing of the Python libraries' own files is cold.

    python benchmarks/first_run.py [--devices opencl:0,cpu:0] [--peers tf1,xla,jax,torch] [--rounds 3]

Limits, after the import of graphrun and up to the end of the first step: 6 s cold, 0.5 s warm.  The exit
status is 1 where one is exceeded, or something failed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from common import machine, verdict
from sidebyside.process import ChildError, cache_environment, in_new_process, installed

from graphrun.cli.table import Column, number, render
from graphrun.cli.usage import UsageError, device_list

PHASES = ("import_s", "open_s", "build_s", "first_s", "after_import_s", "second_s")
LIMITS_S = {"cold": 6.0, "warm": 0.5}


def measure(key: str, name: str, quick: bool, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of each phase, cold and warm."""
    arguments = [key, name, *(["quick"] if quick else [])]
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = cache_environment(Path(folder))
            for samples in found.values():
                samples.append(in_new_process("sidebyside.first_step", arguments, environment))
    return {
        state: {p: statistics.median(s[p] for s in samples) for p in PHASES}
        for state, samples in found.items()
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", help="as opencl:0,cpu:0; all that work by default")
    parser.add_argument("--peers", default="", help="as tf1,xla,jax,torch; none by default")
    parser.add_argument(
        "--rounds", type=int, default=3, help="processes for each figure; medians are shown (3)"
    )
    parser.add_argument("--step", default="cnn", help="a step of peers.py (cnn)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it works")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        keys = [*device_list(options.devices), *(p for p in options.peers.split(",") if p)]
    except UsageError as error:
        print(f"first_run.py: {error}", file=sys.stderr)
        return 2
    print(machine())
    rows, problems = [], []
    for key in keys:
        if not installed(key):
            print(f"{key} takes no part: it is not installed")
            continue
        try:
            found = measure(key, options.step, options.quick, options.rounds)
        except ChildError as error:
            problems.append(f"{key}: {error}")
            continue
        for state, phases in found.items():
            row = [key, state, *(number(phases[p]) for p in PHASES)]
            if key.startswith("opencl"):
                word = verdict(phases["after_import_s"], LIMITS_S[state])
                row += [number(LIMITS_S[state]), word]
                if word != "ok":
                    problems.append(f"{key}, {state}: the limit of {LIMITS_S[state]} s is exceeded")
            rows.append(row if key.startswith("opencl") else [*row, "", ""])
    columns = [Column("system", right=False), Column("caches", right=False)]
    columns += [Column(p.removesuffix("_s").replace("_", " ") + " s") for p in PHASES]
    print(render([*columns, Column("limit s"), Column("")], rows))
    print(
        "open: pyopencl's import and the device. build: graph, gradients, variables with values. first,"
        "\nsecond: the first two steps. after import: open, build and first; the limit is for this."
    )
    for problem in problems:
        print(f"first_run.py: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
