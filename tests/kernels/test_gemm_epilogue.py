"""Epilogues in kernels/gemm.cl: bias, activation, residual, several outputs, other dtypes, against NumPy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Array, Case, opencl, spec

from graphrun import dtypes
from graphrun.compiler.codegen import epilogue, epilogue_args, epilogue_text
from graphrun.compiler.fusion import Group, Instruction, broadcast_map
from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, Expr, Spec
from graphrun.ops.plans.gemm import plan_matmul

EDGES = (1, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)
STYLES = {
    "cpu": Capabilities(kind="cpu", compute_units=2),
    "cpu-8-lanes": Capabilities(kind="cpu", compute_units=2, vector_width_float=8),
    "gpu": Capabilities(kind="gpu", compute_units=2, max_work_group_size=256),
}
FLAGS: list[tuple[bool, bool]] = [(False, False), (False, True), (True, False), (True, True)]


class EpilogueCase(Case):
    """A case with what its outputs should be, and how far they may be from it."""

    expected: list[Array]
    bound: Array


def _instruction(code: str, operands: Any, dtype: DType) -> Instruction:
    return Instruction("test", Expr(code), {}, tuple(operands), (dtype,) * len(operands), dtype)


def _swap(x: Array, flag: bool) -> Array:
    return np.swapaxes(x, -1, -2) if flag else x


def _case(
    rng: np.random.Generator,
    mnk: tuple[int, int, int],
    flags: tuple[bool, bool],
    capabilities: Capabilities,
    batch: tuple[int, ...] = (),
    dtype: DType = dtypes.float32,
    first: str = "same",
) -> EpilogueCase | None:
    """``relu(a @ b + bias) * rows - residual``; what is left of the sum under the relu is another output."""
    m, n, k = mnk
    ta, tb = flags
    a = rng.standard_normal((*batch, *((k, m) if ta else (m, k)))).astype(dtype.numpy)
    b = rng.standard_normal((*batch, *((n, k) if tb else (k, n)))).astype(dtype.numpy)
    bias, rows = (rng.standard_normal(s).astype(dtype.numpy) for s in ((n,), (m, 1)))
    shape = (*batch, m, n)
    residual = rng.standard_normal(shape).astype(dtype.numpy)
    instructions = [
        _instruction("a + b", [("in", 0), ("in", 1)], dtype),
        _instruction("gr_max(a, ({T})0)", [("t", 0)], dtype),
        _instruction("a * b - c", [("t", 1), ("in", 2), ("in", 3)], dtype),
    ]
    extra: tuple[int, ...] = (1,)
    out = dtype
    if first == "int32":
        out = dtypes.int32
        cast = Instruction("cast", Expr("convert_{O}_sat(a)"), {}, (("t", 2),), (dtype,), out)
        instructions.append(cast)
        extra = (1, 2)
    maps = (None, broadcast_map((n,), shape), broadcast_map((m, 1), shape), None)
    group = Group(tuple(instructions), maps, "test", extra=extra)
    outs = [Spec(shape, out), *[Spec(shape, dtype)] * len(extra)]
    attrs = {"transpose_a": ta, "transpose_b": tb}
    plan = plan_matmul([spec(a), spec(b)], outs[:1], attrs, capabilities, True)
    assert plan is not None
    plan = plan.alone()
    arrays = [a, b, bias, rows, residual]
    in_specs = [Spec(shape, dtype), *map(spec, arrays[2:])]
    if plan.launches:
        storing = [plan.launches[i] for i in plan.storing]
        (lanes,) = {dict(launch.defines).get("W", 1) for launch in storing}
        text = epilogue_text(group, 0, in_specs, outs, lanes)
        # Input k of the group, which begins with the product, is input k + 1 of the case.
        args = tuple((kind, v + (kind == "in")) for kind, v in epilogue_args(group, 0, outs))
        launches = tuple(
            replace(launch, args=launch.args + args) if i in plan.storing else launch
            for i, launch in enumerate(plan.launches)
        )
        plan = replace(plan, launches=launches)
    else:
        text = ""
    case = EpilogueCase(plan, arrays, outs, f"{mnk} {flags} {batch} {dtype} {first}", epilogue=text)
    wide = np.longdouble if dtype is dtypes.float64 else np.float64
    product = np.matmul(_swap(a, ta).astype(wide), _swap(b, tb).astype(wide))
    scale = np.matmul(np.abs(_swap(a, ta)).astype(wide), np.abs(_swap(b, tb)).astype(wide))
    total = product.astype(dtype.numpy).astype(wide) + bias
    kept = np.maximum(total, 0)
    result = kept * rows - residual
    eps = float(np.finfo(dtype.numpy).eps)
    sums_eps = float(np.finfo(np.float32).eps) if dtype is dtypes.float16 else eps
    case.expected = [result, kept, result] if first == "int32" else [result, kept]
    # What the sum may be off by, and what each rounding behind it adds.
    off = sums_eps * (k + 1) * scale + eps * (np.abs(product) + np.abs(total))
    case.bound = off * (1 + np.abs(rows)) + 3 * eps * (np.abs(kept * rows) + np.abs(residual)) + 1e-30
    return case


def _check(cases: list[Any]) -> None:
    for case, got in zip(cases, opencl().run(cases), strict=True):
        for j, (value, expected) in enumerate(zip(got, case.expected, strict=True)):
            if value.dtype == np.int32:
                np.testing.assert_array_equal(value, got[2].astype(np.int32), err_msg=case.label)
                continue
            error = np.abs(value.astype(expected.dtype) - expected)
            assert (error <= case.bound).all(), f"{case.label}: output {j} is off by {error.max()}"


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("flags", FLAGS)
def test_sizes_that_straddle_the_tiles(
    style: str, flags: tuple[bool, bool], rng: np.random.Generator
) -> None:
    sizes = list(itertools.product(EDGES, EDGES, EDGES))
    chosen = [sizes[i] for i in rng.choice(len(sizes), 10, replace=False)]
    chosen += [(129, 129, 129), (1, 129, 129), (129, 1, 129), (129, 129, 1), (1, 1, 1), (7, 65, 600)]
    _check([_case(rng, mnk, flags, STYLES[style]) for mnk in chosen])


@pytest.mark.opencl
@pytest.mark.parametrize("style", ["cpu", "gpu"])
def test_other_types_and_batches(style: str, rng: np.random.Generator) -> None:
    capabilities = STYLES[style]
    sizes = [(33, 70, 300), (65, 1, 300), (5, 31, 40), (130, 129, 513)]
    cases = [_case(rng, mnk, (False, False), capabilities, first="int32") for mnk in sizes]
    cases += [_case(rng, mnk, f, capabilities, (2, 3)) for mnk, f in zip(sizes[:3], FLAGS[1:], strict=True)]
    cases += [_case(rng, mnk, (True, False), capabilities, dtype=dtypes.float16) for mnk in sizes]
    if opencl().fp64:
        cases += [_case(rng, mnk, (False, True), capabilities, dtype=dtypes.float64) for mnk in sizes]
    _check(cases)


@pytest.mark.opencl
def test_operands_that_are_asked_for_early(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the parts of a sum, which is shorter than it has parts in some."""
    monkeypatch.setattr(epilogue, "FETCHED_BYTES", 0)
    sizes = [
        (129, 129, 129),
        (7, 65, 600),
        (33, 17, 1),
        (65, 130, 5),
        (1, 129, 7),
        (63, 127, 300),
        (200, 64, 1100),
    ]
    cases = [_case(rng, mnk, flags, STYLES["cpu"]) for mnk in sizes for flags in FLAGS]
    cases += [_case(rng, mnk, (True, False), STYLES["cpu-8-lanes"], (2,)) for mnk in sizes]
    assert any("#define GR_EPI_FETCH(" in case.epilogue for case in cases if case is not None)
    _check(cases)


