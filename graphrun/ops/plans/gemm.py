"""Launches of ``kernels/gemm.cl``: matrix multiplication with batches, as NumPy's ``matmul``.

The problem is first brought into a normal form (`_normalise`): batch dimensions that run together become
one, a batch that only A has becomes more rows of A, and a single column becomes a single row.  Then each
kind of device has its own style; on CPUs a small cost model chooses between tiles, with measured weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_FILE = "gemm.cl"
_MAX_INDEX = 1 << 31  # sizes and batch counts are uint in the kernels; half of it leaves room for tiles
_MAX_LAUNCHES = 64
_NO_K_BLOCKS = 1 << 30
_K_BLOCK = 256  # as in the file

# Integer products wrap, which only unsigned types may do in OpenCL C; the bits are the same.
_REAL = {
    "float16": "float", "float32": "float", "float64": "double", "int8": "uchar", "uint8": "uchar",
    "int16": "ushort", "int32": "uint", "uint32": "uint", "int64": "ulong", "uint64": "ulong",
}  # fmt: skip
_REAL_BYTES = {"uchar": 1, "ushort": 2, "uint": 4, "float": 4, "ulong": 8, "double": 8}


class _Dim(NamedTuple):
    """A batch dimension: its size and the elements from one matrix to the next; 0 broadcasts."""

    size: int
    a_stride: int
    b_stride: int


@dataclass(frozen=True)
class _Operand:
    """A matrix operand: which buffer, whether it is stored transposed, its row stride, its element type."""

    ref: tuple[str, int]
    transposed: bool
    row_stride: int
    half: bool


@dataclass(frozen=True)
class _Problem:
    m: int
    n: int
    k: int
    a: _Operand
    b: _Operand
    batch: tuple[_Dim, ...]
    real: str
    out_half: bool
    by_lane: bool = False  # an epilogue, and rows of the output that are shorter than n
    blocked: bool = True  # partial sums may lie in C

    @property
    def batch_count(self) -> int:
        return prod(d.size for d in self.batch)


def plan_matmul(
    in_specs: Sequence[Spec],
    out_specs: Sequence[Spec],
    attrs: Mapping[str, Any],
    capabilities: Capabilities,
    epilogue: bool = False,
) -> KernelPlan | None:
    """Return the launches of ``matmul(a, b)``, or None where ``gemm.cl`` cannot take it.

    Parameters
    ----------
    in_specs : sequence of Spec
        a ``(..., m, k)`` and b ``(..., k, n)``, as stored before the transpose flags; ranks are at least 2
        and the leading dimensions broadcast.
    out_specs : sequence of Spec
        ``(..., m, n)``.
    attrs : mapping
        ``transpose_a`` and ``transpose_b``, False by default.
    capabilities : Capabilities
        ``kind`` chooses the style.
    epilogue : bool
        The results go through an epilogue, whose first output is ``out_specs[0]``, in any dtype.
    """
    problem = _problem(in_specs, out_specs, attrs, capabilities, epilogue)
    if problem is None:
        return None
    if problem.m == 0 or problem.n == 0 or problem.batch_count == 0:
        return KernelPlan(())
    flops = 2 * problem.m * problem.n * problem.k * problem.batch_count
    problem = replace(_normalise(problem), by_lane=epilogue and problem.n == 1)
    if max(problem.m, problem.n, problem.k, problem.batch_count) > _MAX_INDEX:
        return None
    plan = _plan_gpu if capabilities.kind == "gpu" else _plan_cpu
    launches, scratch_bytes = plan(problem, capabilities)
    if len(launches) > _MAX_LAUNCHES:
        return None
    storing = tuple(i for i, launch in enumerate(launches) if launch.entry != "gemm_pack")
    return KernelPlan(tuple(launches), tuple(scratch_bytes), flops, storing)


# ---- normal form ---------------------------------------------------------------------------------


def _problem(
    in_specs: Sequence[Spec],
    out_specs: Sequence[Spec],
    attrs: Mapping[str, Any],
    capabilities: Capabilities,
    epilogue: bool,
) -> _Problem | None:
    a_shape, b_shape = _concrete(in_specs[0]), _concrete(in_specs[1])
    dtype: DType = in_specs[0].dtype
    if a_shape is None or b_shape is None or dtype.name not in _REAL or not capabilities.supports(dtype):
        return None
    if in_specs[1].dtype is not dtype or not (epilogue or out_specs[0].dtype is dtype):
        return None
    if epilogue and not (dtype.is_floating and capabilities.supports(out_specs[0].dtype)):
        return None  # sums of integers are unsigned here, and what an epilogue computes is not
    if len(a_shape) < 2 or len(b_shape) < 2:
        return None
    transpose_a, transpose_b = bool(attrs.get("transpose_a")), bool(attrs.get("transpose_b"))
    k, m = a_shape[-2:] if transpose_a else a_shape[:-3:-1]
    n = b_shape[-2] if transpose_b else b_shape[-1]
    half = dtype.name == "float16"
    return _Problem(
        m, n, k,
        _Operand(("in", 0), transpose_a, a_shape[-1], half),
        _Operand(("in", 1), transpose_b, b_shape[-1], half),
        _batch_dims(a_shape, b_shape), _REAL[dtype.name], half and not epilogue,
        blocked=out_specs[0].dtype is dtype and not half,
    )  # fmt: skip


def _concrete(spec: Spec) -> tuple[int, ...] | None:
    if spec.shape is None or any(n is None for n in spec.shape):
        return None
    return tuple(n for n in spec.shape if n is not None)


def _batch_dims(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> tuple[_Dim, ...]:
    """Return the fewest batch dimensions that describe the broadcast, slowest first."""
    rank = max(len(a_shape), len(b_shape)) - 2
    dims: list[_Dim] = []
    a_stride, b_stride = a_shape[-1] * a_shape[-2], b_shape[-1] * b_shape[-2]
    a_sizes = (1,) * (rank + 2 - len(a_shape)) + a_shape[:-2]
    b_sizes = (1,) * (rank + 2 - len(b_shape)) + b_shape[:-2]
    for a_size, b_size in zip(reversed(a_sizes), reversed(b_sizes)):
        size = b_size if a_size == 1 else a_size
        dim = _Dim(size, a_stride if a_size == size else 0, b_stride if b_size == size else 0)
        a_stride *= a_size
        b_stride *= b_size
        if size == 1:
            continue
        inner = dims[-1] if dims else None
        if inner and (dim.a_stride, dim.b_stride) == (
            inner.a_stride * inner.size,
            inner.b_stride * inner.size,
        ):
            dims[-1] = inner._replace(size=inner.size * size)
        else:
            dims.append(dim)
    return tuple(reversed(dims))


def _normalise(problem: _Problem) -> _Problem:
    """Fold a batch of A into its rows, and turn one column into one row."""
    last = problem.batch[-1] if problem.batch else None
    if last and last.b_stride == 0 and not problem.a.transposed and last.a_stride == problem.m * problem.k:
        problem = replace(problem, m=problem.m * last.size, batch=problem.batch[:-1])
    if problem.n == 1 and problem.m > 1:
        # C = A b is the row b' A': both are stored as they were, and C has the same elements in order.
        a, b = problem.a, problem.b
        row_stride = problem.k  # a vector is contiguous, whichever way round it is stored
        problem = replace(
            problem, m=1, n=problem.m,
            a=replace(b, transposed=False, row_stride=row_stride),
            b=replace(a, transposed=not a.transposed),
            batch=tuple(_Dim(d.size, d.b_stride, d.a_stride) for d in problem.batch),
        )  # fmt: skip
    if problem.m == 1 and problem.a.transposed:
        problem = replace(problem, a=replace(problem.a, transposed=False, row_stride=problem.k))
    if problem.n == 1 and not problem.b.transposed:  # a vector as a row: dot products read along it
        problem = replace(problem, b=replace(problem.b, transposed=True, row_stride=problem.k))
    return problem


# ---- arguments that all kernels share -------------------------------------------------------------


def _sub_problems(batch: tuple[_Dim, ...]) -> list[tuple[int, int, int, tuple[_Dim, _Dim, _Dim]]]:
    """Return (first matrix of A, of B, of C, three dims) for each launch: kernels know three dims."""
    one = _Dim(1, 0, 0)
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
        if len(starts) > _MAX_LAUNCHES:
            break
    return [(a, b, c, (inner[0], inner[1], inner[2])) for a, b, c in starts]


def _launches(
    problem: _Problem,
    a: _Operand,
    b: _Operand,
    batch: tuple[_Dim, ...],
    entry: str,
    defines: dict[str, Any],
    groups: tuple[int, int],
    local_size: tuple[int, int, int],
    extra: tuple[tuple[str, int], ...] = (),
) -> list[Launch]:
    """Return the launches of one entry over the batch, with the arguments that all entries take."""
    launches = []
    for a_start, b_start, c_start, dims in _sub_problems(batch):
        args = (
            a.ref, b.ref, ("out", 0),
            ("uint", problem.m), ("uint", problem.n), ("uint", problem.k),
            ("ulong", a.row_stride), ("ulong", b.row_stride), ("uint", dims[1].size), ("uint", dims[2].size),
            *(("ulong", d.a_stride) for d in dims), *(("ulong", d.b_stride) for d in dims),
            ("ulong", a_start), ("ulong", b_start), ("ulong", c_start * problem.m * problem.n),
            *extra,
        )  # fmt: skip
        count = prod(d.size for d in dims)
        if entry == "gemm_local":
            global_size = (groups[0] * groups[1] * count * local_size[0], local_size[1], 1)
        else:
            global_size = (groups[0], groups[1], count)
        launches.append(Launch(_FILE, entry, tuple(defines.items()), args, global_size, local_size))
    return launches


def _storage_defines(problem: _Problem, a: _Operand, b: _Operand) -> dict[str, Any]:
    flags = {
        "A_HALF": a.half, "B_HALF": b.half, "C_HALF": problem.out_half,
        "TRANS_A": a.transposed, "TRANS_B": b.transposed, "NARROW": _REAL_BYTES[problem.real] < 4,
        "BY_LANE": problem.by_lane,
    }  # fmt: skip
    return {"REAL": problem.real, **{name: 1 for name, on in flags.items() if on}}


# ---- GPUs -----------------------------------------------------------------------------------------


def _plan_gpu(problem: _Problem, capabilities: Capabilities) -> tuple[list[Launch], list[int]]:
    real_bytes = _REAL_BYTES[problem.real]
    side = 16 if capabilities.max_work_group_size >= 256 else 8
    tk = 16
    blocks: tuple[tuple[int, int], ...]
    if problem.m <= side:
        blocks = ((1, 4), (1, 1)) if problem.n > side else ((1, 1),)
    else:
        blocks = ((4, 4), (2, 2), (1, 1)) if problem.n > side else ((4, 1), (1, 1))
    for rm, rn in blocks:  # noqa: B007 - the last block is taken where none suits
        # Enough groups for the device count more than the reuse inside one.
        groups = _ceil(problem.m, side * rm) * _ceil(problem.n, side * rn) * problem.batch_count
        local_bytes = tk * (side * rm + side * rn + 2) * real_bytes
        if groups >= 2 * capabilities.compute_units and local_bytes <= capabilities.local_mem_bytes:
            break
    defines = {
        "GEMM_LOCAL": 1, **_storage_defines(problem, problem.a, problem.b),
        "TM": side * rm, "TN": side * rn, "TK": tk, "RM": rm, "RN": rn,
    }  # fmt: skip
    groups_xy = (_ceil(problem.n, side * rn), _ceil(problem.m, side * rm))
    local_size = (side, side, 1)
    a, b, batch = problem.a, problem.b, problem.batch
    return _launches(problem, a, b, batch, "gemm_local", defines, groups_xy, local_size), []


# ---- CPUs -----------------------------------------------------------------------------------------


class _Tile(NamedTuple):
    mr: int
    nv: int
    weight: float  # share of the best tile's speed, measured on large matrices


# With 32 vector registers (AVX-512, and 4 lanes: NEON) a tile may hold 24 sums; with 16 (AVX2), 12.
# Few rows of the table, because each tile that is chosen is one more kernel to build.
_TILES_32: tuple[_Tile, ...] = (
    _Tile(6, 4, 1.0), _Tile(8, 2, 0.97), _Tile(4, 4, 0.9), _Tile(2, 8, 0.6), _Tile(1, 8, 0.33),
    _Tile(1, 4, 0.3), _Tile(8, 1, 0.7), _Tile(1, 1, 0.15),
)  # fmt: skip
_TILES_16: tuple[_Tile, ...] = (
    _Tile(6, 2, 1.0), _Tile(2, 4, 0.7), _Tile(1, 8, 0.45), _Tile(8, 1, 0.8), _Tile(1, 1, 0.15),
)  # fmt: skip

# Rare types.
_TILES_NARROW: tuple[_Tile, ...] = (_Tile(4, 2, 1.0), _Tile(4, 1, 0.6))


def _lanes(real: str, capabilities: Capabilities) -> int:
    register_bytes = min(max(4 * capabilities.vector_width_float, 16), 64)
    return min(max(register_bytes // _REAL_BYTES[real], 2), 16)


def _plan_cpu(problem: _Problem, capabilities: Capabilities) -> tuple[list[Launch], list[int]]:
    lanes = _lanes(problem.real, capabilities)
    if problem.b.transposed and problem.m <= 8 and problem.k >= 2 * lanes and not problem.out_half:
        return _plan_dot(problem, lanes, capabilities)
    m, n, k = problem.m, problem.n, problem.k
    tiles = _TILES_16 if capabilities.vector_width_float == 8 else _TILES_32
    if _REAL_BYTES[problem.real] < 4:
        tiles = _TILES_NARROW
    tile, in_place = _choose_tile(problem, lanes, tiles)
    launches: list[Launch] = []
    scratch_bytes: list[int] = []
    a, b, batch = problem.a, problem.b, problem.batch
    defines = {"W": lanes, "MR": tile.mr, "NV": tile.nv}
    if k:  # without terms nothing is read
        if a.half or (a.transposed and _worth_packing_a(problem, tile, lanes)):
            a, batch = _pack(problem, "a", k, lanes, launches, scratch_bytes, batch)
        if not in_place:
            b, batch = _pack(problem, "b", tile.nv * lanes, lanes, launches, scratch_bytes, batch)
            defines["PACKED_B"] = 1
    else:
        a, b = replace(a, half=False), replace(b, half=False, transposed=False)
        defines["PACKED_B"] = 1
    if not problem.blocked or k <= _K_BLOCK:
        defines["KB"] = _NO_K_BLOCKS  # between blocks of k the sums lie in C, which must have their bits
    panels = _ceil(n, tile.nv * lanes)
    strips = _ceil(m, tile.mr)
    per_item = _share(strips, panels * problem.batch_count, 2 * k * tile.mr * tile.nv * lanes, capabilities)
    defines = {**_storage_defines(problem, a, b), **defines}
    groups = (_ceil(strips, per_item), panels)
    extra = (("uint", per_item),)
    launches += _launches(problem, a, b, batch, "gemm_tile", defines, groups, (1, 1, 1), extra)
    return launches, scratch_bytes


def _choose_tile(problem: _Problem, lanes: int, tiles: tuple[_Tile, ...]) -> tuple[_Tile, bool]:
    """Return the tile with the least estimated time, and whether it reads B in place."""
    m, n, k = problem.m, problem.n, problem.k
    # Packing an element of B costs about as much as this many multiply-adds, more when it transposes.
    pack = (40 if problem.b.transposed else 25) * n * k
    best: tuple[float, _Tile, bool] | None = None
    for tile in tiles:
        width = tile.nv * lanes
        work = _ceil(m, tile.mr) * tile.mr * _ceil(n, width) * width * k / tile.weight
        can_read = n >= width and not problem.b.transposed and not problem.b.half
        options = [(work + pack, False)] + (
            [(work * _in_place_factor(problem, tile, lanes), True)] if can_read else []
        )
        for cost, in_place in options:
            if best is None or cost < best[0]:
                best = (cost, tile, in_place)
    assert best is not None
    return best[1], best[2]


def _worth_packing_a(problem: _Problem, tile: _Tile, lanes: int) -> bool:
    """Return whether a transposed A is worth a copy: each step reads mr elements of another row of it."""
    a_bytes = problem.m * problem.k * _REAL_BYTES[problem.real]
    return a_bytes > 6 << 20 and problem.n > 4 * tile.nv * lanes


def _in_place_factor(problem: _Problem, tile: _Tile, lanes: int) -> float:
    """Return how much longer a tile takes when B is not packed: rows of a panel lie on many pages."""
    b_bytes = problem.n * problem.k * _REAL_BYTES[problem.real]
    row_bytes = tile.nv * lanes * _REAL_BYTES[problem.real]
    if row_bytes >= 256:
        return 1.0 if b_bytes <= 4 << 20 else 1.05
    return 1.0 if b_bytes <= 2 << 20 else 1.15


def _share(strips: int, others: int, flops_per_strip: int, capabilities: Capabilities) -> int:
    """Return how many strips one work-item takes: enough items for the cores, and none too small."""
    cores = max(capabilities.compute_units, 1)
    wanted = 8 * cores
    by_balance = max(strips * others // wanted, 1)
    by_size = max(200_000 // max(flops_per_strip, 1), 1)  # an item costs about a microsecond
    per_core = max(_ceil(strips * others, cores), 1)
    per_item = min(max(min(by_balance, 32), min(by_size, per_core)), strips)
    # Items of equal length, and a whole round of them for all cores.
    items = _ceil(strips, per_item)
    if items > 1:
        while items * others % cores and items < strips:
            items += 1
    return _ceil(strips, items)


def _pack(
    problem: _Problem,
    which: str,
    width: int,
    lanes: int,
    launches: list[Launch],
    scratch_bytes: list[int],
    batch: tuple[_Dim, ...],
) -> tuple[_Operand, tuple[_Dim, ...]]:
    """Add the launch that rearranges A or B; return the new operand and the batch with its strides."""
    operand = problem.a if which == "a" else problem.b
    rows, cols = (problem.m, problem.k) if which == "a" else (problem.k, problem.n)
    matrix = rows * cols
    packed_matrix = rows * _ceil(cols, width) * width
    strides = [d.a_stride if which == "a" else d.b_stride for d in batch]
    count = prod(d.size for d, stride in zip(batch, strides) if stride)
    # Only distinct matrices are packed: a broadcast operand keeps its stride of 0.
    new = [stride // matrix * packed_matrix for stride in strides]
    if which == "a":
        batch = tuple(d._replace(a_stride=s) for d, s in zip(batch, new))
    else:
        batch = tuple(d._replace(b_stride=s) for d, s in zip(batch, new))
    ref = ("scratch", len(scratch_bytes))
    scratch_bytes.append(count * packed_matrix * _REAL_BYTES[problem.real])
    flags = {"TRANS_B": operand.transposed, "B_HALF": operand.half}
    defines = {"GEMM_PACK": 1, "REAL": problem.real, "W": lanes, **{f: 1 for f, on in flags.items() if on}}
    panels = _ceil(cols, width)
    # A work-item moves some 16K elements, in whole blocks of `lanes` rows.
    chunk = max(16384 // width // lanes, 1) * lanes
    args = (
        operand.ref, ref, ("uint", rows), ("uint", cols), ("uint", width), ("ulong", operand.row_stride),
        ("uint", chunk), ("ulong", matrix), ("ulong", packed_matrix),
    )  # fmt: skip
    global_size = (_ceil(rows, chunk), panels, count)
    launches.append(Launch(_FILE, "gemm_pack", tuple(defines.items()), args, global_size, (1, 1, 1)))
    return _Operand(ref, False, width, False), batch


def _plan_dot(problem: _Problem, lanes: int, capabilities: Capabilities) -> tuple[list[Launch], list[int]]:
    """Return dot products of rows of A with rows of B, which is stored transposed."""
    launches: list[Launch] = []
    scratch_bytes: list[int] = []
    a, b, batch = problem.a, problem.b, problem.batch
    if a.transposed:
        a, batch = _pack(problem, "a", problem.k, lanes, launches, scratch_bytes, batch)
    mr, nv = min(problem.m, 4), 4
    defines = {"GEMM_DOT": 1, **_storage_defines(problem, a, b), "W": lanes, "MR": mr, "NV": nv}
    groups = _ceil(problem.n, nv)
    row_strips = _ceil(problem.m, mr)
    share = _share(groups, row_strips * problem.batch_count, 2 * mr * nv * problem.k, capabilities)
    xy = (_ceil(groups, share), row_strips)
    launches += _launches(problem, a, b, batch, "gemm_dot", defines, xy, (1, 1, 1), (("uint", share),))
    return launches, scratch_bytes


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
