"""Reverse-mode differentiation, as nodes of the same graph; so gradients have gradients.

The driver walks once, backward, over the operations between `xs` and `ys`.  Rules are positional and
short, since the driver checks their arity, adds up what several consumers contribute, and sums a
gradient to the shape of an input that was broadcast.

References
----------
A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from graphrun.custom_gradients import users_rule
from graphrun.errors import GradientError, ShapeError, counted, format_site, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import no_gradient
from graphrun.ops.array import ones_like, shape, zeros_like
from graphrun.ops.indexed_slices import IndexedSlices, joined
from graphrun.ops.math import add_n
from graphrun.ops.reduce import sum_to_shape
from graphrun.ops.reshape import reshape
from graphrun.ops.state import Variable
from graphrun.shapes import Shape, format_shape, is_compatible, is_static

# Operations whose result is their first input: rows stay rows on the way back.
_PASSES_ROWS = {"identity", "read_variable", "initialized_value", "placeholder_with_default"}


class UnconnectedGradients:
    """What the gradient of something unconnected is."""

    NONE = "none"
    ZERO = "zero"


class AggregationMethod:
    """How gradients that meet are added: graphrun has one way, and takes all of these for it."""

    ADD_N = 0
    DEFAULT = ADD_N
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = UnconnectedGradients.NONE,
) -> list[Any]:
    """Return the derivatives of ``sum(ys)`` with respect to each of `xs`, as tensors of the graph.

    Parameters
    ----------
    ys, xs : tensor, variable or list of them
        `xs` may lie anywhere in the graph, not only at its inputs.
    grad_ys : tensor or list of tensors, optional
        The gradients that `ys` start with; ones by default.  Entries may be None.  They have the shapes of
        `ys`, but for axes of length 1, which TensorFlow's programs may have too many of.
    name : str
        Name scope of the new operations.
    stop_gradients : tensor or list of tensors, optional
        Tensors that count as constants: nothing flows through them to what they are made of.
    unconnected_gradients : {"none", "zero"}
        What to return for an x that no y depends on.
    colocate_gradients_with_ops, gate_gradients, aggregation_method
        Accepted for TensorFlow's sake; the compiler decides these things.

    Returns
    -------
    list of Tensor, IndexedSlices or None
        One for each of `xs`, with its shape and dtype: the rows that were touched where all that is read of
        an x is rows by their indices (`gr.gather`, `gr.nn.embedding_lookup`).

    Raises
    ------
    GradientError
        If an operation on the way has no gradient, or a y is not floating-point.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant(3.0)
    ...     dy, = gr.gradients(x * x, x)
    ...     d2y, = gr.gradients(dy, x)
    ...     print(*sess.run([dy, d2y]))
    6.0 2.0
    """
    y_list = _as_tensors(ys, "ys")
    x_list = _as_tensors(xs, "xs")
    stops = set(_as_tensors(stop_gradients, "stop_gradients"))
    if unconnected_gradients not in (UnconnectedGradients.NONE, UnconnectedGradients.ZERO):
        raise GradientError(
            message(f"unconnected_gradients={unconnected_gradients!r}", expected='"none" or "zero"')
        )
    if not y_list or not x_list:
        return [None] * len(x_list)
    graph = y_list[0].graph
    for t in (*y_list, *x_list):
        if t.graph is not graph:
            raise GradientError(
                message(f"'{t.name}' is in another graph than '{y_list[0].name}'", where="gradients",
                        site=t.op.site)
            )  # fmt: skip
    for y in y_list:
        if not (y.dtype.is_floating or y.dtype.is_complex):
            raise GradientError(
                message(f"'{y.name}' has dtype {y.dtype}", where="gradients", site=y.op.site,
                        expected="a floating-point tensor to differentiate", fix="use gr.cast")
            )  # fmt: skip
    with graph.as_default(), graph.name_scope(name or "gradients"):
        found = backward_to_rows(y_list, x_list, _seeds(y_list, grad_ys), stops)
        if unconnected_gradients == UnconnectedGradients.ZERO:
            return [zeros_like(x) if g is None else g for x, g in zip(x_list, found, strict=True)]
    return found


def _as_tensors(values: Any, what: str) -> list[Tensor]:
    if values is None:
        return []
    items = values if isinstance(values, list | tuple) else [values]
    # A variable stands for its value before the run, also inside of control_dependencies.
    return [v._as_graph_element() if isinstance(v, Variable) else convert_to_tensor(v) for v in items]


def _seeds(ys: list[Tensor], grad_ys: Any) -> list[Tensor]:
    given = list(grad_ys) if isinstance(grad_ys, list | tuple) else [grad_ys] * 1
    if grad_ys is None:
        given = [None] * len(ys)
    if len(given) != len(ys):
        raise GradientError(
            message(f"{len(given)} grad_ys for {len(ys)} ys", where="gradients", expected="one for each y")
        )
    seeds = []
    for y, g in zip(ys, given, strict=True):
        if g is None:
            seeds.append(ones_like(y))
            continue
        seed = convert_to_tensor(g, y.dtype)
        if not is_compatible(seed._shape, y._shape):
            if _differ_by_ones(seed._shape, y._shape):
                seeds.append(reshape(seed, y._shape))
                continue
            raise ShapeError(
                message(
                    f"the gradient given for '{y.name}' has another shape",
                    where="gradients",
                    site=y.op.site,
                    got=f"grad_ys: {format_shape(seed._shape)}",
                    expected=f"the shape of y, {format_shape(y._shape)}",
                )
            )
        seeds.append(seed)
    return seeds


def _differ_by_ones(a: Shape | None, b: Shape | None) -> bool:
    """Whether two known shapes are the same without their axes of length 1.

    A program that computes with what `gradients` returns as if the list were a tensor has `[1, ...]`, and
    `grad_ys` made of it; TensorFlow lets it pass where the last operation of y is a reshape.
    """
    if a is None or b is None or None in a or None in b:
        return False
    return [n for n in a if n != 1] == [n for n in b if n != 1]


def _between(ys: list[Tensor], xs: list[Tensor], stops: set[Tensor]) -> set[Operation]:
    """Operations through which some y depends on some x."""
    targets = set(xs)
    reached: dict[Operation, bool] = {}
    # Iterative, children before parents: deep graphs would overflow Python's stack.
    stack: list[tuple[Operation, bool]] = [(y.op, False) for y in ys]
    while stack:
        op, done = stack.pop()
        if done:
            reached[op] = any(
                t in targets or (t not in stops and reached.get(t.op, False)) for t in op.inputs
            )
        elif op not in reached:
            reached[op] = False
            stack.append((op, True))
            stack.extend((t.op, False) for t in op.inputs if t not in stops and t.op not in reached)
    return {op for op, connected in reached.items() if connected}


def backward(
    ys: list[Tensor], xs: list[Tensor], seeds: list[Tensor], stops: set[Tensor]
) -> list[Tensor | None]:
    """The gradients of `ys`, which start as `seeds`, with respect to `xs`; nothing flows through `stops`."""
    found = backward_to_rows(ys, xs, seeds, stops)
    return [None if g is None else convert_to_tensor(g) for g in found]


def backward_to_rows(
    ys: list[Tensor], xs: list[Tensor], seeds: list[Tensor], stops: set[Tensor]
) -> list[Tensor | IndexedSlices | None]:
    """As `backward`; the gradient of what only rows are gathered from is left as `IndexedSlices`."""
    between = _between(ys, xs, stops)
    targets = set(xs)
    pending: dict[Tensor, list[Any]] = {}
    for y, seed in zip(ys, seeds, strict=True):
        pending.setdefault(y, []).append(seed)
    # Creation order is topological, so the largest id first visits every consumer before its producer.
    queue = [(-op.id, op) for op in {y.op for y in ys} if op in between]
    heapq.heapify(queue)
    queued = {op for _, op in queue}
    total: dict[Tensor, Any] = {}

    def sum_up(t: Tensor) -> Any:
        parts = pending.get(t)
        if not parts:
            return None
        if t not in total:
            only_rows = all(isinstance(p, IndexedSlices) for p in parts)
            total[t] = joined(parts) if only_rows else add_up([convert_to_tensor(p) for p in parts])
        return total[t]

    while queue:
        _, op = heapq.heappop(queue)
        dys = [None if t in stops else sum_up(t) for t in op.outputs]
        if all(dy is None for dy in dys):
            continue
        needed = [t in targets or (t not in stops and t.op in between) for t in op.inputs]
        for t, dx in zip(op.inputs, _apply_rule(op, dys, needed), strict=False):
            if dx is None:
                continue
            pending.setdefault(t, []).append(dx)
            if t not in stops and t.op in between and t.op not in queued:
                queued.add(t.op)
                heapq.heappush(queue, (-t.op.id, t.op))
    return [sum_up(x) for x in xs]


def add_up(parts: Sequence[Tensor]) -> Tensor:
    """The sum; gradients of single rows of an array are added to the others in their places."""
    rest: list[Tensor] = []
    rows: list[Operation] = []
    for t in parts:
        chain: list[Operation] = []
        while t.op.opdef.name == "add_row":
            chain.append(t.op)
            t = t.op.inputs[0]
        if chain and _is_zero(t):
            rows += reversed(chain)
        else:
            rest.append(chain[0].outputs[0] if chain else t)
    if not rows:
        return rest[0] if len(rest) == 1 else add_n(rest)
    if not rest:
        rest = [rows.pop(0).outputs[0]]
        if len(parts) == 1:
            return parts[0]
    total = rest[0] if len(rest) == 1 else add_n(rest)
    for row in rows:
        total = apply(row.opdef, (total, *row.inputs[1:]))
    return total


def _is_zero(t: Tensor) -> bool:
    return t.op.opdef.name == "fill" and not t.op.attrs["value"].array.any()


def _apply_rule(op: Operation, dys: Sequence[Any], needed: Sequence[bool]) -> Sequence[Any]:
    if any(isinstance(dy, IndexedSlices) for dy in dys):
        if op.opdef.name in _PASSES_ROWS and op.gradient is None:
            return (*dys, *[None] * (len(op.inputs) - 1))
        dys = [None if dy is None else convert_to_tensor(dy) for dy in dys]
    if op.gradient is not None:
        return _apply_users_rule(op, users_rule(op), dys)
    rule = op.opdef.gradient
    if rule is None:
        raise GradientError(
            message(
                "this operation has no gradient",
                where=op.label,
                site=op.site,
                fix="keep it out of the path from xs to ys, or cut the path with gr.stop_gradient",
            )
        )
    if rule is no_gradient:
        return ()
    found = rule(op, *dys, needed=needed) if getattr(rule, "wants_needed", False) else rule(op, *dys)
    if isinstance(found, Tensor | IndexedSlices) or found is None:
        found = (found,)
    data_inputs = op.inputs[: len(op.inputs) - len(op.value_attrs)]
    if len(found) != len(data_inputs):
        raise GradientError(
            message(
                f"its gradient rule returned {counted(len(found), 'gradient')}",
                where=op.label,
                site=op.site,
                expected=f"{len(data_inputs)}, one for each input; None for one that has no gradient",
            )
        )
    return [
        None if dx is None else _fit(op, t, dx, i)
        for i, (t, dx) in enumerate(zip(data_inputs, found, strict=True))
    ]


def _apply_users_rule(op: Operation, rule: Any, dys: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """A rule that is called in TensorFlow's manner: no gradient comes as zeros, any value may be returned."""
    if rule is None:
        return ()
    given = [
        zeros_like(t) if dy is None and t.dtype.is_floating else dy
        for t, dy in zip(op.outputs, dys, strict=True)
    ]
    found = rule(op, *given)
    if not isinstance(found, list | tuple):
        found = [found]
    data_inputs = op.inputs[: len(op.inputs) - len(op.value_attrs)]
    if len(found) not in (len(data_inputs), len(op.inputs)):
        raise GradientError(
            message(
                f"the gradient given for it returned {len(found)} gradients for {len(data_inputs)} inputs",
                where=op.label,
                site=op.site,
                expected="one for each input, None where there is none",
            )
        )
    return [
        None if dx is None else _fit(op, t, dx if isinstance(dx, IndexedSlices) else convert_to_tensor(dx), i)
        for i, (t, dx) in enumerate(zip(data_inputs, found, strict=False))
    ]


