"""Products whose plans are told what measuring has found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compiler.run_plan import STYLES, run_plan, target

import graphrun as gr
from graphrun.graph.descriptor import READERS_FOREVER, Capabilities, KernelPlan, Spec, Tuning
from graphrun.ops.plans.gemm import plan_matmul, ways_of_matmul

CPU = Capabilities(compute_units=4)
MODES = {"PACKED_B": "packed", "PACK_HERE": "here", "KEEP_B": "keep"}
GPU = Capabilities(kind="gpu", compute_units=16, local_mem_bytes=49152, max_work_group_size=256)


def _specs(m: int, n: int, k: int) -> tuple[list[Spec], list[Spec]]:
    return [Spec((m, k), gr.float32), Spec((k, n), gr.float32)], [Spec((m, n), gr.float32)]


def _defines(plan: KernelPlan | None) -> dict[str, Any]:
    assert plan is not None
    return dict(plan.launches[0].defines)


def _told(capabilities: Capabilities, shapes: str, choice: str) -> Capabilities:
    return replace(capabilities, tuning=Tuning((("gemm", shapes, choice),)))


def test_the_tile_that_was_found_is_taken() -> None:
    ins, outs = _specs(200, 300, 128)
    shapes, ways = ways_of_matmul(ins, outs, {}, CPU)
    assert shapes == "float nn 256x256x128"
    usual = _defines(plan_matmul(ins, outs, {}, CPU))
    assert ways[0].endswith(f" {usual['MR']}x{usual['NV']}")
    for way in (w for w in ways if not w.startswith("dot")):
        found = _defines(plan_matmul(ins, outs, {}, _told(CPU, shapes, way)))
        mode = next((mode for define, mode in MODES.items() if define in found), "place")
        assert way == f"{mode} {found['MR']}x{found['NV']}"
    shapes, ways = ways_of_matmul(ins, outs, {}, GPU)
    assert len(ways) > 5
    for way in ways:
        d = _defines(plan_matmul(ins, outs, {}, _told(GPU, shapes, way)))
        assert way == f"{d['TM']}x{d['TN']}x{d['TK']} {d['RM']}x{d['RN']}"


@pytest.mark.parametrize("capabilities", [CPU, GPU], ids=["cpu", "gpu"])
def test_what_is_unknown_or_of_other_shapes_changes_nothing(capabilities: Capabilities) -> None:
    ins, outs = _specs(200, 300, 128)
    shapes, ways = ways_of_matmul(ins, outs, {}, capabilities)
    usual = plan_matmul(ins, outs, {}, capabilities)
    for found in (
        (shapes, "sideways 9x9"),
        ("float nn 512x256x128", ways[1]),
        ("float nt 256x256x128", ways[1]),
    ):
        assert plan_matmul(ins, outs, {}, _told(capabilities, *found)) == usual


def test_a_copy_that_is_kept_is_another_class() -> None:
    """What was measured makes the copy of B in each run."""
    ins, outs = _specs(200, 300, 128)
    shapes, ways = ways_of_matmul(ins, outs, {}, CPU)
    kept = (1, READERS_FOREVER)
    usual = plan_matmul(ins, outs, {}, CPU, readers=kept)
    assert plan_matmul(ins, outs, {}, _told(CPU, shapes, ways[1]), readers=kept) == usual


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_each_choice_gives_the_product(style: str, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((37, 50), (50, 70)))
    x, w = gr.placeholder(gr.float32, a.shape), gr.placeholder(gr.float32, b.shape)
    y = gr.tanh(gr.matmul(x, w) * 0.1)
    want = np.tanh(a.astype(np.float64) @ b * 0.1)
    where = target(style)
    ins, outs = _specs(37, 70, 50)
    shapes, ways = ways_of_matmul(ins, outs, {}, where.capabilities[where.default])
    for way in (*ways[:3], ways[-1], "sideways 9x9"):
        told = {where.default: _told(where.capabilities[where.default], shapes, way)}
        (got,) = run_plan(replace(where, capabilities=told, obstacles={}), [y], {x: a, w: b})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=way)
