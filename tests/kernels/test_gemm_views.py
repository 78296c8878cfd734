"""Operands that are read through views (`operand_maps`), and all tiles of gemm_gpu.cl, against NumPy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Array, Case, opencl, spec

from graphrun import dtypes
from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import AffineMap, Capabilities, KernelPlan, Spec
from graphrun.ops.plans.gemm import plan_matmul
from graphrun.ops.plans.gemm_gpu import TILES, plan_with
from graphrun.ops.plans.gemm_problem import normalise, problem_of

STYLES = {
    "cpu": Capabilities(kind="cpu", compute_units=2),
    "cpu-8-lanes": Capabilities(kind="cpu", compute_units=2, vector_width_float=8),
    "gpu": Capabilities(kind="gpu", compute_units=2, max_work_group_size=256),
}
FLAGS: list[tuple[bool, bool]] = [(False, False), (False, True), (True, False), (True, True)]
Maps = tuple[AffineMap | None, AffineMap | None]


def _viewed(x: Array, view: AffineMap | None) -> Array:
    if view is None:
        return x
    strides = [s * x.itemsize for s in view.strides]
    return np.lib.stride_tricks.as_strided(x.ravel()[view.offset :], view.dims, strides, writeable=False)


def _operands(a: Array, b: Array, maps: Maps, flags: tuple[bool, bool]) -> tuple[Array, Array]:
    x, y = (_viewed(v, m) for v, m in zip((a, b), maps, strict=True))
    return (np.swapaxes(x, -1, -2) if flags[0] else x), (np.swapaxes(y, -1, -2) if flags[1] else y)


def _out(a: Array, b: Array, maps: Maps, flags: tuple[bool, bool]) -> Spec:
    x, y = _operands(a, b, maps, flags)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return Spec((*batch, x.shape[-2], y.shape[-1]), as_dtype(a.dtype))


def _attrs(maps: Maps, flags: tuple[bool, bool]) -> dict[str, Any]:
    return {"transpose_a": flags[0], "transpose_b": flags[1], "operand_maps": maps}


def _check(cases: list[tuple[KernelPlan, Array, Array, Maps, tuple[bool, bool]]]) -> None:
    made = [Case(plan, [a, b], [_out(a, b, maps, flags)]) for plan, a, b, maps, flags in cases]
    for (_, a, b, maps, flags), (got,) in zip(cases, opencl().run(made), strict=True):
        x, y = _operands(a, b, maps, flags)
        truth = np.matmul(x.astype(np.float64), y.astype(np.float64))
        scale = np.matmul(np.abs(x).astype(np.float64), np.abs(y).astype(np.float64))
        sums = float(np.finfo(np.float32 if a.dtype == np.float16 else a.dtype).eps) * (x.shape[-1] + 1)
        bound = sums * scale + float(np.finfo(a.dtype).eps) * np.abs(truth) + 1e-30
        assert (np.abs(got - truth) <= bound).all(), f"{x.shape} x {y.shape} {maps} {flags}"


def _planned(
    capabilities: Capabilities, a: Array, b: Array, maps: Maps, flags: tuple[bool, bool] = (False, False)
) -> tuple[KernelPlan, Array, Array, Maps, tuple[bool, bool]]:
    plan = plan_matmul(
        [spec(a), spec(b)], [_out(a, b, maps, flags)], _attrs(maps, flags), capabilities
    )  # fmt: skip
    assert plan is not None
    return plan, a, b, maps, flags


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_heads_are_read_where_they_lie(style: str, dtype: str, rng: np.random.Generator) -> None:
    """What attention does with ``(batch, time, heads * size)``: a batch of (batch, heads) matrices."""
    if dtype == "float64" and not opencl().fp64:
        pytest.skip("the OpenCL device has no double precision")
    capabilities = STYLES[style]
    cases = []
    for batch, time, heads, size in ((2, 33, 3, 16), (3, 17, 2, 31), (1, 130, 4, 32)):
        width = 3 * heads * size  # queries, keys and values side by side
        x = rng.standard_normal((batch, time, width)).astype(dtype)

        def head(part: int, sizes: Any = (batch, time, heads, size, width)) -> AffineMap:
            batch, time, heads, size, width = sizes
            return AffineMap(
                (batch, heads, time, size), (time * width, size, width, 1), part * heads * size
            )  # fmt: skip

        scores = rng.standard_normal((batch, heads, time, time)).astype(dtype)
        cases += [_planned(capabilities, x, x, (head(0), head(1)), (False, True))]
        cases += [_planned(capabilities, scores, x, (None, head(2)), (t, False)) for t in (False, True)]
    _check(cases)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_slices_turns_and_repeats(style: str, rng: np.random.Generator) -> None:
    capabilities = STYLES[style]
    x, y = (rng.standard_normal(s).astype(np.float32) for s in ((4, 70, 90), (4, 90, 130)))
    inner = AffineMap((4, 33, 65), (70 * 90, 90, 1), 3 * 90 + 7)
    turned = AffineMap((4, 65, 33), (70 * 90, 1, 90), 3 * 90 + 7)  # the same, axes exchanged
    alternate = AffineMap((2, 65, 48), (2 * 90 * 130, 130, 1), 130 + 5)  # every second matrix
    repeated = AffineMap((2, 2, 65, 48), (0, 2 * 90 * 130, 130, 1), 5)
    deep = AffineMap((2, 3, 2, 2, 65, 48), (90 * 130, 0, 2 * 90 * 130, 0, 130, 1), 5)
    column = AffineMap((4, 65, 1), (90 * 130, 130, 1), 9)
    long_column = AffineMap((4, 50, 1), (70 * 90, 90, 1), 11)
    row = AffineMap((4, 1, 33), (70 * 90, 90, 1), 9 * 90)
    every_row = AffineMap((4, 33, 65), (0, 2 * 90, 1), 0)
    plain = rng.standard_normal((4, 65, 31)).astype(np.float32)
    cases = [
        _planned(capabilities, x, plain, (inner, None)),
        _planned(capabilities, x, plain, (turned, None), (True, False)),
        _planned(capabilities, x, plain, (every_row, None)),
        _planned(capabilities, x[:1], y, (AffineMap((33, 65), (90, 1), 1), alternate)),
        _planned(capabilities, x[:1], y, (AffineMap((65, 33), (1, 90), 1), repeated), (True, False)),
        _planned(capabilities, x[:1], y, (AffineMap((2, 1, 2, 1, 33, 65), (90, 0, 7, 0, 90, 1)), deep)),
        _planned(capabilities, x, y, (inner, column)),
        _planned(capabilities, x, x, (row, AffineMap((4, 33, 50), (70 * 90, 90, 1), 2))),
        _planned(capabilities, x, x, (AffineMap((4, 33, 50), (70 * 90, 90, 1), 2), long_column)),
    ]  # fmt: skip
    _check(cases)


def test_what_the_kernels_cannot_read() -> None:
    source = Spec((100, 100), dtypes.float32)
    other = Spec((10, 10), dtypes.float32)
    out = [Spec((10, 10), dtypes.float32)]

    def planned(view: AffineMap) -> KernelPlan | None:
        return plan_matmul([source, other], out, {"operand_maps": (view, None)}, STYLES["cpu"])

    assert planned(AffineMap((10, 10), (100, 1), 5)) is not None
    assert planned(AffineMap((10, 10), (1, 100), 5)) is not None
    assert planned(AffineMap((10, 10), (100, 2), 0)) is None, "every second column"
    assert planned(AffineMap((10, 10), (100, -1), 99)) is None, "backwards"
    assert planned(AffineMap((10, 10), (0, 1), 0)) is None, "one row again and again"


@pytest.mark.opencl
@pytest.mark.parametrize("tile", TILES, ids=lambda t: "x".join(str(v) for v in t[:5]))
def test_tiles_for_gpus(tile: Any, rng: np.random.Generator) -> None:
    """Each tile on sizes around its own, vectors read whole (an aligned start) or not, sums split or not."""
    cases = []
    sizes = [(tile.tm, tile.tn, 4 * tile.tk), (tile.tm + 1, tile.tn - 1, 3 * tile.tk + 1), (3, 5, 2)]
    for (m, n, k), flags in itertools.product(sizes, FLAGS):
        for start in (0, 3):  # the harness begins 37 elements behind a boundary
            shapes = ((k, m) if flags[0] else (m, k)), ((n, k) if flags[1] else (k, n))
            lds = [-(-s[1] // 4) * 4 if start else s[1] for s in shapes]
            a, b = (
                rng.standard_normal((s[0] * ld + start,)).astype(np.float32)
                for s, ld in zip(shapes, lds, strict=True)
            )
            maps = tuple(AffineMap(s, (ld, 1), start) for s, ld in zip(shapes, lds, strict=True))
            attrs = _attrs(maps, flags)  # type: ignore[arg-type]
            out = _out(a, b, maps, flags)  # type: ignore[arg-type]
            problem = problem_of([spec(a), spec(b)], [out], attrs, STYLES["gpu"], False)
            assert problem is not None
            plan = plan_with(normalise(problem), tile, 3 if start else 1)
            storing = (len(plan.launches) - 1,)
            cases.append((replace(plan, epilogue_launches=storing), a, b, maps, flags))
    _check(cases)  # type: ignore[arg-type]
