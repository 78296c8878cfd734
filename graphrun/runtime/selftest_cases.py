"""Small programs of each kernel family, with what NumPy makes of them.

They are built from the records of operations, without a graph.  Shapes are odd, so that what is left over
behind whole vectors, tiles and work-groups is computed too, and there is little of everything, since
building a kernel takes much longer than running it on a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.compiler.ir import Node, Program, Value, constant_node
from graphrun.dtypes import as_dtype
from graphrun.graph.opdef import Constant, get_op

# Sums are added up in another order than NumPy's; a kernel that is wrong is not wrong by so little.
RTOL, ATOL = 1e-4, 1e-5


class Builder:
    """Makes the nodes of one program.

    Attributes
    ----------
    nodes : list of Node
    checks : list of Value
        What is compared with NumPy.
    families : list of str
        The family that each of these tests.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.checks: list[Value] = []
        self.families: list[str] = []
        self._family = ""

    def begin(self, family: str) -> None:
        """What follows tests this family."""
        self._family = family

    def array(self, array: Any) -> Value:
        """A known input."""
        node = constant_node(array)
        self.nodes.append(node)
        return node, 0

    def op(self, name: str, *inputs: Value, **attrs: Any) -> Value:
        """One operation of one output."""
        op = get_op(name)
        node = Node(op, inputs, attrs)
        node.specs = tuple(op.check(name, None, node.input_specs, attrs))
        self.nodes.append(node)
        return node, 0

    def check(self, value: Value) -> None:
        """Let this value be compared with NumPy's."""
        self.checks.append(value)
        self.families.append(self._family)

    def program(self) -> Program:
        """The program that fetches what is to be compared."""
        return Program(self.nodes, fetches=list(self.checks))

    def expected(self) -> list[np.ndarray]:
        """What NumPy computes for each value that is to be compared."""
        arrays: dict[Node, np.ndarray] = {}
        with np.errstate(all="ignore"):
            for node in self.nodes:
                inputs = [arrays[n] for n, _ in node.inputs]
                arrays[node] = np.asarray(node.op.numpy(*inputs, **node.attrs))  # type: ignore[misc]
        return [arrays[n] for n, _ in self.checks]


def _floats(*shape: int) -> np.ndarray:
    """Numbers in -2 .. 2 of which none repeats within 4,001, the same in every process."""
    n = int(np.prod(shape))
    return ((np.arange(n) * 7919 % 4001) / 1000.0 - 2).reshape(shape).astype(np.float32)


def _elementwise(b: Builder) -> None:
    x, row, column = b.array(_floats(5, 67)), b.array(_floats(67)), b.array(_floats(67, 1))
    product = b.op("multiply", x, row)
    wave = b.op("tanh", b.op("transpose", product, perm=(1, 0)))
    b.check(b.op("subtract", b.op("exp", wave), column))
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38], np.float32)
    p, q = b.array(special), b.array(special.reshape(-1, 1))
    larger = b.op("greater", p, q)
    b.check(b.op("select", larger, b.op("maximum", p, q), b.op("divide", p, q)))
    m, n = b.array(np.arange(-20, 20, dtype=np.int32)), b.array(np.array(-7, np.int32))
    quotient = b.op("floordiv", m, n)
    rest = b.op("floormod", m, n)
    b.check(b.op("cast", b.op("subtract", quotient, rest), dtype=dtypes.int64))


def _view(b: Builder) -> None:
    x = b.array(_floats(5, 7, 3))
    b.check(b.op("transpose", x, perm=(2, 0, 1)))
    b.check(b.op("reverse", x, axis=(0, 2)))


def _index(b: Builder) -> None:
    x = b.array(_floats(6, 5))
    places = b.array(np.array([5, 0, 3, 3], np.int32))
    number = Constant(np.array(1.5, np.float32))
    b.check(b.op("gather", x, places, axis=0, batch_dims=0, negative=False))
    b.check(b.op("pad", x, before=(1, 0), after=(2, 3), mode="CONSTANT", value=number))


def _reduce(b: Builder) -> None:
    rows = b.array(_floats(9, 70))
    b.check(b.op("mean", rows, axis=(1,), keepdims=False))
    with_nan = _floats(33, 70)
    with_nan[7, 68] = np.nan
    b.check(b.op("max", b.array(with_nan), axis=(0,), keepdims=False))
    # Long enough for two stages.
    b.check(b.op("sum", b.array(np.arange(70_001, dtype=np.int32) % 11), axis=(0,), keepdims=False))
    b.check(b.op("argmax", rows, axis=1, output_type=dtypes.int64))


def _gemm(b: Builder) -> None:
    x, w = b.array(_floats(2, 37, 70)), b.array(_floats(2, 35, 70))
    b.check(b.op("matmul", x, w, transpose_a=False, transpose_b=True))


def _epilogue(b: Builder) -> None:
    x, w, bias = b.array(_floats(37, 70)), b.array(_floats(70, 35)), b.array(_floats(35))
    product = b.op("matmul", x, w, transpose_a=False, transpose_b=False)
    shifted = b.op("add", product, bias)
    b.check(b.op("tanh", shifted))
    b.check(shifted)


