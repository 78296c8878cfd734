"""Kernels for argmax and the like: the first index of what nothing beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphrun.compiler.codegen.element import Element
from graphrun.compiler.codegen.reduce import (
    ACCUMULATORS,
    LANES,
    Pieces,
    as_one,
    column_block,
    columns_loop,
    flat_offset,
    reduce_form,
    reduction_layout,
)
from graphrun.compiler.codegen.text import indented, load, parameter, store, vector
from graphrun.graph.descriptor import Reduce, Spec


def arg_kernel(
    reduce: Reduce, x: Spec, out: Spec, axis: int, attrs: Mapping[str, Any], label: str, kind: str = "cpu"
) -> str:
    """A kernel for an `arg` reduction.

    Arguments: input, output, ``ulong n`` (units: `reduce_units` over the axis, outputs where `kind` is not
    "cpu"), ``long`` length of the axis.
    """
    shape: Sequence[int] = x.shape  # type: ignore[assignment]
    kept, reduced = reduction_layout(shape, (axis,))
    p = Pieces(reduce, attrs, x.dtype, x.dtype)
    element = Element(x, lambda a, lanes: a, p.type, None, ())
    if reduce_form(shape, (axis,), kind) == "columns":
        body = _columns(p, element, kept, reduced, out, shape[axis])
    elif kind == "cpu" and p.vectors and shape[axis] >= LANES:
        body = _row(p, element, kept, out)
    else:
        body = _each(p, kept, reduced, x, out)
    return "\n".join([
        f"// {label}",
        f"__kernel void GR_KERNEL({parameter(x.dtype, 'x0', True)}, {parameter(out.dtype, 'y', False)}, "
        "const ulong n, const long gr_length) {",
        "    x0 += x0_o; y += y_o;",
        "    GR_UNITS(unit, n) {",
        *indented(body, 2),
        "    }",
        "}",
    ]) + "\n"  # fmt: skip


def _each(p: Pieces, kept: Any, reduced: Any, x: Spec, out: Spec) -> list[str]:
    at = f"base + {flat_offset(reduced, 'r')}"
    return [
        f"const long base = {flat_offset(kept, 'unit')};",
        "long best = 0;",
        f"{p.type} top = {load(x.dtype, 'x0', 'base')};",
        "for (long r = 1; r < gr_length; ++r) {",
        f"    const {p.type} v = {load(x.dtype, 'x0', at)};",
        f"    if ({p.beats('top', 'v')}) {{ best = r; top = v; }}",
        "}",
        store(out.dtype, "y", "unit", "best"),
    ]


def _row(p: Pieces, element: Element, kept: Any, out: Spec) -> list[str]:
    """First the best value, in vectors, then the first place where it stands: the row is in a cache then."""
    v = vector(p.type, LANES)
    step = LANES * ACCUMULATORS
    names = [f"acc{j}" for j in range(ACCUMULATORS)]
    lines = [*element.begin(flat_offset(kept, "unit")), "long c = 0;"]
    lines += [*element.value("top", "0", LANES), *(f"{v} {name} = top;" for name in names)]
    lines += [f"for (; c + {step} <= gr_length; c += {step}) {{"]
    for j in range(ACCUMULATORS):
        lines += indented(element.value(f"v{j}", f"(c + {LANES * j})", LANES), 1)
    lines += [f"    {name} = {p.combine(name, f'v{j}', LANES)};" for j, name in enumerate(names)]
    lines += [
        "}",
        f"for (; c + {LANES} <= gr_length; c += {LANES}) {{",
        *indented(element.value("v", "c", LANES), 1),
        f"    acc0 = {p.combine('acc0', 'v', LANES)};",
        "}",
        *as_one(p, names),
        f"{p.type} best = gr_all;",
        "for (; c < gr_length; ++c) {",
        *indented(element.value("v", "c", 1), 1),
        f"    best = {p.combine('best', 'v')};",
        "}",
        f"const {v} bests = ({v})best;",
        "long at = 0;",
        f"for (; at + {LANES} <= gr_length; at += {LANES}) {{",
        *indented(element.value("v", "at", LANES), 1),
        f"    if (any(({p.beats('v', 'bests', LANES)}) == (uchar{LANES})0)) break;",
        "}",
        "for (; at < gr_length; ++at) {",
        *indented(element.value("v", "at", 1), 1),
        f"    if (!({p.beats('v', 'best')})) break;",
        "}",
        store(out.dtype, "y", "unit", "at"),
    ]
    return lines


def _columns(p: Pieces, element: Element, kept: Any, reduced: Any, out: Spec, length: int) -> list[str]:
    """A block of columns side by side: the best of each so far, and where it was."""
    lines, block = column_block(kept, reduced)
    places = "int" if length < 2**31 else "long"

    def step(c: str, lanes: int) -> list[str]:
        if lanes == 1:
            return [
                *element.value("v", c, 1),
                f"if ({p.beats(f'top[{c}]', 'v')}) {{ top[{c}] = v; best[{c}] = ({places})gr_r; }}",
            ]
        kind, index = vector(p.type, lanes), vector(places, lanes)
        return [
            *element.value("v", c, lanes),
            f"const {kind} gr_top = gr_vload{lanes}(top + {c});",
            f"const {index} gr_best = gr_vload{lanes}(best + {c});",
            f"const uchar{lanes} gr_better = {p.beats('gr_top', 'v', lanes)};",
            f"gr_vstore{lanes}(gr_where_{kind}(gr_better, v, gr_top), top + {c});",
            f"gr_vstore{lanes}(gr_where_{index}(gr_better, ({index})({places})gr_r, gr_best), best + {c});",
        ]

    return [
        "const long to = 0;",
        *lines,
        f"{p.type} top[{block}];",
        f"{places} best[{block}];",
        "{",
        *indented(element.begin("base"), 1),
        "    for (int c = 0; c < m; ++c) {",
        *indented(element.value("v", "c", 1), 2),
        "        top[c] = v;",
        "        best[c] = 0;",
        "    }",
        "}",
        "for (long gr_r = 1; gr_r < gr_length; ++gr_r) {",
        *indented(element.begin(f"base + {flat_offset(reduced, 'gr_r')}"), 1),
        *indented(columns_loop(p, kept[-1][0], step), 1),
        "}",
        f"for (int c = 0; c < m; ++c) {{ {store(out.dtype, 'y', 'first + c', 'best[c]')} }}",
    ]
