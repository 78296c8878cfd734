"""Looking at values while a graph runs: printing them, and making it an error where a condition is false."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import bool_
from graphrun.errors import GraphError, InvalidArgumentError, RuleError
from graphrun.errors import message as error_message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.compare import is_inf, is_nan
from graphrun.ops.families import require_kind
from graphrun.ops.print_text import summary
from graphrun.ops.reduce import reduce_any
from graphrun.ops.state import group, identity

DEFAULT_SUMMARIZE = 3


class PrintCount:
    """How often a `Print` may still write; an attribute of it."""

    def __init__(self, first_n: int) -> None:
        self._left = first_n
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether this time is one of the first."""
        if self._left < 0:
            return True
        with self._lock:
            taken = self._left > 0
            self._left -= taken
            return taken

    def __repr__(self) -> str:
        return f"<first {self._left}>"


def _done_rule(*specs: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec((), bool_),)


def _print(*data: Any, text: str, summarize: int, count: Any, waits: int = 0) -> Any:
    if count.take():
        shown = "".join(f"[{summary(v, summarize)}]" for v in data[: len(data) - waits])
        sys.stderr.write(f"{text}{shown}\n")
        sys.stderr.flush()
    return np.True_


print_op = register(
    OpDef(
        "print", _done_rule, _print, None, no_gradient, stateful=True, effect=True, node_name="Print",
        input_names=(),
    )
)  # fmt: skip


def print_(
    input_: Any, data: Sequence[Any], message: str | None = None, first_n: int | None = None,
    summarize: int | None = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return `input_`; where that is computed, write `data` to the standard error stream.

    Parameters
    ----------
    input_ : tensor
    data : list of tensors
    message : str, optional
        Stands before the values.
    first_n : int, optional
        Write only the first so many times.
    summarize : int, optional
        How many elements of each tensor; 3 unless given, all of them where it is negative.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant([1.0, 2.5, 3.0, 4.0])
    ...     y = gr.Print(x, [x, gr.shape(x)], message="x: ")
    ...     _ = sess.run(y)  # writes "x: [1 2.5 3...][4]"
    """
    x = convert_to_tensor(input_)
    graph = x.graph
    with graph.as_default(), graph.name_scope(name or "Print") as scope:
        tensors = [convert_to_tensor(v) for v in data]
        attrs = {
            "text": message or "",
            "summarize": DEFAULT_SUMMARIZE if summarize is None else int(summarize),
            "count": PrintCount(-1 if first_n is None else int(first_n)),
        }
        done = apply(print_op, tensors, attrs, "values")
        with graph.control_dependencies([done]):
            return identity(x, scope)


# -- assertions -------------------------------------------------------------------------------------


def _assert_rule(condition: Spec, *data: Spec, summarize: int, waits: int = 0) -> tuple[Spec]:
    require_kind(condition, "bool", "condition")
    if condition.shape:
        raise RuleError("the condition is no scalar", expected="one bool", fix="use gr.reduce_all(condition)")
    return (Spec((), bool_),)


def _assert(condition: Any, *data: Any, summarize: int, waits: int = 0) -> Any:
    if not condition:
        shown = " ".join(f"[{summary(v, summarize)}]" for v in data[: len(data) - waits])
        raise RuleError(f"assertion failed: {shown}", kind=InvalidArgumentError)
    return np.True_


assert_op = register(
    OpDef(
        "assert", _assert_rule, _assert, None, no_gradient, stateful=True, effect=True, node_name="Assert",
        input_names=("condition",),
    )
)  # fmt: skip


def assert_(
    condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None
) -> Operation:
    """Return an operation that fails, and shows `data`, where `condition` is false.

    Parameters
    ----------
    condition : bool tensor without dimensions
    data : list of tensors and strings
    summarize : int, optional
        How many elements of each are shown; 3 unless given.

    Raises
    ------
    InvalidArgumentError
        In the run.  No variable has changed then.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.float32, (None,))
    ...     with gr.control_dependencies([gr.Assert(gr.reduce_all(x > 0.0), [x])]):
    ...         y = gr.log(x)
    ...     print(sess.run(y, {x: [1.0]}))
    [0.]
    """
    tensor = convert_to_tensor(condition)
    graph = tensor.graph
    with graph.as_default(), graph.name_scope(name or "Assert"):
        tensors = [convert_to_tensor(v) for v in data]
        attrs = {"summarize": DEFAULT_SUMMARIZE if summarize is None else int(summarize)}
        op: Operation = apply(assert_op, [tensor, *tensors], attrs, "Assert").op
    return op


# -- NaN and infinity -------------------------------------------------------------------------------


def _numerics_rule(nan: Spec, inf: Spec, *more: Spec, text: str, waits: int = 0) -> tuple[Spec]:
    return (Spec((), bool_),)


def _numerics(nan: Any, inf: Any, *more: Any, text: str, waits: int = 0) -> Any:
    if nan or inf:
        kinds = " and ".join(k for k, found in (("Inf", inf), ("NaN", nan)) if found)
        raise RuleError(f"{text} : Tensor had {kinds} values", kind=InvalidArgumentError)
    return np.True_


numerics_op = register(
    OpDef(
        "check_numerics", _numerics_rule, _numerics, None, no_gradient, stateful=True, effect=True,
        node_name="CheckNumerics", input_names=("nan", "inf"),
    )
)  # fmt: skip


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """Return `tensor`; where it has a NaN or an infinity, the run fails with `message`.

    Raises
    ------
    InvalidArgumentError
        In the run.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.float32, ())
    ...     y = gr.check_numerics(gr.log(x), "the loss")
    ...     try:
    ...         sess.run(y, {x: -1.0})
    ...     except gr.errors.InvalidArgumentError as fault:
    ...         print("the loss : Tensor had NaN values" in str(fault))
    True
    """
    x = convert_to_tensor(tensor)
    graph = x.graph
    with graph.as_default(), graph.name_scope(name or "CheckNumerics") as scope:
        done = apply(numerics_op, [reduce_any(is_nan(x)), reduce_any(is_inf(x))], {"text": message}, "found")
        with graph.control_dependencies([done]):
            return identity(x, scope)


def verify_tensor_all_finite(
    t: Any = None, msg: str | None = None, name: str | None = None, x: Any = None, message: str | None = None
) -> Tensor:
    """As `check_numerics`, with TensorFlow's older arguments; `x` and `message` are newer names of two."""
    value, text = t if x is None else x, msg if message is None else message
    if value is None or text is None:
        raise GraphError(
            error_message("the tensor or the message is missing", where="verify_tensor_all_finite",
                          site=user_site(), expected="a tensor, and what to say where it is not finite")
        )  # fmt: skip
    tensor = convert_to_tensor(value)
    with tensor.graph.name_scope(name or "VerifyFinite"):
        return identity(check_numerics(tensor, text), "control_dependency")


assert_all_finite = verify_tensor_all_finite


def add_check_numerics_ops() -> Operation:
    """Return an operation that checks every floating-point tensor of the default graph, in their order."""
    graph = get_default_graph()
    checks: list[Operation] = []
    for op in graph.get_operations():
        if op.region is not None:
            raise GraphError(
                error_message(
                    "the graph has branches or loops",
                    where="add_check_numerics_ops",
                    site=op.site,
                    fix="use gr.check_numerics on the tensors that matter",
                )
            )
        if op.opdef.name in ("variable", "placeholder") or op.opdef.writes is not None:
            continue
        for t in op.outputs:
            if t.dtype.is_floating:
                with graph.control_dependencies(checks[-1:]):
                    checks.append(check_numerics(t, t.name).op)
    return group(*checks)