def _fit(op: Operation, t: Tensor, dx: Any, i: int) -> Any:
    """Sum `dx` to the shape of input `t` where it was broadcast, and check the rest."""
    if dx.dtype is not t.dtype:
        raise GradientError(f"{op.label}: its gradient {i} has dtype {dx.dtype}, the input {t.dtype}")
    if op.opdef.broadcasts and not _keeps_shape(op, t, dx):
        dx = convert_to_tensor(dx)
        return sum_to_shape(dx, t._shape if is_static(t._shape) else shape(t))
    if not is_compatible(dx._shape, t._shape):
        raise GradientError(
            f"{op.label}: its gradient {i} has shape {format_shape(dx._shape)}, "
            f"the input {format_shape(t._shape)}  {format_site(op.site)}"
        )
    return dx


def _keeps_shape(op: Operation, t: Tensor, dx: Any) -> bool:
    """Whether input `t` is known not to be broadcast, so that its gradient has its shape already.

    With an unknown batch size that is true of ``x`` in ``x + bias`` and ``x * 2.0``: no other input has a
    dimension that could be larger.
    """
    if is_static(t._shape) and dx._shape == t._shape:
        return True
    if t._shape is None:
        return False
    rank = len(t._shape)
    for other in op.inputs:
        if other is t:
            continue
        if other._shape is None or len(other._shape) > rank:
            return False
        for mine, its in zip(reversed(t._shape), reversed(other._shape), strict=False):
            if its != 1 and (mine is None or mine == 1):
                return False
    return True


