"""What operations on strings share.

A string is a sequence of bytes; Python's ``str`` is encoded as UTF-8 on its way into the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.errors import DTypeError, InvalidArgumentError, RuleError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site

Array = np.ndarray[Any, Any]
STRING = dtypes.string


def require_string(spec: Spec, what: str = "input") -> None:
    """Raise unless it is a string tensor."""
    if spec.dtype is not STRING:
        raise RuleError(
            f"{what} has dtype {spec.dtype}", expected="string", fix="convert numbers with gr.as_string",
            kind=DTypeError,
        )  # fmt: skip


def objects(x: Any) -> Array:
    """A value of a string tensor as an array; NumPy makes plain bytes of a single element."""
    if isinstance(x, np.ndarray):
        return x
    result = np.empty((), np.object_)
    result[()] = x
    return result


def each(function: Callable[..., Any], *arrays: Any, out: Any = np.object_) -> Array:
    """Apply `function` to the elements of arrays, which broadcast."""
    wide = np.broadcast_arrays(*map(objects, arrays))
    result = np.empty(wide[0].shape, out)
    flat = result.reshape(-1)
    for k, items in enumerate(zip(*(w.reshape(-1) for w in wide), strict=True)):
        flat[k] = function(*items)
    return result


def elementwise(name: str, function: Callable[..., Any], node_name: str, out: DType = STRING) -> OpDef:
    """Register an operation that makes one element from one string, by ``function(item, **attrs)``."""

    def infer(x: Spec, **attrs: Any) -> tuple[Spec]:
        require_string(x)
        return (Spec(x.shape, out),)

    def numpy(x: Any, **attrs: Any) -> Array:
        return each(lambda item: function(item, **attrs), x, out=out.numpy)

    return register(OpDef(name, infer, numpy, None, no_gradient, node_name=node_name, input_names=("input",)))


def as_text(value: Any, where: str) -> Tensor:
    """`value` as a string tensor."""
    tensor = convert_to_tensor(value)
    if tensor.dtype is not STRING:
        raise DTypeError(
            message(f"'{tensor.name}' has dtype {tensor.dtype}", where=where, site=user_site(),
                    expected="a string tensor", fix="convert numbers with gr.as_string")
        )  # fmt: skip
    return tensor


def run_fault(what: str) -> RuleError:
    """What a function raises in the run."""
    return RuleError(what, kind=InvalidArgumentError)


def as_bytes(value: Any) -> bytes:
    """str or bytes as bytes."""
    return value.encode() if isinstance(value, str) else bytes(value)
