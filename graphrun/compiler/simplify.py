"""Pass 6: algebraic rules that make a program smaller, and never change a bit of its results.

A rule looks at one node and returns a value to read in its place, or None.  Nothing here assumes that
numbers are finite: ``x * 0`` stays, since it is NaN for an infinite x, and so does ``x + 0.0``, which turns
-0.0 into 0.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun.compiler.ir import Node, Program, Value, constant_array, constant_node
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import get_op, registered_ops
from graphrun.shapes import normalize_axes

Rule = Callable[[Node, "_Builder"], Value | None]
RULES: dict[str, list[Rule]] = {}


class _Builder:
    """Makes nodes for rules, in front of the node that they replace."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def build(self, name: str, inputs: list[Value], attrs: dict[str, Any], like: Node) -> Value:
        op = get_op(name)
        node = Node(op, inputs, attrs, (), like.origin, like.device)
        node.specs = tuple(op.check(like.name, like.site, node.input_specs, attrs))
        self.nodes.append(node)
        return node, 0

    def constant(self, array: np.ndarray, like: Node) -> Value:
        node = constant_node(array, like.origin)
        self.nodes.append(node)
        return node, 0


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def add(function: Rule) -> Rule:
        for name in names:
            RULES.setdefault(name, []).append(function)
        return function

    return add


