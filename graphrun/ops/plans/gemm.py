"""Launches of matrix multiplication with batches, as NumPy's ``matmul``: what all devices share.

``gemm_problem`` brings the problem into a normal form; then each kind of device has its own style, in
``gemm_cpu`` and ``gemm_gpu``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphrun.graph.descriptor import READERS_FOREVER, Capabilities, KernelPlan, Spec
from graphrun.ops.plans.gemm_cpu import plan_cpu, ways_cpu
from graphrun.ops.plans.gemm_gpu import plan_gpu, ways_gpu
from graphrun.ops.plans.gemm_problem import MAX_INDEX, MAX_LAUNCHES, Problem, normalise, problem_of


def shape_class(problem: Problem) -> str:
    """The class of multiplications for which one choice is measured: sizes are rounded to powers of two.

    A copy of B that is kept from run to run costs nothing; what is measured is one that has to be made.
    """

    def near(size: int) -> int:
        return 1 << round(math.log2(size)) if size else 0

    form = ("t" if problem.a.transposed else "n") + ("t" if problem.b.transposed else "n")
    half = "half " if problem.a.half or problem.b.half else ""
    batch = f" of {near(problem.batch_count)}" if problem.batch_count > 1 else ""
    return f"{half}{problem.real} {form} {near(problem.m)}x{near(problem.n)}x{near(problem.k)}{batch}"


def ways_of_matmul(
    in_specs: Sequence[Spec], out_specs: Sequence[Spec], attrs: Mapping[str, Any], capabilities: Capabilities
) -> tuple[str, list[str]]:
    """Return the class of a multiplication and the names of what tuning can choose, the default first."""
    problem = problem_of(in_specs, out_specs, attrs, capabilities, False)
    if problem is None:
        return "", []
    problem = normalise(problem)
    ways = ways_gpu if capabilities.kind == "gpu" else ways_cpu
    return shape_class(problem), ways(problem, capabilities)


def plan_matmul(
    in_specs: Sequence[Spec],
    out_specs: Sequence[Spec],
    attrs: Mapping[str, Any],
    capabilities: Capabilities,
    epilogue: bool = False,
    readers: tuple[int, ...] = (1, 1),
) -> KernelPlan | None:
    """Return the launches of ``matmul(a, b)``, or None where the kernels cannot take it.

    Parameters
    ----------
    in_specs : sequence of Spec
        a ``(..., m, k)`` and b ``(..., k, n)``, as stored before the transpose flags; ranks are at least 2
        and the leading dimensions broadcast.
    out_specs : sequence of Spec
        ``(..., m, n)``.
    attrs : mapping
        ``transpose_a`` and ``transpose_b``, False by default.  ``operand_maps``, if given, holds for each
        operand None or an `AffineMap` over ``(..., rows, cols)`` of the operand, which may then have any
        shape: one of the last two strides must be 1, none negative.
    capabilities : Capabilities
        ``kind`` chooses the style.
    epilogue : bool
        The results go through an epilogue, whose first output is ``out_specs[0]``, in any dtype.
    readers : tuple of int
        How many multiplications like this one read each operand.
    """
    problem = problem_of(in_specs, out_specs, attrs, capabilities, epilogue)
    if problem is None:
        return None
    if problem.m == 0 or problem.n == 0 or problem.batch_count == 0:
        return KernelPlan(())
    flops = 2 * problem.m * problem.n * problem.k * problem.batch_count
    problem = replace(normalise(problem), by_lane=epilogue and problem.n == 1)
    if max(problem.m, problem.n, problem.k, problem.batch_count) > MAX_INDEX:
        return None
    kept = readers[problem.b.ref[1]] >= READERS_FOREVER
    wanted = "" if kept else capabilities.tuning.choice("gemm", shape_class(problem))
    if capabilities.kind == "gpu":
        plan = plan_gpu(problem, capabilities, wanted)
    else:
        plan = plan_cpu(problem, capabilities, readers, wanted)
        if plan is None and wanted:
            plan = plan_cpu(problem, capabilities, readers)
    if plan is None or len(plan.launches) > MAX_LAUNCHES:
        return None
    storing = tuple(i for i, launch in enumerate(plan.launches) if ("out", 0) in launch.args)
    return replace(plan, flops=flops, epilogue_launches=storing)
