"""`cond` and `case`: one of several functions, by what the graph computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphrun.control.gradients import cond_gradient
from graphrun.control.regions import own
from graphrun.control.structure import describe, flatten, pack_like, same_structure
from graphrun.control.values import Values
from graphrun.dtypes import bool_, int32
from graphrun.errors import DTypeError, GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.region import Region
from graphrun.graph.site import user_site
from graphrun.ops.checks import assert_
from graphrun.ops.convert import cast
from graphrun.ops.joining import stack
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.state import constant, identity
from graphrun.shapes import Shape

cond_op = register(
    OpDef(
        "cond",
        infer=lambda *inputs, specs, **regions: specs,
        numpy=None,
        gradient=cond_gradient,
        stateful=True,
        node_name="cond",
        input_names=("pred",),
    )
)


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """Return what `true_fn` returns where `pred` is true, else what `false_fn` returns.

    Only what the branch taken needs is computed, and only its assignments happen; what the functions use from
    outside is computed in any case.

    Parameters
    ----------
    pred : bool tensor, scalar
    true_fn, false_fn : function without arguments
        They return tensors of the same dtypes, in the same structure of lists, tuples and dictionaries.  An
        operation in it gives a tensor that is true once the operation has run.
    strict : bool
        Return a list of one tensor as it is; else it is unpacked.
    name : str, optional
        Scope of the operations that the functions make.

    Returns
    -------
    tensor or structure of tensors
        With what is known of the shape in both branches.

    Raises
    ------
    GraphError, DTypeError
        If the branches return different structures or dtypes.

    Notes
    -----
    The compiler makes a plan for each value of `pred` and keeps both, so a branch costs nothing when it runs.
    Where `pred` is computed from data, that is done by a plan of its own first.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     training = gr.placeholder(gr.bool, ())
    ...     x = gr.constant(3.0)
    ...     y = gr.cond(training, lambda: x * 2, lambda: x - 1)
    ...     print(sess.run(y, {training: True}), sess.run(y, {training: False}))
    6.0 2.0
    """
    true_fn = fn1 if true_fn is None else true_fn
    false_fn = fn2 if false_fn is None else false_fn
    for which, fn in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(fn):
            raise DTypeError(
                message(f"cond: {which} is {fn!r}", site=user_site(), expected="a function without arguments",
                        fix=f"cond(pred, lambda: a, lambda: b): pass {which}=lambda: x for a tensor x")
            )  # fmt: skip
    assert true_fn is not None and false_fn is not None
    predicate = _predicate(pred, "cond")
    graph = predicate.graph
    with graph.as_default(), graph.name_scope(name or "cond") as scope:
        branches: dict[str, Region] = {}
        results: dict[str, Values] = {}
        for which, fn in (("true", true_fn), ("false", false_fn)):
            region = Region(graph, f"the {which} branch of cond '{scope[:-1]}'")
            with region.entered():
                results[which] = Values(_with_operations(fn(), which, scope))
            branches[which] = region
        _check_branches(results["true"], results["false"], scope)
        with branches["true"].entered():
            ours = results["true"].tensors
        for which, region in branches.items():
            region.close(results[which].tensors)
        specs = tuple(
            Spec(_common(a._shape, b._shape), a.dtype)
            for a, b in zip(ours, results["false"].tensors, strict=True)
        )
        op = own(graph, cond_op, [predicate], branches, {"specs": specs}, "Merge")
    result = results["true"].rebuilt(op.outputs)
    if not strict and isinstance(result, list | tuple) and len(result) == 1:
        return result[0]
    return result


def _predicate(pred: Any, where: str) -> Tensor:
    """`pred` as a tensor of one bool."""
    if isinstance(pred, bool):
        raise DTypeError(
            message(f"{where}: pred is a Python bool", site=user_site(), expected="a tensor",
                    fix="use Python's `if`, or gr.constant(pred)")
        )  # fmt: skip
    predicate = convert_to_tensor(pred)
    if predicate.dtype is not bool_ or predicate._shape not in ((), None):
        raise DTypeError(
            message(
                "pred is no scalar bool",
                where=where,
                site=user_site(),
                got=f"{predicate.name}: {predicate.shape} {predicate.dtype}",
                expected="a tensor of dtype bool and shape ()",
            )
        )
    return predicate


def _with_operations(result: Any, which: str, scope: str) -> Any:
    """Stand a tensor in for each operation that a branch returns."""
    if result is None:
        raise GraphError(
            message(f"the {which} branch returns None", where=f"cond '{scope[:-1]}'", site=user_site(),
                    expected="a tensor, an operation, or a structure of them",
                    fix="return something, as gr.no_op()")
        )  # fmt: skip

    def stand_in(leaf: Any) -> Any:
        if not isinstance(leaf, Operation):
            return leaf
        with leaf.graph.control_dependencies([leaf]):
            return constant(True, name="done")

    return pack_like(result, [stand_in(leaf) for leaf in flatten(result)])


def _check_branches(a: Values, b: Values, scope: str) -> None:
    where = f"cond '{scope[:-1]}'"
    if not same_structure(a.structure, b.structure) or len(a.tensors) != len(b.tensors):
        raise GraphError(
            message(
                "the branches return different structures",
                where=where,
                site=user_site(),
                got=[f"true_fn: {describe(a.structure)}", f"false_fn: {describe(b.structure)}"],
                expected="the same nesting of lists, tuples and dictionaries",
            )
        )
    for k, (x, y) in enumerate(zip(a.tensors, b.tensors, strict=True)):
        if x.dtype is not y.dtype:
            raise DTypeError(
                message(
                    "the branches return different dtypes" + (f" at place {k}" if len(a.tensors) > 1 else ""),
                    where=where,
                    site=user_site(),
                    got=[f"true_fn: '{x.name}' {x.dtype}", f"false_fn: '{y.name}' {y.dtype}"],
                    expected="one dtype",
                    fix=f"gr.cast(x, gr.{x.dtype}) in one of them",
                )
            )


def _common(a: Shape, b: Shape) -> Shape:
    """What holds of both shapes."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """Return what the function behind the first true predicate returns.

    Parameters
    ----------
    pred_fn_pairs : list of (bool tensor, function), or dict
        A dictionary has no order of interest, so its predicates should exclude each other.
    default : function, optional
        For when none is true; without it, that is an error in the run.
    exclusive : bool
        Check that at most one predicate is true.  Else the first one that is decides.

    Raises
    ------
    InvalidArgumentError
        In the run, where more predicates are true than may be, or none of them without a default.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.int32, ())
    ...     one = gr.constant(1)
    ...     y = gr.case([(x < 0, lambda: -one), (x > 0, lambda: one)], default=lambda: 0 * one)
    ...     print([int(sess.run(y, {x: v})) for v in (-5, 0, 3)])
    [-1, 0, 1]
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, Mapping) else list(pred_fn_pairs)
    if not pairs or not all(isinstance(p, tuple | list) and len(p) == 2 and callable(p[1]) for p in pairs):
        raise GraphError(
            message("case: pred_fn_pairs is no list of pairs", site=user_site(),
                    expected="[(pred, function), ...] with one pair or more")
        )  # fmt: skip
    preds = [_predicate(p, "case") for p, _ in pairs]
    with get_default_graph().name_scope(name or "case"):
        checks = [_at_most_one(preds)] if exclusive else []
        chosen = default
        if chosen is None:
            chosen = _the_last(preds, pairs.pop()[1])
        for pred, (_, fn) in reversed(list(zip(preds, pairs, strict=False))):
            chosen = _either(pred, fn, chosen, strict)
        with get_default_graph().control_dependencies(checks):
            return chosen()


def _at_most_one(preds: list[Tensor]) -> Operation:
    """An operation that fails where two are true."""
    together = stack(preds, name="preds_c")
    count = reduce_sum(cast(together, int32), name="num_true_conds")
    names = ", ".join(p.name for p in preds)
    text = f"exclusive=True: more than 1 conditions ({names}) evaluated as True:"
    return assert_(count <= 1, [text, together], summarize=len(preds))


def _the_last(preds: list[Tensor], fn: Callable[[], Any]) -> Callable[[], Any]:
    """`fn`, for where all but the last one are false; then the last one has to be true."""

    def checked() -> Any:
        text = "None of conditions evaluated as True:"
        check = assert_(preds[-1], [text, stack(preds, name="preds_c")], len(preds))
        with get_default_graph().control_dependencies([check]):
            result = fn()
            if result is None:
                return None
            # What was made outside waits for the check too.
            leaves = [x if isinstance(x, Operation) else identity(x) for x in flatten(result)]
            return pack_like(result, leaves)

    return checked


def _either(
    pred: Any, fn: Callable[[], Any], otherwise: Callable[[], Any], strict: bool
) -> Callable[[], Any]:
    return lambda: cond(pred, fn, otherwise, strict=strict)
