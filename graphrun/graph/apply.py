"""Making nodes: Python values become constants, and attributes may arrive as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype, as_strings, holds_text
from graphrun.errors import DTypeError, GraphError, format_site, message, place
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, get_op, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.shapes import format_shape

# Classes above the graph (Variable, IndexedSlices) that stand for a tensor: type -> function.
_converters: list[tuple[type, Callable[[Any], Tensor]]] = []


def register_tensor_conversion_function(kind: type, function: Callable[[Any], Tensor]) -> None:
    """Let objects of class `kind` be used wherever a tensor is expected."""
    _converters.append((kind, function))


def graph_of(inputs: Sequence[Any]) -> Any:
    """The graph of the first tensor among `inputs`, else the default graph."""
    for x in inputs:
        if isinstance(x, Tensor):
            return x.op.graph
    return get_default_graph()


constant_op = register(
    OpDef(
        "const",
        infer=lambda *, value, dtype: (Spec(value.array.shape, dtype),),
        numpy=lambda *, value, dtype: value.array,
        gradient=no_gradient,
        node_name="Const",
        onnx="Constant",
    )
)


_ANOTHER_DTYPE = "convert the value first, or choose a dtype that holds it"


def as_array(value: Any, dtype: DType | None = None, what: str = "a tensor") -> np.ndarray:
    """Turn a Python or NumPy value into an array of a graphrun dtype, as TensorFlow does.

    Python floats become float32 and Python ints int32 (int64 where they need it); NumPy values keep
    their dtype.  With `dtype` given, a value that it cannot hold is an error: a fraction in an integer
    type, a number in bool, an integer out of range.
    """
    if dtype is dtypes.string or (dtype is None and holds_text(value)):
        strings = as_strings(value)
        if strings is None:
            raise DTypeError(
                message(f"{_short(value)} cannot become {what} of dtype string", expected="str or bytes",
                        fix="convert numbers with gr.as_string")
            )  # fmt: skip
        return strings
    if dtype is None and isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return np.asarray(array, as_dtype(array.dtype).numpy)
    if isinstance(value, list | tuple) and holds_tensor(value):
        raise DTypeError(
            message(
                f"{_short(value)} cannot become {what}: it holds a tensor",
                expected="numbers or bools",
                fix="join tensors with gr.stack([...])",
            )
        )
    try:
        array = np.asarray(value)
    except ValueError:
        raise DTypeError(
            message(f"a ragged or mixed list cannot become {what}", expected="rows of equal length")
        ) from None
    if array.dtype.kind not in "fiubc":
        raise DTypeError(message(f"{_short(value)} cannot become {what}", expected="numbers or bools"))
    if dtype is None:
        if array.dtype.kind == "f":
            dtype = dtypes.float32
        elif array.dtype.kind in "iu":
            fits = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
            dtype = dtypes.int32 if fits else dtypes.int64
        elif array.dtype.kind == "c":
            dtype = dtypes.complex128
        else:
            dtype = dtypes.bool_
        if isinstance(value, list | tuple) and _numpy_leaf(value) is not None:
            dtype = as_dtype(array.dtype)  # a list of NumPy scalars keeps their dtype
        return array.astype(dtype.numpy)
    if array.dtype == dtype.numpy:
        return array
    if dtype.is_integer and array.dtype.kind == "f" and not isinstance(value, np.ndarray | np.generic):
        exact = exact_integers(value, dtype)
        if exact is not None:
            return exact
    loses = (
        (array.dtype.kind == "c" and not dtype.is_complex)
        or (dtype.is_bool and array.dtype.kind != "b" and array.size)
        or (dtype.is_integer and (array.dtype.kind == "b" or not _integral(array, dtype)))
    )
    if loses or (dtype.is_floating and array.dtype.kind == "b" and array.size):
        raise DTypeError(
            message(
                f"{_short(value)} cannot become {what} of dtype {dtype}",
                expected=f"values that {dtype} holds exactly" if not dtype.is_floating else "numbers",
                fix=_ANOTHER_DTYPE,
            )
        )
    with np.errstate(over="ignore"):  # 1e300 is inf in float32, as in TensorFlow
        return array.astype(dtype.numpy)


def exact_integers(value: Any, dtype: DType) -> np.ndarray | None:
    """Python's integers in a list as an array of `dtype`, where NumPy would take floats for large ones.

    None where one of them is no integer, or does not fit.
    """
    items = np.array(value, dtype=object)
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in items.flat):
        return None
    if any(not dtype.min <= int(v) <= dtype.max for v in items.flat):
        return None
    return items.astype(dtype.numpy)


def _integral(array: np.ndarray, dtype: DType) -> bool:
    if array.dtype.kind in "fc":
        return bool(array.size == 0)
    return array.size == 0 or (array.min() >= dtype.min and array.max() <= dtype.max)


def _numpy_leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, np.generic | np.ndarray) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def make_constant(array: np.ndarray, graph: Any, name: str | None = None) -> Tensor:
    """A constant node; the array is copied, so that later changes to it do not reach the graph."""
    dtype = as_dtype(array.dtype)
    attrs = {"value": Constant(np.array(array, dtype.numpy, order="C")), "dtype": dtype}
    return graph.create_operation(constant_op, (), attrs, name).outputs[0]


def convert_to_tensor(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None,
    dtype_hint: Any = None, *, graph: Any = None,
) -> Tensor:  # fmt: skip
    """Return `value` as a tensor: unchanged if it is one, else as a constant.

    Parameters
    ----------
    value : tensor, variable, number, array or nested list of them
    dtype : DType, optional
        What it must have.
    name : str, optional
        Of the constant.
    preferred_dtype : DType, optional
        Of the constant where it can hold the value; without `dtype` only.
    dtype_hint : DType, optional
        Another name for `preferred_dtype`.

    Raises
    ------
    DTypeError
        If it is a tensor of another dtype, or a value that `dtype` cannot hold.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    for kind, function in _converters:
        if isinstance(value, kind):
            value = function(value)
            break
    if isinstance(value, Tensor):
        if wanted is not None and value.dtype is not wanted:
            raise DTypeError(
                message(
                    f"tensor '{value.name}' has dtype {value.dtype}",
                    site=value.op.site,
                    expected=f"dtype {wanted}",
                    fix=f"use gr.cast(x, gr.{wanted})",
                )
            )
        return value
    if isinstance(value, Operation):
        raise DTypeError(message(f"operation '{value.name}' has no value, so it cannot be an input"))
    if isinstance(value, list | tuple) and holds_tensor(value):
        like = None if wanted is not None else next((v for v in value if isinstance(v, Tensor)), None)
        if like is None:
            items = [_item(v, _common_dtype(value, wanted), wanted is not None) for v in value]
        else:
            items = [converted_like(v, like, "stack", name or "stack") for v in value]
        return apply(get_op("stack"), items, {"axis": 0}, name)
    target = graph if graph is not None else get_default_graph()
    preferred = preferred_dtype if dtype_hint is None else dtype_hint
    if wanted is None and preferred is not None:
        try:
            return make_constant(as_array(value, as_dtype(preferred)), target, name)
        except DTypeError:
            pass  # a wish, not a demand
    return make_constant(as_array(value, wanted), target, name)


