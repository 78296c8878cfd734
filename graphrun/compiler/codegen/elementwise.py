"""Kernels for fused groups of elementwise operations.

On CPUs a work-item goes through its chunk in vectors of `LANES` elements, on GPUs each takes `GRID_LANES`
neighbours at a time; what is left over at the end goes one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphrun.compiler.codegen.statements import statements
from graphrun.compiler.codegen.text import (
    AHEAD_BYTES,
    MIN_ROW,
    fetch,
    indented,
    load,
    load_line,
    mapped_index,
    parameter,
    row_loops,
    row_width,
    store,
    vector,
)
from graphrun.compiler.fusion import Group
from graphrun.graph.descriptor import Spec
from graphrun.shapes import num_elements

LANES = 16
GRID_LANES = 4
# An output of so many bytes goes past the caches: who reads it next would not find it there, and its lines
# need not be read before they are written.
PAST_CACHES_BYTES = 32 << 20
# What is larger may lie behind the second-level cache, and is asked for early.
FETCHED_BYTES = 256 << 10


def elementwise(
    group: Group, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int]
) -> str:
    """A kernel for a fused group; `in_place` tells which inputs lie where which outputs go.

    Arguments: each input but those in place, the outputs, the group's scalars, ``ulong n``.  An output with
    a place is written there from its pointer's offset on; the last stride of the place is 1.
    """
    return _Writer(group, in_specs, outs, in_place).text()


class _Writer:
    def __init__(
        self, group: Group, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int]
    ) -> None:
        self.group, self.in_specs, self.outs, self.in_place = group, in_specs, outs, in_place
        self.pointers = [f"y{in_place[k]}" if k in in_place else f"x{k}" for k in range(len(in_specs))]
        self.scalars = [f"s{m}" for m in range(len(group.scalars))]
        self.places = group.places or (None,) * len(outs)
        # One element for all is read once, outside of the loop.
        self.same = [m is not None and not any(m.strides) for m in group.maps]

    def text(self) -> str:
        group, in_specs, outs = self.group, self.in_specs, self.outs
        apart = [k for k in range(len(in_specs)) if k not in self.in_place]
        parameters = [parameter(in_specs[k].dtype, f"x{k}", const=True) for k in apart]
        parameters += [parameter(s.dtype, f"y{j}", const=False) for j, s in enumerate(outs)]
        parameters += [
            f"const {dtype.compute} {s}" for s, (_, dtype) in zip(self.scalars, group.scalars, strict=True)
        ]
        parameters.append("const ulong n")
        moved = [f"x{k}" for k in apart] + [f"y{j}" for j in range(len(outs))]
        lines = [f"// {group.label}", f"__kernel void GR_KERNEL({', '.join(parameters)}) {{"]
        lines += [f"    {p} += {p}_o;" for p in moved]
        for k, s in enumerate(in_specs):
            if self.same[k]:
                index = mapped_index(group.maps[k], "i")
                lines.append(f"    const {s.dtype.compute} c{k} = {load(s.dtype, self.pointers[k], index)};")
        width = row_width((*group.maps, *self.places))
        lines += ["#if GR_CHUNKED"]
        if width == 0:
            lines += ["    GR_SHARE(n)", *indented(self._along("gr_first", "gr_last", LANES), 1)]
        elif width < MIN_ROW:
            lines += ["    GR_FOR(i, n) {", *indented(self._body(1), 2), "    }"]
        else:
            lines += self._rows(width)
        lines += ["#else", *self._grid(width), "#endif", "}"]
        return "\n".join(lines) + "\n"

    def _body(self, lanes: int, lines_from: str | None = None) -> list[str]:
        """Load, compute and store `lanes` elements from ``i`` on.

        `lines_from` tells the index from which on every map is a line, whose first places are ``b<k>``.
        """
        body: list[str] = []
        names = []
        for k, s in enumerate(self.in_specs):
            m = self.group.maps[k]
            kind = vector(s.dtype.compute, lanes)
            names.append(f"a{k}")
            if self.same[k]:
                value = f"c{k}" if lanes == 1 else f"({kind})c{k}"
                body.append(f"const {kind} a{k} = {value};")
            elif m is None:
                body.append(f"const {kind} a{k} = {load(s.dtype, self.pointers[k], 'i', lanes)};")
                body += self._fetch(s, self.pointers[k], lanes)
            else:
                step = m.strides[-1]
                if lines_from is None:
                    at = mapped_index(m, "i")
                elif step == 0:
                    at = f"b{k}"
                else:
                    at = f"b{k} + (long)(i - {lines_from})" + (f" * {step}L" if step != 1 else "")
                body += load_line(s.dtype, self.pointers[k], at, step, lanes, f"a{k}")
        inner, results = statements(self.group, names, lanes, self.scalars)
        body += inner
        # Behind all loads, since an output may lie where an input does.
        for j, (s, t) in enumerate(zip(self.outs, results, strict=True)):
            m = self.places[j]
            if m is None:
                at = "i"
            elif lines_from is None:
                at = mapped_index(m, "i")
            else:
                at = f"p{j} + (long)(i - {lines_from})"
            lies_apart = m is None and j not in self.in_place.values()
            past_caches = lies_apart and _size_bytes(s) >= PAST_CACHES_BYTES
            if lies_apart and not past_caches:
                body += self._fetch(s, f"y{j}", lanes, to_write=True)
            body.append(store(s.dtype, f"y{j}", at, t, lanes, past_caches))
        return body

    def _fetch(self, spec: Spec, pointer: str, lanes: int, to_write: bool = False) -> list[str]:
        if lanes < LANES or _size_bytes(spec) < FETCHED_BYTES:
            return []
        return fetch(spec.dtype, pointer, f"i + {AHEAD_BYTES // spec.dtype.size_bytes}", lanes, to_write)

    def _along(self, first: str, last: str, lanes: int, lines_from: str | None = None) -> list[str]:
        """A loop over neighbours in vectors, and what is left over."""
        return [
            f"ulong i = {first};",
            f"for (; i + {lanes} <= {last}; i += {lanes}) {{",
            *indented(self._body(lanes, lines_from), 1),
            "}",
            "GR_REST",
            f"for (; i < {last}; ++i) {{",
            *indented(self._body(1, lines_from), 1),
            "}",
        ]

    def _rows(self, width: int) -> list[str]:
        """In a row each index is a line: where it begins is computed once."""
        bases = []
        for k, m in enumerate(self.group.maps):
            if m is not None and not self.same[k]:
                bases.append(f"const long b{k} = {mapped_index(m, 'gr_base')};")
        for j, m in enumerate(self.places):
            if m is not None:
                bases.append(f"const long p{j} = {mapped_index(m, 'gr_base')};")
        lanes = LANES if width >= LANES else 8 if width >= 8 else 4
        return row_loops(width, bases, self._along("gr_from", "gr_to", lanes, "gr_base"))

    def _grid(self, width: int) -> list[str]:
        if width % GRID_LANES:
            return ["    GR_FOR(i, n) {", *indented(self._body(1), 2), "    }"]
        lanes = GRID_LANES
        return [
            f"    GR_FOR(gr_v, n / {lanes}) {{",
            f"        const ulong i = gr_v * {lanes};",
            *indented(self._body(lanes), 2),
            "    }",
            f"    const ulong gr_rest = n / {lanes} * {lanes} + get_global_id(0);",
            "    for (ulong i = gr_rest; i < n; i += get_global_size(0)) {",
            *indented(self._body(1), 2),
            "    }",
        ]


def _size_bytes(spec: Spec) -> int:
    return num_elements(spec.dims) * spec.dtype.size_bytes
