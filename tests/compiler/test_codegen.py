"""Generated kernels against NumPy: elementwise groups, views, index kernels and reductions, in both styles.

Many cases go into one plan, because a program that is built costs far more than a kernel in it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from compiler.run_plan import STYLES, compile_for, run_plan
from tolerances import assert_close

import graphrun as gr
from graphrun.compiler import codegen
from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import AffineMap

EACH_STYLE = pytest.mark.parametrize("style", STYLES)


class Batch:
    """Cases that are run together: tensors with the arrays that they must become."""

    def __init__(self, style: str) -> None:
        self.style = style
        self.feeds: dict[Any, Any] = {}
        self.cases: list[tuple[Any, Any, str, float]] = []

    def feed(self, array: Any) -> Any:
        array = np.asarray(array)
        t = gr.placeholder(as_dtype(array.dtype), array.shape)
        self.feeds[t] = array
        return t

    def expect(self, tensor: Any, expected: Any, label: str, factor: float = 1.0) -> None:
        expected = np.asarray(expected, tensor.dtype.numpy)
        self.cases.append((tensor, expected, label, factor))

    def check(self) -> None:
        results = run_plan(self.style, [t for t, *_ in self.cases], self.feeds)
        for (_, expected, label, factor), result in zip(self.cases, results, strict=True):
            assert_close(result, expected, factor, label)


def _array(rng: np.random.Generator, shape: Any, dtype: str = "float32") -> Any:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith(("int", "uint")):
        return rng.integers(0 if dtype[0] == "u" else -9, 10, shape).astype(dtype)
    return rng.uniform(-2, 2, shape).astype(dtype)


# -- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "text"),
    [
        (None, "i"),
        (AffineMap((6,), (1,)), "((long)(i))"),
        (AffineMap((6,), (1,), 4), "4L + ((long)(i))"),
        (AffineMap((2, 3), (1, 2)), "((long)(i) / 3L) + (((long)(i)) % 3L) * 2L"),
        (AffineMap((2, 3), (0, 1)), "(((long)(i)) % 3L)"),
        (AffineMap((6,), (-1,), 5), "5L + ((long)(i)) * -1L"),
        (AffineMap((6,), (0,)), "0"),
        (AffineMap((2, 0, 3), (3, 3, 1)), "0"),
        (AffineMap((), ()), "0"),
    ],
)
def test_mapped_index(m: Any, text: str) -> None:
    assert codegen.mapped_index(m, "i") == text


@pytest.mark.parametrize("seed", range(20))
def test_mapped_index_is_the_map(seed: int) -> None:
    """The C text, read as Python, gives the element that the map's definition gives."""
    rng = np.random.default_rng(seed)
    dims = tuple(int(d) for d in rng.integers(1, 5, rng.integers(0, 5)))
    strides = tuple(int(s) for s in rng.integers(-3, 4, len(dims)))
    m = AffineMap(dims, strides, int(rng.integers(0, 50)))
    text = codegen.mapped_index(m, "i").replace("(long)", "").replace("/", "//").replace("L", "")
    for i, place in enumerate(itertools.product(*[range(d) for d in dims])):
        assert eval(text, {"i": i}) == m.offset + sum(c * s for c, s in zip(place, strides, strict=True))


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.5, "float32", "((float)0x1.8000000000000p+0f)"),
        (np.float16(0.1), "float16", "((float)0x1.9980000000000p-4f)"),
        (-0.0, "float64", "((double)-0x0.0p+0)"),
        (np.nan, "float32", "((float)NAN)"),
        (-np.inf, "float64", "((double)-INFINITY)"),
        (5e-324, "float64", "((double)0x0.0000000000001p-1022)"),
        (True, "bool", "((uchar)1)"),
        (-(2**63), "int64", "((long)(-9223372036854775807L - 1))"),
        (2**64 - 1, "uint64", "((ulong)18446744073709551615UL)"),
        (-(2**31), "int32", "((int)(-2147483647 - 1))"),
        (200, "uint8", "((uchar)200)"),
    ],
)
def test_literal(value: Any, dtype: str, text: str) -> None:
    assert codegen.literal(value, as_dtype(dtype)) == text