def test_what_is_asked_for_early() -> None:
    """Operands, and results that cannot all lie where operands do, of sizes that leave the nearest cache."""
    plus = _instruction("a + b", [("in", 0), ("in", 1)], dtypes.float32)
    twice = _instruction("a + a", [("t", 0)], dtypes.float32)
    for rows, asked in ((16, []), (1024, ["gr_fetch(gr_e1 +", "gr_fetch_to(gr_y1 +"])):
        spec_ = Spec((rows, 256), dtypes.float32)
        group = Group((plus, twice), (None, None), "test", extra=(0,))
        text = epilogue_text(group, 0, [spec_, spec_], [spec_, spec_], 16)
        found = [line for line in text.splitlines() if "GR_EPI_FETCH" in line]
        assert [a for line in found for a in asked if a in line] == asked and bool(found) == bool(asked)
        assert not any("gr_fetch_to(GR_OUT" in line for line in found), "that lies where the operand does"


def test_what_takes_no_epilogue() -> None:
    whole = [Spec((4, 4), dtypes.int32)] * 2
    assert plan_matmul(whole, whole[:1], {}, STYLES["cpu"]) is not None
    assert plan_matmul(whole, whole[:1], {}, STYLES["cpu"], True) is None
    no_fp64 = replace(STYLES["cpu"], fp64=False)
    single = [Spec((4, 4), dtypes.float32)] * 2
    assert plan_matmul(single, [Spec((4, 4), dtypes.float64)], {}, no_fp64, True) is None


def test_sums_of_blocks_of_k_lie_in_the_output_only_where_it_has_their_bits() -> None:
    operands = [Spec((64, 4096), dtypes.float32), Spec((4096, 64), dtypes.float32)]
    for out, blocked in ((dtypes.float32, True), (dtypes.float16, False), (dtypes.int32, False)):
        plan = plan_matmul(operands, [Spec((64, 64), out)], {}, STYLES["cpu"], True)
        assert plan is not None
        defines = dict(plan.launches[plan.storing[-1]].defines)
        assert (defines.get("KB", 256) < 4096) is blocked
