"""Factories for families of operations that share their shape and dtype rules.

A factory registers the `OpDef` and returns the public function, so that a new operation is one call
beside its relatives and one row in ``tests/cases/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.errors import DTypeError, RuleError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor, partial_value
from graphrun.graph.descriptor import Expr, Reduce, Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.shapes import broadcast, normalize_axes, reduce_shape

# What an operation accepts, by name: the words that its messages use too.
KINDS: dict[str, frozenset[str]] = {
    "floating": frozenset("f"),
    "numeric": frozenset("fiu"),
    "signed": frozenset("fi"),
    "integer": frozenset("iu"),
    "bool": frozenset("b"),
    "any": frozenset("fiubcO"),
    "number": frozenset("fiuc"),
    "field": frozenset("fc"),
}


# Complex numbers are an addition that few need to be told of.
_WORDS = {"field": "floating", "number": "numeric"}


def require_kind(spec: Spec, kind: str, what: str = "x") -> None:
    """Raise unless the dtype is of that kind."""
    if spec.dtype.kind not in KINDS[kind]:
        raise RuleError(
            f"{what} has dtype {spec.dtype}",
            expected=f"{'an' if kind == 'integer' else 'a'} {_WORDS.get(kind, kind)} dtype",
            fix="convert it with gr.cast(x, gr.float32)" if kind in ("floating", "field") else "",
            kind=DTypeError,
        )


def require_same_dtype(*specs: Spec) -> DType:
    """Raise unless all dtypes are equal; return it."""
    first = specs[0].dtype
    for s in specs[1:]:
        if s.dtype is not first:
            raise RuleError(
                f"dtypes differ, {first} != {s.dtype}",
                expected="operands of one dtype",
                fix=f"convert one of them, as gr.cast(b, gr.{first})",
                kind=DTypeError,
            )
    return first


def unary(
    name: str,
    *,
    numpy: Callable[..., Any],
    opencl: Expr | None,
    gradient: Callable[..., Any] | None = no_gradient,
    kind: str = "floating",
    out: DType | None = None,
    onnx: str | None = None,
    node_name: str = "",
    doc: str = "",
) -> Callable[..., Tensor]:
    """Register an elementwise operation of one input and return its public function.

    `kind` names the dtypes that it takes (see `KINDS`); the result has dtype `out`, or the input's.
    """

    def infer(x: Spec) -> tuple[Spec]:
        require_kind(x, kind)
        return (x if out is None else Spec(x.shape, out),)

    opdef = register(
        OpDef(
            name, infer, numpy, opencl, gradient, onnx=onnx, node_name=node_name, input_names=("x",),
        )
    )  # fmt: skip

    def function(x: Any, name: str | None = None) -> Tensor:
        return apply(opdef, (convert_to_tensor(x),), None, name)

    return _document(function, name, doc or f"Elementwise {name} of `x`.")


def binary(
    name: str,
    *,
    numpy: Callable[..., Any],
    opencl: Expr | None,
    gradient: Callable[..., Any] | None = no_gradient,
    kind: str = "numeric",
    out: DType | None = None,
    commutative: bool = False,
    partial: Callable[[Any, Any], Any] | None = None,
    onnx: str | None = None,
    node_name: str = "",
    doc: str = "",
) -> Callable[..., Tensor]:
    """Register an elementwise operation of two inputs that broadcast, and return its public function.

    `partial` computes the result for two known Python ints, for shape arithmetic while the graph is built.
    """

    def infer(a: Spec, b: Spec) -> tuple[Spec]:
        require_same_dtype(a, b)
        require_kind(a, kind, "a")
        return (Spec(broadcast(a.shape, b.shape), a.dtype if out is None else out),)

    opdef = register(
        OpDef(
            name, infer, numpy, opencl, gradient, commutative=commutative, broadcasts=True, onnx=onnx,
            node_name=node_name,
            partial=None if partial is None else (lambda op: _partial_binary(partial, op)),
        )
    )  # fmt: skip

    def function(x: Any, y: Any, name: str | None = None) -> Tensor:
        return apply(opdef, convert_operands((x, y), opdef.name, name or opdef.node_name), None, name)

    return _document(function, name, doc or f"Elementwise {name} of `x` and `y`, which broadcast.")


def compare(name: str, *, numpy: Any, opencl: Expr, kind: str = "numeric", **more: Any) -> Any:
    """A `binary` operation whose result is bool and that has no gradient."""
    return binary(name, numpy=numpy, opencl=opencl, kind=kind, out=dtypes.bool_, **more)


def _partial_binary(function: Callable[[Any, Any], Any], op: Any) -> Any:
    a, b = (partial_value(t) for t in op.inputs)
    if a is None or b is None:
        return None

    def one(x: Any, y: Any) -> Any:
        try:
            return None if x is None or y is None else function(x, y)
        except (ArithmeticError, ValueError):
            return None  # as 1 // 0: the run decides what it is

    if isinstance(a, tuple) or isinstance(b, tuple):
        n = len(a) if isinstance(a, tuple) else len(b)
        xs = a if isinstance(a, tuple) else (a,) * n
        ys = b if isinstance(b, tuple) else (b,) * n
        if len(xs) != len(ys):
            return None
        return tuple(one(x, y) for x, y in zip(xs, ys, strict=True))
    return one(a, b)


def reduction(
    name: str,
    *,
    numpy: Callable[..., Any],
    opencl: Reduce | Callable[..., Reduce | None] | None,
    gradient: Callable[..., Any] | None = no_gradient,
    kind: str = "numeric",
    onnx: str | None = None,
    node_name: str = "",
    doc: str = "",
) -> Callable[..., Tensor]:
    """Register a reduction over axes and return its public function.

    The operation has the attributes ``axis`` (a sorted tuple counted from the front, or None for all
    axes) and ``keepdims``; `numpy` is called with both.
    """

    def infer(x: Spec, *, axis: Any, keepdims: bool) -> tuple[Spec]:
        require_kind(x, kind)
        if isinstance(axis, tuple) and None in axis:  # a tensor whose value is not known yet
            if x.shape is None:
                return (Spec(None, x.dtype),)
            return (Spec((None,) * (len(x.shape) if keepdims else len(x.shape) - len(axis)), x.dtype),)
        if isinstance(axis, int):
            axis = (axis,)
        return (Spec(reduce_shape(x.shape, axis, keepdims), x.dtype),)

    opdef = register(
        OpDef(
            name, infer, numpy, opencl, gradient, value_attrs=("axis",), onnx=onnx, node_name=node_name,
            input_names=("x",),
        )
    )  # fmt: skip

    def function(
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor:
        x = convert_to_tensor(input_tensor)
        axis = reduction_indices if axis is None else axis
        keep = bool(keepdims if keepdims is not None else keep_dims)
        axes = static_axes(x, axis, opdef.name)
        result = apply(opdef, (x,), {"axis": axes, "keepdims": keep}, name)
        if isinstance(axes, Tensor) and partial_value(axes) is None:
            # The rule took the unknown axes for all of them: how many there are is not known.
            result._shape = None if x._shape is None or not keep else (None,) * len(x._shape)
        return result

    function.__qualname__ = function.__name__ = f"reduce_{name}" if not name.startswith("arg") else name
    function.__doc__ = (
        f"{doc or f'Reduce with {name} over `axis`.'}\n\n"
        "    `axis` is an int, several, or None for all; reduced axes are kept with length 1 where\n"
        "    `keepdims` is true.  `reduction_indices` and `keep_dims` are the older names of both.\n"
    )
    return function


def static_axes(x: Tensor, axis: Any, op_name: str) -> Any:
    """Axes in the form that attributes have: a sorted tuple from the front where the rank is known."""
    if axis is None:
        return axis
    if isinstance(axis, Tensor):
        # A vector, so that a single axis that is not known yet is told from all axes.
        return (
            axis
            if axis._shape is None or len(axis._shape) == 1
            else apply("reshape", (axis,), {"shape": (-1,)})
        )
    if isinstance(axis, Sequence) and any(isinstance(a, Tensor) for a in axis):
        return apply("stack", [convert_to_tensor(a) for a in axis], {"axis": 0})
    import numpy as np

    try:
        array = np.asarray(axis)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.size and array.dtype.kind not in "iu":
        raise DTypeError(
            message(
                f"axis is {axis!r}", where=op_name, site=user_site(), expected="an int, or several, or None"
            )
        )
    items = tuple(int(a) for a in array.reshape(-1))
    if x._shape is None:
        return items
    try:
        return normalize_axes(items, len(x._shape))
    except RuleError:
        return items  # the shape rule tells it, with the name of the operation


def _document(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function