def _conv(b: Builder) -> None:
    attrs = {"strides": (2, 1), "padding": "SAME", "dilations": (1, 1), "data_format": "NHWC"}
    x, w = b.array(_floats(2, 7, 9, 5)), b.array(_floats(3, 3, 5, 18))
    y = b.op("conv2d", x, w, **attrs)
    b.check(y)
    dy = b.array(_floats(*y[0].specs[0].dims))
    b.check(b.op("conv2d_backprop_filter", x, dy, shape=(3, 3, 5, 18), **attrs))
    each, f = b.array(_floats(2, 7, 9, 21)), b.array(_floats(3, 3, 1, 21))
    y = b.op("conv2d", each, f, **attrs)
    b.check(y)
    dy = b.array(_floats(*y[0].specs[0].dims))
    b.check(b.op("conv2d_backprop_input", f, dy, shape=(2, 7, 9, 21), **attrs))
    b.check(b.op("conv2d_backprop_filter", each, dy, shape=(3, 3, 1, 21), **attrs))


def _pool(b: Builder) -> None:
    attrs = {"ksize": (3, 2), "strides": (2, 2), "padding": "SAME", "data_format": "NHWC"}
    x = b.array(_floats(2, 7, 9, 5))
    y = b.op("max_pool", x, **attrs)
    b.check(y)
    dy = b.array(_floats(*y[0].specs[0].dims))
    b.check(b.op("max_pool_grad", x, y, dy, **attrs))
    b.check(b.op("avg_pool", x, **attrs))
    b.check(b.op("avg_pool_grad", dy, shape=(2, 7, 9, 5), **attrs))


def _rows(b: Builder) -> None:
    x, over = b.array(_floats(9, 37)), {"axis": (1,), "keepdims": True}
    powers = b.op("exp", b.op("subtract", x, b.op("max", x, **over)))
    b.check(b.op("divide", powers, b.op("sum", powers, **over)))


def _random(b: Builder) -> None:
    attrs = {"key": (0x12345678, 0x9ABCDEF0), "shape": (67,), "dtype": dtypes.float32}
    counter = b.array(np.int64(2**33 + 1))
    b.check(b.op("philox_uniform", counter, **attrs))
    b.check(b.op("philox_normal", counter, **attrs))


def _scatter(b: Builder) -> None:
    dy, places = b.array(_floats(7, 5)), b.array(np.array([5, 0, 3, 3, 0, 3, 1], np.int32))
    b.check(b.op("first_places", places))
    b.check(b.op("scatter_rows", b.array(_floats(6, 5)), places, dy, mode="add", nd=False))
    b.check(b.op("gather_grad", dy, places, shape=(6, 5), axis=0, batch_dims=0, negative=False))


def _copy(b: Builder) -> None:
    # Enough elements for copies, where fewer are joined by one index kernel.
    x, y = b.array(_floats(67, 205)), b.array(_floats(67, 103))
    b.check(b.op("concat", x, y, axis=1))


def _cumulative(b: Builder) -> None:
    b.check(b.op("cumsum", b.array(_floats(5, 67)), axis=1, exclusive=False, reverse=True))
    # Long enough for several chunks.
    long = b.array((np.arange(20_011) % 7 - 3).astype(np.int32))
    b.check(b.op("cumsum", long, axis=0, exclusive=True, reverse=False))


def _sort(b: Builder) -> None:
    ties = b.array((np.arange(3 * 77) * 31 % 13).astype(np.int32).reshape(3, 77))
    b.check(b.op("argsort", ties, descending=True))
    b.check(b.op("argsort", b.array(_floats(5, 67)), descending=False))


# Each family that `graphrun.compiler.placement.family_of` names, and those of passes: "rows"
# (`graphrun.compiler.rows`) and "epilogue" (`graphrun.compiler.epilogue`); in the order in which results are
# shown.
FAMILIES: Mapping[str, Callable[[Builder], None]] = {
    "elementwise": _elementwise, "view": _view, "index": _index, "reduce": _reduce, "rows": _rows,
    "gemm": _gemm, "epilogue": _epilogue, "conv": _conv, "pool": _pool, "random": _random,
    "scatter": _scatter, "copy": _copy,
    "cumulative": _cumulative, "sort": _sort,
}  # fmt: skip

# Families that are tested together, as one program: nearly every program needs all of the first group.
GROUPS = (
    ("elementwise", "view", "index", "reduce", "rows"),
    ("gemm", "epilogue"),
    ("conv",),
    ("pool",),
    ("random",),
    ("scatter",),
    ("copy",),
    ("cumulative",),
    ("sort",),
)


def difference(actual: Any, expected: np.ndarray) -> str:
    """How a result differs from NumPy's in one sentence; empty where it agrees."""
    actual = np.asarray(actual)
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return f"it is {actual.shape} {actual.dtype}, NumPy's is {expected.shape} {expected.dtype}"
    if as_dtype(expected.dtype).is_floating:
        wrong = ~np.isclose(actual, expected, RTOL, ATOL, equal_nan=True)
    else:
        wrong = actual != expected
    count = int(wrong.sum())
    if not count:
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{count:,} of {expected.size:,} values differ; at {list(at)} it gives {actual[at]!s},"
        f" NumPy {expected[at]!s}"
    )
