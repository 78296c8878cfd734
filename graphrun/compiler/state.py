"""Pass 2: make the program pure, by turning variables and random streams into values.

* A variable's own tensor is its value from before the run.
* Writes to a variable follow each other in the order in which they were made, so that no `assign_add`
  is lost; the last one is what the run leaves.
* A `read_variable` sees the latest write among the operations that it waits for, through data or control
  inputs; with none, the value from before the run.
* A random operation becomes a pure one that takes the counter of its stream; the run leaves the counter
  advanced by what was drawn.

What ordered the program, control dependencies and the chain of writes, is data flow afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphrun.compiler.ir import ADVANCE, STATE, Node, Program, StateKey, Value
from graphrun.dtypes import int64
from graphrun.errors import ShapeError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation
from graphrun.graph.opdef import get_op
from graphrun.shapes import format_shape, is_compatible, is_static

COUNTER_SPEC = Spec((), int64)
StateSpecs = Callable[[Operation], Spec]


def purify(program: Program, node_of: dict[Operation, Node], state_spec: StateSpecs) -> Program:
    """Run the pass; `state_spec` returns the shape
    and dtype that a session holds for a variable, and raises where it has no value."""
    written: dict[Operation, int] = {}  # bits of the writes among what an operation waits for
    writes: dict[Operation, list[tuple[int, Value]]] = {}  # of a variable: bit and value, in order
    next_bit = 1
    nodes: list[Node] = [n for _, n in program.feeds]
    replaced: dict[Value, Value] = {}
    variables: dict[Value, Operation] = {}
    fed = {t for t, _ in program.feeds}
    feed_node = {t: n for t, n in program.feeds}

    def current(v: Value) -> Value:
        # Only now, since an assign names its variable without reading it: it need not have a value yet.
        return state(variables[v]) if v in variables else replaced.get(v, v)

    def state(variable: Operation) -> Value:
        tensor = variable.outputs[0]
        if tensor in fed:
            return feed_node[tensor], 0
        key = StateKey(variable)
        if key not in program.states:
            spec = tensor.spec
            if not is_static(spec.shape):
                spec = state_spec(variable)
            node = Node(STATE, (), {"key": key}, (spec,), variable, variable.device)
            program.states[key] = node
            # It depends on nothing, so the front is in order for every later reader.
            nodes.insert(len(program.feeds), node)
        return program.states[key], 0

    for op, node in node_of.items():
        mask = 0
        for t in op.inputs:
            if t not in fed:
                mask |= written.get(t.op, 0)
        for c in op.control_inputs:
            mask |= written.get(c, 0)
        kind = op.opdef.name
        if kind == "variable":
            variables[(node, 0)] = op
        elif kind == "read_variable":
            variable = op.inputs[0].op
            seen = [v for bit, v in writes.get(variable, ()) if bit & mask]
            replaced[(node, 0)] = seen[-1] if seen else state(variable)
        elif kind in ("assign", "assign_add", "assign_sub"):
            variable = op.inputs[0].op
            value = current(node.inputs[1])
            if kind != "assign":
                chain = writes.get(variable)
                before = chain[-1][1] if chain else state(variable)
                name = "add" if kind == "assign_add" else "subtract"
                new = Node(get_op(name), (before, value), {}, (op.outputs[0].spec,), op, op.device)
                nodes.append(new)
                value = (new, 0)
            _check_static(op, value)
            replaced[(node, 0)] = value
            writes.setdefault(variable, []).append((next_bit, value))
            program.updates[StateKey(variable)] = value
            mask |= next_bit
            next_bit <<= 1
        elif kind == "no_op":
            pass
        elif kind == "placeholder_with_default":
            # Not fed, or it would not be here; its own shape is what may be fed, not what the default has.
            replaced[(node, 0)] = current(node.inputs[0])
        elif op.opdef.pure is not None:
            nodes.extend(_random(program, node, op, [current(v) for v in node.inputs], replaced, nodes))
        else:
            node.inputs = [current(v) for v in node.inputs]
            nodes.append(node)
        if mask:
            written[op] = mask
    program.nodes = nodes
    program.fetches = [None if v is None else current(v) for v in program.fetches]
    program.remove_dead()
    return program


def _check_static(op: Operation, value: Value) -> None:
    """A shape that became known through the session's values must still fit the variable."""
    variable = op.inputs[0]
    if op.attrs.get("validate_shape", True) and not is_compatible(
        value[0].specs[value[1]].shape, variable._shape
    ):
        raise ShapeError(
            message(
                f"a value of shape {format_shape(value[0].specs[value[1]].shape)} is assigned to a variable"
                f" of shape {format_shape(variable._shape)}",
                where=op.label,
                site=op.site,
            )
        )


def _random(
    program: Program, node: Node, op: Operation, inputs: list[Value],
    replaced: dict[Value, Value], nodes: list[Node],
) -> list[Node]:  # fmt: skip
    key = StateKey(op, "counter")
    counter = Node(STATE, (), {"key": key, "initial": np.int64(0)}, (COUNTER_SPEC,), op, op.device)
    program.states[key] = counter
    nodes.insert(len(program.feeds), counter)
    pure = Node(
        get_op(op.opdef.pure or ""), [(counter, 0), *inputs], node.attrs, node.specs, op, op.device,
        node.value_attrs,
    )  # fmt: skip
    advance = Node(ADVANCE, [(counter, 0), (pure, 0)], {}, (COUNTER_SPEC,), op, op.device)
    replaced[(node, 0)] = (pure, 0)
    program.updates[key] = (advance, 0)
    return [pure, advance]
