"""Rows of ``graphrun/ops/complex.py``, and of what takes complex numbers too; gradients: test_complex.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Array, Case, Input, case

DTYPES = ("complex64", "complex128")


def wholes(*shape: int, dtype: str = "complex64") -> Input:
    def draw(rng: np.random.Generator) -> Array:
        return rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)

    return Input(draw, dtype)


def whole(
    op: str, *shapes: tuple[int, ...], attrs: Any = None, dtype: str = "complex64", **more: Any
) -> Case:
    inputs = [wholes(*s, dtype=dtype) for s in shapes]
    return case(op, inputs, attrs, host_ok=True, label=f"{shapes} {attrs} {dtype}", tolerance=10, **more)


def transforms(axes: tuple[int, ...], inverse: bool, shape: tuple[int, ...], dtype: str, **more: Any) -> Case:
    return whole("fft", shape, attrs={"axes": axes, "inverse": inverse}, dtype=dtype, **more)


def slow(x: Any) -> Any:
    n = x.shape[-1]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    return (x @ turns).astype(x.dtype)


PRODUCT = {"transpose_a": False, "transpose_b": False}
ROWS = {"axis": (1,), "keepdims": False}

CASES: list[Case] = [
    case("complex", [(2, 3), (3,)], expected=lambda a, b: a + 1j * b, host_ok=True,
         gradient=False),
    case("complex", [(2,), (2,)], dtype="float64", host_ok=True, gradient=False),
    *(whole(op, (2, 3), dtype=d, expected=f)
      for d in DTYPES
      for op, f in (("real", np.real), ("imag", np.imag), ("conj", np.conj), ("angle", np.angle),
                    ("complex_abs", np.abs))),
    *(transforms((-1,), False, (3, n), d, expected=slow) for d in DTYPES for n in (1, 5, 8)),
    transforms((-1,), True, (2, 6), "complex64"),
    transforms((-2, -1), False, (2, 3, 4), "complex128"),
    transforms((-3, -2, -1), True, (2, 3, 4), "complex64"),
    transforms((-1,), False, (0, 4), "complex64"),
    *(whole(op, (2, 3), (3,), dtype=d) for d in DTYPES for op in ("add", "subtract", "multiply", "divide")),
    *(whole(op, (2, 3)) for op in ("negative", "square", "reciprocal", "exp", "log", "sqrt")),
    *(whole(op, (2, 3), attrs=ROWS) for op in ("sum", "mean")),
    whole("matmul", (2, 3), (3, 2), attrs=PRODUCT),
    whole("equal", (2,), (2,)),
]  # fmt: skip
