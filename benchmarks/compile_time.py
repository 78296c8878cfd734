"""How long does compiling take, and does it grow in proportion to the graph?

Builds deep networks of small matrices with 10,000 and 20,000 operations, and the gradients of every weight
on top.  Three things are timed apart: building the forward graph, `gr.gradients`, and compiling the plan of
loss and gradients, without a run.  Compiling is shown as the passes and as binding, which makes the
function that runs and, on OpenCL, has the driver build the kernels.

The device ``null:0`` is planned for as an OpenCL device is, and has no driver: what it takes is graphrun's
own part.  Limits, for ``cpu:0`` and ``null:0``: 2 s in all for 10,000 operations with their gradients, and
for 20,000 at most 2.3 times as much, of the plan and in all.  (Python's garbage collector looks through a
growing graph again and again, so building one takes a little more than twice as long.)

    python benchmarks/compile_time.py [--devices cpu:0,null:0,opencl:0]

Each figure is the best of several rounds.  The exit status is 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import sys

from common import machine, time_once, verdict

import graphrun as gr
from graphrun.device_names import parse_device

SIZES = (10_000, 20_000)
ROUNDS = 5
LIMIT_S = 2.0
LIMIT_RATIO = 2.3
WIDTH = 8
OPERATIONS_PER_LAYER = 10
COLUMNS = ("build", "gradients", "plan", "passes", "binding", "total")
LIMITED = ("plan", "total")


def forward(operations: int) -> tuple[gr.Tensor, list[gr.Variable]]:
    """Return the loss and the weights of a network with skip connections of about so many operations."""
    h = gr.placeholder(gr.float32, (WIDTH, WIDTH), name="x")
    weights = []
    for _ in range(operations // OPERATIONS_PER_LAYER):
        w = gr.Variable(gr.zeros((WIDTH, WIDTH)))
        weights.append(w)
        h = gr.tanh(gr.matmul(h, w) + 0.1) * 0.5 + h
    return gr.reduce_sum(h), weights


def one_round(operations: int, device: str) -> dict[str, float]:
    """Return the seconds of each part, and how many operations there were."""
    with gr.Graph().as_default() as graph, gr.Session(device=device) as session:
        (loss, weights), build_s = time_once(lambda: forward(operations))
        built = len(graph.get_operations())
        gradients, gradients_s = time_once(lambda: gr.gradients(loss, weights))
        x = graph.get_tensor_by_name("x:0")
        feeds = {x: [[0.0] * WIDTH] * WIDTH}
        plan, plan_s = time_once(lambda: session.plan([loss, *gradients], feeds))
        passes_s = sum(plan.passes_ns.values()) / 1e9
        return {
            "operations": built,
            "with gradients": len(graph.get_operations()),
            "build": build_s,
            "gradients": gradients_s,
            "plan": plan_s,
            "passes": passes_s,
            "binding": plan_s - passes_s,
            "total": build_s + gradients_s + plan_s,
        }


def best_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: min(r[key] for r in rounds) for key in rounds[0]}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", default="cpu:0,null:0", help="as cpu:0,null:0,opencl:0")
    devices = [parse_device(d.strip()) for d in parser.parse_args(argv).devices.split(",")]
    print(machine())
    print(f"{'device':<10}{'operations':>12}{'and grads':>11}" + "".join(f"{c + ' s':>12}" for c in COLUMNS))
    failed = False
    for device in devices:
        limited = not device.startswith("opencl")  # a driver's compiler is not graphrun's
        # In turns, because a ratio of two times needs both from the same moments.
        rounds = [[one_round(operations, device) for operations in SIZES] for _ in range(ROUNDS)]
        found = [best_of(list(of_one_size)) for of_one_size in zip(*rounds)]
        for operations, best in zip(SIZES, found):
            line = f"{device:<10}{best['operations']:>12,}{best['with gradients']:>11,}"
            line += "".join(f"{best[c]:>12.3f}" for c in COLUMNS)
            if operations == SIZES[0] and limited:
                word = verdict(best["total"], LIMIT_S)
                failed |= word != "ok"
                line += f"  limit {LIMIT_S:.0f} s: {word}"
            print(line)
        small, large = found
        ratios = {c: large[c] / max(small[c], 1e-9) for c in COLUMNS}
        line = f"{device:<10}{'ratio':>12}{'':>11}" + "".join(f"{ratios[c]:>12.2f}" for c in COLUMNS)
        if limited:
            words = {c: verdict(ratios[c], LIMIT_RATIO) for c in LIMITED}
            failed |= "over" in words.values()
            over = ", ".join(c for c in LIMITED if words[c] != "ok")
            line += f"  limit {LIMIT_RATIO}: " + (f"over: {over}" if over else "ok")
        print(line)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