def hessians(ys: Any, xs: Any, name: str = "hessians", **options: Any) -> list[Tensor]:
    """Return, for each x of shape ``s``, the second derivatives of ``sum(ys)``, of shape ``s + s``.

    Each x must have a static shape: one gradient is built for each of its elements.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant([1.0, 2.0])
    ...     print(sess.run(gr.hessians(gr.reduce_sum(x ** 3), x)[0]))
    [[ 6.  0.]
     [ 0. 12.]]
    """
    x_list = _as_tensors(xs, "xs")
    graph = x_list[0].graph if x_list else None
    if graph is None:
        return []
    results = []
    with graph.as_default(), graph.name_scope(name):
        for x, g in zip(x_list, gradients(ys, x_list, **options), strict=True):
            if not is_static(x._shape):
                raise GradientError(
                    message(f"the shape of '{x.name}' is {format_shape(x._shape)}", where="hessians",
                            site=x.op.site, expected="a static shape, since the Hessian has a row for each"
                            " element")
                )  # fmt: skip
            if g is None:
                raise GradientError(
                    message(f"ys do not depend on '{x.name}'", where="hessians", site=x.op.site)
                )
            n = 1
            for d in x._shape:  # type: ignore[union-attr]
                n *= d  # type: ignore[operator]
            flat = apply("reshape", (convert_to_tensor(g),), {"shape": (n,)})
            rows: list[Any] = [
                convert_to_tensor(gradients(flat[i], x, unconnected_gradients=UnconnectedGradients.ZERO)[0])
                for i in range(n)
            ]
            stacked = apply("stack", rows, {"axis": 0})
            results.append(apply("reshape", (stacked,), {"shape": (*x._shape, *x._shape)}))  # type: ignore[misc]
    return results
