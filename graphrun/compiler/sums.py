"""Pass: sums of many products become one product of joined operands.

The gradient of a weight that is used in each step of an unrolled loop is a sum of products ``a_t^T b_t``.
That is ``a^T b``, where a and b have the rows of all steps: one launch instead of one a step, and no result
for each step that has to be kept and added.  The gradient of a bias, a sum of column sums, is the column sum
of the same b.  The rows need not be copied together: `graphrun.compiler.homes` has them written there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphrun.compiler.ir import Node, Program, Value, attrs_key
from graphrun.compiler.rowviews import as_matrix, in_one_piece, some_rows
from graphrun.device_names import runs_kernels
from graphrun.graph.opdef import get_op
from graphrun.graph.traverse import topological_order

MIN_TERMS = 3
MAX_ADDED = 6  # inputs of one add_n
# Where more has to be joined than the separate results would take, joining is no gain.
MAX_JOINED_PER_RESULT = 2
MAX_JOINED_BYTES = 1 << 28


def sums(program: Program) -> Program:
    """Run the pass."""
    work = _Sums(program)
    for node in program.nodes:
        if _is_sum(node) and runs_kernels(node.device) and not work.is_inner(node):
            work.consider(node)
    if work.replaced:
        program.nodes += work.made
        program.replace(work.replaced)
        program.remove_dead()
        program.nodes = topological_order(program.nodes, lambda n: [p for p, _ in n.inputs])
    return program


class _Sums:
    def __init__(self, program: Program) -> None:
        self.place = {n: i for i, n in enumerate(program.nodes)}
        self.consumers = program.consumers()
        self.outputs = set(program.outputs())
        self.joined: dict[tuple[Value, ...], Value] = {}
        self.made: list[Node] = []
        self.replaced: dict[Value, Value] = {}

    def _read_once(self, node: Node) -> bool:
        return len(self.consumers.get((node, 0), ())) == 1 and (node, 0) not in self.outputs

    def is_inner(self, node: Node) -> bool:
        """Whether a sum is a term of another sum alone."""
        return self._read_once(node) and _is_sum(self.consumers[node, 0][0])

    def _terms(self, node: Node) -> list[Value]:
        terms: list[Value] = []
        stack = list(reversed(node.inputs))
        while stack:
            value = stack.pop()
            if _is_sum(value[0]) and value[0].device == node.device and self._read_once(value[0]):
                stack += reversed(value[0].inputs)
            else:
                terms.append(value)
        return terms

    def consider(self, node: Node) -> None:
        groups: dict[object, list[Value]] = {}
        rest: list[Value] = []
        terms = self._terms(node)
        for value in terms:
            term = value[0]
            if term.device == node.device and self._read_once(term) and _rows_are_summed(term):
                groups.setdefault((term.op.name, attrs_key(term.attrs)), []).append(value)
            else:
                rest.append(value)
        kept: list[Value] = list(rest)
        found = False
        # Products first: a sum of columns pays where its operands have been joined for one.
        for _, values in sorted(groups.items(), key=lambda item: item[1][0][0].op.name != "matmul"):
            made = self._joined_term(node, [n for n, _ in values]) if len(values) >= MIN_TERMS else None
            found |= made is not None
            kept += values if made is None else [made]
        if found:
            # Totals of loops begin with zeros.
            self.replaced[node, 0] = self._added(node, [v for v in kept if not _is_zero(v[0])])

    def _joined_term(self, node: Node, terms: list[Node]) -> Value | None:
        first = terms[0]
        # Against the order in which the last operand is computed: gradients come from the last step to the
        # first, and inputs that are rows of one value then follow each other as they lie.
        terms = sorted(terms, key=lambda t: -self.place[t.inputs[-1][0]])
        columns = list(zip(*(t.inputs for t in terms), strict=True))
        if any(len(set(c)) < len(c) for c in columns):
            return None
        apart = [c for c in columns if in_one_piece(c) is None]
        joined_bytes = sum(n.specs[i].dtype.size_bytes * _size((n, i)) for c in apart for n, i in c)
        known = all(c in self.joined for c in columns)
        result_bytes = _size((first, 0)) * first.specs[0].dtype.size_bytes * len(terms)
        if not known and joined_bytes > min(MAX_JOINED_PER_RESULT * result_bytes, MAX_JOINED_BYTES):
            return None
        joined = [self._join(node, c) for c in columns]
        new = Node(first.op, joined, first.attrs, (), node.origin, node.device)
        new.specs = tuple(new.op.check(node.name, node.site, new.input_specs, new.attrs))
        self.made.append(new)
        return new, 0

    def _join(self, node: Node, values: tuple[Value, ...]) -> Value:
        found = self.joined.get(values)
        rows = in_one_piece(values) if found is None else None
        if rows is not None:
            matrix = as_matrix(rows.source, rows.width, node, self.made)
            found = self.joined[values] = some_rows(matrix, rows.first, rows.rows, node, self.made)
        if found is None:
            op = get_op("concat")
            new = Node(op, values, {"axis": 0}, (), node.origin, node.device)
            new.specs = tuple(op.check(node.name, node.site, new.input_specs, new.attrs))
            self.made.append(new)
            found = self.joined[values] = (new, 0)
        return found

    def _added(self, node: Node, values: Sequence[Value]) -> Value:
        total, rest = values[0], list(values[1:])
        while rest:
            new = Node(
                get_op("add_n"), [total, *rest[: MAX_ADDED - 1]], {}, node.specs, node.origin, node.device
            )
            del rest[: MAX_ADDED - 1]
            self.made.append(new)
            total = new, 0
        return total


def _is_sum(node: Node) -> bool:
    """Whether it adds values of its own shape: the totals that unrolled loops carry are sums of two."""
    if node.op.name == "add_n":
        return True
    return node.op.name == "add" and all(s == node.specs[0] for s in node.input_specs)


def _is_zero(node: Node) -> bool:
    return node.op.name == "fill" and not node.attrs["value"].array.any()


def _size(value: Value) -> int:
    return math.prod(value[0].specs[value[1]].dims)


def _rows_are_summed(node: Node) -> bool:
    """Whether the result is a sum over the rows of each operand, in numbers that are as exact when joined."""
    if any(len(s.dims) != 2 or s.dtype.name not in ("float32", "float64") for s in node.input_specs):
        return False
    if node.op.name == "matmul":
        return bool(node.attrs.get("transpose_a")) and not node.attrs.get("transpose_b")
    return node.op.name == "sum" and node.attrs.get("axis") in (0, (0,))
