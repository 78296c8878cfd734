"""`while_loop`: operations that are repeated as long as a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.gradients import while_gradient
from graphrun.control.regions import own
from graphrun.control.structure import describe, flatten, is_nested, same_structure
from graphrun.control.values import Values
from graphrun.dtypes import int32
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.graph import Graph
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.region import Region
from graphrun.graph.site import user_site
from graphrun.ops.compare import logical_and
from graphrun.ops.state import constant
from graphrun.shapes import Shape, as_shape, format_shape, is_compatible

while_op = register(
    OpDef(
        "while",
        infer=lambda *inputs, specs, **regions: specs,
        numpy=None,
        gradient=while_gradient,
        stateful=True,
        node_name="while",
        input_names=(),
    )
)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Repeat `body` as long as `cond` holds, and return the loop variables' last values.

    Parameters
    ----------
    cond : function
        Of the loop variables; returns a scalar bool tensor.
    body : function
        Of the loop variables; returns their next values, in the same structure and with the same dtypes.
    loop_vars : list, tuple or dictionary of tensors, TensorArrays, and such
        What the first iteration starts with.
    shape_invariants : structure of shapes, optional
        What stays true of each variable's shape; by default all of it does, so that a shape that changes
        needs None in the dimensions that do.
    parallel_iterations, swap_memory
        Accepted for TensorFlow's sake.
    back_prop : bool
        Whether gradients may flow back through the loop.
    name : str, optional
        Scope of the operations in it.
    maximum_iterations : int or int32 scalar tensor, optional
        The loop ends then at the latest.
    return_same_structure : bool
        Return a list of one variable as it is; else it is unpacked.

    Raises
    ------
    ShapeError, DTypeError, GraphError
        If the body changes the structure, a dtype, or a shape that has been said to stay.

    Notes
    -----
    A loop whose number of iterations does not depend on data is unrolled where that makes no large plan: the
    compiler then sees all iterations at once.  Others are compiled once and replayed.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     n = gr.placeholder(gr.int32, ())
    ...     i, f = gr.while_loop(lambda i, f: i < n, lambda i, f: (i + 1, f * 2.0), (0, gr.constant(1.0)))
    ...     print(sess.run(f, {n: 10}))
    1024.0
    """
    for which, fn in (("cond", cond), ("body", body)):
        if not callable(fn):
            raise DTypeError(
                message(f"while_loop: {which} is {fn!r}", site=user_site(),
                        expected="a function of the loop variables")
            )  # fmt: skip
    if not is_nested(loop_vars):
        loop_vars = [loop_vars]
    if not flatten(loop_vars):
        raise GraphError(message("while_loop without loop variables", site=user_site(),
                                 expected="one loop variable or more"))  # fmt: skip
    graph = _graph_of(loop_vars)
    with graph.as_default(), graph.name_scope(name or "while") as scope:
        where = f"while_loop '{scope[:-1]}'"
        initial = Values(loop_vars)
        stays = _invariants(initial, shape_invariants, where)
        counted = maximum_iterations is not None
        limit = convert_to_tensor(maximum_iterations) if counted else None
        starts = [*initial.tensors, *([constant(0, dtype=limit.dtype)] if limit is not None else [])]
        shapes = [*stays, *([()] if counted else [])]
        regions = {
            "test": Region(graph, f"the condition of {where}"),
            "body": Region(graph, f"the body of {where}"),
        }
        for region in regions.values():
            for t, shape in zip(starts, shapes, strict=True):
                region.parameter(shape, t.dtype, t.op.name.rpartition("/")[2])
        _trace_body(regions["body"], body, initial, stays, counted, where)
        _trace_test(regions["test"], cond, initial, limit, where)
        specs = (*[Spec(s, t.dtype) for s, t in zip(shapes, starts, strict=True)], Spec((), int32))
        op = own(graph, while_op, starts, regions, {"specs": specs, "back_prop": bool(back_prop)}, "Exit")
    result = initial.rebuilt(op.outputs[: len(initial.tensors)])
    if not return_same_structure and isinstance(result, list | tuple) and len(result) == 1:
        return result[0]
    return result


def _graph_of(loop_vars: Any) -> Graph:
    for leaf in flatten(loop_vars):
        if isinstance(leaf, Tensor):
            return leaf.graph
    return get_default_graph()


def _invariants(initial: Values, stated: Any, where: str) -> list[Shape]:
    """The shape that each tensor keeps in all iterations."""
    if stated is None:
        return [None if rows else t._shape for t, rows in zip(initial.tensors, initial.is_rows, strict=True)]
    shapes = _shapes(stated, initial)
    if shapes is None:
        raise GraphError(
            message("shape_invariants has another structure than loop_vars", where=where, site=user_site(),
                    expected=f"a shape for each of {describe(initial.structure)}")
        )  # fmt: skip
    for t, shape, rows in zip(initial.tensors, shapes, initial.is_rows, strict=True):
        if not rows and not _within(t._shape, shape):
            raise ShapeError(
                message(
                    f"'{t.name}' does not have the shape that is said to stay",
                    where=where,
                    site=user_site(),
                    got=format_shape(t._shape),
                    expected=f"its shape invariant {format_shape(shape)}",
                )
            )
    return [None if rows else shape for shape, rows in zip(shapes, initial.is_rows, strict=True)]