@pytest.mark.parametrize(
    ("shape", "axes", "kept", "reduced"),
    [
        ((2, 3, 4), (2,), [(6, 4)], [(4, 1)]),
        ((2, 3, 4), (0, 1), [(4, 1)], [(6, 4)]),
        ((2, 3, 4), (1,), [(2, 12), (4, 1)], [(3, 4)]),
        ((2, 1, 4), (0, 2), [], [(8, 1)]),
        ((1, 1), (0,), [], []),
        ((2, 3, 4, 5), (0, 2), [(3, 20), (5, 1)], [(2, 60), (4, 5)]),
    ],
)
def test_reduction_layout(shape: Any, axes: Any, kept: Any, reduced: Any) -> None:
    """Neighbours of one kind are one dimension, and those of length 1 none."""
    assert codegen.reduction_layout(shape, axes) == (kept, reduced)


# -- elementwise --------------------------------------------------------------------------------


@pytest.mark.opencl
@EACH_STYLE
def test_broadcasts(style: str, rng: np.random.Generator) -> None:
    batch = Batch(style)
    patterns: list[tuple[Any, Any]] = [
        ((3, 5), ()), ((), (3, 5)), ((3, 5), (5,)), ((3, 5), (1, 5)), ((3, 5), (3, 1)), ((3, 1), (1, 5)),
        ((2, 3, 4), (3, 1)), ((2, 3, 4), (2, 1, 4)), ((2, 1, 4, 1), (3, 1, 7)), ((1,), (33,)),
        ((17, 1), (17, 130)), ((0, 3), (1, 3)), ((1, 3), (0, 1)), ((1, 1, 1), ()), ((5, 1, 1), (1, 1, 3)),
    ]  # fmt: skip
    for a, b in patterns:
        x, y = _array(rng, a), _array(rng, b)
        tx, ty = batch.feed(x), batch.feed(y)
        batch.expect(tx - ty, x - y, f"{a} - {b}")
        batch.expect(gr.multiply(tx, ty) + tx * 2.0, x * y + x * 2, f"{a} * {b} fused")
    a, b, c = (_array(rng, s) for s in ((4, 1, 3), (5, 1), (1, 5, 3)))
    ta, tb, tc = batch.feed(a), batch.feed(b), batch.feed(c)
    batch.expect((ta + tb) * tc - tb, (a + b) * c - b, "three that broadcast")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
@pytest.mark.parametrize("size", [1, 7, 15, 16, 17, 130, 16385, 100_001])
def test_every_element_is_written(style: str, size: int) -> None:
    """Sizes around the borders of vectors, work-items and groups."""
    x = np.arange(size, dtype=np.float32)
    t = gr.placeholder(gr.float32, (None,))
    (result,) = run_plan(style, [t + 1.0], {t: x})
    np.testing.assert_array_equal(result, x + 1)


def test_how_memory_is_reached_by_size() -> None:
    """Small arrays are loaded and stored, larger ones asked for early; the largest results pass caches by."""
    for count, fetched, past in ((1000, 0, 0), (1 << 17, 2, 0), ((1 << 23) + 5, 1, 1)):
        x = gr.placeholder(gr.float32, (count,))
        (source,) = compile_for(
            "null", [gr.exp(x) + 1.0, x], {x: np.zeros(count, np.float32)}
        ).plan.sources.values()
        kernel = source[source.index("__kernel") :].split("#else")[0]
        assert kernel.count("gr_fetch") == fetched and kernel.count("gr_vstream16(") == past, count


@pytest.mark.opencl
@EACH_STYLE
def test_arrays_beyond_caches(style: str) -> None:
    for dtype in ("float32", "int32"):
        x = np.arange((1 << 23) + 5).astype(dtype)
        t = gr.placeholder(as_dtype(x.dtype), x.shape)
        (result,) = run_plan(style, [t + gr.constant(1, t.dtype)], {t: x})
        np.testing.assert_array_equal(result, x + x.dtype.type(1))


@pytest.mark.opencl
@EACH_STYLE
def test_dtypes(style: str, rng: np.random.Generator) -> None:
    batch = Batch(style)
    names = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]
    for name in names:
        x, y = _array(rng, (3, 7), name), _array(rng, (7,), name)
        tx, ty = batch.feed(x), batch.feed(y)
        batch.expect(tx * ty + tx, x * y + x, f"{name} arithmetic")
        batch.expect(gr.less(tx, ty), x < y, f"{name} comparison")
        batch.expect(gr.where(gr.less(tx, ty), tx, ty * 2), np.where(x < y, x, y * 2), f"{name} where")
        for other in ("float32", "bool"):
            batch.expect(gr.cast(tx, other), x.astype(other), f"{name} to {other}")
    big = np.array([250, 255, 3], np.uint8)
    batch.expect(batch.feed(big) + 10, big + np.uint8(10), "uint8 wraps")
    low = np.array([-128, 127], np.int8)
    batch.expect(-batch.feed(low), -low, "int8 wraps")
    long = np.array([2**62, -(2**63), 5], np.int64)
    batch.expect(batch.feed(long) * 2 + 1, long * 2 + 1, "int64 wraps")
    p, q = _array(rng, (33,), "bool"), _array(rng, (33,), "bool")
    tp, tq = batch.feed(p), batch.feed(q)
    batch.expect(gr.logical_and(tp, gr.logical_not(tq)), p & ~q, "bool")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
