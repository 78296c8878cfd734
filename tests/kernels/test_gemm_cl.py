"""kernels/gemm.cl through its plans, against NumPy: shapes around the tiles, batches, dtypes, NaN."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from harness import KERNELS, Array, Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Capabilities, KernelPlan, Spec
from graphrun.ops.plans.gemm import plan_matmul
from graphrun.ops.plans.gemm_cpu import plan_cpu, ways_cpu
from graphrun.ops.plans.gemm_problem import normalise, problem_of

EDGES = (1, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)
CPU = Capabilities(kind="cpu", compute_units=2)
GPU = Capabilities(kind="gpu", compute_units=2, max_work_group_size=256)
STYLES = {
    "cpu": CPU,
    "cpu-8-lanes": Capabilities(kind="cpu", compute_units=4, vector_width_float=8),
    "cpu-4-lanes": Capabilities(kind="cpu", compute_units=4, vector_width_float=4),
    "gpu": GPU,
    "gpu-small-groups": Capabilities(kind="gpu", compute_units=64, max_work_group_size=64),
}
Shape = tuple[int, ...]
FLAGS: list[tuple[bool, bool]] = [(False, False), (False, True), (True, False), (True, True)]


@dataclass
class MatmulCase(Case):
    """A case that knows its flags."""

    ta: bool = False
    tb: bool = False


def _swap(x: Array, flag: bool) -> Array:
    return np.swapaxes(x, -1, -2) if flag else x


def _data(rng: np.random.Generator, shape: Shape, dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def _out_spec(a: Array, b: Array, ta: bool, tb: bool) -> Spec:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Spec((*batch, _swap(a, ta).shape[-2], _swap(b, tb).shape[-1]), as_dtype(a.dtype))


def _plan(a: Array, b: Array, ta: bool, tb: bool, capabilities: Capabilities) -> KernelPlan:
    attrs = {"transpose_a": ta, "transpose_b": tb}
    plan = plan_matmul([spec(a), spec(b)], [_out_spec(a, b, ta, tb)], attrs, capabilities)
    assert plan is not None
    return plan


def _case(
    a: Array, b: Array, ta: bool = False, tb: bool = False, capabilities: Capabilities = CPU
) -> MatmulCase:
    label = f"{a.dtype} {a.shape}{'T' * ta} x {b.shape}{'T' * tb}"
    plan = _plan(a, b, ta, tb, capabilities)
    return MatmulCase(plan, [a, b], [_out_spec(a, b, ta, tb)], label, ta=ta, tb=tb)


def _random_case(
    rng: np.random.Generator,
    mnk: tuple[int, int, int],
    dtype: str = "float32",
    ta: bool = False,
    tb: bool = False,
    capabilities: Capabilities = CPU,
    batch_a: Shape = (),
    batch_b: Shape = (),
) -> MatmulCase:
    m, n, k = mnk
    a = _data(rng, (*batch_a, k, m) if ta else (*batch_a, m, k), dtype)
    b = _data(rng, (*batch_b, n, k) if tb else (*batch_b, k, n), dtype)
    return _case(a, b, ta, tb, capabilities)


def _check(cases: Iterable[MatmulCase]) -> None:
    cases = list(cases)
    for case, (got,) in zip(cases, opencl().run(cases, with_math=False)):
        a, b = _swap(case.inputs[0], case.ta), _swap(case.inputs[1], case.tb)
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(got, np.matmul(a, b), err_msg=case.label)
            continue
        wide = np.float64 if a.dtype != np.float64 else np.longdouble
        with np.errstate(all="ignore"):
            truth = np.matmul(a.astype(wide), b.astype(wide))
            scale = np.matmul(np.abs(a).astype(wide), np.abs(b).astype(wide))
        # k roundings of partial sums at the worst; float16 sums in float and rounds once.
        sums = np.finfo(np.float32 if a.dtype == np.float16 else a.dtype).eps * (a.shape[-1] + 1)
        bound = sums * scale + np.finfo(a.dtype).eps * np.abs(truth)
        finite = np.isfinite(truth)
        np.testing.assert_array_equal(np.isfinite(got), finite, err_msg=case.label)
        np.testing.assert_array_equal(got[~finite], truth[~finite].astype(a.dtype), err_msg=case.label)
        errors = np.abs(got[finite].astype(wide) - truth[finite])
        assert (errors <= bound[finite] + 1e-30).all(), f"{case.label}: {errors.max()}"


@pytest.mark.parametrize(
    "style,ta,tb",
    [(style, *flags) for style in ("cpu", "gpu") for flags in FLAGS]
    + [
        (style, flag, flag)
        for style in ("cpu-8-lanes", "cpu-4-lanes", "gpu-small-groups")
        for flag in (False, True)
    ],
)
def test_sizes_that_straddle_the_tiles(style: str, ta: bool, tb: bool) -> None:
    rng = np.random.default_rng(11)
    sizes = list(itertools.product(EDGES, EDGES, EDGES))
    chosen = [sizes[i] for i in rng.choice(len(sizes), 45, replace=False)]
    chosen += [
        (1, 1, 1),
        (129, 129, 129),
        (1, 129, 129),
        (129, 1, 129),
        (129, 129, 1),
        (7, 65, 300),
        (65, 7, 513),
    ]
    _check(_random_case(rng, mnk, ta=ta, tb=tb, capabilities=STYLES[style]) for mnk in chosen)


@pytest.mark.parametrize("style", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int16", "int32", "int64"])
def test_element_types(style: str, dtype: str) -> None:
    if dtype == "float64" and not opencl().fp64:
        pytest.skip("the OpenCL device has no double precision")
    rng = np.random.default_rng(12)
    sizes = [(7, 33, 65), (65, 31, 300), (1, 17, 40), (33, 1, 40)]
    _check(
        _random_case(rng, sizes[i % 4], dtype, *FLAGS[i * 3 // 4 % 4], capabilities=STYLES[style])
        for i in range(8)
    )


@pytest.mark.parametrize("style", ["cpu", "gpu"])
def test_batches_broadcast(style: str) -> None:
    rng = np.random.default_rng(13)
    pairs: list[tuple[Shape, Shape]] = [
        ((3,), (3,)), ((3,), ()), ((), (3,)), ((1,), (3,)), ((2, 3), (2, 3)), ((2, 1), (3,)), ((2, 3), (3,)),
        ((2, 3), (2, 1)), ((2, 1, 3), (1, 4, 1)), ((2, 1, 3, 1, 2), (1, 2, 1, 3, 1)), ((1, 1), (1, 1)),
        ((3, 1, 2, 1, 2), (3, 2, 1, 2, 2)), ((5, 0), (1,)),
    ]  # fmt: skip
    sizes = [(5, 17, 33), (33, 20, 9), (20, 1, 40), (1, 40, 33)]
    _check(
        _random_case(rng, sizes[i % 4], "float32", *FLAGS[(i // 4 + i) % 4], STYLES[style], batch_a, batch_b)
        for i, (batch_a, batch_b) in enumerate(pair for pair in pairs for _ in range(4))
    )


@pytest.mark.parametrize("style", ["cpu", "gpu"])
def test_empty_matrices(style: str) -> None:
    rng = np.random.default_rng(14)
    sizes = [(0, 5, 6), (5, 0, 6), (5, 70, 0), (5, 3, 0), (1, 1, 0), (70, 1, 0), (0, 0, 0)]
    cases = [
        _random_case(rng, mnk, dtype, *flag, STYLES[style])
        for mnk, flag, dtype in itertools.product(sizes, FLAGS, ("float32", "float16"))
    ]
    _check(cases)
    assert all(
        not case.plan.launches for case in cases if 0 in case.inputs[0].shape[:1] and "T" not in case.label
    )


@pytest.mark.parametrize("style", ["cpu", "gpu"])
@pytest.mark.parametrize("ta,tb", FLAGS)
def test_nan_and_infinity_stay_in_their_row_and_column(style: str, ta: bool, tb: bool) -> None:
    rng = np.random.default_rng(15)
    cases = []
    for m, n, k in [(17, 65, 33), (33, 16, 300), (1, 70, 40), (70, 1, 40), (7, 130, 20)]:
        a = _data(rng, (k, m) if ta else (m, k), "float32")
        b = _data(rng, (n, k) if tb else (k, n), "float32")
        _swap(a, ta)[-1, k // 2] = np.nan
        _swap(a, ta)[0, 0] = np.inf
        _swap(b, tb)[k - 1, n // 2] = -np.inf
        cases.append(_case(a, b, ta, tb, STYLES[style]))
    _check(cases)


def test_large_sizes_take_every_k_block_and_many_strips() -> None:
    rng = np.random.default_rng(16)
    _check(
        _random_case(rng, mnk, ta=ta, tb=tb)
        for mnk, (ta, tb) in itertools.product(
            [(130, 520, 600), (257, 130, 784), (515, 65, 300)], [(False, False), (True, False), (False, True)]
        )
    )


def test_a_large_transposed_operand_is_copied_first() -> None:
    rng = np.random.default_rng(17)
    case = _random_case(rng, (1001, 300, 1700), ta=True)
    assert [launch.entry for launch in case.plan.launches][0] == "gemm_pack"
    _check([case, _random_case(rng, (1001, 260, 1700), ta=True, batch_a=(2, 1), batch_b=(2,))])


def test_signed_and_unsigned_integers_share_kernels() -> None:
    def defines(dtype: str) -> list[object]:
        x = np.zeros((40, 40), dtype)
        return [launch.defines for launch in _plan(x, x, False, True, CPU).launches]

    for bits in (8, 32, 64):
        assert defines(f"int{bits}") == defines(f"uint{bits}")


def test_what_the_kernels_cannot_take_is_left_to_the_host() -> None:
    two = Spec((2, 2), as_dtype("float64"))
    bools = Spec((2, 2), as_dtype("bool"))
    unknown = Spec((2, None), as_dtype("float32"))
    assert plan_matmul([two, two], [two], {}, Capabilities(fp64=False)) is None
    assert plan_matmul([bools, bools], [bools], {}, CPU) is None
    assert plan_matmul([unknown, unknown], [unknown], {}, CPU) is None
    mixed = Spec((2, 2), as_dtype("float32"))
    assert plan_matmul([two, mixed], [two], {}, CPU) is None


@pytest.mark.opencl
def test_what_a_work_item_holds_of_b(rng: np.random.Generator) -> None:
    """Every way and tile, named: B kept from the first strip, copied by each item, in place, in panels."""
    cases = []
    for m, n, k in ((13, 50, 37), (65, 129, 300), (24, 70, 2500)):
        for tb in (False, True):
            a, b = _data(rng, (m, k), "float32"), _data(rng, (n, k) if tb else (k, n), "float32")
            specs, out = [spec(a), spec(b)], _out_spec(a, b, False, tb)
            problem = problem_of(specs, [out], {"transpose_a": False, "transpose_b": tb}, CPU, False)
            assert problem is not None
            problem = normalise(problem)
            ways = ways_cpu(problem, CPU)
            assert {way.split()[0] for way in ways} >= (
                {"here", "packed"} if tb else {"keep", "packed", "place"}
            )
            for way in ways:
                plan = plan_cpu(problem, CPU, wanted=way)
                assert plan is not None
                cases.append(MatmulCase(plan, [a, b], [out], f"{way} {m}x{n}x{k}{'T' * tb}", tb=tb))
    _check(cases)


def test_plans_state_their_cost() -> None:
    a, b = np.zeros((64, 100), np.float32), np.zeros((100, 32), np.float32)
    plan = _plan(a, b, False, False, CPU)
    assert plan.flops == 2 * 64 * 100 * 32
    problem = problem_of([spec(a), spec(b)], [_out_spec(a, b, False, False)], {}, CPU, False)
    assert problem is not None
    packed = plan_cpu(problem, CPU, wanted="packed 6x4")
    assert packed is not None
    assert sum(pack.size_bytes for pack in packed.packs) >= b.nbytes
    a = np.zeros((1024, 256), np.float32)
    turned = _plan(a, np.zeros((1024, 512), np.float32), True, False, CPU)
    assert sum(pack.size_bytes for pack in turned.packs) >= a.nbytes, "a long transposed A lies in panels"


def test_the_text_leaves_no_macro_behind() -> None:
    text = (KERNELS / "gemm.cl").read_text()
    defined = set(re.findall(r"^ *#define (\w+)", text, re.M))
    assert defined == set(re.findall(r"^#undef (\w+)", text, re.M))