def _item(value: Any, dtype: DType | None, demanded: bool) -> Tensor:
    """An entry of a list that becomes a tensor; where a dtype is demanded, a tensor is cast."""
    if not demanded or not holds_tensor(value) or isinstance(value, list | tuple):
        return convert_to_tensor(value, dtype)
    tensor = convert_to_tensor(value)
    return tensor if tensor.dtype is dtype else apply(get_op("cast"), (tensor,), {"dtype": dtype})


def holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(holds_tensor(v) for v in value)
    return isinstance(value, Tensor) or any(isinstance(value, kind) for kind, _ in _converters)


def _common_dtype(value: Any, wanted: DType | None) -> DType | None:
    """The dtype of the first tensor in a nested list: its Python numbers follow it."""
    if wanted is not None:
        return wanted
    if isinstance(value, list | tuple):
        for v in value:
            found = _common_dtype(v, None)
            if found is not None:
                return found
        return None
    if isinstance(value, Tensor) or any(isinstance(value, kind) for kind, _ in _converters):
        return convert_to_tensor(value).dtype
    return None


def converted_like(value: Any, like: Tensor, opdef: str = "", name: str = "") -> Tensor:
    """Convert `value` to the dtype of `like`, for operation `name`; a fault names both and the line."""
    try:
        return convert_to_tensor(value, like.dtype, graph=like.op.graph)
    except DTypeError as fault:
        raise _unlike(fault, value, like, opdef, name) from None


