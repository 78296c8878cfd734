"""A matrix multiplication in the form that the kernels of ``gemm.cl`` and ``gemm_gpu.cl`` take.

C[i, j] = sum of A[i, p] B[p, j] for a batch of matrices, whose operands may lie anywhere in their buffers as
long as one of the last two axes moves by one element.  `normalise` brings equal problems into one form:
batch dimensions that run together become one, a batch that only A has becomes more rows of A, and a single
column becomes a single row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, Launch, Spec

MAX_INDEX = 1 << 31  # sizes and batch counts are uint in the kernels; half of it leaves room for tiles
MAX_LAUNCHES = 64

# Integer products wrap, which only unsigned types may do in OpenCL C; the bits are the same.
_REAL = {
    "float16": "float", "float32": "float", "float64": "double", "int8": "uchar", "uint8": "uchar",
    "int16": "ushort", "int32": "uint", "uint32": "uint", "int64": "ulong", "uint64": "ulong",
}  # fmt: skip
REAL_BYTES = {"uchar": 1, "ushort": 2, "uint": 4, "float": 4, "ulong": 8, "double": 8}


class Dim(NamedTuple):
    """A batch dimension: its size and the elements from one matrix to the next; 0 broadcasts."""

    size: int
    a_stride: int
    b_stride: int


@dataclass(frozen=True)
class Operand:
    """A matrix operand: which buffer, whether it is stored transposed, its row stride, its element type.

    `start` is where the first matrix begins in the tensor.
    """

    ref: tuple[str, int]
    transposed: bool
    row_stride: int
    half: bool
    start: int = 0


@dataclass(frozen=True)
class Problem:
    """Sizes, operands and batch of one multiplication."""

    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    batch: tuple[Dim, ...]
    real: str
    out_half: bool
    by_lane: bool = False  # an epilogue, and rows of the output that are shorter than n
    blocked: bool = True  # partial sums may lie in C

    @property
    def batch_count(self) -> int:
        """How many products there are."""
        return prod(d.size for d in self.batch)


class _Layout(NamedTuple):
    """An operand's shape as stored, and the elements from one index to the next in each axis."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def problem_of(
    in_specs: Sequence[Spec],
    out_specs: Sequence[Spec],
    attrs: Mapping[str, Any],
    capabilities: Capabilities,
    epilogue: bool,
) -> Problem | None:
    """Return the problem of a ``matmul``, or None where the kernels cannot take it."""
    dtype: DType = in_specs[0].dtype
    if dtype.name not in _REAL or not capabilities.supports(dtype):
        return None
    if in_specs[1].dtype is not dtype or not (epilogue or out_specs[0].dtype is dtype):
        return None
    if epilogue and not (dtype.is_floating and capabilities.supports(out_specs[0].dtype)):
        return None  # sums of integers are unsigned here, and what an epilogue computes is not
    maps = attrs.get("operand_maps") or (None, None)
    layouts = [_layout(s, m) for s, m in zip(in_specs, maps, strict=True)]
    half = dtype.name == "float16"
    a, b = layouts
    if a is None or b is None:
        return None
    first = _operand(0, a, bool(attrs.get("transpose_a")), half)
    second = _operand(1, b, bool(attrs.get("transpose_b")), half)
    batch = _batch_dims(a, b)
    if first is None or second is None:
        return None
    k, m = a.shape[-2:] if attrs.get("transpose_a") else a.shape[:-3:-1]
    n = b.shape[-2] if attrs.get("transpose_b") else b.shape[-1]
    return Problem(
        m, n, k, first, second, batch, _REAL[dtype.name], half and not epilogue,
        blocked=out_specs[0].dtype is dtype and not half,
    )  # fmt: skip


def _layout(spec: Spec, view: Any) -> _Layout | None:
    if view is not None:
        shape, strides, offset = tuple(view.dims), tuple(view.strides), view.offset
        if len(shape) < 2 or min(strides) < 0:
            return None
        return _Layout(shape, strides, offset)
    if spec.shape is None or any(n is None for n in spec.shape) or len(spec.shape) < 2:
        return None
    shape = spec.dims
    return _Layout(shape, tuple(prod(shape[i + 1 :]) for i in range(len(shape))), 0)


def _operand(number: int, layout: _Layout, transpose: bool, half: bool) -> Operand | None:
    """Return how the last two axes are read, where one of them moves by single elements."""
    rows, cols = layout.shape[-2:]
    row_stride, col_stride = layout.strides[-2:]
    ref = ("in", number)
    if col_stride == 1 or cols <= 1:
        stride = cols if rows <= 1 else row_stride
        turned = transpose
    elif row_stride == 1 or rows <= 1:
        stride = rows if cols <= 1 else col_stride
        turned = not transpose
    else:
        return None
    if stride <= 0 and rows * cols:
        return None  # a row that repeats
    return Operand(ref, turned, max(stride, 1), half, layout.offset)