def test_special_values(style: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, -1.0], np.float32)
    a, b = (m.reshape(-1).astype(np.float32) for m in np.meshgrid(x, x))
    batch = Batch(style)
    ta, tb = batch.feed(a), batch.feed(b)
    with np.errstate(all="ignore"):
        batch.expect(gr.maximum(ta, tb), np.maximum(a, b), "maximum")
        batch.expect(gr.minimum(ta, tb), np.minimum(a, b), "minimum")
        batch.expect(ta + tb, a + b, "add")
        batch.expect(ta / tb, a / b, "divide")
        batch.expect(gr.equal(ta, tb), a == b, "equal")
        batch.expect(gr.less_equal(ta, tb), a <= b, "less_equal")
        batch.expect(ta * np.float32(np.nan), a * np.float32(np.nan), "literal NaN")
        batch.expect(ta * np.float32(-np.inf), a * np.float32(-np.inf), "literal -inf")
        batch.expect(1.0 / (ta * -0.0), 1 / (a * np.float32(-0.0)), "literal -0.0")
    batch.check()


# -- views --------------------------------------------------------------------------------------


def _views(t: Any, x: Any) -> list[tuple[str, Any, Any]]:
    """Views of an array of shape (4, 6, 5), as tensors and as NumPy has them."""
    return [
        ("transpose", gr.transpose(t), x.T),
        ("transpose 1 0 2", gr.transpose(t, (1, 0, 2)), x.transpose(1, 0, 2)),
        ("transpose 0 2 1", gr.transpose(t, (0, 2, 1)), x.transpose(0, 2, 1)),
        ("slice", t[1:3, 2:, :4], x[1:3, 2:, :4]),
        ("contiguous slice", t[1:3], x[1:3]),
        ("strided slice", t[::2, 1::3, ::4], x[::2, 1::3, ::4]),
        ("backwards", t[::-1, :, 4:0:-2], x[::-1, :, 4:0:-2]),
        ("one element", t[3, 5, 4], x[3, 5, 4]),
        ("one row", t[2, :, 1], x[2, :, 1]),
        ("nothing", t[4:, :, :], x[4:]),
        ("reverse", gr.reverse(t, [0, 2]), x[::-1, :, ::-1]),
        ("reverse all", gr.reverse(t, [0, 1, 2]), x[::-1, ::-1, ::-1]),
        ("broadcast", gr.broadcast_to(t[:, :1], (2, 4, 6, 5)), np.broadcast_to(x[:, :1], (2, 4, 6, 5))),
        ("tile", gr.tile(t, (2, 1, 3)), np.tile(x, (2, 1, 3))),
        ("reshape", gr.reshape(t, (-1, 10)), x.reshape(-1, 10)),
        ("new axis", t[:, None, ..., None], x[:, None, ..., None]),
        ("transposed slice", gr.transpose(t[:, 1:4]), x[:, 1:4].T),
        ("slice of transpose", gr.transpose(t)[1:4, ::2], x.T[1:4, ::2]),
        ("reshape of transpose", gr.reshape(gr.transpose(t), (10, 12)), x.T.reshape(10, 12)),
        ("tile of broadcast", gr.tile(gr.broadcast_to(t[:1], (3, 6, 5)), (1, 2, 1)),
         np.tile(np.broadcast_to(x[:1], (3, 6, 5)), (1, 2, 1))),
    ]  # fmt: skip


