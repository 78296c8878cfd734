"""Pass 2: make the program pure, by turning variables and random streams into values.

* A variable's own tensor is its value from before the run.
* Writes to a variable follow each other in the order in which they were made, so that no `assign_add`
  is lost; the last one is what the run leaves.
* A `read_variable` sees the latest write among the operations that it waits for, through data or control
  inputs; with none, the value from before the run.
* A variable that has no value yet is read as what its initializer gives, where that runs too and was made
  before the reader: initializers may read other variables.
* What has an effect, as printing, takes an output of each effect that it waits for as a further input.
* A random operation becomes a pure one that takes the counter of its stream; the run leaves the counter
  advanced by what was drawn.

What ordered the program, control dependencies and the chain of writes, is data flow afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphrun.compiler.control import CONTROL, is_variable, purified
from graphrun.compiler.ir import ADVANCE, STATE, Node, Program, StateKey, Value, constant_node
from graphrun.dtypes import int64
from graphrun.errors import RuleError, UninitializedError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, get_op
from graphrun.shapes import Shape, format_shape, is_compatible, is_static

COUNTER_SPEC = Spec((), int64)
StateSpecs = Callable[[Operation], Spec | None]


def _assigned_rule(value: Spec, *, shape: Shape) -> tuple[Spec]:
    if not is_compatible(value.shape, shape):
        raise RuleError(
            f"a value of shape {format_shape(value.shape)} for a variable of shape {format_shape(shape)}",
            expected=f"a value of shape {format_shape(shape)}",
            fix="validate_shape=False lets gr.assign change a variable's shape",
        )
    return (value,)


# Checks an assigned value once its shape is known; `specialize` takes it out again.
ASSIGNED = OpDef("assign", _assigned_rule, None, input_names=("value",))


def uninitialized(variable: Operation, others: int = 0) -> UninitializedError:
    """The error of a variable that is read and has no value."""
    t = variable.outputs[0]
    more = f" (and {others} more)" if others else ""
    return UninitializedError(
        message(
            f"variable '{variable.name}' has no value in this session{more}",
            got=f"it is {format_shape(t._shape)} {t.dtype}",
            site=variable.site,
            fix="run gr.global_variables_initializer() in this session first, when all variables are made; it"
            " sets all again, gr.variables_initializer([v]) only those that are named",
        )
    )


def purify(program: Program, node_of: dict[Operation, Node], state_spec: StateSpecs) -> Program:
    """Run the pass.

    `state_spec` returns the shape and dtype of the value that the session has for a variable, None where
    it has none.  It is asked only where the result depends on it, so a session knows for which answers a
    plan holds.
    """
    written: dict[Operation, int] = {}  # bits of the writes among what an operation waits for
    writes: dict[Operation, list[tuple[int, Value]]] = {}  # of a variable: bit and value, in order
    next_bit = 1
    nodes: list[Node] = [n for _, n in program.feeds]
    replaced: dict[Value, Value] = {}
    variables: dict[Value, Operation] = {}
    initial: dict[Operation, Value] = {}  # what the initializers of this run give
    effects: dict[Operation, tuple[Node, ...]] = {}  # the last ones among what an operation waits for
    fed = {t for t, _ in program.feeds}
    feed_node = dict(program.feeds)

    def current(v: Value) -> Value:
        # Only now, since an assign names its variable without reading it: it need not have a value yet.
        return before(variables[v]) if v in variables else replaced.get(v, v)

    def before(variable: Operation) -> Value:
        if variable in initial and state_spec(variable) is None:
            return initial[variable]
        return state(variable)

    def state(variable: Operation) -> Value:
        tensor = variable.outputs[0]
        if tensor in fed:
            return feed_node[tensor], 0
        key = StateKey(variable)
        if key not in program.states:
            spec: Spec | None = tensor.spec
            if not is_static(tensor._shape) or variable in variable.graph.free_shapes:
                spec = state_spec(variable)
            if spec is None:
                raise uninitialized(variable)
            node = Node(STATE, (), {"key": key}, (spec,), variable, variable.device)
            program.states[key] = node
            # It depends on nothing, so the front is in order for every later reader.
            nodes.insert(len(program.feeds), node)
        return program.states[key], 0

    def value_now(key: StateKey, mask: int, is_written: bool) -> Value:
        """What a branch or a loop finds in a state."""
        if key.kind == "counter":
            if key not in program.states:
                counter = Node(STATE, (), {"key": key, "initial": np.int64(0)}, (COUNTER_SPEC,), key.op)
                program.states[key] = counter
                nodes.insert(len(program.feeds), counter)
            return program.updates.get(key, (program.states[key], 0))
        chain = writes.get(key.op, ())
        seen = [v for bit, v in chain if is_written or bit & mask]
        return seen[-1] if seen else before(key.op)

    for op, node in node_of.items():
        mask = 0
        for t in op.inputs:
            if t not in fed:
                mask |= written.get(t.op, 0)
        for c in op.control_inputs:
            mask |= written.get(c, 0)
        kind = op.opdef.name
        before_it = _effects_before(op, fed, effects) if effects else ()
        if kind == "variable":
            variables[(node, 0)] = op
        elif kind == "read_variable":
            variable = op.inputs[0].op
            seen = [v for bit, v in writes.get(variable, ()) if bit & mask]
            replaced[(node, 0)] = seen[-1] if seen else before(variable)
        elif kind == "initialized_value":
            variable = op.inputs[0].op
            known = variable not in initial and state_spec(variable) is not None
            replaced[(node, 0)] = state(variable) if known else current(node.inputs[1])
        elif kind == "is_initialized":
            variable = op.inputs[0].op
            written_before = any(bit & mask for bit, _ in writes.get(variable, ()))
            answer = constant_node(np.array(written_before or state_spec(variable) is not None), op)
            nodes.append(answer)
            replaced[(node, 0)] = answer, 0
        elif op.opdef.writes is not None:
            variable = op.inputs[0].op
            value, *more = [current(v) for v in node.inputs[1:]]
            if op.opdef.writes:
                chain = writes.get(variable)
                old = chain[-1][1] if chain else before(variable)
                new = Node(
                    get_op(op.opdef.writes), (old, value, *more), node.attrs, (), op, op.device,
                    node.value_attrs,
                )  # fmt: skip
                data = new.input_specs[: len(new.inputs) - len(new.value_attrs)]
                new.specs = tuple(new.op.check(new.name, new.site, data, node.attrs))
                nodes.append(new)
                value = (new, 0)
            elif op.attrs["initializer"]:
                initial[variable] = value
            spec, shape = value[0].specs[value[1]], variable.outputs[0]._shape
            free = shape is None or variable in variable.graph.free_shapes
            if spec.shape != shape and (op.attrs["validate_shape"] if kind == "assign" else not free):
                check = Node(ASSIGNED, (value,), {"shape": shape}, (spec,), op, op.device)
                nodes.append(check)
                value = (check, 0)
            replaced[(node, 0)] = value
            writes.setdefault(variable, []).append((next_bit, value))
            program.updates[StateKey(variable)] = value
            mask |= next_bit
            next_bit <<= 1
        elif kind in CONTROL:
            # A variable that a region captures is read as a state; one that a loop starts with, or that a
            # branch is chosen by, is a value like others.
            values = {
                t: current(v)
                for i, (t, v) in enumerate(zip(op.inputs, node.inputs))
                if i < op.attrs["count"] or t in fed or not is_variable(t.op)
            }
            made = purified(op, values, fed, lambda p, n: purify(p, n, state_spec))
            for key in made.keys:
                made.node.inputs.append(value_now(key, mask, key in made.written))
            nodes.append(made.node)
            for i in range(len(op.outputs)):
                replaced[(node, i)] = (made.node, i)
            for k, key in enumerate(made.written):
                value = (made.node, len(op.outputs) + k)
                if key.kind == "variable":
                    writes.setdefault(key.op, []).append((next_bit, value))
                    mask |= next_bit
                    next_bit <<= 1
                program.updates[key] = value
        elif kind == "no_op":
            pass
        elif kind == "placeholder_with_default":
            # Not fed, or it would not be here; its own shape is what may be fed, not what the default has.
            replaced[(node, 0)] = current(node.inputs[0])
        elif op.opdef.pure is not None:
            nodes.extend(_random(program, node, op, [current(v) for v in node.inputs], replaced, nodes))
        else:
            node.inputs = [current(v) for v in node.inputs]
            if op.opdef.effect:
                node.inputs += [(n, 0) for n in before_it]
                node.attrs = {**node.attrs, "waits": len(before_it)}
                before_it = (node,)
            nodes.append(node)
        if mask:
            written[op] = mask
        if before_it:
            effects[op] = before_it
    program.nodes = nodes
    program.fetches = [None if v is None else current(v) for v in program.fetches]
    # A fetched assign names its variable too, and a variable that is merely named is not read.
    program.kept = [current(v) for v in program.kept if v not in variables]
    program.remove_dead()
    return program


def _effects_before(
    op: Operation, fed: set[Tensor], effects: dict[Operation, tuple[Node, ...]]
) -> tuple[Node, ...]:
    found: dict[Node, None] = {}
    for t in op.inputs:
        if t not in fed:
            found.update(dict.fromkeys(effects.get(t.op, ())))
    for c in op.control_inputs:
        found.update(dict.fromkeys(effects.get(c, ())))
    return tuple(found)


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
    for i in range(len(node.specs)):
        replaced[(node, i)] = (pure, i)
    program.updates[key] = (advance, 0)
    return [pure, advance]
