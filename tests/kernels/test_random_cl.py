"""Philox on OpenCL equals Philox on NumPy bit for bit; the numbers follow their distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from harness import Case, opencl, spec

from graphrun.dtypes import as_dtype
from graphrun.errors import DTypeError, ExecutionError
from graphrun.graph.descriptor import Capabilities, KernelPlan, Spec
from graphrun.ops.host import philox
from graphrun.ops.plans import random as plans

KEY = (0xA4093822, 0x299F31D0)
FLOATS = ("float16", "float32", "float64")
CASES: list[tuple[str, str]] = [
    *((op, d) for op in ("philox_uniform", "philox_normal", "philox_truncated_normal") for d in FLOATS),
    ("philox_uniform_int", "int32"),
    ("philox_uniform_int", "int64"),
]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that are published with Random123
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], KEY, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter: list[int], key: tuple[int, int], expected: str) -> None:
    words = philox.philox_4x32(np.array([counter], np.uint32), key)[0]
    assert " ".join(f"{w:08x}" for w in words) == expected


def bounds(dtype: str) -> list[tuple[int, int]]:
    info = np.iinfo(dtype)
    return [(-3, 10), (int(info.min), int(info.max)), (0, int(info.max)), (int(info.max) - 1, int(info.max))]


def plan(op: str, arrays: list[Any], attrs: dict[str, Any], device: Capabilities) -> KernelPlan | None:
    out = Spec(attrs["shape"], as_dtype(attrs["dtype"]))
    return getattr(plans, f"plan_{op}")([spec(a) for a in arrays], [out], attrs, device)


@pytest.mark.opencl
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_device_equals_numpy_bit_for_bit(kind: str) -> None:
    runner = opencl()
    device = Capabilities(kind=kind, fp64=runner.fp64, compute_units=2)
    counters = [0, 5, 2**32 - 7, 2**62 + 1]  # the second word changes within the third one's draw
    shapes = [(70001,), (3, 1), (64,), (7, 9, 11)]
    cases, expected = [], []
    for op, dtype in CASES:
        if dtype == "float64" and not runner.fp64:
            continue
        for index, (counter, shape) in enumerate(zip(counters, shapes)):
            arrays = [np.array(counter, np.int64)]
            if op == "philox_uniform_int":
                arrays += [np.array(b, dtype) for b in bounds(dtype)[index]]
            attrs = {"key": KEY, "shape": shape, "dtype": dtype}
            made = plan(op, arrays, attrs, device)
            assert made is not None
            cases.append(Case(made, arrays, [Spec(shape, as_dtype(dtype))], f"{op} {dtype} {shape}"))
            expected.append(getattr(philox, op)(*arrays, **attrs))
    for case, want, (got,) in zip(cases, expected, runner.run(cases)):
        assert got.dtype == want.dtype and got.tobytes() == want.tobytes(), case.label


@pytest.mark.opencl
def test_many_normal_numbers_are_equal() -> None:
    runner = opencl()
    dtypes = ["float32"] + (["float64"] if runner.fp64 else [])
    counter = np.array(123, np.int64)
    cases, expected = [], []
    for op in ("philox_normal", "philox_truncated_normal"):
        for dtype in dtypes:
            attrs = {"key": (7, 8), "shape": (1 << 20,), "dtype": dtype}
            made = plan(op, [counter], attrs, Capabilities(fp64=True, compute_units=2))
            assert made is not None
            cases.append(Case(made, [counter], [Spec((1 << 20,), as_dtype(dtype))], f"{op} {dtype}"))
            expected.append(getattr(philox, op)(counter, **attrs))
    for case, want, (got,) in zip(cases, expected, runner.run(cases)):
        assert got.tobytes() == want.tobytes(), case.label


def test_plan_refuses_what_the_kernels_cannot_do() -> None:
    counter = np.array(0, np.int64)
    attrs = {"key": KEY, "shape": (4,), "dtype": "float64"}
    assert plan("philox_uniform", [counter], attrs, Capabilities(fp64=False)) is None
    assert plan("philox_uniform", [counter], attrs | {"dtype": "int32"}, Capabilities()) is None
    empty = plan("philox_uniform", [counter], attrs | {"shape": (0, 4)}, Capabilities())
    assert empty is not None and empty.launches == ()


def test_element_is_a_function_of_block_and_lane() -> None:
    whole = philox.philox_normal(10, key=KEY, shape=(4000,), dtype="float32")
    part = philox.philox_normal(10 + 25, key=KEY, shape=(3000,), dtype="float32")
    np.testing.assert_array_equal(whole[100:3100], part)
    whole = philox.philox_uniform(10, key=KEY, shape=(40, 100), dtype="float64").ravel()
    part = philox.philox_uniform(10 + 25, key=KEY, shape=(3000,), dtype="float64")
    np.testing.assert_array_equal(whole[50:3050], part)


def test_chunks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"key": KEY, "shape": (1000,), "dtype": "float64"}
    whole = philox.philox_uniform(3, **arguments)
    monkeypatch.setattr(philox, "_CHUNK_BLOCKS", 8)
    np.testing.assert_array_equal(philox.philox_uniform(3, **arguments), whole)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (5,), (2, 3, 4), (0, 7)])
def test_blocks_used_covers_every_element(shape: tuple[int, ...]) -> None:
    for dtype in ("float16", "float32", "float64", "int32", "int64"):
        used = philox.blocks_used(shape, dtype)
        per_block = 128 // philox.draw_bits(dtype)
        assert (used - 1) * per_block < math.prod(shape) <= used * per_block
    assert philox.philox_uniform(0, key=KEY, shape=shape, dtype="float32").shape == shape


def kolmogorov_smirnov(sample: Any, cdf: Any) -> float:
    """Largest distance between the two distribution functions times the square root of the size."""
    n = sample.size
    values = cdf(np.sort(sample.astype(np.float64)))
    grid = np.arange(n + 1) / n
    return float(max(np.max(values - grid[:-1]), np.max(grid[1:] - values)) * math.sqrt(n))


def normal_cdf(z: Any) -> Any:
    return 0.5 * np.array([math.erfc(-v / math.sqrt(2)) for v in z])


def truncated_cdf(z: Any) -> Any:
    low = 0.5 * math.erfc(math.sqrt(2))
    return (normal_cdf(z) - low) / (1 - 2 * low)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype: str) -> None:
    n = 60000
    for op, cdf, variance in (
        (philox.philox_uniform, lambda v: v, 1 / 12),
        (philox.philox_normal, normal_cdf, 1.0),
        (philox.philox_truncated_normal, truncated_cdf, 0.7737413),
    ):
        sample = op(1000, key=(11, 12), shape=(n,), dtype=dtype).astype(np.float64)
        assert kolmogorov_smirnov(sample, cdf) < 1.95, op.__name__  # passed by 99.9 % of fair samples
        assert abs(sample.var() / variance - 1) < 0.025, op.__name__
    assert np.abs(sample).max() < 2


def test_ranges_hold_at_the_extreme_draws() -> None:
    ends32 = np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], np.uint32)
    ends64 = ends32.astype(np.uint64) << np.uint64(32) | ends32.astype(np.uint64)
    for z in (philox._normal_f32(ends32), philox._normal_f64(ends64)):
        assert np.isfinite(z).all() and np.abs(z).max() < 8.4
    assert np.abs(philox._truncated_f64(ends64)).max() < 2
    assert np.abs(philox._truncated_f32(ends32, np.float32(1.99999988))).max() < 2
    half = philox.philox_truncated_normal(0, key=KEY, shape=(1 << 18,), dtype="float16")
    assert np.abs(half).max() < 2
    assert philox.philox_uniform(0, key=KEY, shape=(1 << 18,), dtype="float16").max() < 1


def test_inverse_cdf_is_accurate() -> None:
    # math.erfc is accurate in relative terms: compare probabilities, and divide by the slope
    draws = np.concatenate(
        [2 ** np.arange(31, dtype=np.uint32), np.arange(1, 2000, dtype=np.uint32) * 1073741]
    )
    for u, normal, bits, bound in (
        (draws, philox._normal_f32, 32, 6e-7),
        ((draws.astype(np.uint64) & np.uint64(0x7FFFFFFF)) << np.uint64(32), philox._normal_f64, 64, 4e-15),
    ):
        u = u[u < (1 << (bits - 1))]
        z = normal(u).astype(np.float64)
        magnitude = u.astype(np.float64) if bits == 32 else (u >> np.uint64(11)).astype(np.float64)
        tail = (2 * magnitude + 1) * 2.0 ** (-33 if bits == 32 else -54)
        got = 0.5 * np.array([math.erfc(v / math.sqrt(2)) for v in z])
        slope = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        apart = (np.abs(got - tail) / (slope * z))[z > 0.05]  # nearer to 0 the probability says nothing of z
        assert apart.max() < bound


def test_integers_are_uniform_and_bounded() -> None:
    for dtype in ("int32", "int64"):
        v = philox.philox_uniform_int(0, -3, 4, key=KEY, shape=(70000,), dtype=dtype)
        counts = np.bincount(v + 3, minlength=7)
        assert (
            counts.size == 7 and np.sum((counts - 10000) ** 2 / 10000) < 22.5
        )  # chi-square, 6 degrees, 0.1 %
        for low, high in bounds(dtype):
            v = philox.philox_uniform_int(0, low, high, key=KEY, shape=(1000,), dtype=dtype)
            assert v.min() >= low and v.max() < high


def test_empty_range_is_an_error() -> None:
    with pytest.raises(ExecutionError, match=r"range of random integers is empty\n  minval=5, maxval=5"):
        philox.philox_uniform_int(0, 5, 5, key=KEY, shape=(2,))


def test_unfit_dtypes_are_errors() -> None:
    with pytest.raises(DTypeError, match="no such numbers of dtype int32"):
        philox.philox_normal(0, key=KEY, shape=(2,), dtype="int32")
    with pytest.raises(DTypeError, match="no random numbers of dtype bool"):
        philox.blocks_used((2,), "bool")


def test_shuffle_permutes_rows() -> None:
    x = np.arange(20000).reshape(1000, 20)
    y = philox.shuffle(np.int64(5), x, key=KEY)
    np.testing.assert_array_equal(np.sort(y[:, 0]), x[:, 0])
    np.testing.assert_array_equal(y - y[:, :1], np.broadcast_to(np.arange(20), y.shape))
    assert (y[:, 0] == x[:, 0]).sum() < 10
    np.testing.assert_array_equal(y, philox.shuffle(np.int64(5), x, key=KEY))
    assert (philox.shuffle(np.int64(6), x, key=KEY) != y).any()
    assert philox.shuffle(0, np.zeros((0, 3)), key=KEY).shape == (0, 3)
