"""What all generated kernels share: the prelude, literals, expressions, loads and stores, indices."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr

PRELUDE = """\
static inline float gr_half(const float a) {
    ushort bits;
    vstore_half(a, 0, (half *)&bits);
    return vload_half(0, (const half *)&bits);
}

// Vectors of halves go through a variable: PoCL 3.1 takes the address that vload_half8 and its like get for
// one of a whole vector, and faults where it is only one of a half.
#define GR_HALVES(N) \\
    static inline float##N gr_half##N(const float##N a) { \\
        ushort##N bits; \\
        vstore_half##N(a, 0, (half *)&bits); \\
        return vload_half##N(0, (const half *)&bits); \\
    } \\
    static inline float##N gr_load_half##N(__global const half *p) { \\
        const ushort##N bits = gr_vload##N((__global const ushort *)p); \\
        return vload_half##N(0, (const half *)&bits); \\
    } \\
    static inline void gr_store_half##N(const float##N a, __global half *p) { \\
        ushort##N bits; \\
        vstore_half##N(a, 0, (half *)&bits); \\
        gr_vstore##N(bits, (__global ushort *)p); \\
    }
GR_HALVES(2)
GR_HALVES(4)
GR_HALVES(8)
GR_HALVES(16)

#ifdef __clang__
#define GR_UNROLL _Pragma("unroll")
#else
#define GR_UNROLL
#endif

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


# What means the same of a vector as of a number: helpers, conversions, arithmetic and bitwise operators, but
# no comparison, no choice and no logical operator, whose results are of other types there.
UNSAFE = re.compile(r"[?<>=!%\[\]]|&&|\|\||(?<!\})\b(?!gr_|convert_|as_)[a-z_]\w*\(|\d\.\d*(?![\w.]*f)")
_VECTOR_CALL = re.compile(r"\bgr_[a-z0-9_]+_(float|double|u?char|short|u?int|u?long)(2|4|8|16)\(")


def vector(compute: str, lanes: int = 1) -> str:
    """The type of `lanes` values side by side."""
    return compute if lanes == 1 else f"{compute}{lanes}"


def vector_defines(texts: Sequence[str]) -> list[str]:
    """The macros that make ``math.cl`` define the vector helpers that are called in `texts`."""
    found = {m for text in texts for m in _VECTOR_CALL.findall(text)}
    names = {f"GR_VECTOR_{t if t in ('float', 'double') else 'int'}{lanes}" for t, lanes in found}
    return [f"#define {name} 1\n" for name in sorted(names)]


def expression(
    expr: Expr,
    attrs: Mapping[str, Any],
    in_dtypes: Sequence[DType],
    out_dtype: DType,
    names: Sequence[str],
    lanes: int = 1,
) -> str | None:
    """The C expression of an `Expr` with its operands' names put in; None where vectors cannot take it."""
    compute = next((d.compute for d in in_dtypes if not d.is_bool), out_dtype.compute)
    code = expr.code(attrs, in_dtypes, out_dtype) if callable(expr.code) else expr.code
    if lanes > 1 and UNSAFE.search(code):
        return None
    return fill(code, attrs, compute, out_dtype.compute, dict(zip("abcdef", names, strict=False)), lanes)


def fill(
    code: str,
    attrs: Mapping[str, Any],
    compute: str,
    out: str,
    names: Mapping[str, str],
    lanes: int = 1,
    **extra: Any,
) -> str:
    """Put types, attributes and operands into the text of a descriptor."""
    if "{" in code or "}" in code:
        values = {k: attribute(v, compute) for k, v in attrs.items()}
        code = code.format(**values, T=vector(compute, lanes), O=vector(out, lanes), **extra)
    code = _CALL.sub(lambda m: f"{m[1]}_{vector(compute, lanes)}(", code)
    pattern = _LETTER if set(names) <= set("abcdef") else re.compile(rf"\b({'|'.join(names)})\b(?!\()")
    return pattern.sub(lambda m: names.get(m[1], m[1]), code)


def indented(lines: Sequence[str], depth: int) -> list[str]:
    """The lines, further in."""
    return [f"{'    ' * depth}{line}" for line in lines]


