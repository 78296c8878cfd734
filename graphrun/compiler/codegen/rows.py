"""OpenCL C for row groups: softmax, layer norm, cross entropies and their like (see `compiler/rows.py`).

The row kernel passes over a row once for each reduction that waits for another.  What a later pass needs
again is computed again where that is cheap, else kept: in the output, where it is one, or in a scratch
row.  Two styles: on CPUs a work-item takes a row at a time, with vectors along it; on GPUs a work-group
does, with a tree in local memory for each reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphrun.compiler.codegen.reduce import Pieces, as_one
from graphrun.compiler.codegen.statements import instruction_lines
from graphrun.compiler.codegen.text import (
    AHEAD_BYTES,
    fetch,
    indented,
    literal,
    load,
    mapped_index,
    parameter,
    store,
    vector,
)
from graphrun.compiler.fusion import Instruction
from graphrun.compiler.rows import RowGroup, RowInstruction
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Spec

LANES = 16
# Values that cost no more are computed again in a later pass rather than kept.
CHEAP_FLOPS = 4
MAX_LITERALS = 24
# A pass that does little has as many accumulators, so that one vector need not wait for the one before.
ACCUMULATORS, LIGHT_FLOPS = 4, 4
SCRATCH_BYTES = 8  # for each column of a scratch row: the widest type
GPU_GROUP = 128


@dataclass
class _Pass:
    """One pass over a row: what it reduces, what it stores, and what it computes for these."""

    reductions: list[int] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)  # full instructions, in order
    loaded: list[int] = field(default_factory=list)  # full instructions kept by an earlier pass
    kept: list[int] = field(default_factory=list)  # instructions to keep for later passes


@dataclass
class RowSchedule:
    """The passes of a group, and which row instructions come before each.

    Attributes
    ----------
    scratch : dict of int to int
        Instructions that are kept in a scratch row, with the number of that row.
    """

    passes: list[_Pass]
    before: list[list[int]]
    scratch: dict[int, int]


def schedule(group: RowGroup) -> RowSchedule:
    """Divide a group into passes."""
    level: list[int] = []  # of an instruction: the pass in which its value is there
    for i in group.instructions:
        at = max((level[what] for kind, what in i.operands if kind == "t"), default=0)
        level.append(at + 1 if i.kind == "reduce" else at)
    count = max(level) + 1
    passes = [_Pass() for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for j, i in enumerate(group.instructions):
        if i.kind == "reduce":
            passes[level[j] - 1].reductions.append(j)
        elif i.kind == "row":
            before[level[j]].append(j)
        elif j in group.results:
            passes[level[j]].stores.append(j)
    kept_in: dict[int, int] = {}  # the pass that keeps an instruction
    computed_in: dict[int, int] = {}
    for number, p in enumerate(passes):
        needed: set[int] = set()
        stack = [what for r in p.reductions for kind, what in group.instructions[r].operands if kind == "t"]
        stack += p.stores
        while stack:
            j = stack.pop()
            instruction = group.instructions[j]
            if instruction.kind != "full" or j in needed:
                continue
            needed.add(j)
            earlier = computed_in.get(j)
            if earlier is not None and (_is_costly(instruction) or j in passes[earlier].stores):
                kept_in[j] = earlier
                p.loaded.append(j)
                continue
            stack += [what for kind, what in instruction.operands if kind == "t"]
        p.computed = sorted(needed - set(p.loaded))
        p.loaded.sort()
        for j in p.computed:
            computed_in.setdefault(j, number)
    scratch: dict[int, int] = {}
    for j, number in kept_in.items():
        if j not in passes[number].stores:
            scratch[j] = len(scratch)
            passes[number].kept.append(j)
    return RowSchedule(passes, before, scratch)


def _is_costly(instruction: RowInstruction) -> bool:
    return isinstance(instruction.code, Expr) and instruction.code.flops > CHEAP_FLOPS


def row_literals(group: RowGroup) -> list[tuple[Any, DType]]:
    """The literals that the kernel takes as arguments, so that kernels which differ in them are one."""
    found: dict[tuple[bytes, str], tuple[Any, DType]] = {}
    for i in group.instructions:
        for (kind, what), dtype in zip(i.operands, i.in_dtypes, strict=True):
            if kind == "lit":
                found.setdefault((what.tobytes(), dtype.name), (what, dtype))
    return list(found.values())[:MAX_LITERALS]


def overwrites(group: RowGroup) -> Callable[[int, int], bool]:
    """Whether an output may be written where an input lies: no pass behind the one that stores reads it."""
    plan = schedule(group)
    last: dict[int, int] = {}
    stored: dict[int, int] = {}
    for number, p in enumerate(plan.passes):
        for j in (*p.computed, *p.reductions):
            last.update({what: number for kind, what in group.instructions[j].operands if kind == "in"})
        stored.update(dict.fromkeys(p.stores, number))

    def may_share(k: int, output: int) -> bool:
        read, j = group.inputs[k], group.results[output]
        return not read.row and read.map is None and j in stored and last.get(k, 0) <= stored[j]

    return may_share


def row_kernel(
    group: RowGroup, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int], kind: str
) -> tuple[str, int]:
    """A kernel for a row group, and how many scratch rows it wants for each unit that runs.

    Arguments: the inputs but those that lie where outputs go (`in_place`), the outputs, the scratch where
    there is some, the literals, ``ulong n`` rows.  A unit is a work-item on CPUs and a work-group on GPUs; a
    scratch row has 8 bytes for each column.
    """
    return _Writer(group, in_specs, outs, in_place, kind).text()


class _Writer:
    def __init__(
        self, group: RowGroup, in_specs: Sequence[Spec], outs: Sequence[Spec], in_place: Mapping[int, int],
        kind: str,
    ) -> None:  # fmt: skip
        self.group = group
        self.in_specs = in_specs
        self.outs = outs
        self.gpu = kind == "gpu"
        self.apart = [k for k in range(len(in_specs)) if k not in in_place]
        self.pointers = [f"y{in_place[k]}" if k in in_place else f"x{k}" for k in range(len(in_specs))]
        self.plan = schedule(group)
        self.columns = group.columns
        self.literals = row_literals(group)
        self.output_of = {j: k for k, j in reversed(list(enumerate(group.results)))}
        self.lines: list[str] = []
        self.lanes = next(w for w in (LANES, 8, 4, 1) if w <= self.columns) if self._vectorizes() else 1

    def text(self) -> tuple[str, int]:
        group, plan = self.group, self.plan
        parameters = [parameter(self.in_specs[k].dtype, f"x{k}", True) for k in self.apart]
        parameters += [parameter(s.dtype, f"y{k}", False) for k, s in enumerate(self.outs)]
        if plan.scratch:
            parameters.append("__global char *restrict z, const ulong z_o")
        parameters += [f"const {dtype.compute} s{m}" for m, (_, dtype) in enumerate(self.literals)]
        parameters.append("const ulong n")
        add = self.lines.append
        add(f"// {group.label}, {self.columns} columns")
        add("#define gr_count " + f"{self.columns}L")
        add(f"__kernel void GR_KERNEL({', '.join(parameters)}) {{")
        for name in [f"x{k}" for k in self.apart] + [f"y{k}" for k in range(len(self.outs))]:
            add(f"    {name} += {name}_o;")
        unit = "get_group_id(0)" if self.gpu else "get_global_id(0)"
        for j, number in plan.scratch.items():
            storage = group.instructions[j].dtype.storage
            at = f"({unit} * {len(plan.scratch)} + {number}) * {self.columns * SCRATCH_BYTES}UL"
            add(f"    __global {storage} *const z{j} = (__global {storage} *)(z + z_o + {at});")
        if self.gpu:
            add("    const uint lid = get_local_id(0), lsize = get_local_size(0);")
            for t in sorted({self._pieces(j).type for p in plan.passes for j in p.reductions}):
                add(f"    __local {t} tree_{t}[{GPU_GROUP}];")
            add("    for (ulong row = get_group_id(0); row < n; row += get_num_groups(0)) {")
        else:
            add("    GR_UNITS(row, n) {")
        add(f"        const ulong base = row * {self.columns}UL;")
        self._row_inputs()
        for p, before in zip(plan.passes, plan.before, strict=True):
            for j in before:
                self.lines += indented(self._statement(j, 1), 2)
                self._store_row(j)
            self._loop(p)
        add("    }")
        add("}")
        add("#undef gr_count")
        return "\n".join(self.lines) + "\n", len(plan.scratch)

    # -- reading --------------------------------------------------------------------------------

    def _row_inputs(self) -> None:
        """What a row reads once: values of its own, and where its elements begin."""
        for k, (read, spec) in enumerate(zip(self.group.inputs, self.in_specs, strict=True)):
            line = ("0", 0) if read.row else self._line(read.map)
            if line is None or (read.map is None and not read.row):
                continue
            if line[1] == 0:
                at = mapped_index(read.map, "row") if read.row else line[0]
                value = load(spec.dtype, self.pointers[k], at)
                self.lines.append(f"        const {spec.dtype.compute} r{k} = {value};")
            else:
                self.lines.append(f"        const long b{k} = {line[0]};")

    def _line(self, m: AffineMap | None) -> tuple[str, int] | None:
        """Where a row of an input begins, and the step along it; None where a row is not a line."""
        if m is None:
            return "base", 1
        if not any(m.strides):
            return mapped_index(m, "base"), 0
        if 0 in m.dims or m.dims[-1] % self.columns:
            return None
        return mapped_index(m, "base"), m.strides[-1]

    def _element(self, k: int, lanes: int) -> str:
        """An input's elements at column c."""
        read, dtype = self.group.inputs[k], self.in_specs[k].dtype
        line = self._line(read.map)
        if line is None:
            return load(dtype, self.pointers[k], mapped_index(read.map, "(base + c)"))
        start = "base" if read.map is None else f"b{k}"
        at = f"{start} + c" if line[1] == 1 else f"{start} + (long)c * {line[1]}L"
        return load(dtype, self.pointers[k], at, lanes)

    def _vectorizes(self) -> bool:
        if self.gpu:
            return False
        for read in self.group.inputs:
            line = ("", 0) if read.row else self._line(read.map)
            if line is None or line[1] not in (0, 1):
                return False
        reductions = [j for p in self.plan.passes for j in p.reductions]
        return all(self._pieces(j).vectors for j in reductions)

    # -- computing ------------------------------------------------------------------------------

    def _names(self, instruction: RowInstruction, lanes: int) -> list[str]:
        names = []
        for (kind, what), dtype in zip(instruction.operands, instruction.in_dtypes, strict=True):
            if kind == "lit":
                name, one = self._literal(what, dtype), True
            elif kind == "t":
                name, one = f"t{what}", self.group.instructions[what].kind != "full"
            else:
                line = ("", 0) if self.group.inputs[what].row else self._line(self.group.inputs[what].map)
                one = line is not None and line[1] == 0
                name = f"r{what}" if one else f"a{what}"
            names.append(f"(({vector(dtype.compute, lanes)}){name})" if one and lanes > 1 else name)
        return names

    def _literal(self, value: Any, dtype: DType) -> str:
        for m, (known, known_dtype) in enumerate(self.literals):
            if known_dtype is dtype and known.tobytes() == value.tobytes():
                return f"s{m}"
        return literal(value, dtype)

    def _statement(self, j: int, lanes: int) -> list[str]:
        i = self.group.instructions[j]
        assert isinstance(i.code, Expr), "reductions are not statements"
        one = Instruction(i.op, i.code, i.attrs, i.operands, i.in_dtypes, i.dtype)
        return instruction_lines(one, self._names(i, lanes), lanes, f"t{j}")

    def _store_row(self, j: int) -> None:
        k = self.output_of.get(j)
        if k is not None:
            guard = "if (lid == 0) " if self.gpu else ""
            self.lines.append(f"        {guard}{store(self.outs[k].dtype, f'y{k}', 'row', f't{j}')}")

    def _loop(self, p: _Pass) -> None:
        add = self.lines.append
        if not (p.reductions or p.stores):
            return
        many = self._accumulators(p)
        for j in p.reductions:
            pieces = self._pieces(j)
            add(f"        {pieces.type} acc{j} = {pieces.neutral()};")
            if self.lanes > 1:
                each = ", ".join(f"{name} = {pieces.neutral(self.lanes)}" for name in _lanes_of(j, many))
                add(f"        {vector(pieces.type, self.lanes)} {each};")
        step = "c += lsize" if self.gpu else "++c"
        add(f"        {{ uint c = {'lid' if self.gpu else '0'};")
        if many > 1:
            add(f"        while (c + {many * self.lanes}U <= {self.columns}U) {{")
            for m in range(many):
                add("            {")
                self._body(p, self.lanes, m)
                self._fetch(p)
                add("            }")
                add(f"            c += {self.lanes}U;")
            add("        }")
        if self.lanes > 1:
            add(f"        for (; c + {self.lanes}U <= {self.columns}U; c += {self.lanes}U) {{")
            self._body(p, self.lanes)
            self._fetch(p)
            add("        }")
        if self.lanes == 1 or self.columns % self.lanes:
            if self.lanes > 1:
                add("        GR_REST")
            add(f"        for (; c < {self.columns}U; {step}) {{")
            self._body(p, 1)
            add("        }")
        add("        }")
        for j in p.reductions:
            self._finish(j, many)

    def _accumulators(self, p: _Pass) -> int:
        if self.lanes == 1 or p.stores or self.columns < 2 * ACCUMULATORS * self.lanes:
            return 1
        computed = [self.group.instructions[j].code for j in p.computed]
        light = sum(code.flops for code in computed if isinstance(code, Expr)) <= LIGHT_FLOPS
        return ACCUMULATORS if light and not p.kept and not p.loaded else 1

    def _fetch(self, p: _Pass) -> None:
        """In the pass before the last one, ask for what the next row reads and for what this one writes."""
        passes = [q for q in self.plan.passes if q.reductions or q.stores]
        if len(passes) < 2 or p is not passes[-2]:
            return
        ahead = -(-AHEAD_BYTES // (4 * self.columns)) * self.columns
        later = 0 if ahead == self.columns else ahead
        wanted = [
            (spec.dtype, self.pointers[k], "base" if read.map is None else f"b{k}", ahead, False)
            for k, (read, spec) in enumerate(zip(self.group.inputs, self.in_specs, strict=True))
            if not read.row and (read.map is None or (self._line(read.map) or ("", 0))[1] == 1)
        ]
        outputs = sorted({self.output_of[j] for q in passes[-1:] for j in q.stores})
        wanted += [(self.outs[k].dtype, f"y{k}", "base", later, True) for k in outputs]
        for dtype, pointer, start, distance, to_write in wanted:
            at = f"{start} + c + {distance}"
            self.lines += indented(fetch(dtype, pointer, at, self.lanes, to_write), 3)

    def _body(self, p: _Pass, lanes: int, number: int = 0) -> None:
        def add(line: str) -> None:
            self.lines.append(f"            {line}")

        read: set[int] = set()
        for j in (*p.computed, *p.reductions):
            read.update(what for kind, what in self.group.instructions[j].operands if kind == "in")
        for k in sorted(read):
            line = ("", 0) if self.group.inputs[k].row else self._line(self.group.inputs[k].map)
            if line is None or line[1]:
                t = vector(self.in_specs[k].dtype.compute, lanes)
                add(f"const {t} a{k} = {self._element(k, lanes)};")
        for j in p.loaded:
            dtype = self.group.instructions[j].dtype
            name = f"z{j} + c" if j in self.plan.scratch else f"y{self.output_of[j]} + base + c"
            add(f"const {vector(dtype.compute, lanes)} t{j} = {load(dtype, f'({name})', '0', lanes)};")
        for j in p.computed:
            self.lines += indented(self._statement(j, lanes), 3)
            if j in p.kept:
                add(store(self.group.instructions[j].dtype, f"z{j}", "c", f"t{j}", lanes))
        for j in p.stores:
            k = self.output_of[j]
            add(store(self.outs[k].dtype, f"y{k}", "base + c", f"t{j}", lanes))
        for j in p.reductions:
            i = self.group.instructions[j]
            pieces = self._pieces(j)
            acc = _lanes_of(j, number + 1)[-1] if lanes > 1 else f"acc{j}"
            mapped = pieces.map(self._names(i, lanes)[0], lanes)
            add(f"{acc} = {pieces.combine(acc, mapped, lanes)};")

    def _finish(self, j: int, many: int = 1) -> None:
        """From what the lanes, or the work-items of a group, have found to one value."""
        i, pieces = self.group.instructions[j], self._pieces(j)
        t = pieces.type
        add = self.lines.append
        if self.lanes > 1:
            self.lines += indented(as_one(pieces, _lanes_of(j, many), self.lanes, f"lane{j}_"), 2)
            add(f"        acc{j} = {pieces.combine(f'acc{j}', f'lane{j}_')};")
        if self.gpu:
            tree = f"tree_{t}"
            add("        barrier(CLK_LOCAL_MEM_FENCE);")
            add(f"        {tree}[lid] = acc{j};")
            add("        barrier(CLK_LOCAL_MEM_FENCE);")
            add("        for (uint w = lsize / 2; w > 0; w /= 2) {")
            joined = pieces.combine(f"{tree}[lid]", f"{tree}[lid + w]")
            add(f"            if (lid < w) {tree}[lid] = {joined};")
            add("            barrier(CLK_LOCAL_MEM_FENCE);")
            add("        }")
            add(f"        acc{j} = {tree}[0];")
        value = pieces.finish(f"acc{j}")
        if i.dtype.storage == "half":
            value = f"gr_half({value})"
        add(f"        const {i.dtype.compute} t{j} = {value};")
        self._store_row(j)

    def _pieces(self, j: int) -> Pieces:
        i = self.group.instructions[j]
        assert not isinstance(i.code, Expr), "an expression reduces nothing"
        return Pieces(i.code, i.attrs, i.in_dtypes[0], i.dtype)


def _lanes_of(j: int, many: int) -> list[str]:
    """The names of the accumulators of a reduction."""
    return [f"lanes{j}_{m}" if m else f"lanes{j}" for m in range(many)]
