"""Rows of the operation table: how one is written.

A file of this package holds the rows of one family in a list called ``CASES``::

    CASES = [
        case("exp", domain=(-3, 3)),
        case("concat", [(2, 3), (2, 4)], {"axis": 1}),
        case("gather", [(5, 3), ints((4,), 0, 5)], {"axis": 0}),
    ]

``tests/op_cases.py`` collects them, ``tests/test_ops.py`` says what is done with each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# What elementwise functions treat apart: zeros of both signs, infinities, NaN, denormal and large numbers.
SPECIAL_VALUES = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-3, -1e-3, 88.0, -88.0, 3e4, -3e4, 1.5, 2.5,
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """One input: how to draw it from a random generator, in `dtype` or in that of the case (None)."""

    draw: Callable[[np.random.Generator], Any]
    dtype: str | None = None

    def array(self, rng: np.random.Generator, dtype: str) -> Array:
        return np.asarray(self.draw(rng)).astype(self.dtype or dtype)


def floats(shape: Sequence[int], low: float = -2.0, high: float = 2.0, dtype: str | None = None) -> Input:
    """Uniform in a range; `dtype` None follows the case, so that gradients are checked in float64."""
    return Input(lambda rng: rng.uniform(low, high, tuple(shape)), dtype)


def ints(shape: Sequence[int], low: int = -5, high: int = 6, dtype: str | None = "int32") -> Input:
    """Integers in ``low <= x < high``; `dtype` None follows the case."""
    return Input(lambda rng: rng.integers(low, high, tuple(shape)), dtype)


def bools(shape: Sequence[int]) -> Input:
    return Input(lambda rng: rng.random(tuple(shape)) < 0.5, "bool")


def distinct(shape: Sequence[int], gap: float = 0.1) -> Input:
    """Numbers that differ by at least `gap`, shuffled: the largest stays the largest under small steps."""

    def draw(rng: np.random.Generator) -> Array:
        n = int(np.prod(tuple(shape), dtype=np.int64))
        return (rng.permutation(n).reshape(tuple(shape)) - n / 2 + 0.25) * gap

    return Input(draw)


def apart(
    shape: Sequence[int], low: float = -2.0, high: float = 2.0, kinks: Sequence[float] = (0.0,)
) -> Input:
    """Uniform, but at least 0.05 away from each kink, where finite differences are wrong."""

    def draw(rng: np.random.Generator) -> Array:
        x = rng.uniform(low, high, tuple(shape))
        for k in kinks:
            near = np.abs(x - k) < 0.05
            x = np.where(near, k + np.where(x < k, -0.1, 0.1), x)
        return x

    return Input(draw)


def fixed(values: Any, dtype: str | None = None) -> Input:
    """These values; `dtype` None follows the case."""
    return Input(lambda rng: np.asarray(values), dtype)


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    op : str
        The `OpDef`'s name.
    inputs : tuple of Input
    attrs : mapping
        As for `graphrun.graph.apply.apply`: hashable Python values.
    dtype : str
        Of the inputs that name none.
    gradient : bool
        Whether to compare gradients with finite differences (where the operation has a rule at all, and
        some input is floating).
    second_order : bool
        The same for second derivatives.
    expected : callable or None
        ``expected(*arrays)``: the result by another way than the operation's own NumPy function.
    tolerance : float
        Factor on the dtype's tolerance, for results that condition badly; say why in a comment.
    on_device : bool
        Whether OpenCL devices are compared with NumPy.
    host_ok : bool
        Whether it is right that this row runs on the host; else a missing kernel fails the test.
    """

    op: str
    inputs: tuple[Input, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    gradient: bool = True
    second_order: bool = True
    expected: Callable[..., Any] | None = None
    tolerance: float = 1.0
    on_device: bool = True
    host_ok: bool = False
    label: str = ""

    def arrays(self, dtype: str | None = None, seed: int = 0) -> list[Array]:
        """The inputs, the same at each call; `dtype` replaces the case's if that is a floating one."""
        rng = np.random.default_rng(seed)
        used = dtype if dtype is not None and np.dtype(self.dtype).kind == "f" else self.dtype
        return [i.array(rng, used) for i in self.inputs]

    @property
    def id(self) -> str:
        shapes = ",".join("x".join(map(str, a.shape)) or "scalar" for a in self.arrays())
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items())
        return "-".join((self.op, self.label or ",".join(filter(None, (shapes, attrs))), self.dtype))


def case(
    op: str,
    inputs: Sequence[Any] = ((3, 4),),
    attrs: Mapping[str, Any] | None = None,
    *,
    domain: tuple[float, float] = (-2.0, 2.0),
    dtype: str = "float32",
    **more: Any,
) -> Case:
    """Return one row.

    Each of `inputs` is an `Input`, a shape (floats drawn from `domain`, or integers where the case's
    dtype is one), or an array, which is taken as it is.
    """
    kind = np.dtype(dtype).kind

    def as_input(value: Any) -> Input:
        if isinstance(value, Input):
            return value
        if isinstance(value, np.ndarray | np.generic):
            return fixed(value, str(value.dtype))
        if kind == "b":
            return bools(value)
        if kind in "iu":
            low = max(int(domain[0]), 0) if kind == "u" else int(domain[0])
            return ints(value, low, int(domain[1]) + 1, None)
        return floats(value, *domain)

    return Case(op, tuple(as_input(i) for i in inputs), dict(attrs or {}), dtype, **more)


def cases(
    op: str, inputs: Sequence[Any] = ((3, 4),), *args: Any, dtypes: Sequence[str], **more: Any
) -> list[Case]:
    """The same row for several dtypes."""
    return [case(op, inputs, *args, dtype=d, **more) for d in dtypes]


def special(op: str, count: int = 1, dtype: str = "float32", **more: Any) -> Case:
    """A row of the special values; with `count` 2, every pair of them.  Gradients are not checked there."""
    values = np.array(SPECIAL_VALUES)
    grid = np.meshgrid(*[values] * count, indexing="ij")
    inputs = [fixed(g.reshape(-1)) for g in grid]
    return case(op, inputs, dtype=dtype, gradient=False, label="special", **more)