@pytest.mark.opencl
@EACH_STYLE
def test_views_alone(style: str, rng: np.random.Generator) -> None:
    """Each view as a result, where it must be made."""
    x = _array(rng, (4, 6, 5))
    batch = Batch(style)
    for label, view, expected in _views(batch.feed(x), x):
        batch.expect(view, expected, label)
    halves = _array(rng, (3, 8), "float16")
    batch.expect(gr.transpose(batch.feed(halves)), halves.T, "transpose of float16")
    flags = _array(rng, (3, 8), "bool")
    batch.expect(gr.transpose(batch.feed(flags)), flags.T, "transpose of bool")
    t = batch.feed(x)
    for k, (part, expected) in enumerate(zip(gr.split(t, 3, 1), np.split(x, 3, 1), strict=True)):
        batch.expect(part, expected, f"part {k} of split")
    for k, part in enumerate(gr.unstack(t, axis=2)):
        batch.expect(part, x[:, :, k], f"part {k} of unstack")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
def test_views_read_by_a_group(style: str, rng: np.random.Generator) -> None:
    """Each view as an operand: it is read through its map, and no kernel makes it."""
    x = _array(rng, (4, 6, 5))
    batch = Batch(style)
    t = batch.feed(x)
    for label, view, expected in _views(t, x):
        other = _array(rng, expected.shape)
        batch.expect(view * 2.0 + batch.feed(other), expected * 2 + other, label)
    batch.check()
    plan = compile_for(style, [gr.transpose(t) + 1.0, t[1:, ::-1] * 3.0], {t: x}).plan
    assert [s.label for s in plan.launches] == ["add", "multiply"]


# -- index kernels ------------------------------------------------------------------------------


@pytest.mark.opencl
@EACH_STYLE
def test_index_kernels(style: str, rng: np.random.Generator) -> None:
    x = _array(rng, (5, 7))
    places = np.array([[4, 0], [2, 2], [1, 3]], np.int32)
    batch = Batch(style)
    t, at = batch.feed(x), batch.feed(places)
    batch.expect(gr.gather(t, at), x[places], "gather")
    batch.expect(gr.gather(t, at, axis=1), x[:, places], "gather along axis 1")
    batch.expect(gr.pad(t, [[1, 2], [0, 3]]), np.pad(x, [(1, 2), (0, 3)]), "pad")
    mirrored = np.pad(x, [(2, 1), (3, 3)], "reflect")
    batch.expect(gr.pad(t, [[2, 1], [3, 3]], mode="REFLECT"), mirrored, "mirror")
    batch.expect(gr.concat([t, t * 2.0], 1), np.concatenate([x, x * 2], 1), "concat")
    batch.expect(gr.stack([t, -t], 1), np.stack([x, -x], 1), "stack")
    batch.expect(gr.one_hot(at, 5), np.eye(5, dtype=np.float32)[places], "one_hot")
    halves = _array(rng, (4, 3), "float16")
    batch.expect(gr.concat([batch.feed(halves)] * 2, 0), np.concatenate([halves] * 2), "concat of float16")
    batch.check()


# -- reductions ---------------------------------------------------------------------------------

REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "sum": (gr.reduce_sum, np.sum),
    "mean": (gr.reduce_mean, np.mean),
    "max": (gr.reduce_max, np.max),
    "min": (gr.reduce_min, np.min),
    "prod": (gr.reduce_prod, np.prod),
}
SHAPES = {
    1: [(1,), (7,), (130,)],
    2: [(33, 65), (1, 17), (130, 7)],
    3: [(7, 16, 33), (17, 1, 65)],
    4: [(3, 7, 4, 17), (2, 1, 65, 1)],
}


def _all_axes(rank: int) -> list[tuple[int, ...]]:
    return [axes for n in range(rank + 1) for axes in itertools.combinations(range(rank), n)]


