"""How much memory does a training step take, beside TensorFlow and the others?

Each system does each step in a process of its own, whose memory (resident set) is read before the step is
built, and whose highest mark since the third step is read after the seventh: parameters, moments, batch,
what a step computes, and what the library keeps back.  What compiling has freed is not in it.
graphrun knows the peak before it runs: what its plan says stands beside what was measured.

    python benchmarks/memory.py [--only cnn,mlp] [--systems opencl:0,cpu:0,tf1,torch]

Linux only, and systems that compute on CPUs: it reads /proc, which does not know a GPU's memory.  The exit
status is 1 where graphrun on OpenCL takes more than TensorFlow 1, or something failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import machine, verdict
from sidebyside.choose import PEERS, choose_works
from sidebyside.process import ChildError, cache_environment, in_new_process, installed
from sidebyside.work import Step

from graphrun.cli.table import Column, number, render
from graphrun.cli.usage import UsageError
from graphrun.runtime.devices import list_devices

LIMIT_OVER_TF1 = 1.0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="steps", help="as cnn,mlp: beginnings of the steps of peers.py")
    parser.add_argument("--systems", help="as opencl:0,cpu:0,tf1,xla,jax,torch,numpy; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it works")
    return parser.parse_args(argv)


def measured(key: str, step: Step, quick: bool) -> dict[str, int]:
    """Return the figures of a second process; the first one has filled the caches."""
    arguments = [key, step.name, *(["quick"] if quick else [])]
    with tempfile.TemporaryDirectory() as folder:
        environment = cache_environment(Path(folder))
        if key not in (*PEERS, "numpy", "cpu:0"):
            in_new_process("sidebyside.step_memory", arguments, environment)
        return in_new_process("sidebyside.step_memory", arguments, environment)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    known = [*list_devices(), *PEERS, "numpy"]
    try:
        steps = [w for w in choose_works(options.only, options.quick) if isinstance(w, Step)]
        keys = options.systems.split(",") if options.systems else known
        for key in keys:
            if key not in known:
                raise UsageError(f"--systems: {key!r} is none of {', '.join(known)}")
        if not Path("/proc/self/clear_refs").exists():
            raise UsageError("it reads /proc/self/status, which this system has not")
    except UsageError as error:
        print(f"memory.py: {error}", file=sys.stderr)
        return 2
    print(machine())
    for key in [k for k in keys if not installed(k)]:
        print(f"{key} takes no part: it is not installed")
        keys.remove(key)
    rows, problems = [], []
    for step in steps:
        found: dict[str, dict[str, int]] = {}
        for key in keys:
            print(f"{step.name} in {key} ...", file=sys.stderr, flush=True)
            try:
                found[key] = measured(key, step, options.quick)
            except ChildError as error:
                problems.append(f"{step.name} in {key}: {error}")
        row = [step.name]
        for key in keys:
            row.append(number(found[key]["peak_bytes"] / 1e6) if key in found else "-")
        own = next((k for k in keys if k.startswith("opencl") and k in found), None)
        if own is not None:
            plan = found[own]
            row += [number(plan[f] / 1e6) for f in ("variables_bytes", "run_bytes")]
        if own is not None and "tf1" in found:
            ratio = found[own]["peak_bytes"] / max(found["tf1"]["peak_bytes"], 1)
            word = verdict(ratio, LIMIT_OVER_TF1)
            row += [f"{ratio:.2f}", word]
            if word != "ok":
                problems.append(f"{step.name}: {own} takes {ratio:.2f} times what TensorFlow takes")
        rows.append(row)
    columns = [Column("peak, MB", right=False)] + [Column(k, group="measured") for k in keys]
    columns += [Column("variables", group="OpenCL's plan"), Column("a run", group="OpenCL's plan")]
    columns += [Column("over tf1"), Column("", right=False)]
    width = max((len(row) for row in rows), default=0)
    print(render(columns[:width], rows))
    for problem in problems:
        print(f"memory.py: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
