"""Kernels that read any element: the ones of `Index` descriptors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphrun.compiler.codegen.text import MIN_ROW, load, parameter, row_loops, store
from graphrun.graph.descriptor import Index, Spec


def index_kernel(
    descriptor: Index, in_specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], label: str
) -> str:
    """A kernel for an `Index`.  Arguments: the inputs, the output, ``ulong n``."""
    parameters = [parameter(s.dtype, f"x{k}", const=True) for k, s in enumerate(in_specs)]
    parameters += [parameter(out.dtype, "y", const=False), "const ulong n"]
    lines = [f"// {label}", f"__kernel void GR_KERNEL({', '.join(parameters)}) {{"]
    lines += [f"    x{k} += x{k}_o;" for k in range(len(in_specs))] + ["    y += y_o;"]
    loads = [f"#define LOAD{k}(k_) {load(s.dtype, f'x{k}', '(k_)')}" for k, s in enumerate(in_specs)]
    shape: Sequence[int] = out.shape  # type: ignore[assignment]
    coordinates = []
    rest = math.prod(shape)
    for d, size in enumerate(shape):
        rest = rest // size if size else 0
        text = f"(long)i / {rest}L" if rest > 1 else "(long)i"
        coordinates.append(f"const long c{d} = {f'({text}) % {size}L' if d else text}; (void)c{d};")
    code = descriptor.code(in_specs, out, attrs)
    body = [f"{out.dtype.compute} r;", *code.splitlines(), store(out.dtype, "y", "i", "r")]
    flat = ["    GR_FOR(i, n) {", *[f"        {line}" for line in (*coordinates, *body)], "    }"]
    width = shape[-1] if shape else 0
    lines += loads
    if width < MIN_ROW or 0 in shape:
        lines += [*flat, "}"]
    else:
        last = len(shape) - 1
        setup = [
            c.replace("(ulong)i", "gr_base").replace("(long)i", "(long)gr_base") for c in coordinates[:-1]
        ]
        along = [
            "for (ulong i = gr_from; i < gr_to; ++i) {",
            f"    const long c{last} = (long)(i - gr_base);",
            *[f"    {line}" for line in body],
            "}",
        ]
        lines += ["#if GR_CHUNKED", *row_loops(width, setup, along), "#else", *flat, "#endif", "}"]
    lines += [f"#undef LOAD{k}" for k in range(len(in_specs))]
    return "\n".join(lines) + "\n"