@pytest.mark.opencl
@EACH_STYLE
@pytest.mark.parametrize("rank", SHAPES)
def test_sums_over_every_combination_of_axes(style: str, rank: int, rng: np.random.Generator) -> None:
    batch = Batch(style)
    for shape in SHAPES[rank]:
        x = _array(rng, shape)
        t = batch.feed(x)
        for axes in _all_axes(rank):
            expected = np.sum(x, axis=axes, dtype=np.float64)
            # Errors grow with what was added up and not with what is left of it.
            factor = 1 + float(np.sum(np.abs(x), axis=axes).max()) / 10
            batch.expect(gr.reduce_sum(t, axes), expected, f"{shape} over {axes}", factor)
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(style: str, name: str, rng: np.random.Generator) -> None:
    """Each reduction in the row form, in the column form, with kept dimensions, of several dtypes."""
    function, reference = REDUCTIONS[name]
    batch = Batch(style)
    dtypes = ("float32", "float16", "int64")
    for dtype in (*dtypes, "float64", "int32", "uint8") if name == "sum" else dtypes:
        x = _array(rng, (5, 33, 17), dtype)
        if name == "prod":
            x = np.where(rng.random(x.shape) < 0.9, 1, x).astype(dtype)
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        t = batch.feed(x)
        for axes in ((2,), (0, 1), (1,), (0, 1, 2)):
            if name == "mean" and x.dtype.kind != "f":
                count = np.prod([x.shape[a] for a in axes])
                expected: Any = np.trunc(np.sum(x, axis=axes, dtype=dtype) / count)
            elif name in ("sum", "prod"):
                expected = reference(wide, axis=axes, dtype=wide.dtype)
            else:
                expected = reference(wide, axis=axes)
            batch.expect(function(t, axes), expected, f"{dtype} over {axes}", 50)
        keep = reference(wide, axis=1, keepdims=True) if name in ("max", "min") else None
        if keep is not None:
            batch.expect(function(t, 1, keepdims=True), keep, f"{dtype} keepdims")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
def test_reductions_of_special_values(style: str) -> None:
    x = np.ones((6, 40), np.float32)
    x[0, 3], x[1, 39], x[2, 0], x[3, 5], x[3, 6], x[4] = np.nan, np.inf, -np.inf, np.inf, -np.inf, -np.inf
    flags = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0]], np.bool_)
    batch = Batch(style)
    t, f = batch.feed(x), batch.feed(flags)
    for name, (function, reference) in REDUCTIONS.items():
        for axis in (0, 1, None):
            with np.errstate(all="ignore"):
                batch.expect(function(t, axis), reference(x, axis=axis), f"{name} over {axis}")
    for axis in (0, 1, None):
        batch.expect(gr.reduce_any(f, axis), flags.any(axis), f"any over {axis}")
        batch.expect(gr.reduce_all(f, axis), flags.all(axis), f"all over {axis}")
    for axis in (0, 1):
        batch.expect(gr.argmax(t, axis), x.argmax(axis), f"argmax over {axis}")
        batch.expect(gr.argmin(t, axis), x.argmin(axis), f"argmin over {axis}")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
def test_reductions_of_nothing(style: str) -> None:
    """Over an axis of length 0 the result is the neutral element; of no outputs there is nothing to do."""
    batch = Batch(style)
    for shape in ((0, 5), (5, 0), (0,), (3, 0, 4), (0, 0)):
        x = np.zeros(shape, np.float32)
        t = batch.feed(x)
        for axes in _all_axes(len(shape)):
            if not axes:
                continue
            label = f"{shape} over {axes}"
            batch.expect(gr.reduce_sum(t, axes), x.sum(axes), f"sum {label}")
            batch.expect(gr.reduce_prod(t, axes), x.prod(axes), f"prod {label}")
            batch.expect(gr.reduce_max(t, axes), x.max(axes, initial=-np.inf), f"max {label}")
            with np.errstate(all="ignore"):
                batch.expect(gr.reduce_mean(t, axes), x.sum(axes) / np.float32(0), f"mean {label}")
    batch.check()


@pytest.mark.opencl
@EACH_STYLE
def test_reductions_in_two_stages(style: str, rng: np.random.Generator) -> None:
    """Where there are too few outputs for the device, parts are reduced first."""
    flat, tall, wide = _array(rng, 300_007), _array(rng, (40_001, 3)), _array(rng, (2, 3, 50_001))
    halves = _array(rng, (100_003,), "float16")
    whole = rng.integers(-5, 6, (200_003,)).astype(np.int32)
    batch = Batch(style)
    for x, axes in ((flat, (0,)), (tall, (0,)), (tall, (0, 1)), (wide, (2,)), (wide, (0, 2)), (whole, (0,))):
        t = batch.feed(x)
        label = f"{x.shape} {x.dtype} over {axes}"
        wide_type = np.float64 if x.dtype.kind == "f" else np.int32
        batch.expect(gr.reduce_sum(t, axes), x.sum(axes, dtype=wide_type), f"sum of {label}", 300)
        batch.expect(gr.reduce_max(t, axes), x.max(axes), f"max of {label}")
    batch.expect(gr.reduce_mean(batch.feed(halves)), halves.mean(dtype=np.float64), "mean of float16", 5)
    batch.check()
    labels = [s.label for s in compile_for(style, [gr.reduce_sum(t)], {t: whole}).plan.launches]
    assert labels == ["sum", "sum (second stage)"]