def simplify(program: Program) -> Program:
    """Run the pass."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        if replaced:
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        result: Value | None = None
        builder = _Builder()
        current = node
        # A rule's result may be a node to which another rule applies.
        while True:
            better = _apply(current, builder)
            if better is None:
                break
            result = better
            if better[1] != 0 or better[0] not in builder.nodes:
                break
            current = better[0]
        if result is None:
            nodes.append(node)
        else:
            nodes += builder.nodes
            replaced[(node, 0)] = result
    program.nodes = nodes
    if replaced:
        program.replace(replaced)
        program.remove_dead()
    return program


def _apply(node: Node, builder: _Builder) -> Value | None:
    for candidate in RULES.get(node.op.name, ()):
        found = candidate(node, builder)
        if found is not None:
            return found
    return None


def _spec(value: Value) -> Spec:
    return value[0].specs[value[1]]


def _is_scalar_value(value: Value, number: float) -> bool:
    array = constant_array(value)
    return array is not None and array.size == 1 and array.reshape(-1)[0] == number


def _filled_with(value: Value, number: float) -> bool:
    """Whether every element is known to be `number`."""
    node = value[0]
    if node.op.name == "broadcast_to":
        return _filled_with(node.inputs[0], number)
    if node.op.name == "fill":
        return bool(node.attrs["value"].array == number)
    array = constant_array(value)
    if array is None or array.size == 0:
        return False
    return bool(array.reshape(-1)[0] == number and (array.size == 1 or np.all(array == number)))


@rule("identity", "stop_gradient")
def drop_identity(node: Node, _: _Builder) -> Value | None:
    """identity(x) -> x: every value of a program is read-only anyway."""
    return node.inputs[0]


@rule("multiply")
def multiply_by_one(node: Node, _: _Builder) -> Value | None:
    """x * 1 -> x: exact for every x, NaN and -0.0 included."""
    a, b = node.inputs
    if _filled_with(b, 1) and _spec(a) == node.specs[0]:
        return a
    if _filled_with(a, 1) and _spec(b) == node.specs[0]:
        return b
    return None


@rule("divide", "floordiv")
def divide_by_one(node: Node, _: _Builder) -> Value | None:
    """x / 1 -> x: exact; floordiv only for integers, since floor(x) differs from x."""
    if node.op.name == "floordiv" and not node.specs[0].dtype.is_integer:
        return None
    a, b = node.inputs
    return a if _filled_with(b, 1) and _spec(a) == node.specs[0] else None


@rule("subtract")
def subtract_zero(node: Node, _: _Builder) -> Value | None:
    """x - 0 -> x: exact, -0.0 - 0.0 is -0.0."""
    a, b = node.inputs
    zero = _filled_with(b, 0) and not np.any(np.signbit(_source(b)))
    return a if zero and _spec(a) == node.specs[0] else None


def _source(value: Value) -> Any:
    node = value[0]
    while node.inputs:
        node = node.inputs[0][0]
    return node.attrs["value"].array


@rule("add")
def add_integer_zero(node: Node, _: _Builder) -> Value | None:
    """n + 0 -> n for integers; not for floats, where -0.0 + 0.0 is 0.0."""
    if not node.specs[0].dtype.is_integer:
        return None
    a, b = node.inputs
    if _filled_with(b, 0) and _spec(a) == node.specs[0]:
        return a
    if _filled_with(a, 0) and _spec(b) == node.specs[0]:
        return b
    return None


@rule("pow")
def power_by_constant(node: Node, builder: _Builder) -> Value | None:
    """x ** 1 -> x and x ** 2 -> square(x): one exactly rounded multiplication in place of pow."""
    a, b = node.inputs
    if _spec(a) != node.specs[0]:
        return None
    if _filled_with(b, 1):
        return a
    if _filled_with(b, 2):
        return builder.build("square", [a], {}, node)
    return None


@rule("negative", "logical_not")
def twice_is_nothing(node: Node, _: _Builder) -> Value | None:
    """-(-x) -> x."""
    inner = node.inputs[0][0]
    return inner.inputs[0] if inner.op is node.op else None


@rule("cast")
def cast_to_same(node: Node, _: _Builder) -> Value | None:
    """cast(x, dtype of x) -> x."""
    return node.inputs[0] if _spec(node.inputs[0]) == node.specs[0] else None


@rule("reshape", "sum_to", "broadcast_to", "tile", "strided_slice", "slice", "pad", "expand_dims", "squeeze")
def same_shape(node: Node, _: _Builder) -> Value | None:
    """Operations that cannot do anything but copy where the shape stays the same."""
    if node.op.name == "strided_slice" and _spec(node.inputs[0]) == node.specs[0]:
        steps = node.attrs.get("strides") or ()
        if any(s < 0 for s in steps if s is not None):
            return None
    return node.inputs[0] if _spec(node.inputs[0]) == node.specs[0] else None


@rule("reshape", "expand_dims", "squeeze")
def reshape_of_reshape(node: Node, builder: _Builder) -> Value | None:
    """reshape(reshape(x)) -> reshape(x)."""
    inner = node.inputs[0][0]
    if inner.op.name not in ("reshape", "expand_dims", "squeeze"):
        return None
    source = inner.inputs[0]
    if _spec(source) == node.specs[0]:
        return source
    return builder.build("reshape", [source], {"shape": node.specs[0].shape}, node)


@rule("gather")
def gather_of_one_row(node: Node, builder: _Builder) -> Value | None:
    """A row at a known place is a view, as ``x[t]`` is in each step of an unrolled loop."""
    table, place = node.inputs
    at = constant_array(place)
    if at is None or at.shape != () or node.attrs.get("axis") != 0 or node.attrs.get("batch_dims"):
        return None
    rows = _spec(table).dims[0]
    i = int(at)
    i += rows if i < 0 and node.attrs.get("negative") else 0
    if not 0 <= i < rows:
        return None  # what is wrong with it is told, or not, where it runs
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask")
    bounds = {"begin": (i,), "end": (i + 1,), "strides": (1,), "shrink_axis_mask": 1}
    return builder.build("strided_slice", [table], bounds | dict.fromkeys(masks, 0), node)


@rule("transpose")
def transpose_to_nothing(node: Node, builder: _Builder) -> Value | None:
    """transpose with the identity -> x; of a transpose -> one transpose."""
    perm = _permutation(node)
    if perm == tuple(range(len(perm))):
        return node.inputs[0]
    inner = node.inputs[0][0]
    if inner.op.name == "transpose":
        before = _permutation(inner)
        return builder.build("transpose", [inner.inputs[0]], {"perm": tuple(before[p] for p in perm)}, node)
    return None


def _permutation(node: Node) -> tuple[int, ...]:
    rank = len(node.specs[0].shape or ())
    perm = node.attrs["perm"]
    # "reversed" stands where the rank was not known when the graph was built.
    return tuple(reversed(range(rank))) if perm == "reversed" else tuple(p % rank for p in perm)


@rule("sum", "mean", "max", "min", "prod", "any", "all")
def reduce_nothing(node: Node, builder: _Builder) -> Value | None:
    """A reduction over axes of length 1, or over none, is a reshape.

    A sum of floats still adds its element to 0, which turns -0.0 into 0.0.
    """
    x = node.inputs[0]
    shape = _spec(x).shape
    axes = normalize_axes(node.attrs.get("axis"), len(shape or ()))
    if any(shape[a] != 1 for a in axes) or _spec(x).dtype != node.specs[0].dtype:  # type: ignore[index]
        return None
    if _spec(x) != node.specs[0]:
        x = builder.build("reshape", [x], {"shape": node.specs[0].shape}, node)
    if node.op.name in ("sum", "mean") and node.specs[0].dtype.is_floating:
        zero = builder.constant(np.zeros((), node.specs[0].dtype.numpy), node)
        x = builder.build("add", [x, zero], {}, node)
    return x


@rule("add_n")
def add_one(node: Node, builder: _Builder) -> Value | None:
    """add_n of one is itself, of two an add."""
    if len(node.inputs) == 1:
        return node.inputs[0]
    if len(node.inputs) == 2:
        return builder.build("add", list(node.inputs), {}, node)
    return None


@rule("matmul")
def transpose_into_matmul(node: Node, builder: _Builder) -> Value | None:
    """matmul(transpose(a), b) -> matmul(a, b, transpose_a): the kernels read either order."""
    attrs = dict(node.attrs)
    inputs = list(node.inputs)
    changed = False
    for i, flag in ((0, "transpose_a"), (1, "transpose_b")):
        inner = inputs[i][0]
        if inner.op.name != "transpose":
            continue
        perm = _permutation(inner)
        n = len(perm)
        if n >= 2 and perm == (*range(n - 2), n - 1, n - 2):
            attrs[flag] = not attrs.get(flag, False)
            inputs[i] = inner.inputs[0]
            changed = True
    return builder.build("matmul", inputs, attrs, node) if changed else None


def unknown_rules() -> list[str]:
    """Names in the table that no operation has."""
    return [name for name in RULES if name not in registered_ops()]
