"""The element that a reduction takes in: of one tensor, or computed by a fused group from several.

Elements come in runs: neighbours in the row-major order of the reduced tensor along which every operand
is a line, so that only the place where a run begins needs divisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphrun.compiler.codegen.statements import statements
from graphrun.compiler.codegen.text import load, load_line, mapped_index, parameter, row_width, vector
from graphrun.compiler.fusion import Group
from graphrun.graph.descriptor import Spec

# Runs that are shorter than this are not worth a loop of their own.
MIN_RUN = 4


class Element:
    """Where elements come from.

    Parameters
    ----------
    x : Spec
        Of the tensor that is reduced, which need not exist.
    mapped : callable
        ``mapped(value, lanes)`` is the reduction's own expression of an element.
    kind : str
        The compute type of `mapped`'s result.
    producer, in_specs
        The group whose result is the tensor; None where it lies in memory.
    """

    def __init__(
        self, x: Spec, mapped: Callable[[str, int], str], kind: str, producer: Group | None,
        in_specs: Sequence[Spec],
    ) -> None:  # fmt: skip
        self.x, self.mapped, self.kind, self.producer = x, mapped, kind, producer
        self.in_specs = tuple(in_specs) if producer is not None else (x,)
        self.maps = producer.maps if producer is not None else (None,)
        self.scalars = producer.scalars if producer is not None else []
        self.lines = True

    def parameters(self) -> list[str]:
        return [parameter(s.dtype, f"x{k}", const=True) for k, s in enumerate(self.in_specs)]

    def scalar_parameters(self) -> list[str]:
        return [f"const {dtype.compute} s{m}" for m, (_, dtype) in enumerate(self.scalars)]

    def setup(self) -> list[str]:
        """Statements at the start of the kernel."""
        lines = [f"x{k} += x{k}_o;" for k in range(len(self.in_specs))]
        for k, m in enumerate(self.maps):
            if m is not None and not any(m.strides):
                s = self.in_specs[k]
                at = mapped_index(m, "0")
                lines.append(f"const {s.dtype.compute} e{k} = {load(s.dtype, f'x{k}', at)};")
        return lines

    def run_length(self, length: int | None) -> int | None:
        """The longest run within `length` neighbours; None for any length (`length` may then be unknown).

        Where runs would be short, every element's place is computed, and any length will do.
        """
        width = row_width(self.maps)
        if width == 0:
            return None
        run = math.gcd(width, length) if length is not None else width
        if run < MIN_RUN:
            self.lines = False
            return None
        return run

    def begin(self, at: str) -> list[str]:
        """Statements at the start of a run whose first element has the flat index `at`."""
        lines = [f"const long gr_at = {at};"]
        for k, m in enumerate(self.maps):
            if self.lines and m is not None and any(m.strides):
                lines.append(f"const long b{k} = {mapped_index(m, 'gr_at')};")
        return lines

    def value(self, name: str, offset: str, lanes: int) -> list[str]:
        """Statements that make `name` of `lanes` elements, `offset` behind the start of the run."""
        kind = vector(self.kind, lanes)
        lines: list[str] = []
        names = []
        for k, (s, m) in enumerate(zip(self.in_specs, self.maps, strict=True)):
            a = f"{name}_a{k}"
            names.append(a)
            own = vector(s.dtype.compute, lanes)
            if m is None:
                lines.append(f"const {own} {a} = {load(s.dtype, f'x{k}', f'gr_at + {offset}', lanes)};")
            elif not any(m.strides):
                lines.append(f"const {own} {a} = ({own})e{k};")
            elif self.lines:
                step = m.strides[-1]
                at = (
                    f"b{k}"
                    if step == 0
                    else f"b{k} + {offset}"
                    if step == 1
                    else f"b{k} + ({offset}) * {step}L"
                )
                lines += load_line(s.dtype, f"x{k}", at, step, lanes, a)
            elif lanes == 1:
                lines += load_line(s.dtype, f"x{k}", mapped_index(m, f"(gr_at + {offset})"), 1, 1, a)
            else:
                each = load(s.dtype, f"x{k}", mapped_index(m, f"(gr_at + {offset} + gr_lane)"))
                lines += [
                    f"{s.dtype.compute} {a}_x[{lanes}];",
                    f"for (int gr_lane = 0; gr_lane < {lanes}; ++gr_lane) {a}_x[gr_lane] = {each};",
                    f"const {own} {a} = gr_vload{lanes}({a}_x);",
                ]
        if self.producer is None:
            result = names[0]
        else:
            scalars = [f"s{m}" for m in range(len(self.scalars))]
            inner, results = statements(self.producer, names, lanes, scalars, prefix=f"{name}_t")
            lines += inner
            result = results[0]
        return [*lines, f"const {kind} {name} = {self.mapped(result, lanes)};"]
