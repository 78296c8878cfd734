"""A variable that counts to a limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.errors import DTypeError, OutOfRangeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import add
from graphrun.ops.state import assign, identity, read_variable_op, variable_of
from graphrun.shapes import format_shape


def _below_rule(count: Spec, *, limit: int) -> tuple[Spec]:
    return (count,)


def _below(count: np.ndarray, *, limit: int) -> np.ndarray:
    if count >= limit:
        raise RuleError(f"reached the limit of {limit}", kind=OutOfRangeError)
    return count


below_op = register(
    OpDef("below", _below_rule, _below, None, no_gradient, node_name="Below", input_names=("count",))
)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """Return a tensor that is the value of variable `ref` before it adds 1 to it.

    Parameters
    ----------
    ref : Variable
        A scalar of dtype int32 or int64.
    limit : int
        At this value the run fails, and the variable stays as it is.

    Raises
    ------
    OutOfRangeError
        In a run, where the limit is reached.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     v = gr.Variable(0)
    ...     count = gr.count_up_to(v, 2)
    ...     sess.run(v.initializer)
    ...     print(sess.run(count), sess.run(count), sess.run(v))
    0 1 2
    """
    v = variable_of(ref, "count_up_to")
    if not v.dtype.is_integer:
        raise DTypeError(
            message(f"variable '{v.op.name}' has dtype {v.dtype}", where="count_up_to", site=user_site(),
                    expected="int32 or int64", fix="make it of an int, as gr.Variable(0)")
        )  # fmt: skip
    if v._shape not in ((), None):
        raise ShapeError(
            message(f"variable '{v.op.name}' has shape {format_shape(v._shape)}", where="count_up_to",
                    site=user_site(), expected="a scalar")
        )  # fmt: skip
    with v.graph.as_default(), v.graph.name_scope(name or "CountUpTo") as scope:
        count = apply(below_op, (apply(read_variable_op, (v,)),), {"limit": int(limit)})
        written = assign(ref, add(count, 1))
        with v.graph.control_dependencies([written]):
            return identity(count, scope)
