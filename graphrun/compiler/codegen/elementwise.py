"""Kernels for fused groups of elementwise operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphrun.compiler.codegen.text import (
    MIN_ROW,
    expression,
    literal,
    load,
    mapped_index,
    parameter,
    row_loops,
    row_width,
    store,
)
from graphrun.compiler.fusion import Group
from graphrun.graph.descriptor import Spec


def elementwise(
    group: Group, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int]
) -> str:
    """A kernel for a fused group; `in_place` tells which inputs lie where which outputs go.

    Arguments: each input but those in place, the outputs, the group's scalars, ``ulong n``.
    """
    scalars = group.scalars
    pointers = [f"y{in_place[k]}" if k in in_place else f"x{k}" for k in range(len(in_specs))]
    apart = [k for k in range(len(in_specs)) if k not in in_place]
    parameters = [parameter(in_specs[k].dtype, f"x{k}", const=True) for k in apart]
    parameters += [parameter(s.dtype, f"y{j}", const=False) for j, s in enumerate(outs)]
    parameters += [f"const {dtype.compute} s{m}" for m, (_, dtype) in enumerate(scalars)]
    parameters.append("const ulong n")
    moved = [f"x{k}" for k in apart] + [f"y{j}" for j in range(len(outs))]
    setup = [f"    {p} += {p}_o;" for p in moved]
    body: list[str] = []
    hoisted: list[str] = []
    for k, s in enumerate(in_specs):
        m = group.maps[k]
        value = f"const {s.dtype.compute} a{k} = {load(s.dtype, pointers[k], mapped_index(m, 'i'))};"
        # One element for all is read once, outside of the loop.
        (hoisted if m is not None and not any(m.strides) else body).append(value)
    taken = 0
    for j, instruction in enumerate(group.instructions):
        names = []
        for (kind, what), dtype in zip(instruction.operands, instruction.in_dtypes, strict=True):
            if kind != "lit":
                names.append(f"a{what}" if kind == "in" else f"t{what}")
            elif scalars:
                names.append(f"s{taken}")
                taken += 1
            else:
                names.append(literal(what, dtype))
        code = expression(
            instruction.expr, instruction.attrs, instruction.in_dtypes, instruction.dtype, names
        )
        if instruction.dtype.storage == "half":
            code = f"gr_half({code})"  # NumPy rounds each result of a chain, not the last one alone
        body.append(f"const {instruction.dtype.compute} t{j} = ({instruction.dtype.compute})({code});")
    # Behind all loads, since an output may lie where an input does.
    for j, (s, t) in enumerate(zip(outs, group.results, strict=True)):
        body.append(store(s.dtype, f"y{j}", "i", f"t{t}"))
    lines = [f"// {group.label}", f"__kernel void GR_KERNEL({', '.join(parameters)}) {{", *setup]
    lines += [f"    {line}" for line in hoisted]
    flat = ["    GR_FOR(i, n) {", *[f"        {line}" for line in body], "    }"]
    width = row_width(group.maps)
    if width < MIN_ROW:
        return "\n".join([*lines, *flat, "}"]) + "\n"
    # In a row each index is a line: where it begins is computed once.
    bases: list[str] = []
    inner = list(body)
    for k, s in enumerate(in_specs):
        m = group.maps[k]
        if m is None or not any(m.strides):
            continue
        bases.append(f"const long b{k} = {mapped_index(m, 'gr_base')};")
        step = m.strides[-1]
        place = f"b{k}" if step == 0 else f"b{k} + (long)(i - gr_base)" + (f" * {step}L" if step != 1 else "")
        head = f"const {s.dtype.compute} a{k} = "
        value = f"{head}{load(s.dtype, pointers[k], place)};"
        inner = [value if line.startswith(head) else line for line in inner]
    lines += ["#if GR_CHUNKED", *row_loops(width, bases, inner), "#else", *flat, "#endif", "}"]
    return "\n".join(lines) + "\n"
