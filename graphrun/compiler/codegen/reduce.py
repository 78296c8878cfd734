"""Kernels that reduce over axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.compiler.codegen.text import fill, load, mapped_index, parameter, store
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Reduce, Spec

# Independent sums in a reduction: as many as a vector register holds, so that the compiler need not be
# allowed to reorder additions, and so that errors grow with the logarithm of the length at first.
LANES = 16


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


def _flat_offset(dims: Sequence[tuple[int, int]], i: str) -> str:
    return mapped_index(AffineMap(tuple(d for d, _ in dims), tuple(s for _, s in dims)), i)


def _pieces(reduce: Reduce, attrs: Mapping[str, Any], x: DType, out: DType) -> Mapping[str, Any]:
    compute = x.compute if not x.is_bool else out.compute
    neutral = reduce.neutral(x) if callable(reduce.neutral) else reduce.neutral

    def filled(code: str, **names: str) -> str:
        return fill(code, attrs, compute, out.compute, names, count="gr_count")

    return {
        "type": compute,
        "neutral": f"({compute})({filled(neutral, a='a')})",
        "map": lambda a: f"({compute})({filled(reduce.map, a=a)})",
        "combine": lambda p, q: f"({compute})({filled(reduce.combine, x=p, y=q)})",
        "finish": lambda p: f"({out.compute})({filled(reduce.finish, x=p)})",
    }


def reduce_kernel(
    reduce: Reduce, x: Spec, out: Spec, axes: Sequence[int], attrs: Mapping[str, Any], splits: int,
    stage: str, label: str,
) -> tuple[str, tuple[tuple[str, int], ...]]:  # fmt: skip
    """A kernel for one stage of a reduction, and the sizes that are its last arguments.

    `stage` "all" reduces completely; "first" leaves ``splits`` partial results for each output, laid out
    (splits, outputs), in the accumulator's type; "second" reduces those.  Arguments: input, output,
    ``ulong n`` (work units: outputs, or outputs times splits), then the sizes: what the size of the first
    axis decides is not in the text, so that another batch size needs no other kernel.
    """
    shape: Sequence[int] = x.shape  # type: ignore[assignment]
    kept, reduced = reduction_layout(shape, axes)
    length = math.prod(d for d, _ in reduced)
    outputs = math.prod(d for d, _ in kept)
    # The mean of an empty axis divides by zero, so the count must not be rounded up to one.
    count = math.prod(shape[a] for a in axes)
    p = _pieces(reduce, attrs, x.dtype, out.dtype)
    t = p["type"]
    lines = [f"// {label}, {stage}"]
    if stage == "second":
        lines += [
            f"__kernel void GR_KERNEL(__global const {t} *x, const ulong x_o, "
            f"{parameter(out.dtype, 'y', False)}, const ulong n, ",
            "const int gr_splits, const long gr_count) {",
            "    x += x_o; y += y_o;",
            "    GR_FOR(i, n) {",
            f"        {t} acc = x[i];",
            f"        for (int s = 1; s < gr_splits; ++s) {{ const {t} v = x[(ulong)s * n + i];"
            f" acc = {p['combine']('acc', 'v')}; }}",
            f"        {store(out.dtype, 'y', 'i', p['finish']('acc'))}",
            "    }",
            "}",
        ]
        return "\n".join(lines) + "\n", (("int", splits), ("long", count))
    partial = stage == "first"
    out_parameter = (
        f"__global {t} *restrict y, const ulong y_o" if partial else parameter(out.dtype, "y", False)
    )

    def result(at: str, value: str) -> str:
        return f"y[{at}] = {value};" if partial else store(out.dtype, "y", at, p["finish"](value))

    lines += [
        f"__kernel void GR_KERNEL({parameter(x.dtype, 'x', True)}, {out_parameter}, const ulong n,",
        "    const ulong gr_units, const long gr_outputs, const long gr_length, const long gr_part,",
        "    const long gr_count) {",
        "    x += x_o; y += y_o;",
    ]
    share = -(-length // splits) if partial else length
    units = column_units(shape, axes)
    if units is not None:
        lines += _column_loop(p, x.dtype, kept, reduced, partial, result)
    else:
        units = max(outputs, 1)
        lines += _row_loop(p, x.dtype, kept, reduced, share, partial, result)
    sizes = (
        ("ulong", units), ("long", outputs), ("long", length), ("long", share), ("long", count),
    )  # fmt: skip
    return "\n".join([*lines, "}"]) + "\n", sizes


def _row_loop(
    p: Mapping[str, Any], dtype: DType, kept: Any, reduced: Any, share: int, partial: bool,
    result: Callable[[str, str], str],
) -> list[str]:  # fmt: skip
    """One work unit for each output: LANES sums run side by side along the reduced elements."""
    t = p["type"]
    element = lambda r: p["map"](load(dtype, "x", f"base + {_flat_offset(reduced, r)}"))  # noqa: E731
    lines = ["    GR_UNITS(u, n) {"]
    if partial:
        lines += [
            "        const ulong i = u % gr_units; const ulong part = u / gr_units;",
            "        const long begin = part * gr_part;",
            "        const long end = min(begin + gr_part, gr_length);",
        ]
    else:
        lines += ["        const ulong i = u;", "        const long begin = 0, end = gr_length;"]
    lines += [f"        const long base = {_flat_offset(kept, 'i')};", f"        {t} acc = {p['neutral']};"]
    if share >= 2 * LANES:
        lines += [
            "        long r = begin;",
            f"        if (end - begin >= {LANES}) {{",
            f"            {t} lane[{LANES}];",
            f"            for (int l = 0; l < {LANES}; ++l) lane[l] = {p['neutral']};",
            f"            for (; r + {LANES} <= end; r += {LANES})",
            f"                for (int l = 0; l < {LANES}; ++l) {{",
            f"                    const {t} v = {element('(r + l)')};",
            f"                    lane[l] = {p['combine']('lane[l]', 'v')};",
            "                }",
            f"            for (int w = {LANES // 2}; w; w /= 2)",
            "                for (int l = 0; l < w; ++l)",
            f"                    lane[l] = {p['combine']('lane[l]', 'lane[l + w]')};",
            "            acc = lane[0];",
            "        }",
            "        for (; r < end; ++r) {",
        ]
    else:
        lines += ["        for (long r = begin; r < end; ++r) {"]
    lines += [
        f"            const {t} v = {element('r')};",
        f"            acc = {p['combine']('acc', 'v')};",
        "        }",
        f"        {result('u', 'acc')}",
        "    }",
    ]
    return lines


# Outputs that one work unit carries side by side where they are neighbours in memory.
COLUMN_BLOCK = 64


def _column_loop(
    p: Mapping[str, Any], dtype: DType, kept: Any, reduced: Any, partial: bool,
    result: Callable[[str, str], str],
) -> list[str]:  # fmt: skip
    """One work unit for a block of neighbouring outputs: each reduced row adds to all of them."""
    t = p["type"]
    width = kept[-1][0]
    blocks = -(-width // COLUMN_BLOCK)
    outer_offset = _flat_offset(kept[:-1], "o") if len(kept) > 1 else "0"
    row = _flat_offset(reduced, "r")
    value = p["map"](load(dtype, "x", "at + l"))
    lines = ["    GR_UNITS(u, n) {"]
    if partial:
        lines += [
            "        const ulong unit = u % gr_units; const ulong part = u / gr_units;",
            "        const long begin = part * gr_part;",
            "        const long end = min(begin + gr_part, gr_length);",
            "        const long to = part * gr_outputs;",
        ]
    else:
        lines += ["        const ulong unit = u; const long begin = 0, end = gr_length; const long to = 0;"]
    lines += [
        f"        const long o = unit / {blocks}UL; const long c = (unit % {blocks}UL) * {COLUMN_BLOCK}L;",
        f"        const int m = min((long){COLUMN_BLOCK}, {width}L - c);",
        f"        const long base = {outer_offset} + c;",
        f"        {t} lane[{COLUMN_BLOCK}];",
        f"        for (int l = 0; l < {COLUMN_BLOCK}; ++l) lane[l] = {p['neutral']};",
        f"        if (m == {COLUMN_BLOCK}) {{",
        "            for (long r = begin; r < end; ++r) {",
        f"                const long at = base + {row};",
        f"                for (int l = 0; l < {COLUMN_BLOCK}; ++l) {{ const {t} v = {value};"
        f" lane[l] = {p['combine']('lane[l]', 'v')}; }}",
        "            }",
        "        } else {",
        "            for (long r = begin; r < end; ++r) {",
        f"                const long at = base + {row};",
        f"                for (int l = 0; l < m; ++l) {{ const {t} v = {value};"
        f" lane[l] = {p['combine']('lane[l]', 'v')}; }}",
        "            }",
        "        }",
        f"        const long first = to + o * {width}L + c;",
        f"        for (int l = 0; l < m; ++l) {{ {result('first + l', 'lane[l]')} }}",
        "    }",
    ]
    return lines


def column_units(shape: Sequence[int], axes: Sequence[int]) -> int | None:
    """Work units of the column form of a reduction; None where the row form is used."""
    kept, reduced = reduction_layout(shape, axes)
    if not kept or kept[-1][1] != 1 or math.prod(d for d, _ in reduced) <= 1:
        return None
    outputs = math.prod(d for d, _ in kept)
    return outputs // kept[-1][0] * -(-kept[-1][0] // COLUMN_BLOCK)


def arg_kernel(reduce: Reduce, x: Spec, out: Spec, axis: int, attrs: Mapping[str, Any], label: str) -> str:
    """A kernel for argmax and the like: the first index that nothing beats.

    Arguments: input, output, ``ulong n`` (outputs), ``long`` length of the axis.
    """
    shape: Sequence[int] = x.shape  # type: ignore[assignment]
    kept, reduced = reduction_layout(shape, (axis,))
    p = _pieces(reduce, attrs, x.dtype, x.dtype)
    t = x.dtype.compute
    at = f"base + {_flat_offset(reduced, 'r')}"
    return "\n".join([
        f"// {label}",
        f"__kernel void GR_KERNEL({parameter(x.dtype, 'x', True)}, {parameter(out.dtype, 'y', False)}, "
        "const ulong n, const long gr_length) {",
        "    x += x_o; y += y_o;",
        "    GR_UNITS(i, n) {",
        f"        const long base = {_flat_offset(kept, 'i')};",
        "        long best = 0;",
        f"        {t} top = {load(x.dtype, 'x', 'base')};",
        "        for (long r = 1; r < gr_length; ++r) {",
        f"            const {t} v = {load(x.dtype, 'x', at)};",
        f"            if ({p['combine']('top', 'v')}) {{ best = r; top = v; }}",
        "        }",
        f"        {store(out.dtype, 'y', 'i', 'best')}",
        "    }",
        "}",
    ]) + "\n"  # fmt: skip
