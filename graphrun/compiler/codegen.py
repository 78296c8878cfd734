"""OpenCL C from descriptors: elementwise groups, reductions and index kernels.

Each function returns the text of one kernel that is called ``GR_KERNEL``; the lowering gives it a name
made of its text, so that equal kernels are built once.  Every tensor is a pointer and a ``ulong`` offset
in elements.  A loop over ``n`` elements is written once as ``GR_FOR``: contiguous chunks for each
work-item on CPUs, where the inner loop vectorizes, and a grid stride on GPUs, where neighbours read
neighbours.  ``GR_UNITS`` is the same for larger pieces of work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.fusion import Group
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Index, Reduce, Spec

PRELUDE = """\
static inline float gr_half(const float a) {
    ushort bits;
    vstore_half(a, 0, (half *)&bits);
    return vload_half(0, (const half *)&bits);
}

#if GR_CHUNKED
#define GR_SHARE(n) \\
    const ulong gr_share = (((n) + get_global_size(0) - 1) / get_global_size(0) + 15) & ~(ulong)15; \\
    const ulong gr_first = get_global_id(0) * gr_share; \\
    const ulong gr_last = gr_first + gr_share < (n) ? gr_first + gr_share : (n);
#define GR_FOR(i, n) \\
    GR_SHARE(n) \\
    for (ulong i = gr_first; i < gr_last; ++i)
#define GR_UNITS(u, n) \\
    const ulong gr_share = ((n) + get_global_size(0) - 1) / get_global_size(0); \\
    const ulong gr_first = get_global_id(0) * gr_share; \\
    const ulong gr_last = gr_first + gr_share < (n) ? gr_first + gr_share : (n); \\
    for (ulong u = gr_first; u < gr_last; ++u)
#else
#define GR_FOR(i, n) for (ulong i = get_global_id(0); i < (n); i += get_global_size(0))
#define GR_UNITS(u, n) GR_FOR(u, n)
#endif
"""

# Independent sums in a reduction: as many as a vector register holds, so that the compiler need not be
# allowed to reorder additions, and so that errors grow with the logarithm of the length at first.
LANES = 16

_CALL = re.compile(r"\b(gr_[a-z0-9_]+)\(")
_LETTER = re.compile(r"\b([a-f])\b(?!\()")


def literal(value: Any, dtype: DType) -> str:
    """A C literal of the exact value, in the compute type of `dtype`."""
    if dtype.is_bool:
        return "((uchar)1)" if value else "((uchar)0)"
    if dtype.is_floating:
        x = float(value)
        if math.isnan(x):
            text = "NAN"
        elif math.isinf(x):
            text = "INFINITY" if x > 0 else "-INFINITY"
        else:
            text = x.hex() + ("" if dtype.compute == "double" else "f")
        return f"(({dtype.compute}){text})"
    x = int(value)
    if x == -(2**63):
        return "((long)(-9223372036854775807L - 1))"
    suffix = {"long": "L", "ulong": "UL", "uint": "U"}.get(dtype.compute, "")
    if dtype.compute == "int" and x == -(2**31):
        return "((int)(-2147483647 - 1))"
    return f"(({dtype.compute}){x}{suffix})"


def attribute(value: Any, compute: str) -> str:
    """An attribute of an operation as C text, in braces of an `Expr`."""
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    if isinstance(value, int | np.integer):
        return f"(({compute}){int(value)}{'L' if abs(int(value)) > 2**31 - 1 else ''})"
    if isinstance(value, float | np.floating):
        x = float(value)
        text = "NAN" if math.isnan(x) else ("-" if x < 0 else "") + "INFINITY" if math.isinf(x) else x.hex()
        return f"(({compute}){text})"
    if isinstance(value, DType):
        return value.compute
    return str(value)


def expression(
    expr: Expr, attrs: Mapping[str, Any], in_dtypes: Sequence[DType], out_dtype: DType, names: Sequence[str]
) -> str:
    """The C expression of an `Expr` with its operands' names put in."""
    compute = next((d.compute for d in in_dtypes if not d.is_bool), out_dtype.compute)
    code = expr.code(attrs, in_dtypes, out_dtype) if callable(expr.code) else expr.code
    return _fill(code, attrs, compute, out_dtype.compute, dict(zip("abcdef", names, strict=False)))


def _fill(
    code: str, attrs: Mapping[str, Any], compute: str, out: str, names: Mapping[str, str], **extra: Any
) -> str:
    if "{" in code or "}" in code:
        values = {k: attribute(v, compute) for k, v in attrs.items()}
        code = code.format(**values, T=compute, O=out, **extra)
    code = _CALL.sub(lambda m: f"{m[1]}_{compute}(", code)
    pattern = _LETTER if set(names) <= set("abcdef") else re.compile(rf"\b({'|'.join(names)})\b(?!\()")
    return pattern.sub(lambda m: names.get(m[1], m[1]), code)


def load(dtype: DType, pointer: str, index: str) -> str:
    """Read one element in its compute type."""
    if dtype.storage == "half":
        return f"vload_half({index}, {pointer})"
    return f"{pointer}[{index}]"