def _shapes(stated: Any, initial: Values) -> list[Shape] | None:
    """The stated shape of each tensor; a shape itself may be a list, so the structure of the values leads."""
    found: list[Shape] = []

    def visit(structure: Any, shapes: Any) -> bool:
        if isinstance(structure, dict):
            if not isinstance(shapes, dict) or sorted(shapes) != sorted(structure):
                return False
            return all(visit(structure[k], shapes[k]) for k in sorted(structure))
        if is_nested(structure):
            if not isinstance(shapes, list | tuple) or len(shapes) != len(structure):
                return False
            return all(visit(s, x) for s, x in zip(structure, shapes, strict=True))
        found.append(as_shape(shapes))
        return True

    if not visit(initial.structure, stated):
        return None
    spread = [s for s, leaf in zip(found, initial.leaves, strict=True) for _ in leaf.tensors]
    return [
        s if len(leaf.tensors) == 1 else t._shape
        for s, (leaf, t) in zip(
            spread, [(leaf, t) for leaf in initial.leaves for t in leaf.tensors], strict=True
        )
    ]


def _within(shape: Shape, other: Shape) -> bool:
    """Whether all that `other` says holds of `shape`."""
    if other is None:
        return True
    if shape is None or len(shape) != len(other):
        return False
    return all(o is None or o == s for s, o in zip(shape, other, strict=True))


def _call(fn: Callable[..., Any], region: Region, initial: Values) -> Any:
    structure = initial.rebuilt(region.params[: len(initial.tensors)])
    return fn(*structure) if isinstance(structure, list | tuple) else fn(structure)


def _trace_body(
    region: Region,
    body: Callable[..., Any],
    initial: Values,
    stays: Sequence[Shape],
    counted: bool,
    where: str,
) -> None:
    with region.entered():
        result = _call(body, region, initial)
        structure = initial.structure
        if len(flatten(structure)) == 1 and not is_nested(result):
            result = [result]
        if not is_nested(result):
            result = [result]
        if (
            isinstance(structure, list | tuple)
            and len(structure) == 1
            and not same_structure(structure, result)
        ):
            result = [result]  # the only variable is a structure of its own
        if not same_structure(structure, result):
            raise GraphError(
                message(
                    "the body returns another structure than the loop variables have",
                    where=where,
                    site=user_site(),
                    got=[f"loop_vars: {describe(structure)}", f"body: {describe(result)}"],
                    expected="a next value for each loop variable",
                )
            )
        after = Values(result, initial)
        outputs = after.tensors
        for k, (t, new, shape) in enumerate(zip(initial.tensors, outputs, stays, strict=True)):
            _check_next(k, t, new, shape, initial.is_rows[k], where)
        if counted:
            outputs = [*outputs, region.params[-1] + constant(1, dtype=region.params[-1].dtype)]
    region.close(outputs)


def _check_next(k: int, t: Tensor, new: Tensor, shape: Shape, is_rows: bool, where: str) -> None:
    if new.dtype is not t.dtype:
        raise DTypeError(
            message(
                f"loop variable {k} changes its dtype",
                where=where,
                site=new.op.site,
                got=[f"it starts as {t.dtype} ('{t.name}')", f"the body returns {new.dtype} ('{new.name}')"],
                expected="one dtype in all iterations",
                fix=f"return gr.cast(x, gr.{t.dtype})",
            )
        )
    if not is_rows and not _within(new._shape, shape):
        known = is_compatible(new._shape, shape)
        raise ShapeError(
            message(
                f"loop variable {k} changes its shape",
                where=where,
                site=new.op.site,
                got=[
                    f"it starts as {format_shape(shape)} ('{t.name}')",
                    f"the body returns {format_shape(new._shape)} ('{new.name}')",
                ],
                expected="one shape in all iterations",
                fix="x.set_shape(...) in the body says what graphrun cannot know" if known else
                "shape_invariants=[...] with None for the dimensions that change",
            )
        )  # fmt: skip


def _trace_test(region: Region, cond: Callable[..., Any], initial: Values, limit: Any, where: str) -> None:
    with region.entered():
        result = convert_to_tensor(_call(cond, region, initial))
        if result.dtype.name != "bool" or result._shape not in ((), None):
            raise DTypeError(
                message(
                    "cond returns no scalar bool",
                    where=where,
                    site=result.op.site,
                    got=f"{result.name}: {result.shape} {result.dtype}",
                    expected="a tensor of dtype bool and shape ()",
                    fix="gr.reduce_all(x) where it has several elements",
                )
            )
        if limit is not None:
            result = logical_and(region.params[-1] < limit, result)
    region.close([result])
