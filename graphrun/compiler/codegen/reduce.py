"""Kernels that reduce over axes.

On CPUs a work-item takes whole outputs: of a row that lies in memory as it is added up, in vectors and with
several accumulators at once, since an addition waits for the one before it; or of a block of neighbouring
columns, whose accumulators are an array to which each row is added.  On GPUs a group takes a row, and
neighbouring work-items take neighbouring columns.  In which order is combined depends on the shape and on
the device's kind alone, so that the same launch gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphrun.compiler.codegen.element import Element
from graphrun.compiler.codegen.text import UNSAFE, fill, indented, mapped_index, parameter, store, vector
from graphrun.compiler.fusion import Group
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Reduce, Spec

LANES = 16
ACCUMULATORS = 4
# Outputs that one work-item of a CPU carries side by side where they are neighbours in memory: wide enough
# that memory is read in long runs, and few enough that their accumulators stay in the nearest cache.
COLUMN_BLOCK = 1024
# So many where there are many rows, which are shared out instead: rows are then read as they lie, and the
# processor sees ahead what comes.
TALL_COLUMN_BLOCK = 4096
TALL_ROWS = 1024
# Of those so many are added at once: a store to an accumulator holds up reads of the same place in any page.
ROWS_AT_ONCE = 8
# Rows that are shorter than this are no work for a whole group.
GROUP_ROW = 128
MAX_GROUP = 256


def reduction_layout(
    shape: Sequence[int], axes: Sequence[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Kept and reduced dimensions as (size, stride) pairs, neighbours of one kind joined."""
    kept: list[tuple[int, int]] = []
    reduced: list[tuple[int, int]] = []
    step = 1
    last: list[tuple[int, int]] | None = None
    for axis in reversed(range(len(shape))):
        d = shape[axis]
        target = reduced if axis in axes else kept
        if d != 1:
            if target is last:
                size, stride = target[0]
                target[0] = (size * d, stride)
            else:
                target.insert(0, (d, step))
            last = target
        step *= d
    return kept, reduced


def flat_offset(dims: Sequence[tuple[int, int]], i: str) -> str:
    """Where coordinate `i`, flat over `dims` of (size, stride), lies."""
    return mapped_index(AffineMap(tuple(d for d, _ in dims), tuple(s for _, s in dims)), i)


@dataclass(frozen=True)
class Pieces:
    """A reduction's expressions with types put in."""

    reduce: Reduce
    attrs: Mapping[str, Any]
    x: DType
    out: DType

    @property
    def type(self) -> str:
        return self.x.compute if not self.x.is_bool else self.out.compute

    def _fill(self, code: str, lanes: int, **names: str) -> str:
        text = fill(code, self.attrs, self.type, self.out.compute, names, lanes, count="gr_count")
        return f"({vector(self.type, lanes)})({text})"

    @property
    def vectors(self) -> bool:
        """Whether the expressions mean the same of vectors."""
        return not any(UNSAFE.search(code) for code in (self.reduce.map, self.reduce.combine))

    def neutral(self, lanes: int = 1) -> str:
        code = self.reduce.neutral(self.x) if callable(self.reduce.neutral) else self.reduce.neutral
        number = self._fill(code, 1, a="a")
        return number if lanes == 1 else f"(({vector(self.type, lanes)}){number})"

    def map(self, a: str, lanes: int = 1) -> str:
        return self._fill(self.reduce.map, lanes, a=a)

    def combine(self, x: str, y: str, lanes: int = 1) -> str:
        """Two accumulators as one; of `arg` reductions the one that is preferred."""
        if not self.reduce.arg:
            return self._fill(self.reduce.combine, lanes, x=x, y=y)
        return f"gr_where_{vector(self.type, lanes)}({self.beats(x, y, lanes)}, {y}, {x})"

    def beats(self, x: str, y: str, lanes: int = 1) -> str:
        """For `arg` reductions: whether y is preferred to x, as a `uchar` for each lane."""
        text = fill(self.reduce.combine, self.attrs, self.type, self.out.compute, {"x": x, "y": y}, lanes)
        return f"({vector('uchar', lanes)})({text})"

    def finish(self, x: str) -> str:
        text = fill(self.reduce.finish, self.attrs, self.type, self.out.compute, {"x": x}, count="gr_count")
        return f"({self.out.compute})({text})"


