"""Gradients of branches and loops: branches and loops again, which read what the forward ones have saved.

The gradient of a loop runs its iterations from the last to the first.  What the rules of the body's
operations ask for, the forward loop returns as arrays with a row for each iteration.  Since such a gradient
is a loop of the graph itself, it has gradients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.control.regions import own, saved_output
from graphrun.dtypes import int32
from graphrun.gradients import add_up, backward
from graphrun.graph.apply import apply, constant_op
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import get_op
from graphrun.graph.region import Region
from graphrun.ops.array import zeros_like
from graphrun.ops.state import constant
from graphrun.shapes import Shape

# Integer arithmetic that costs less again than its results would cost to keep; with it, shapes and places
# stay known where they were.
_COMPUTED_AGAIN = frozenset(
    "shape size rank add subtract multiply floordiv floormod cast stack concat strided_slice slice reshape"
    " squeeze expand_dims range maximum minimum less less_equal greater greater_equal equal not_equal"
    " logical_and logical_or logical_not identity fill".split()
)


def _differentiable(t: Tensor) -> bool:
    return t.dtype.is_floating or t.dtype.is_complex


class _Forward:
    """Stands values of a forward region in for a region of its gradient."""

    def __init__(self, op: Operation, region: Region) -> None:
        self._op = op
        self._region = region
        self._found: dict[Tensor, Tensor] = {}
        self.gradient: Region  # set once it is made

    def __call__(self, tensor: Tensor) -> Tensor | None:
        if tensor.op.region is not self._region:
            return None
        found = self._found.get(tensor)
        if found is None:
            graph = tensor.graph
            with self.gradient.entered(), graph.name_scope(None):
                found = self._again(tensor)
                if found is None:
                    found = self._saved(tensor)
            self._found[tensor] = found
        return found

    def _again(self, tensor: Tensor) -> Tensor | None:
        """The tensor computed once more, where that is better than to save it."""
        op = tensor.op
        if op.opdef is not constant_op:
            cheap = op.opdef.name in _COMPUTED_AGAIN and not op.opdef.stateful and len(op.outputs) == 1
            if not cheap or _differentiable(tensor):
                return None
            if op.opdef.name in ("shape", "size", "rank") and op.inputs[0]._shape is None:
                return None
        copy = tensor.graph.create_operation(
            op.opdef, op.inputs, op.attrs, op.name.rpartition("/")[2], op.value_attrs,
            None if not op.value_attrs else _known(op),
        )  # fmt: skip
        return copy.outputs[0]

    def _saved(self, tensor: Tensor) -> Tensor:
        raise NotImplementedError


def _known(op: Operation) -> dict[str, Any]:
    from graphrun.graph.apply import partial_value

    n = len(op.inputs) - len(op.value_attrs)
    known = {k: partial_value(t) for k, t in zip(op.value_attrs, op.inputs[n:], strict=True)}
    return {**op.attrs, **known}


# -- cond -----------------------------------------------------------------------------------------------


class _ForwardBranch(_Forward):
    def _saved(self, tensor: Tensor) -> Tensor:
        return saved_output(self._op, tensor, tensor._shape)


def cond_gradient(op: Operation, *dys: Tensor | None, needed: Sequence[bool]) -> list[Tensor | None]:
    """Gradient rule of `cond`."""
    graph = op.graph
    captures = [(k, t) for k, t in enumerate(op.inputs) if k and needed[k] and _differentiable(t)]
    branches: dict[str, Region] = {}
    founds: dict[str, list[Tensor | None]] = {}
    saved = op.attrs["saved"].tensors
    plain = len(op.outputs) - len(saved)
    with graph.name_scope("cond_grad"):
        for which in ("true", "false"):
            forward: Region = op.attrs[which]
            resolve = _ForwardBranch(op, forward)
            region = Region(graph, f"the gradient of {forward.kind}", resolve)
            resolve.gradient = branches[which] = region
            pairs = list(zip(forward.outputs, dys, strict=False))
            pairs += [(t, dy) for t, dy in zip(saved, dys[plain:], strict=False) if t.op.region is forward]
            ys = [y for y, dy in pairs if dy is not None and _differentiable(y)]
            seeds = [dy for y, dy in pairs if dy is not None and _differentiable(y)]
            with region.entered():
                stops = {t for _, t in captures} | set(forward.captures)
                founds[which] = backward(ys, [t for _, t in captures], seeds, stops)
        reached = [
            k for k in range(len(captures)) if any(founds[w][k] is not None for w in ("true", "false"))
        ]
        result: list[Tensor | None] = [None] * len(op.inputs)
        if not reached:
            return result
        for which, region in branches.items():
            with region.entered():
                outs = [founds[which][k] for k in reached]
                filled = [
                    zeros_like(captures[k][1]) if g is None else g for k, g in zip(reached, outs, strict=True)
                ]
            region.close(filled)
        specs = tuple(Spec(captures[k][1]._shape, captures[k][1].dtype) for k in reached)
        new = own(graph, op.opdef, [op.inputs[0]], branches, {"specs": specs}, "Merge")
        for k, g in zip(reached, new.outputs, strict=False):
            result[captures[k][0]] = g
    return result


cond_gradient.wants_needed = True  # type: ignore[attr-defined]

# -- while ----------------------------------------------------------------------------------------------


class _ForwardLoop(_Forward):
    index: Tensor  # which iteration it is

    def _saved(self, tensor: Tensor) -> Tensor:
        shape: Shape = None if tensor._shape is None else (None, *tensor._shape)
        array = saved_output(self._op, tensor, shape)
        return apply(get_op("read_row"), (array, self.index))


def while_gradient(op: Operation, *dys: Tensor | None, needed: Sequence[bool]) -> list[Tensor | None]:
    """Gradient rule of `while`."""
    graph = op.graph
    n: int = op.attrs["count"]
    nothing: list[Tensor | None] = [None] * len(op.inputs)
    if not op.attrs["back_prop"]:
        return nothing
    forward: Region = op.attrs["body"]
    carried = [i for i in range(n) if _differentiable(op.outputs[i])]
    wanted = [k for k in range(n, len(op.inputs)) if needed[k] and _differentiable(op.inputs[k])]
    captures = [op.inputs[k] for k in wanted]
    saved = [
        (t, dy) for t, dy in zip(op.attrs["saved"].tensors, dys[n + 1 :], strict=False) if dy is not None
    ]
    with graph.name_scope("while_grad"):
        one = constant(1, dtype=int32)
        starts: list[Tensor] = [op.outputs[n] - one]
        for i in carried:
            dy = dys[i]
            starts.append(zeros_like(op.outputs[i]) if dy is None else dy)
        starts += [zeros_like(t) for t in captures]
        resolve = _ForwardLoop(op, forward)
        body = Region(graph, f"the gradient of {forward.kind}", resolve)
        test = Region(graph, f"the condition of the gradient of {forward.kind}")
        resolve.gradient = body
        shapes: list[Shape] = [(), *[op.outputs[i]._shape for i in carried], *[t._shape for t in captures]]
        for region in (test, body):
            for t, shape in zip(starts, shapes, strict=True):
                region.parameter(shape, t.dtype)
        with test.entered():
            go_on = test.params[0] >= constant(0, dtype=int32)
        test.close([go_on])
        resolve.index = body.params[0]
        dxs = body.params[1 : 1 + len(carried)]
        totals = body.params[1 + len(carried) :]
        with body.entered():
            ys = [forward.outputs[i] for i in carried] + [t for t, _ in saved]
            seeds = [*dxs, *[apply(get_op("read_row"), (dy, body.params[0])) for _, dy in saved]]
            xs = [forward.params[i] for i in carried] + captures
            stops = set(forward.params) | set(forward.captures)
            founds = backward(ys, xs, seeds, stops)
            outs: list[Tensor] = [body.params[0] - constant(1, dtype=int32)]
            for g, dx in zip(founds, dxs, strict=False):
                outs.append(zeros_like(dx) if g is None else g)
            for g, total in zip(founds[len(carried) :], totals, strict=True):
                outs.append(total if g is None else add_up([total, g]))
        body.close(outs)
        specs = (*[Spec(s, t.dtype) for s, t in zip(shapes, starts, strict=True)], Spec((), int32))
        regions = {"test": test, "body": body}
        new = own(graph, op.opdef, starts, regions, {"specs": specs, "back_prop": True}, "Exit")
    result = nothing
    for i, g in zip(carried, new.outputs[1:], strict=False):
        result[i] = g
    for k, g, found in zip(wanted, new.outputs[1 + len(carried) :], founds[len(carried) :], strict=False):
        result[k] = None if found is None else g
    return result


while_gradient.wants_needed = True  # type: ignore[attr-defined]
