"""The single operations that are measured."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sidebyside import reference
from sidebyside.work import Arrays, Kernel

_EPSILON = float(np.finfo(np.float32).eps)


def _random(name: str, **shapes: tuple[int, ...]) -> Callable[[], Arrays]:
    def make() -> Arrays:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return {k: rng.standard_normal(shape, np.float32) for k, shape in shapes.items()}

    return make


def _uniform(name: str, **shapes: tuple[int, ...]) -> Callable[[], Arrays]:
    """Positive numbers: a sum of them has no cancellation, so its relative error says something."""

    def make() -> Arrays:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return {k: rng.random(shape, np.float32) for k, shape in shapes.items()}

    return make


def gemm(m: int, k: int, n: int) -> Kernel:
    name = f"gemm-{m}" if m == k == n else f"gemm-{m}x{k}x{n}"
    return Kernel(
        name, f"A B, {m} x {k} by {k} x {n}", _random(name, a=(m, k), b=(k, n)),
        flops=2 * m * k * n, traffic_bytes=4 * (m * k + k * n + m * n), aim=1.0,
        build=lambda ops, t: [ops.matmul(t["a"], t["b"])],
        reference=lambda a: [a["a"] @ a["b"]],
        # Rounding errors of a sum of k products grow like sqrt(k), and so do the values.
        tolerance=16 * _EPSILON * float(np.sqrt(k)),
    )  # fmt: skip


def elementwise(rows: int, columns: int) -> Kernel:
    name = f"elementwise-{rows}x{columns}"
    count = rows * columns
    return Kernel(
        name, "tanh(a * b + 1) * b", _random(name, a=(rows, columns), b=(rows, columns)),
        flops=4 * count, traffic_bytes=12 * count, aim=0.55,
        build=lambda ops, t: [ops.tanh(t["a"] * t["b"] + 1.0) * t["b"]],
        reference=lambda a: [np.tanh(a["a"] * a["b"] + 1) * a["b"]],
        tolerance=32 * _EPSILON,
    )  # fmt: skip


def softmax(rows: int, columns: int) -> Kernel:
    name = f"softmax-{rows}x{columns}"
    return Kernel(
        name, "softmax over rows", _random(name, x=(rows, columns)),
        flops=5 * rows * columns, traffic_bytes=8 * rows * columns, aim=0.6,
        build=lambda ops, t: [ops.softmax(t["x"])],
        reference=lambda a: [reference.softmax(a["x"])],
        tolerance=64 * _EPSILON,
    )  # fmt: skip


def total(rows: int, columns: int, what: str, axis: int | None) -> Kernel:
    name = f"sum-{what}-{rows}x{columns}"
    return Kernel(
        name, f"sum over {what}", _uniform(name, x=(rows, columns)),
        flops=rows * columns, traffic_bytes=4 * rows * columns,
        build=lambda ops, t: [ops.sum(t["x"], axis)],
        reference=lambda a: [np.sum(a["x"], axis)],
        tolerance=1e-5,
    )  # fmt: skip


def _conv_sizes(n: int, h: int, w: int, c: int, o: int) -> tuple[str, float, float, float]:
    pixels = n * h * w
    return f"{n}x{h}x{w}x{c}-{o}", 2.0 * 9 * pixels * c * o, 4.0 * pixels * c, 4.0 * pixels * o


def conv(n: int, h: int, w: int, c: int, o: int) -> Kernel:
    sizes, flops, in_bytes, out_bytes = _conv_sizes(n, h, w, c, o)
    return Kernel(
        f"conv-{sizes}", "relu(conv 3x3), NHWC, same size",
        _random(sizes, x=(n, h, w, c), w=(3, 3, c, o)),
        flops=flops, traffic_bytes=in_bytes + out_bytes + 36 * c * o, aim=1.0, filters=frozenset({"w"}),
        build=lambda ops, t: [ops.relu(ops.conv(t["x"], t["w"]))],
        reference=lambda a: [reference.relu(reference.conv(a["x"], a["w"]))],
        tolerance=16 * _EPSILON * float(np.sqrt(9 * c)),
    )  # fmt: skip


def conv_gradients(n: int, h: int, w: int, c: int, o: int) -> Kernel:
    sizes, flops, in_bytes, out_bytes = _conv_sizes(n, h, w, c, o)
    return Kernel(
        f"convgrad-{sizes}", "both gradients of conv 3x3, from x, w and dy",
        _random(sizes, x=(n, h, w, c), w=(3, 3, c, o), dy=(n, h, w, o)),
        flops=2 * flops, traffic_bytes=2 * in_bytes + out_bytes + 72 * c * o, aim=1.0,
        filters=frozenset({"w"}),
        build=lambda ops, t: ops.conv_gradients(t["x"], t["w"], t["dy"]),
        reference=lambda a: [
            reference.conv_input_gradient(a["w"], a["dy"]),
            reference.conv_filter_gradient(a["x"], a["dy"]),
        ],
        # The filter's gradient is a sum over all pixels.
        tolerance=16 * _EPSILON * float(np.sqrt(n * h * w)),
    )  # fmt: skip


def _add(ops: Any, t: Mapping[str, Any]) -> list[Any]:
    return [t["a"] + t["b"]]


def tiny() -> Kernel:
    return Kernel(
        "tiny", "a + b on scalars, one call, fed and fetched", _random("tiny", a=(), b=()),
        flops=1, traffic_bytes=12,
        build=_add, reference=lambda a: [a["a"] + a["b"]], tolerance=4 * _EPSILON, calls=100, only_fed=True,
    )  # fmt: skip


@functools.cache
def kernels(quick: bool) -> tuple[Kernel, ...]:
    """Return the kernels, at full size or as small as makes sense."""
    if quick:
        images = [(2, 6, 5, 3, 4)]
        return (
            gemm(16, 16, 16), gemm(5, 7, 3), elementwise(8, 33), softmax(6, 17),
            total(9, 31, "all", None), total(9, 31, "rows", 1), total(9, 31, "columns", 0),
            *(conv(*s) for s in images), *(conv_gradients(*s) for s in images), tiny(),
        )  # fmt: skip
    images = [(64, 16, 16, 32, 64), (64, 32, 32, 32, 32), (8, 56, 56, 64, 64)]
    return (
        gemm(1024, 1024, 1024), gemm(2048, 2048, 2048), gemm(128, 784, 512), gemm(32, 384, 1024),
        elementwise(4096, 4096), softmax(8192, 1024),
        total(4096, 4096, "all", None), total(4096, 4096, "rows", 1), total(4096, 4096, "columns", 0),
        *(conv(*s) for s in images), *(conv_gradients(*s) for s in images), tiny(),
    )  # fmt: skip