def reduce_kernel(
    reduce: Reduce, x: Spec, out: Spec, axes: Sequence[int], attrs: Mapping[str, Any], splits: int,
    stage: str, label: str, kind: str = "cpu", producer: Group | None = None,
    in_specs: Sequence[Spec] = (),
) -> tuple[str, tuple[tuple[str, Any], ...]]:  # fmt: skip
    """A kernel for one stage of a reduction, and the numbers that are its last arguments.

    Parameters
    ----------
    x : Spec
        Of what is reduced: the input, or what `producer` makes.
    splits, stage : int, str
        Stage "all" reduces completely; "first" leaves `splits` partial results for each output, laid out
        (splits, outputs), in the accumulator's type; "second" reduces those.
    kind : str
        The device's, as in `Capabilities`.
    producer : Group, optional
        Computes each element, with one result; its maps are over the shape of `x`.
    in_specs : sequence of Spec
        Of the producer's inputs.

    Returns
    -------
    text : str
        Arguments: the inputs (of the producer if there is one), the output, ``ulong n`` (work units:
        `reduce_units`, times splits in the first stage, outputs in the second), then the numbers.
    numbers : tuple of (ctype, value)
        What the size of the first axis decides is not in the text, so that another batch size needs no
        other kernel.
    """
    shape: Sequence[int] = x.shape  # type: ignore[assignment]
    kept, reduced = reduction_layout(shape, axes)
    length = math.prod(d for d, _ in reduced)
    outputs = math.prod(d for d, _ in kept)
    # The mean of an empty axis divides by zero, so the count must not be rounded up to one.
    count = math.prod(shape[a] for a in axes)
    p = Pieces(reduce, attrs, x.dtype, out.dtype)
    if stage == "second":
        return _second_stage(p, out, label), (("int", splits), ("long", count))
    partial = stage == "first"
    element = Element(x, p.map, p.type, producer, in_specs)
    out_parameter = (
        f"__global {p.type} *restrict y, const ulong y_o" if partial else parameter(out.dtype, "y", False)
    )

    def result(at: str, value: str) -> str:
        return f"y[{at}] = {value};" if partial else store(out.dtype, "y", at, p.finish(value))

    parameters = [
        *element.parameters(), out_parameter, "const ulong n", "const ulong gr_units",
        "const long gr_outputs", "const long gr_length", "const long gr_part", "const long gr_count",
        *element.scalar_parameters(),
    ]  # fmt: skip
    lines = [f"// {label}, {stage}", f"__kernel void GR_KERNEL({', '.join(parameters)}) {{"]
    lines += indented([*element.setup(), "y += y_o;"], 1)
    share = -(-length // splits) if partial else length
    units = reduce_units(shape, axes, kind)
    form = reduce_form(shape, axes, kind)
    body = _share_of_work(partial)
    if form == "columns":
        body += _columns(p, element, kept, reduced, result)
    elif form == "column":
        body += _column(p, element, kept, reduced, result)
    elif form == "group":
        body += _group_row(p, element, kept, reduced, result)
    else:
        body += _row(p, element, kept, reduced, share, result)
    if form == "group":
        lines += [
            f"    __local {p.type} gr_local[{MAX_GROUP}];",
            "    for (ulong u = get_group_id(0); u < n; u += get_num_groups(0)) {",
        ]
    else:
        lines += ["    GR_UNITS(u, n) {"]
    lines += [*indented(body, 2), "    }", "}"]
    sizes = (
        ("ulong", units), ("long", outputs), ("long", length), ("long", share), ("long", count),
        *((dtype.compute, value.item()) for value, dtype in element.scalars),
    )  # fmt: skip
    return "\n".join(lines) + "\n", sizes


def reduce_form(shape: Sequence[int], axes: Sequence[int], kind: str) -> str:
    """How work is shared out: "row", "columns"; on GPUs "group" (for a row), "row" and "column"."""
    kept, reduced = reduction_layout(shape, axes)
    length = math.prod(d for d, _ in reduced)
    if kept and kept[-1][1] == 1 and length > 1:
        return "columns" if kind == "cpu" else "column"
    return "group" if kind != "cpu" and length >= GROUP_ROW else "row"


def reduce_units(shape: Sequence[int], axes: Sequence[int], kind: str = "cpu") -> int:
    """Pieces of work in a reduction, before it is split."""
    kept, reduced = reduction_layout(shape, axes)
    outputs = math.prod(d for d, _ in kept)
    if reduce_form(shape, axes, kind) != "columns":
        return max(outputs, 1)
    return outputs // kept[-1][0] * -(-kept[-1][0] // _most_columns(reduced))


def _most_columns(reduced: Sequence[tuple[int, int]]) -> int:
    """Columns of one unit."""
    tall = math.prod(d for d, _ in reduced) >= TALL_ROWS
    return TALL_COLUMN_BLOCK if tall else COLUMN_BLOCK


def by_groups(shape: Sequence[int], axes: Sequence[int], kind: str) -> bool:
    """Whether a unit of the reduction is for a whole work-group, of a power of two of items."""
    return reduce_form(shape, axes, kind) == "group"


def _share_of_work(partial: bool) -> list[str]:
    if not partial:
        return ["const ulong unit = u; const long begin = 0, end = gr_length; const long to = 0;"]
    return [
        "const ulong unit = u % gr_units; const ulong part = u / gr_units;",
        "const long begin = part * gr_part; const long end = min(begin + gr_part, gr_length);",
        "const long to = part * gr_outputs;",
    ]


def _runs(element: Element, reduced: Sequence[tuple[int, int]], inner: Sequence[str]) -> list[str]:
    """A loop over the runs between ``begin`` and ``end``; `inner` goes from ``c`` to ``gr_to`` in each."""
    run = element.run_length(reduced[-1][0] if reduced else 1)
    if run is None and len(reduced) > 1 and 0 not in (d for d, _ in reduced):
        run = reduced[-1][0]
    if run is None:
        # One run, of whatever length.
        return [*element.begin("base"), "long c = begin; const long gr_to = end;", *inner]
    outer = [*reduced[:-1], (reduced[-1][0] // run, run)]
    return [
        "for (long gr_r = begin; gr_r < end;) {",
        f"    const long gr_run = gr_r / {run}L;",
        f"    long c = gr_r - gr_run * {run}L;",
        f"    const long gr_to = min({run}L, c + end - gr_r);",
        "    gr_r += gr_to - c;",
        *indented([*element.begin(f"base + {flat_offset(outer, 'gr_run')}"), *inner], 1),
        "}",
    ]


def _row(
    p: Pieces, element: Element, kept: Any, reduced: Any, share: int, result: Any,
) -> list[str]:  # fmt: skip
    """One output: accumulators that are vectors, then what is left over, then all of them as one."""
    t = p.type
    lines = [f"const long base = {flat_offset(kept, 'unit')};", f"{t} acc = {p.neutral()};"]
    many = ACCUMULATORS if share >= 2 * LANES * ACCUMULATORS else 1
    use_vectors = p.vectors and share >= LANES
    inner: list[str] = []
    if use_vectors:
        v = vector(t, LANES)
        lines += [f"{v} acc{j} = {p.neutral(LANES)};" for j in range(many)]
        if many > 1:
            inner += [f"for (; c + {LANES * many} <= gr_to; c += {LANES * many}) {{"]
            for j in range(many):
                inner += indented(element.value(f"v{j}", f"(c + {LANES * j})", LANES), 1)
            inner += [f"    acc{j} = {p.combine(f'acc{j}', f'v{j}', LANES)};" for j in range(many)]
            inner += ["}"]
        inner += [
            f"for (; c + {LANES} <= gr_to; c += {LANES}) {{",
            *indented(element.value("v", "c", LANES), 1),
            f"    acc0 = {p.combine('acc0', 'v', LANES)};",
            "}",
        ]
    inner += [
        "GR_REST",
        "for (; c < gr_to; ++c) {",
        *indented(element.value("v", "c", 1), 1),
        f"    acc = {p.combine('acc', 'v')};",
        "}",
    ]
    lines += _runs(element, reduced, inner)
    if use_vectors:
        lines += as_one(p, [f"acc{j}" for j in range(many)])
        lines += [f"acc = {p.combine('gr_all', 'acc')};"]
    return [*lines, result("to + unit", "acc")]


def as_one(p: Pieces, accumulators: Sequence[str], lanes: int = LANES, name: str = "gr_all") -> list[str]:
    """Statements that combine vectors of `lanes` (16, 8 or 4) into the number `name`: halves with halves."""
    lines = []
    names = list(accumulators)
    while len(names) > 1:
        half = len(names) // 2
        for a, b in zip(names[:half], names[half:], strict=True):
            lines.append(f"{a} = {p.combine(a, b, lanes)};")
        names = names[:half]
    last = names[0]
    while lanes > 4:
        lanes //= 2
        kind = vector(p.type, lanes)
        lines.append(f"const {kind} {name}{lanes} = {p.combine(f'{last}.lo', f'{last}.hi', lanes)};")
        last = f"{name}{lanes}"
    lines.append(f"const {p.type} {name}_a = {p.combine(f'{last}.s0', f'{last}.s2')};")
    lines.append(f"const {p.type} {name}_b = {p.combine(f'{last}.s1', f'{last}.s3')};")
    return [*lines, f"const {p.type} {name} = {p.combine(f'{name}_a', f'{name}_b')};"]


def _columns_lanes(p: Pieces, width: int) -> int:
    if not p.vectors:
        return 1
    return next((lanes for lanes in (LANES, 8, 4) if width >= lanes), 1)


def columns_loop(p: Pieces, width: int, step: Any) -> list[str]:
    """``step(c, lanes)`` for all columns of a block, ``m`` of them, in vectors and what is left of it."""
    lanes = _columns_lanes(p, width)
    lines = ["int c = 0;"]
    if lanes > 1:
        # Few columns keep their accumulators in registers, if the loop over them is none.
        unroll = ["GR_UNROLL"] if width <= 4 * LANES else []
        lines += [*unroll, f"for (; c + {lanes} <= m; c += {lanes}) {{", *indented(step("c", lanes), 1), "}"]
    if width % lanes or lanes == 1:
        lines += ["GR_REST" if lanes > 1 else "", "for (; c < m; ++c) {", *indented(step("c", 1), 1), "}"]
    return [line for line in lines if line]


def column_block(kept: Any, reduced: Any) -> tuple[list[str], int]:
    """Statements that find a unit's block of columns: ``base``, ``first``, ``m``; and its size."""
    width = kept[-1][0]
    most = _most_columns(reduced)
    blocks = -(-width // most)
    outer = flat_offset(kept[:-1], "o") if len(kept) > 1 else "0"
    size = f"(int)min((long){most}, {width}L - c0)" if blocks > 1 else f"{width}"
    lines = [
        f"const long o = unit / {blocks}UL; const long c0 = (unit % {blocks}UL) * {most}L;",
        f"const int m = {size};",
        f"const long base = {outer} + c0;",
        f"const long first = to + o * {width}L + c0;",
    ]
    return lines, min(width, most)


def _columns(p: Pieces, element: Element, kept: Any, reduced: Any, result: Any) -> list[str]:
    """A block of neighbouring outputs: each reduced row is combined with all of them."""
    t = p.type
    width = kept[-1][0]
    run = element.run_length(width)
    if run is not None and run != width:
        element.lines = False  # a row crosses where a map begins again
    lines, block = column_block(kept, reduced)

    def step(rows: int) -> Callable[[str, int], list[str]]:
        """One vector of columns, of `rows` rows; where these begin does not change from vector to vector."""

        def of(c: str, lanes: int) -> list[str]:
            v = vector(t, lanes)
            body = [f"{v} gr_acc = {f'acc[{c}]' if lanes == 1 else f'gr_vload{lanes}(acc + {c})'};"]
            for k in range(rows):
                body += [
                    "{",
                    *indented(element.begin(f"gr_row{k}"), 1),
                    *indented(element.value("v", c, lanes), 1),
                ]
                body += [f"    gr_acc = {p.combine('gr_acc', 'v', lanes)};", "}"]
            end = f"acc[{c}] = gr_acc;" if lanes == 1 else f"gr_vstore{lanes}(gr_acc, acc + {c});"
            return [*body, end]

        return of

    def rows_loop(rows: int) -> list[str]:
        starts = [
            f"const long gr_row{k} = base + {flat_offset(reduced, f'(gr_r + {k})')};" for k in range(rows)
        ]
        return [
            f"for (; gr_r + {rows} <= end; gr_r += {rows}) {{",
            *indented(starts, 1),
            *indented(columns_loop(p, width, step(rows)), 1),
            "}",
        ]

    many = ROWS_AT_ONCE if math.prod(d for d, _ in reduced) >= TALL_ROWS else 1
    return [
        *lines,
        f"{t} acc[{block}];",
        f"for (int c = 0; c < m; ++c) acc[c] = {p.neutral()};",
        "long gr_r = begin;",
        *(rows_loop(many) if many > 1 else []),
        *rows_loop(1),
        f"for (int c = 0; c < m; ++c) {{ {result('first + c', 'acc[c]')} }}",
    ]


def _column(p: Pieces, element: Element, kept: Any, reduced: Any, result: Any) -> list[str]:
    """One output, for one work-item of many: neighbours read neighbours."""
    element.lines = False
    return [
        f"const long base = {flat_offset(kept, 'unit')};",
        f"{p.type} acc = {p.neutral()};",
        "for (long gr_r = begin; gr_r < end; ++gr_r) {",
        *indented(element.begin(f"base + {flat_offset(reduced, 'gr_r')}"), 1),
        *indented(element.value("v", "0", 1), 1),
        f"    acc = {p.combine('acc', 'v')};",
        "}",
        result("to + unit", "acc"),
    ]


def _group_row(p: Pieces, element: Element, kept: Any, reduced: Any, result: Any) -> list[str]:
    """One output, for a whole work-group: each item takes every so many-th element, then a tree."""
    element.lines = False
    return [
        "const uint gr_item = get_local_id(0);",
        f"const long base = {flat_offset(kept, 'unit')};",
        f"{p.type} acc = {p.neutral()};",
        "for (long gr_r = begin + gr_item; gr_r < end; gr_r += get_local_size(0)) {",
        *indented(element.begin(f"base + {flat_offset(reduced, 'gr_r')}"), 1),
        *indented(element.value("v", "0", 1), 1),
        f"    acc = {p.combine('acc', 'v')};",
        "}",
        "gr_local[gr_item] = acc;",
        "for (uint gr_half_group = get_local_size(0) / 2; gr_half_group; gr_half_group /= 2) {",
        "    barrier(CLK_LOCAL_MEM_FENCE);",
        "    if (gr_item < gr_half_group)",
        f"        gr_local[gr_item] = {p.combine('gr_local[gr_item]', 'gr_local[gr_item + gr_half_group]')};",
        "}",
        f"if (gr_item == 0) {{ {result('to + unit', 'gr_local[0]')} }}",
        "barrier(CLK_LOCAL_MEM_FENCE);",
    ]


def _second_stage(p: Pieces, out: Spec, label: str) -> str:
    t = p.type
    return "\n".join([
        f"// {label}, second",
        f"__kernel void GR_KERNEL(__global const {t} *x, const ulong x_o, "
        f"{parameter(out.dtype, 'y', False)}, const ulong n, ",
        "const int gr_splits, const long gr_count) {",
        "    x += x_o; y += y_o;",
        "    GR_FOR(i, n) {",
        f"        {t} acc = x[i];",
        f"        for (int s = 1; s < gr_splits; ++s) {{ const {t} v = x[(ulong)s * n + i];"
        f" acc = {p.combine('acc', 'v')}; }}",
        f"        {store(out.dtype, 'y', 'i', p.finish('acc'))}",
        "    }",
        "}",
    ]) + "\n"  # fmt: skip
