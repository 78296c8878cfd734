"""Random programs of reads and writes against the definition of what a read sees.

The definition: a read has the value of the latest write among those that it waits for, through data or
control inputs; with none, that from before the run.  Writes to a variable follow each other in the order
in which they were made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

import graphrun as gr

ROWS, COLUMNS = 2, 3
VARIABLES = 3


class Model:
    """A program as graph nodes, with what each is worth in one run."""

    def __init__(self) -> None:
        self.variables = [
            gr.Variable(np.full((ROWS, COLUMNS), k + 1.0, np.float32), name=f"v{k}") for k in range(VARIABLES)
        ]
        self.nodes: list[Any] = []  # tensors and operations
        self.rules: list[Any] = []  # of each: (values, writes, before) -> value
        self.after: list[frozenset[int]] = []  # of each: the writes that it waits for
        self.writes: list[tuple[int, int]] = []  # node and variable, in the order of creation

    def add(self, node: Any, rule: Any, waits: frozenset[int]) -> int:
        self.nodes.append(node)
        self.rules.append(rule)
        self.after.append(waits)
        return len(self.nodes) - 1

    def tensors(self) -> list[int]:
        return [i for i, n in enumerate(self.nodes) if isinstance(n, gr.Tensor)]

    def read(self, k: int, controls: list[int]) -> None:
        waits = frozenset().union(*[self.after[c] for c in controls]) if controls else frozenset()
        with gr.control_dependencies([self.nodes[c] for c in controls]):
            node = self.variables[k].read_value()
        seen = [w for w, variable in self.writes if variable == k and w in waits]
        source = seen[-1] if seen else None
        self.add(node, lambda v, b, s=source: b[k] if s is None else v[("state", s)], waits)

    def compute(self, kind: int, x: int, y: int) -> None:
        a, b = self.nodes[x], self.nodes[y]
        node, rule = [
            (lambda: a + b * 0.5, lambda v: v[x] + v[y] * 0.5),
            (lambda: gr.identity(a), lambda v: v[x]),
            (lambda: gr.reshape(gr.reshape(a, [COLUMNS, ROWS]) + 1.0, [ROWS, COLUMNS]), lambda v: v[x] + 1),
            (lambda: gr.transpose(gr.transpose(a)), lambda v: v[x]),
            (lambda: a * gr.reduce_mean(b, 0, keepdims=True), lambda v: v[x] * v[y].mean(0, keepdims=True)),
            (lambda: gr.concat([a[1:], b[:1]], 0), lambda v: np.concatenate([v[x][1:], v[y][:1]])),
        ][kind]
        waits = self.after[x] if kind in (1, 2, 3) else self.after[x] | self.after[y]  # those do not read b
        self.add(node(), lambda v, before: rule(v), waits)  # type: ignore[no-untyped-call]

    def write(self, kind: int, k: int, x: int, controls: list[int]) -> None:
        value, variable = self.nodes[x], self.variables[k]
        earlier = [w for w, other in self.writes if other == k]
        waits = self.after[x].union(*[self.after[c] for c in controls])
        with gr.control_dependencies([self.nodes[c] for c in controls]):
            node = [variable.assign, variable.assign_add, variable.assign_sub][kind](value * 0.5)
        number = len(self.nodes)

        def rule(v: Any, before: Any) -> Any:
            # Writes that are not part of the run are not in the chain.
            chain = [v[("state", w)] for w in earlier if ("state", w) in v]
            old = chain[-1] if chain else before[k]
            new = [v[x] * 0.5, old + v[x] * 0.5, old - v[x] * 0.5][kind]
            v[("state", number)] = new
            return new

        self.add(node, rule, waits | {number})
        self.writes.append((number, k))

    def wait(self, controls: list[int]) -> None:
        node = gr.group(*[self.nodes[c] for c in controls])
        self.add(node, lambda v, b: None, frozenset().union(*[self.after[c] for c in controls]))

    def run(self, needed: set[int], before: list[Any]) -> tuple[dict[Any, Any], list[Any]]:
        values: dict[Any, Any] = {}
        for i in sorted(needed):
            values[i] = self.rules[i](values, before)
        after = list(before)
        for w, k in self.writes:
            if w in needed:
                after[k] = values[("state", w)]
        return values, after

    def closure(self, fetched: list[int]) -> set[int]:
        """The nodes that run, by the graph's own edges."""
        number = {(n.op if isinstance(n, gr.Tensor) else n): i for i, n in enumerate(self.nodes)}
        found: set[Any] = set()
        stack = [self.nodes[i].op if isinstance(self.nodes[i], gr.Tensor) else self.nodes[i] for i in fetched]
        while stack:
            op = stack.pop()
            if op not in found:
                found.add(op)
                stack += [t.op for t in op.inputs] + list(op.control_inputs)
        return {number[op] for op in found if op in number}


@st.composite
def programs(draw: Any) -> Any:
    """A list of steps; indices are taken modulo what there is."""
    small = st.integers(0, 99)
    step = st.one_of(
        st.tuples(st.just("read"), small, st.lists(small, max_size=2)),
        st.tuples(st.just("compute"), st.integers(0, 5), small, small),
        st.tuples(st.just("write"), st.integers(0, 2), small, small, st.lists(small, max_size=2)),
        st.tuples(st.just("wait"), st.lists(small, min_size=1, max_size=3)),
    )
    return draw(st.lists(step, min_size=3, max_size=14)), draw(st.lists(small, min_size=1, max_size=6))


def build(steps: Any) -> Model:
    model = Model()
    for k in range(VARIABLES):
        model.add(model.variables[k].op.outputs[0], lambda v, b, k=k: b[k], frozenset())
    for step in steps:
        count, tensors = len(model.nodes), model.tensors()
        if step[0] == "read":
            model.read(step[1] % VARIABLES, [c % count for c in step[2]])
        elif step[0] == "compute":
            model.compute(step[1], tensors[step[2] % len(tensors)], tensors[step[3] % len(tensors)])
        elif step[0] == "write":
            controls = [c % count for c in step[4]]
            model.write(step[1], step[2] % VARIABLES, tensors[step[3] % len(tensors)], controls)
        else:
            model.wait([c % count for c in step[1]])
    return model


@given(programs())
@example(([("write", 0, 1, 0, []), ("read", 0, []), ("compute", 1, 0, 3), ("read", 1, [5])], [6]))
@settings(max_examples=60, deadline=None)
def test_reads_see_what_the_definition_says(device: str, program: Any) -> None:
    steps, wanted = program
    with gr.Graph().as_default(), gr.Session(device=device, verify=True) as sess:
        model = build(steps)
        sess.run(gr.global_variables_initializer())
        before = [np.full((ROWS, COLUMNS), k + 1.0) for k in range(VARIABLES)]
        fetched = [w % len(model.nodes) for w in wanted]
        for _ in range(2):
            expected, before = model.run(model.closure(fetched), before)
            got = sess.run([model.nodes[i] for i in fetched])
            for i, value in zip(fetched, got, strict=True):
                if expected[i] is None:
                    assert value is None
                else:
                    np.testing.assert_allclose(value, expected[i], rtol=1e-4, atol=1e-5)
            for value, now in zip(sess.run(model.variables), before, strict=True):
                np.testing.assert_allclose(value, now, rtol=1e-4, atol=1e-5)