class told_for:  # noqa: N801  used as a function is
    """Context: the fault of a value that is converted is told with what it is for, and the user's line."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, fault: Any, trace: Any) -> None:
        if isinstance(fault, DTypeError):
            what, *rest = str(fault).split("\n  ")
            text = message(what, where=self._where, site=user_site())
            raise DTypeError("\n  ".join([text, *rest])) from None


def _unlike(fault: DTypeError, value: Any, like: Tensor, opdef: str, name: str) -> DTypeError:
    scope = like.op.graph.get_name_scope()
    label = f"{opdef} '{scope}/{name}'" if scope else f"{opdef} '{name}'"
    what, *rest = str(fault).split("\n  ")
    if isinstance(value, Tensor) or holds_tensor(value):
        return DTypeError("\n  ".join([f"{label}: {what}" if opdef else what, *rest]))
    is_number = rest[-1:] == [_ANOTHER_DTYPE]
    if is_number:
        rest.pop()
    is_variable = like.op.opdef.name == "variable"
    wider = "gr.int32" if np.asarray(value).dtype.kind == "b" else "gr.float32"
    if like.dtype.is_integer and is_number:
        fix = f"round the number, or make the {'variable' if is_variable else 'tensor'} floating-point, as "
        fix += "gr.Variable(0.0)" if is_variable else f"gr.cast(x, {wider})"
    elif is_number:
        fix = f"write a number of {like.dtype}, or convert the tensor, as gr.cast(x, {wider})"
    else:
        fix = ""
    kind = f"variable '{like.op.name}'" if is_variable else f"tensor '{like.name}'"
    text = message(
        what, where=label if opdef else "", site=user_site(),
        got=f"{kind} is {format_shape(like._shape)} {like.dtype}, made at {place(like.op.site)}",
    )  # fmt: skip
    return DTypeError("\n  ".join([text, *rest, *([fix] if fix else [])]))


def convert_operands(values: Sequence[Any], opdef: str = "", name: str = "") -> list[Tensor]:
    """Convert operands that must share a dtype: Python and NumPy values take that of the first tensor.

    `opdef` and `name` are the operation that they are for, as messages name it.
    """
    tensors: list[Any] = [None] * len(values)
    first: Tensor | None = None
    for i, v in enumerate(values):
        if isinstance(v, Tensor):
            tensors[i] = v
        elif holds_tensor(v):
            tensors[i] = convert_to_tensor(v)
        else:
            continue
        if first is None:
            first = tensors[i]
    for i, v in enumerate(values):
        if tensors[i] is None:
            if first is None:
                first = tensors[i] = convert_to_tensor(v)
            else:
                tensors[i] = converted_like(v, first, opdef, name)
    return tensors


def constant_value(tensor: Tensor) -> np.ndarray | None:
    """The value of a tensor that is known while the graph is built, else None."""
    if tensor.op.opdef is constant_op:
        return tensor.op.attrs["value"].array
    known = partial_value(tensor)
    if known is None or (isinstance(known, tuple) and None in known):
        return None
    return np.asarray(known, tensor.dtype.numpy)


def partial_value(tensor: Tensor) -> Any:
    """What is known of an integer scalar or vector: an int, or a tuple with None for unknown; or None."""
    try:
        return tensor._partial
    except AttributeError:
        pass
    # Rules ask for their inputs' values: those are found first, so that a long chain is no deep recursion.
    asked: dict[Tensor, None] = {}
    stack = [tensor]
    while stack:
        t = stack.pop()
        if t not in asked and not hasattr(t, "_partial") and not t.dtype.is_floating:
            asked[t] = None
            if t.op.opdef.partial is not None:
                stack.extend(t.op.inputs)
    for t in sorted(asked, key=lambda t: t.op.id):
        t._partial = _partial_value(t)
    if tensor not in asked:
        tensor._partial = _partial_value(tensor)
    return tensor._partial


def _partial_value(tensor: Tensor) -> Any:
    op = tensor.op
    value: Any = None
    if tensor.dtype.is_integer or tensor.dtype.is_bool:
        if op.opdef is constant_op:
            array = op.attrs["value"].array
            if array.ndim <= 1 and array.size <= 4096:
                value = array.item() if array.ndim == 0 else tuple(array.tolist())
        elif op.opdef.partial is not None:
            value = op.opdef.partial(op)
            if tensor.dtype.is_integer:  # Python's integers do not wrap around
                value = _in_range(value, tensor.dtype)
    if value is None and tensor._shape is not None and len(tensor._shape) == 1:
        n = tensor._shape[0]
        value = (None,) * n if n is not None and n <= 64 else None
    return value


def _in_range(value: Any, dtype: DType) -> Any:
    if isinstance(value, tuple):
        return tuple([_in_range(v, dtype) for v in value])
    return value if value is not None and dtype.min <= value <= dtype.max else None


def apply(
    opdef: OpDef | str,
    inputs: Sequence[Tensor],
    attrs: dict[str, Any] | None = None,
    name: str | None = None,
) -> Any:
    """Add a node and return its tensor, or the tuple of its tensors.

    An attribute named in ``opdef.value_attrs`` may be a tensor: where its value is known it becomes a
    plain attribute, else an input behind the others, with what is known of it left to the shape rule.
    """
    if isinstance(opdef, str):
        opdef = get_op(opdef)
    attrs = {} if attrs is None else attrs
    graph = graph_of(inputs)
    if opdef.value_attrs:
        dynamic: list[str] = []
        tensors = list(inputs)
        rule_attrs = dict(attrs)
        for key in opdef.value_attrs:
            value = attrs.get(key)
            if not holds_tensor(value):
                continue
            tensor = convert_to_tensor(value)
            if not tensor.dtype.is_integer:
                raise DTypeError(
                    message(
                        f"{key} has dtype {tensor.dtype}",
                        where=f"{opdef.name} '{name or opdef.name}'",
                        got=format_site(tensor.op.site),
                        expected="an integer dtype",
                    )
                )
            if not tensors and not dynamic:
                graph = tensor.op.graph
            known = partial_value(tensor)
            if known is None or (isinstance(known, tuple) and None in known):
                dynamic.append(key)
                tensors.append(tensor)
                rule_attrs[key] = known
                attrs[key] = None
            else:
                attrs[key] = rule_attrs[key] = known
        op = graph.create_operation(opdef, tensors, attrs, name, tuple(dynamic), rule_attrs)
    else:
        op = graph.create_operation(opdef, inputs, attrs, name)
    outputs = op.outputs
    return outputs[0] if len(outputs) == 1 else outputs


def require_same_graph(what: str, *tensors: Tensor) -> None:
    """Raise unless all tensors are of one graph."""
    for t in tensors[1:]:
        if t.op.graph is not tensors[0].op.graph:
            raise GraphError(
                message(
                    f"'{t.name}' and '{tensors[0].name}' are in different graphs", where=what, site=t.op.site
                )
            )
