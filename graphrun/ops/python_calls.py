"""Functions of the user that run on the host, between the operations of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType, as_dtype, as_strings, bool_
from graphrun.errors import (
    CODED,
    ExecutionError,
    GraphError,
    InvalidArgumentError,
    OpError,
    OutOfRangeError,
    ResourceExhaustedError,
    RuleError,
    UnimplementedError,
    message,
)
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site


def _class_of(fault: Exception) -> type[OpError]:
    """As which class a run tells what a user's function raised: TensorFlow's choice."""
    if isinstance(fault, OpError) and type(fault) in CODED:
        return type(fault)
    for kind, told in _TOLD_AS:
        if isinstance(fault, kind):
            return told
    return ExecutionError


_TOLD_AS: tuple[tuple[Any, type[OpError]], ...] = (
    ((TypeError, ValueError), InvalidArgumentError),
    (StopIteration, OutOfRangeError),
    (MemoryError, ResourceExhaustedError),
    (NotImplementedError, UnimplementedError),
)


class PythonCall:
    """A user's function as an attribute, with the dtypes that it promises."""

    __slots__ = ("function", "dtypes")

    def __init__(self, function: Callable[..., Any], dtypes: tuple[DType, ...]) -> None:
        self.function = function
        self.dtypes = dtypes

    @property
    def label(self) -> str:
        return getattr(self.function, "__qualname__", None) or type(self.function).__name__

    def __call__(self, arrays: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """Call it with copies, which it may change; check what it returns."""
        try:
            with np.errstate(**_DEFAULT_ERRSTATE):
                returned = self.function(*[_argument(a) for a in arrays])
        except Exception as fault:
            raise RuleError(
                f"the function {self.label} raised {type(fault).__name__}: {fault}", kind=_class_of(fault)
            ) from fault
        if returned is None:
            values: list[Any] = []
        else:
            values = list(returned) if isinstance(returned, list | tuple) else [returned]
        if len(values) != len(self.dtypes):
            raise RuleError(
                f"the function {self.label} returned {_count(len(values))}",
                expected=f"{_count(len(self.dtypes))}, as Tout says",
                kind=InvalidArgumentError,
            )
        return tuple(self._result(i, v, d) for i, (v, d) in enumerate(zip(values, self.dtypes, strict=True)))

    def _result(self, number: int, value: Any, dtype: DType) -> np.ndarray:
        strings = as_strings(value) if dtype.is_string else None
        if strings is not None:
            return strings
        try:
            # A copy: the function may return the same array each time, and change it in between.
            array = np.array(value, order="C")
        except ValueError:  # a ragged list
            array = np.array(None)
        if array.dtype != dtype.numpy or dtype.is_string:
            got = type(value).__name__ if array.dtype == object else str(array.dtype)
            raise RuleError(
                f"value {number} that the function {self.label} returned is {got}",
                expected=f"{dtype}, as Tout says",
                fix="" if array.dtype == object else f"return np.asarray(x, np.{dtype})",
                kind=InvalidArgumentError,
            )
        return array

    def __repr__(self) -> str:
        return f"<{self.label}>"


# What NumPy starts with; the run around the call ignores floating-point faults.
_DEFAULT_ERRSTATE: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def _count(n: int) -> str:
    return "no values" if n == 0 else f"{n} value{'' if n == 1 else 's'}"


def _argument(array: Any) -> Any:
    a = np.asarray(array)
    if a.ndim == 0:
        return a[()]
    return a.copy()


def _call_rule(*specs: Spec, call: PythonCall, waits: int = 0) -> tuple[Spec, ...]:
    # One output stands for a call that gives none, so that others can wait for it.
    return tuple(Spec(None, d) for d in call.dtypes) or (Spec((), bool_),)


def _call(*arrays: Any, call: PythonCall, waits: int = 0) -> Any:
    results = call(arrays[: len(arrays) - waits])
    if not results:
        return np.True_
    return results if len(results) > 1 else results[0]


py_func_op = register(
    OpDef(
        "py_func", _call_rule, _call, None, no_gradient, stateful=True, effect=True, node_name="PyFunc",
        input_names=(),
    )
)  # fmt: skip
stateless_py_func_op = register(
    OpDef("py_func_stateless", _call_rule, _call, None, no_gradient, node_name="PyFuncStateless",
          input_names=())
)  # fmt: skip


def py_func(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """Return what `func` computes from arrays, as tensors: it is called on the host in each run.

    Parameters
    ----------
    func : function
        It gets NumPy arrays (scalars of NumPy and bytes where a tensor has no dimension), which it may
        change, and returns one array or a list of them; None for no result.
    inp : list of tensors
    Tout : dtype or list of dtypes
        Of what `func` returns, which must have exactly these dtypes.
    stateful : bool
        Whether `func` does more than compute its result from its arguments.  If so, it is called once in each
        run that needs it; if not, equal calls may be merged.

    Returns
    -------
    Tensor, list of Tensor, or Operation
        As `Tout` is one dtype, a list, or an empty list.  The shapes are unknown until `set_shape` states
        them; what follows is planned when they are known.  No gradient flows through it, but see
        `RegisterGradient`.

    Raises
    ------
    InvalidArgumentError, ExecutionError
        In the run, where `func` raises (the error is chained), or returns something else than `Tout` says.

    Examples
    --------
    >>> import numpy as np
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     y = gr.py_func(np.cumsum, [gr.constant([1.0, 2.0, 3.0])], gr.float32)
    ...     y.set_shape([3])
    ...     print(sess.run(y * 2.0))
    [ 2.  6. 12.]
    """
    if not callable(func):
        raise GraphError(message(f"py_func of {func!r}", site=user_site(), expected="a function of arrays"))
    several = isinstance(Tout, list | tuple)
    dtypes = tuple(as_dtype(d) for d in (Tout if several else [Tout]))
    items = list(inp) if isinstance(inp, list | tuple) else [inp]
    graph = next((v.graph for v in items if isinstance(v, Tensor)), None) or get_default_graph()
    with graph.as_default():
        tensors = [convert_to_tensor(v) for v in items]
        opdef = py_func_op if stateful else stateless_py_func_op
        found = apply(opdef, tensors, {"call": PythonCall(func, dtypes)}, name)
    outputs: list[Tensor] = list(found) if isinstance(found, tuple) else [found]
    if not dtypes:
        op: Operation = outputs[0].op
        return op
    return outputs if several else outputs[0]


def numpy_function(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """The later name of `py_func`."""
    return py_func(func, inp, Tout, stateful, name)