def _batch_dims(a: _Layout, b: _Layout) -> tuple[Dim, ...]:
    """Return the fewest batch dimensions that describe the broadcast, slowest first."""
    rank = max(len(a.shape), len(b.shape)) - 2
    dims: list[Dim] = []
    a_sizes, b_sizes = ((1,) * (rank + 2 - len(x.shape)) + x.shape[:-2] for x in (a, b))
    a_strides, b_strides = ((0,) * (rank + 2 - len(x.shape)) + x.strides[:-2] for x in (a, b))
    for i in reversed(range(rank)):
        size = b_sizes[i] if a_sizes[i] == 1 else a_sizes[i]
        dim = Dim(size, a_strides[i] if a_sizes[i] == size else 0, b_strides[i] if b_sizes[i] == size else 0)
        if size == 1:
            continue
        inner = dims[-1] if dims else None
        if inner and dim[1:] == (inner.a_stride * inner.size, inner.b_stride * inner.size):
            dims[-1] = inner._replace(size=inner.size * size)
        else:
            dims.append(dim)
    return tuple(reversed(dims))


def normalise(problem: Problem) -> Problem:
    """Fold a batch of A into its rows, and turn one column into one row."""
    last = problem.batch[-1] if problem.batch else None
    one_after_the_other = last and last.a_stride == problem.m * problem.a.row_stride
    if last and last.b_stride == 0 and not problem.a.transposed and one_after_the_other:
        problem = replace(problem, m=problem.m * last.size, batch=problem.batch[:-1])
    if problem.n == 1 and problem.m > 1:
        # C = A b is the row b' A', and has the same elements in order.
        a, b = problem.a, problem.b
        problem = replace(
            problem, m=1, n=problem.m,
            a=replace(b, transposed=not b.transposed), b=replace(a, transposed=not a.transposed),
            batch=tuple(Dim(d.size, d.b_stride, d.a_stride) for d in problem.batch),
        )  # fmt: skip
    # A vector that is dense may be read as a row or as a column: rows are read faster.
    if problem.m == 1 and problem.a.transposed and problem.a.row_stride == 1:
        problem = replace(problem, a=replace(problem.a, transposed=False, row_stride=max(problem.k, 1)))
    if problem.n == 1 and not problem.b.transposed and problem.b.row_stride == 1:
        problem = replace(problem, b=replace(problem.b, transposed=True, row_stride=max(problem.k, 1)))
    return problem


# ---- arguments that all kernels share -------------------------------------------------------------


def _sub_problems(batch: tuple[Dim, ...]) -> list[tuple[int, int, int, tuple[Dim, Dim, Dim]]]:
    """Return (first matrix of A, of B, of C, three dims) for each launch: kernels know three dims."""
    one = Dim(1, 0, 0)
    inner = (one,) * (3 - len(batch)) + batch[-3:]
    starts = [(0, 0, 0)]
    count = prod(d.size for d in inner)
    for dim in reversed(batch[:-3]):
        starts = [
            (a + i * dim.a_stride, b + i * dim.b_stride, c + i * count)
            for i in range(dim.size)
            for a, b, c in starts
        ]
        count *= dim.size
        if len(starts) > MAX_LAUNCHES:
            break
    return [(a, b, c, (inner[0], inner[1], inner[2])) for a, b, c in starts]


def product_launches(
    problem: Problem,
    a: Operand,
    b: Operand,
    batch: tuple[Dim, ...],
    where: tuple[str, str],
    defines: Mapping[str, Any],
    groups: tuple[int, int],
    local_size: tuple[int, int, int] = (1, 1, 1),
    extra: tuple[int, ...] = (),
    target: tuple[str, int] = ("out", 0),
    parts: tuple[int, int] = (1, 0),
) -> list[Launch]:
    """Return the launches of one entry, ``where = (file, entry)``, over the batch.

    `parts` is into how many the sums are split, and their length; `extra` are the entry's own ``uint``.
    """
    splits, length = parts[0], parts[1] or problem.k
    launches = []
    for a_start, b_start, c_start, dims in _sub_problems(batch):
        args = (
            a.ref, b.ref, target,
            ("uint", problem.m), ("uint", problem.n), ("uint", problem.k),
            ("ulong", a.row_stride), ("ulong", b.row_stride), ("uint", dims[1].size), ("uint", dims[2].size),
            *(("ulong", d.a_stride) for d in dims), *(("ulong", d.b_stride) for d in dims),
            ("ulong", a_start + a.start), ("ulong", b_start + b.start),
            ("ulong", c_start * problem.m * problem.n), ("uint", splits), ("uint", length),
            *(("uint", n) for n in extra),
        )  # fmt: skip
        count = prod(d.size for d in dims) * splits
        if local_size == (1, 1, 1):
            global_size = (groups[0], groups[1], count)
        else:  # groups in one dimension, because some drivers take few in the others
            global_size = (groups[0] * groups[1] * count * local_size[0], local_size[1], 1)
        launches.append(Launch(where[0], where[1], tuple(defines.items()), args, global_size, local_size))
    return launches


def storage_defines(problem: Problem, a: Operand, b: Operand) -> dict[str, Any]:
    """Return the defines that state how operands and results are stored."""
    flags = {
        "A_HALF": a.half, "B_HALF": b.half, "C_HALF": problem.out_half,
        "TRANS_A": a.transposed, "TRANS_B": b.transposed, "BY_LANE": problem.by_lane,
    }  # fmt: skip
    return {"REAL": problem.real, **{name: 1 for name, on in flags.items() if on}}


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)
