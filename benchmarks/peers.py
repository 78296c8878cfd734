"""How fast are operations and whole training steps beside TensorFlow, JAX, PyTorch and NumPy?

All systems run in this one process and take turns; every result is compared with float64 before it is timed.
Peers that are not installed are left out, and said to be.

    python benchmarks/peers.py                                   # everything: about ten minutes
    python benchmarks/peers.py --only gemm,cnn --seconds 0.5     # names by their beginnings
    python benchmarks/peers.py --only steps --systems opencl:0,tf1,torch
    python benchmarks/peers.py --data fed --only elementwise     # arrays in, arrays out; or --data fetched
    python benchmarks/peers.py --quick                           # tiny sizes: does it work?

The exit status is 1 where something failed or was wrong, and 2 where the command line is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from common import machine
from sidebyside.choose import choose_systems, choose_works
from sidebyside.measure import Row, measure
from sidebyside.report import as_json, notes, table
from sidebyside.system import System
from sidebyside.work import DATA, Kernel

from graphrun.cli.peaks import Peak
from graphrun.cli.usage import UsageError, output_file
from graphrun.runtime.doctor import diagnose

SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS",
            "POCL_MAX_PTHREAD_COUNT")  # fmt: skip


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help="as gemm,mlp: beginnings of names; also kernels, steps")
    parser.add_argument("--systems", help="as opencl:0,cpu:0,default,tf1,xla,jax,torch,numpy; all by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each work in each system (1)")
    parser.add_argument("--data", choices=DATA, default=DATA[0], help="of kernels: what NumPy sees of it")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it works")
    parser.add_argument(
        "--peers-on", choices=("cpu", "gpu"), help="where peers compute; as graphrun's device"
    )
    parser.add_argument("--json", help="write everything to this file")
    parser.add_argument("--list", action="store_true", help="name the works and what they compute")
    return parser.parse_args(argv)


def header(systems: Sequence[System], peaks: dict[str, Peak]) -> str:
    found = diagnose()
    lines = [machine(), f"{found.cpu}, {found.cpu_count} CPUs; {found.blas}"]
    lines += [f"  {s.key:<10}{s.detail}" for s in systems]
    for report in found.working:
        if report.name in peaks:
            lines.append(f"{report.name} is {report.device_name}, driver {report.driver_version}")
    for name, peak in peaks.items():
        lines.append(
            f"peak of {name}: {peak.gflop_per_s:.0f} GFLOP/s ({peak.compute_by}), "
            f"{peak.gb_per_s:.1f} GB/s ({peak.copy_by})"
        )
    lines += [f"environment: {k}={os.environ[k]}" for k in SETTINGS if k in os.environ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        works = choose_works(options.only, options.quick)
        json_path = output_file(options.json, "--json") if options.json else None
        if options.list:
            print("\n".join(f"{w.name:<28}{w.formula}" for w in works))
            return 0
        chosen = choose_systems(options.systems, options.peers_on)
    except UsageError as error:
        print(f"peers.py: {error}", file=sys.stderr)
        return 2
    systems, peaks, missing = chosen.systems, chosen.peaks, chosen.missing
    text = header(systems, peaks)
    print("\n".join([text, *missing]), flush=True)
    rows: list[Row] = []
    for work in works:
        print(f"{work.name} ...", file=sys.stderr, flush=True)
        rows.append(measure(work, systems, options.seconds, options.data))
    groups = {
        f"kernels {options.data}": [r for r in rows if isinstance(r.work, Kernel)],
        "steps": [r for r in rows if not isinstance(r.work, Kernel)],
    }
    for minimum in (False, True):
        for name, members in groups.items():
            if members:
                title = f"{name}, {'minima' if minimum else 'medians'}"
                print("\n" + table(title, members, systems, peaks, minimum))
    print("\n" + notes(rows, any(s.is_peer for s in systems)))
    if json_path is not None:
        extra = {"header": text.splitlines(), "missing": missing, "quick": options.quick}
        json_path.write_text(json.dumps(as_json(rows, systems, peaks, extra), indent=2) + "\n", "utf-8")
        print(f"written: {json_path}")
    problems = [f"{r.work.name} in {k}: {text}" for r in rows for k, text in r.problem.items()]
    for problem in problems:
        print(f"peers.py: {problem}", file=sys.stderr)
    return int(bool(problems))


def _bind_libraries_at_once() -> None:
    """Start anew with LD_BIND_NOW, where TensorFlow and a driver may each bring an LLVM.

    TensorFlow offers the functions of its LLVM to the whole process.  A driver loaded earlier is safe only
    once all its calls are bound to its own; by default each is bound when it is first made, and PoCL then
    dies in the midst of a later build.
    """
    if sys.platform == "linux" and "LD_BIND_NOW" not in os.environ and find_spec("tensorflow"):
        os.environ["LD_BIND_NOW"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    _bind_libraries_at_once()
    sys.exit(main())