def store(dtype: DType, pointer: str, index: str, value: str) -> str:
    """Write one element given in its compute type."""
    if dtype.storage == "half":
        return f"vstore_half({value}, {index}, {pointer});"
    return f"{pointer}[{index}] = {value};"


def mapped_index(m: AffineMap | None, i: str) -> str:
    """The input's index for flat output index `i`."""
    if m is None:
        return i
    if 0 in m.dims:
        return "0"  # nothing is read
    terms = [f"{m.offset}L"] if m.offset else []
    rest = math.prod(m.dims)
    for k, (d, s) in enumerate(zip(m.dims, m.strides, strict=True)):
        rest //= d
        if s == 0:
            continue
        coordinate = f"(long)({i})" if rest == 1 else f"(long)({i}) / {rest}L"
        if k > 0:
            coordinate = f"({coordinate}) % {d}L"
        terms.append(f"({coordinate}) * {s}L" if s != 1 else f"({coordinate})")
    return " + ".join(terms) if terms else "0"


def _parameter(dtype: DType, name: str, const: bool, restrict: bool = True) -> str:
    qualifier = "const " if const else ""
    return (
        f"__global {qualifier}{dtype.storage} *{'restrict ' if restrict else ''}{name}, const ulong {name}_o"
    )


def elementwise(
    group: Group, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int]
) -> str:
    """A kernel for a fused group; `in_place` tells which inputs lie where which outputs go.

    Arguments: each input but those in place, the outputs, the group's scalars, ``ulong n``.
    """
    scalars = group.scalars
    pointers = [f"y{in_place[k]}" if k in in_place else f"x{k}" for k in range(len(in_specs))]
    apart = [k for k in range(len(in_specs)) if k not in in_place]
    parameters = [_parameter(in_specs[k].dtype, f"x{k}", const=True) for k in apart]
    parameters += [_parameter(s.dtype, f"y{j}", const=False) for j, s in enumerate(outs)]
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
    lines += ["#if GR_CHUNKED", *_row_loops(width, bases, inner), "#else", *flat, "#endif", "}"]
    return "\n".join(lines) + "\n"


# Shorter rows are not worth a loop of their own.
MIN_ROW = 4


def row_width(maps: Sequence[AffineMap | None]) -> int:
    """The longest run of outputs along which every map is a line; 0 where there is no map to speak of."""
    width = 0
    for m in maps:
        if m is not None and any(m.strides) and 0 not in m.dims:
            width = math.gcd(width, m.dims[-1])
    return width


def _row_loops(width: int, setup: Sequence[str], body: Sequence[str]) -> list[str]:
    """A loop over rows of `width` outputs and one along each, in which indices are lines: it vectorizes."""
    return [
        "    GR_SHARE(n)",
        f"    for (ulong gr_row = gr_first / {width}UL; gr_row * {width}UL < gr_last; ++gr_row) {{",
        f"        const ulong gr_base = gr_row * {width}UL;",
        *[f"        {line}" for line in setup],
        "        const ulong gr_from = max(gr_first, gr_base);",
        f"        const ulong gr_to = min(gr_last, gr_base + {width}UL);",
        "        for (ulong i = gr_from; i < gr_to; ++i) {",
        *[f"            {line}" for line in body],
        "        }",
        "    }",
    ]


def index_kernel(
    descriptor: Index, in_specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], label: str
) -> str:
    """A kernel for an `Index`.  Arguments: the inputs, the output, ``ulong n``."""
    parameters = [_parameter(s.dtype, f"x{k}", const=True) for k, s in enumerate(in_specs)]
    parameters += [_parameter(out.dtype, "y", const=False), "const ulong n"]
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
        along = [f"const long c{last} = (long)(i - gr_base);", *body]
        lines += ["#if GR_CHUNKED", *_row_loops(width, setup, along), "#else", *flat, "#endif", "}"]
    lines += [f"#undef LOAD{k}" for k in range(len(in_specs))]
    return "\n".join(lines) + "\n"


# ---- reductions ----------------------------------------------------------------------------------


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

    def fill(code: str, **names: str) -> str:
        return _fill(code, attrs, compute, out.compute, names, count="gr_count")

    return {
        "type": compute,
        "neutral": f"({compute})({fill(neutral, a='a')})",
        "map": lambda a: f"({compute})({fill(reduce.map, a=a)})",
        "combine": lambda p, q: f"({compute})({fill(reduce.combine, x=p, y=q)})",
        "finish": lambda p: f"({out.compute})({fill(reduce.finish, x=p)})",
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
            f"{_parameter(out.dtype, 'y', False)}, const ulong n, ",
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
        f"__global {t} *restrict y, const ulong y_o" if partial else _parameter(out.dtype, "y", False)
    )

    def result(at: str, value: str) -> str:
        return f"y[{at}] = {value};" if partial else store(out.dtype, "y", at, p["finish"](value))

    lines += [
        f"__kernel void GR_KERNEL({_parameter(x.dtype, 'x', True)}, {out_parameter}, const ulong n,",
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
        f"__kernel void GR_KERNEL({_parameter(x.dtype, 'x', True)}, {_parameter(out.dtype, 'y', False)}, "
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
