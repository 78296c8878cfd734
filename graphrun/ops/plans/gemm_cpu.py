"""Launches of ``kernels/gemm.cl``, for CPUs.

A few ways to do a multiplication are compared by an estimate of their time, with measured weights: which
register tile, whether B is read in place or copied into panels first (in a launch of its own or by each
work-item for itself) or met by dot products, how many strips of rows a work-item takes, and into how many
parts a long sum is split.  Times count multiply-adds of one core at its best.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Pack
from graphrun.ops.plans.gemm_problem import (
    REAL_BYTES,
    Dim,
    Operand,
    Problem,
    ceil_div,
    product_launches,
    storage_defines,
)

FILE = "gemm.cl"
NO_K_BLOCKS = 1 << 30
K_BLOCK = 256  # as in the file

# In multiply-adds of float on one core: 0.1 us for a work-item, 2 us for a launch.
_ITEM = 12_000
_LAUNCH = 240_000
# For each element: of B, to be copied into a panel, without and with turning, and to be kept; of C, to be
# stored, and to be added up from a vector of sums.
_COPY, _TURN, _KEEP, _STORE, _ADD_UP = 22, 20, 1, 4, 70
# For each element of B that comes from the second-level cache, from behind it, and for a line of A.
_NEAR, _FAR, _LINE = 1, 12, 32
_NEAR_BYTES = 1 << 20
# What a work-item keeps of B, at most: it lies on the stack, and should stay in the second-level cache.
_PANEL_BYTES = 256 << 10
# How much longer it takes to read rows of B in place in each strip, where a panel of it is larger than the
# nearest cache, and where its rows meet in the same few lines of that.
_SPREAD_BYTES, _SPREAD = 24 << 10, 1.25
_ALIASED_BYTES, _ALIASED = 2048, 1.5
# How many lines that lie whole pages apart the second-level cache holds.
_PAGE_BYTES, _LINES_A_PAGE_APART = 4096, 512
_PANELS_AT_ONCE = 32  # columns of a transposed A for a work-item that packs


class Tile(NamedTuple):
    """A register tile: rows, vectors across, and its share of the speed of the best one."""

    mr: int
    nv: int
    weight: float


# With 32 vector registers (AVX-512, and 4 lanes: NEON) a tile may hold 24 sums; with 16 (AVX2), 12.
# Few rows of the table, because each tile that is chosen is one more kernel to build.
_TILES_32: tuple[Tile, ...] = (
    Tile(6, 4, 1.0), Tile(8, 2, 0.97), Tile(4, 4, 0.9), Tile(2, 8, 0.6), Tile(1, 8, 0.33), Tile(1, 4, 0.3),
    Tile(8, 1, 0.7), Tile(1, 1, 0.15),
)  # fmt: skip
_TILES_16: tuple[Tile, ...] = (
    Tile(6, 2, 1.0), Tile(2, 4, 0.7), Tile(1, 8, 0.45), Tile(8, 1, 0.8), Tile(1, 1, 0.15),
)  # fmt: skip
_TILES_NARROW: tuple[Tile, ...] = (Tile(4, 2, 1.0), Tile(4, 1, 0.6))  # rare types
_DOT_WEIGHT = {1: 0.3, 2: 0.45, 4: 0.65, 6: 0.65}


class Way(NamedTuple):
    """How to multiply; `mode` is "here", "packed" or "dot", or "place" or "keep" where B lies right."""

    mode: str
    tile: Tile
    strips: int  # of rows, for one work-item
    groups: int  # of columns
    splits: int
    length: int  # of a part of the sum


class _Sizes(NamedTuple):
    """What decides between the ways."""

    m: int
    n: int
    k: int
    matrices: int
    lanes: int
    bytes: int
    a_dots: bool  # A and B are read along k
    a_turned: bool
    b_turned: bool
    b_half: bool
    blocked: bool
    may_split: bool
    narrow: bool
    few_registers: bool
    cores: int
    b_readers: int


def label_of(way: Way) -> str:
    """The name of a way, as tuning has it: how B is read, and the register tile."""
    return f"{way.mode} {way.tile.mr}x{way.tile.nv}"


def ways_cpu(problem: Problem, capabilities: Capabilities) -> list[str]:
    """Return the names of the ways in which `problem` can be done, the one that is chosen first."""
    ways = sorted(_ways(_sizes_of(problem, capabilities, (1, 1))), key=lambda item: item[0])
    return list(dict.fromkeys(label_of(way) for _, way in ways))


def plan_cpu(
    problem: Problem, capabilities: Capabilities, readers: tuple[int, ...] = (1, 1), wanted: str = ""
) -> KernelPlan | None:
    """Return the launches of `problem` in the way that is estimated to take the least time.

    Only ways with the name `wanted` are considered, if there is one.
    """
    sizes = _sizes_of(problem, capabilities, readers)
    lanes = _lanes(problem.real, capabilities)
    a, b, batch = problem.a, problem.b, problem.batch
    m, n, k = problem.m, problem.n, problem.k
    way = choose(sizes, wanted)
    packs: list[Pack] = []
    if not k:  # without terms nothing is read
        a, b = replace(a, half=False), replace(b, half=False, transposed=False)
        way = way._replace(mode="packed")
    panels_a = (
        bool(k)
        and way.mode != "dot"
        and a.transposed
        and (a.half or _worth_packing_a(problem, way.tile, lanes))
    )
    if k and (a.half or panels_a):
        packed = pack(problem, "a", way.tile.mr if panels_a else k, lanes, 0)
        if packed is None:
            return None
        a, batch = packed[1:]
        packs.append(packed[0])
    defines: dict[str, Any] = {"W": lanes, "MR": way.tile.mr, **({"PANELS_A": 1} if panels_a else {})}
    extra: tuple[int, ...]
    panels, strips = ceil_div(n, way.tile.nv * lanes), ceil_div(m, way.tile.mr)
    if way.mode == "dot":
        defines = {"GEMM_DOT": 1, **defines}
        groups = ceil_div(ceil_div(n, 4), way.groups), ceil_div(strips, way.strips)
        entry, extra = "gemm_dot", (way.groups, way.strips)
    else:
        if k and way.mode == "packed":
            packed = pack(replace(problem, batch=batch), "b", way.tile.nv * lanes, lanes, len(packs))
            if packed is None:
                return None
            b, batch = packed[1:]
            packs.append(packed[0])
        defines["NV"] = way.tile.nv
        # Between blocks of k the sums lie in C, which must have their bits.  The panel of a block stays in
        # the second-level cache; where B is read in place its rows may lie so that fewer find room.
        longest = {"packed": 4 * K_BLOCK, "place": 2 * K_BLOCK}.get(way.mode) or _panel_rows(way.tile, sizes)
        if way.mode == "packed":
            defines["PACKED_B"] = 1
        elif way.mode != "place":
            # A power of two, so that products of similar lengths share a kernel.
            rows = max(K_BLOCK, 1 << (min(way.length, longest) - 1).bit_length())
            defines[{"here": "PACK_HERE", "keep": "KEEP_B"}[way.mode]] = rows
        if not problem.blocked or way.length <= longest:
            defines["KB"] = NO_K_BLOCKS
        elif way.mode != "place":
            defines["KB"] = longest
        groups = ceil_div(strips, way.strips), panels
        entry, extra = "gemm_tile", (way.strips,)
    stored = problem if way.splits == 1 else replace(problem, out_half=False, by_lane=False)
    target = ("out", 0) if way.splits == 1 else ("scratch", 0)
    defines = {**storage_defines(stored, a, b), **defines}
    launches = product_launches(
        stored, a, b, batch, (FILE, entry), defines, groups, extra=extra, target=target,
        parts=(way.splits, way.length),
    )  # fmt: skip
    scratch_bytes: tuple[int, ...] = ()
    if way.splits > 1:
        scratch_bytes = (way.splits * problem.batch_count * m * n * REAL_BYTES[problem.real],)
        vectors = problem.batch_count * m * ceil_div(n, lanes)
        items = min(4 * sizes.cores, max(vectors * way.splits // 512, 1))
        launches.append(sum_launch(problem, target, way.splits, lanes, ceil_div(vectors, items)))
    partial = entry == "gemm_tile" and way.splits == 1 and defines.get("KB") != NO_K_BLOCKS
    return KernelPlan(tuple(launches), scratch_bytes, packs=tuple(packs), partial=partial)


def sum_launch(problem: Problem, parts: tuple[str, int], splits: int, lanes: int, share: int) -> Launch:
    """Return the launch that adds the parts of split sums; each work-item takes `share` vectors."""
    rows = problem.batch_count * problem.m
    flags = {"C_HALF": problem.out_half, "BY_LANE": problem.by_lane}
    defines = {"GEMM_SUM": 1, "REAL": problem.real, "W": lanes, **{f: 1 for f, on in flags.items() if on}}
    args = (parts, ("out", 0), ("ulong", rows), ("uint", problem.n), ("uint", splits), ("ulong", share))
    items = ceil_div(rows * ceil_div(problem.n, lanes), share)
    return Launch(FILE, "gemm_sum", tuple(defines.items()), args, (items, 1, 1), (1, 1, 1))


# ---- the estimate ---------------------------------------------------------------------------------


def _lanes(real: str, capabilities: Capabilities) -> int:
    register_bytes = min(max(4 * capabilities.vector_width_float, 16), 64)
    return min(max(register_bytes // REAL_BYTES[real], 2), 16)


def _sizes_of(problem: Problem, capabilities: Capabilities, readers: tuple[int, ...]) -> _Sizes:
    a, b, lanes = problem.a, problem.b, _lanes(problem.real, capabilities)
    dots = not a.transposed and b.transposed and not a.half and problem.k >= lanes
    return _Sizes(
        problem.m, problem.n, problem.k, problem.batch_count, lanes, REAL_BYTES[problem.real], dots,
        a.transposed, b.transposed, b.half, problem.blocked, len(problem.batch) <= 3,
        REAL_BYTES[problem.real] < 4, capabilities.vector_width_float == 8,
        max(capabilities.compute_units, 1), readers[b.ref[1]],
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def choose(sizes: _Sizes, wanted: str = "") -> Way:
    """Return the way that is estimated to take the least time, of those with the name `wanted` if any."""
    ways = list(_ways(sizes))
    named = [item for item in ways if label_of(item[1]) == wanted] if wanted else []
    return min(named or ways, key=lambda item: item[0])[1]


def _ways(sizes: _Sizes) -> Iterator[tuple[float, Way]]:
    m, n, k = sizes.m, sizes.n, sizes.k
    scale = sizes.bytes / 4  # a vector holds fewer of the wide types
    tiles = _TILES_16 if sizes.few_registers else _TILES_32
    if sizes.narrow:
        tiles = _TILES_NARROW
    turn = (_TURN if sizes.b_turned else _COPY) / scale
    for tile in tiles:
        width = tile.nv * sizes.lanes
        strips, panels = ceil_div(m, tile.mr), ceil_div(n, width)
        for splits, length in _splits(sizes, strips * panels * sizes.matrices):
            after = _after(sizes, splits)
            others = panels * sizes.matrices * splits
            per_strip = tile.mr * width * (length / tile.weight + _STORE) * scale
            for mode in _modes(sizes):
                held = mode in ("here", "keep")
                if held and not sizes.blocked and length > _panel_rows(tile, sizes):
                    continue  # there the panel would not be whole
                before, factor = 0.0, 1.0
                # What a work-item reads first comes from afar, and serves all of its strips.
                read = _NEAR if n * k * sizes.bytes <= _NEAR_BYTES else _FAR
                per_item: float = length * (read * width + (_LINE if sizes.a_turned else 0))
                if mode == "packed":
                    before = _LAUNCH + (turn * scale + read) * n * k * sizes.matrices / sizes.cores
                    before /= sizes.b_readers
                elif mode == "here":
                    per_item += turn * scale * width * length
                elif mode == "keep":
                    per_item += _KEEP * width * length
                else:
                    factor = _in_place_factor(sizes, width * length * sizes.bytes)
                cost, per = _shared(strips, others, per_strip * factor, per_item, sizes.cores)
                if mode == "keep" and per == 1:
                    continue  # for nobody
                yield before + cost + after, Way(mode, tile, per, 1, splits, length)
    if sizes.a_dots:
        for mr, weight in _DOT_WEIGHT.items():
            if sizes.narrow and mr > 2:
                continue
            strips, groups = ceil_div(m, mr), ceil_div(n, 4)
            for splits, length in _splits(sizes, strips * groups * sizes.matrices):
                per_tile = mr * 4 * (length / weight + _ADD_UP) * scale
                tile = Tile(mr, 1, weight)
                after = _after(sizes, splits)
                # All strips at once where there are groups enough: a group of B is read once then.
                cost, per = _shared(groups, sizes.matrices * splits, per_tile * strips, 0, sizes.cores)
                yield cost + after, Way("dot", tile, strips, per, splits, length)
                if groups < 4 * sizes.cores:
                    cost, per = _shared(strips, sizes.matrices * splits, per_tile * groups, 0, sizes.cores)
                    yield cost + after, Way("dot", tile, per, groups, splits, length)


def _modes(sizes: _Sizes) -> tuple[str, ...]:
    if sizes.b_half or sizes.b_turned:
        return ("packed", "here") if sizes.k else ("packed",)
    return ("place", "keep", "packed")


def _splits(sizes: _Sizes, tiles: int) -> Iterator[tuple[int, int]]:
    yield 1, sizes.k
    splits = 2
    while sizes.may_split and tiles < 4 * sizes.cores and sizes.k >= 1024 * splits and splits <= 64:
        length = ceil_div(ceil_div(sizes.k, splits), sizes.lanes) * sizes.lanes
        yield ceil_div(sizes.k, length), length
        splits *= 2


def _after(sizes: _Sizes, splits: int) -> float:
    """Return the cost of adding up the parts."""
    if splits == 1:
        return 0.0
    return _LAUNCH + 8 * sizes.m * sizes.n * sizes.matrices * splits / sizes.cores


def _shared(strips: int, others: int, per_strip: float, per_item: float, cores: int) -> tuple[float, int]:
    """Return the least time over the strips that a work-item can take, and how many those are."""
    best: tuple[float, int] | None = None
    for per in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, strips):
        if per > strips:
            continue
        items = ceil_div(strips, per) * others
        # One core may begin late, and the other then waits for a part of an item.
        share = ceil_div(items, cores) + (0.3 if items > 1 else 0)
        cost = share * (min(per, strips) * per_strip + per_item + _ITEM)
        if best is None or cost < best[0]:
            best = cost, per
    assert best is not None
    return best


def _worth_packing_a(problem: Problem, tile: Tile, lanes: int) -> bool:
    """Return whether a transposed A is worth a copy: each step reads mr elements of another row of it."""
    row_bytes = problem.m * REAL_BYTES[problem.real]
    # A strip takes a line of each row, from the second-level cache unless these meet there in too few places.
    if row_bytes % _PAGE_BYTES == 0:
        return problem.k > _LINES_A_PAGE_APART // 4 and problem.n >= 128
    return problem.k > _LINES_A_PAGE_APART and problem.n > 4 * tile.nv * lanes


def _in_place_factor(sizes: _Sizes, panel_bytes: int) -> float:
    """Return how much longer a tile takes when B is neither packed nor kept."""
    if panel_bytes <= _SPREAD_BYTES:
        return 1.08
    return _ALIASED if sizes.n * sizes.bytes % _ALIASED_BYTES == 0 else _SPREAD


def _panel_rows(tile: Tile, sizes: _Sizes) -> int:
    """Return how many rows of B a work-item can hold, a power of two."""
    return 1 << (_PANEL_BYTES // (tile.nv * sizes.lanes * sizes.bytes)).bit_length() - 1


# ---- packing --------------------------------------------------------------------------------------


def pack(
    problem: Problem, which: str, width: int, lanes: int, number: int
) -> tuple[Pack, Operand, tuple[Dim, ...]] | None:
    """Return what rearranges A or B into ``("pack", number)``, with the new operand and the batch's strides.

    None where the matrices lie in more than three dimensions.
    """
    operand = problem.a if which == "a" else problem.b
    turned, together = operand.transposed, 1
    rows, cols = (problem.m, problem.k) if which == "a" else (problem.k, problem.n)
    if which == "a" and turned:
        # Panels of few columns of what is stored, several to a work-item: rows are read in whole lines.
        rows, cols, turned, together = cols, rows, False, ceil_div(_PANELS_AT_ONCE, width)
    packed_matrix = rows * ceil_div(cols, width) * width
    dims: list[tuple[int, int]] = []  # size and stride of the distinct matrices, slowest first
    count = 1
    batch: list[Dim] = []
    # Only distinct matrices are packed: a broadcast operand keeps its stride of 0.
    for d in reversed(problem.batch):
        stride = d.a_stride if which == "a" else d.b_stride
        new = count * packed_matrix if stride else 0
        batch.insert(0, d._replace(a_stride=new) if which == "a" else d._replace(b_stride=new))
        if not stride:
            continue
        count *= d.size
        if dims and stride == dims[0][0] * dims[0][1]:
            dims[0] = (dims[0][0] * d.size, dims[0][1])
        else:
            dims.insert(0, (d.size, stride))
    if len(dims) > 3:
        return None
    three = [(1, 0)] * (3 - len(dims)) + dims
    ref = ("pack", number)
    flags = {"TRANS_B": turned, "B_HALF": operand.half}
    defines = {"GEMM_PACK": 1, "REAL": problem.real, "W": lanes, **{f: 1 for f, on in flags.items() if on}}
    if together > 1:
        defines.update(NARROW_PANELS=width, TOGETHER=together)
    # A work-item moves some 16K elements, in whole blocks of `lanes` rows.
    chunk = max(16384 // (width * together) // lanes, 1) * lanes
    args = (
        operand.ref, ref, ("uint", rows), ("uint", cols), ("uint", width), ("ulong", operand.row_stride),
        ("uint", chunk), ("ulong", operand.start), ("uint", three[1][0]), ("uint", three[2][0]),
        *(("ulong", stride) for _, stride in three), ("ulong", packed_matrix),
    )  # fmt: skip
    global_size = (ceil_div(rows, chunk), ceil_div(cols, width * together), count)
    launch = Launch(FILE, "gemm_pack", tuple(defines.items()), args, global_size, (1, 1, 1))
    key = (defines["REAL"], operand.half, turned, global_size, *args[2:])
    made = Pack(operand.ref, (launch,), count * packed_matrix * REAL_BYTES[problem.real], key)
    return made, Operand(ref, False, width, False), tuple(batch)