def load(dtype: DType, pointer: str, index: str, lanes: int = 1) -> str:
    """Read one element, or `lanes` neighbours, in the compute type."""
    if lanes > 1:
        if dtype.storage == "half":
            return f"gr_load_half{lanes}({pointer} + {_sum(index)})"
        return f"gr_vload{lanes}({pointer} + {_sum(index)})"
    if dtype.storage == "half":
        return f"vload_half({index}, {pointer})"
    return f"{pointer}[{index}]"


def store(
    dtype: DType, pointer: str, index: str, value: str, lanes: int = 1, past_caches: bool = False
) -> str:
    """Write one element, or `lanes` neighbours, given in the compute type."""
    if lanes > 1:
        if past_caches and dtype.storage == "float":
            return f"gr_vstream{lanes}({value}, {pointer} + {_sum(index)});"
        if dtype.storage == "half":
            return f"gr_store_half{lanes}({value}, {pointer} + {_sum(index)});"
        return f"gr_vstore{lanes}({value}, {pointer} + {_sum(index)});"
    if dtype.storage == "half":
        return f"vstore_half({value}, {index}, {pointer});"
    return f"{pointer}[{index}] = {value};"


# So far ahead of where memory is read or written its lines are asked for: the memory would rest while a
# processor computes, and the other way round.
AHEAD_BYTES, LINE_BYTES = 4096, 64


def fetch(dtype: DType, pointer: str, index: str, lanes: int, to_write: bool = False) -> list[str]:
    """Ask for the lines of `lanes` neighbours that are read, or written, some time from now."""
    what = "gr_fetch_to" if to_write else "gr_fetch"
    elements = range(0, lanes, max(LINE_BYTES // dtype.size_bytes, 1))
    return [f"{what}({pointer} + {index}{f' + {k}' if k else ''});" for k in elements]


def load_line(dtype: DType, pointer: str, index: str, step: int, lanes: int, name: str) -> list[str]:
    """Statements that make `name` of `lanes` elements from `index` on, each `step` behind the one before."""
    kind = vector(dtype.compute, lanes)
    if lanes == 1:
        return [f"const {kind} {name} = {load(dtype, pointer, index)};"]
    if step == 0:
        return [f"const {kind} {name} = ({kind})({load(dtype, pointer, index)});"]
    if step == 1:
        return [f"const {kind} {name} = {load(dtype, pointer, index, lanes)};"]
    if step == -1:
        backwards = "s" + "".join(f"{lane:x}" for lane in reversed(range(lanes)))
        whole = load(dtype, pointer, f"{index} - {lanes - 1}", lanes)
        return [f"const {kind} {name} = {whole}.{backwards};"]
    each = load(dtype, pointer, f"{name}_at + gr_lane * {step}L")
    return [
        f"const long {name}_at = {index};",
        f"{dtype.compute} {name}_x[{lanes}];",
        f"for (int gr_lane = 0; gr_lane < {lanes}; ++gr_lane) {name}_x[gr_lane] = {each};",
        f"const {kind} {name} = gr_vload{lanes}({name}_x);",
    ]


def _sum(index: str) -> str:
    return index if index.isidentifier() else f"({index})"


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


def parameter(dtype: DType, name: str, const: bool, restrict: bool = True) -> str:
    qualifier = "const " if const else ""
    return (
        f"__global {qualifier}{dtype.storage} *{'restrict ' if restrict else ''}{name}, const ulong {name}_o"
    )


# Shorter rows are not worth a loop of their own.
MIN_ROW = 4


def row_width(maps: Sequence[AffineMap | None]) -> int:
    """The longest run of outputs along which every map is a line; 0 where there is no map to speak of."""
    width = 0
    for m in maps:
        if m is not None and any(m.strides) and 0 not in m.dims:
            width = math.gcd(width, m.dims[-1])
    return width


def row_loops(width: int, setup: Sequence[str], inner: Sequence[str]) -> list[str]:
    """A loop over rows of `width` outputs; `inner` goes from ``gr_from`` to ``gr_to`` along each."""
    return [
        "    GR_SHARE(n)",
        f"    for (ulong gr_row = gr_first / {width}UL; gr_row * {width}UL < gr_last; ++gr_row) {{",
        f"        const ulong gr_base = gr_row * {width}UL;",
        *[f"        {line}" for line in setup],
        "        const ulong gr_from = max(gr_first, gr_base);",
        f"        const ulong gr_to = min(gr_last, gr_base + {width}UL);",
        *[f"        {line}" for line in inner],
        "    }",
    ]
