"""`trace`: Python code becomes a graph when it is called, once for each signature."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphrun.callables.home import initialize_missing
from graphrun.compiler.plan import Plan
from graphrun.control.structure import flatten, is_nested, pack_like
from graphrun.dtypes import as_dtype
from graphrun.errors import GraphError, message
from graphrun.graph.apply import as_array
from graphrun.graph.graph import Graph
from graphrun.graph.node import Operation, Tensor
from graphrun.ops.matrices import trace as matrix_trace
from graphrun.ops.state import global_variables, placeholder
from graphrun.runtime.device_array import DeviceArray
from graphrun.session import Session
from graphrun.variable_scope import AUTO_REUSE, variable_scope

# Python values that are taken as they are: the graph is another one for each of them.
_STATIC = (bool, int, str, bytes, type(None))


class Traced:
    """What `trace` returns: call it as the function that it was made of.

    Attributes
    ----------
    graph : Graph
        All graphs that were traced, with the variables that they share.
    session : Session
        Where they run.
    """

    def __init__(self, function: Callable[..., Any], device: str | None, to_device: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._name = _scope_name(getattr(function, "__name__", "traced"))
        self.graph = Graph()
        self.session = Session(graph=self.graph, device=device)
        self._to_device = to_device
        self._traces: dict[Any, _Trace] = {}

    @property
    def signatures(self) -> int:
        """How many graphs have been traced."""
        return len(self._traces)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace, values = self._trace(args, kwargs)
        return trace.call(values)

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """What a call with these arguments does, to be read."""
        trace, values = self._trace(args, kwargs)
        return self.session.plan(trace.fetches, dict(zip(trace.inputs, values, strict=True)))

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Trace, list[Any]]:
        leaves = [_leaf(self._name, value) for value in flatten((args, kwargs))]
        key = (_form((args, kwargs)), tuple(_kind(value) for value in leaves))
        trace = self._traces.get(key)
        if trace is None:
            trace = self._traces[key] = self._traced(args, kwargs, leaves)
        return trace, [v for v in leaves if isinstance(v, np.ndarray | DeviceArray)]

    def _traced(self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> _Trace:
        before = self._variable_count()
        inputs: list[Tensor] = []
        scope = variable_scope(self._name, reuse=AUTO_REUSE, auxiliary_name_scope=False)
        with self.graph.as_default(), scope, self.graph.name_scope(self._name):
            parts: list[Any] = []
            for value in leaves:
                if isinstance(value, np.ndarray | DeviceArray):
                    dtype = value.dtype if isinstance(value, DeviceArray) else as_dtype(value.dtype)
                    inputs.append(placeholder(dtype, value.shape, name="input"))
                    parts.append(inputs[-1])
                else:
                    parts.append(value)
            new_args, new_kwargs = pack_like((args, kwargs), parts)
            result = self._function(*new_args, **new_kwargs)
        if self._traces and self._variable_count() > before:
            with self.graph.as_default():
                new = global_variables()[before]
            raise GraphError(
                message(
                    f"{self._name} made variable '{new.op.name}' for another signature than its first",
                    site=new.op.site,
                    expected="variables that all signatures share",
                    fix="name it in gr.get_variable or in its layer, or make it once outside",
                )
            )
        initialize_missing(self.session)
        return _Trace(self.session, inputs, result, self._to_device, self._name)

    def _variable_count(self) -> int:
        with self.graph.as_default():
            return len(global_variables())

    def __repr__(self) -> str:
        return f"<graphrun trace of {self._name}, {self.signatures} signatures>"


class _Trace:
    """One signature: what to fetch, and how a result is made of it."""

    def __init__(
        self, session: Session, inputs: list[Tensor], result: Any, to_device: bool, name: str
    ) -> None:
        self.inputs = inputs
        self.result = result
        parts = flatten(result)
        self.fetched = [k for k, p in enumerate(parts) if _in_graph(p)]
        self.fetches = [parts[k] for k in self.fetched]
        self._parts = parts
        self._single = len(parts) == 1 and not is_nested(result) and bool(self.fetched)
        for part in parts:
            if isinstance(part, Tensor | Operation) and part.graph is not session.graph:
                raise GraphError(
                    message(
                        f"{name} returns '{part.name}' of another graph",
                        site=part.op.site if isinstance(part, Tensor) else part.site,
                        fix="compute it inside of the function, from its arguments",
                    )
                )  # fmt: skip
        self._run = session.make_callable(self.fetches, inputs, to_device=to_device)

    def call(self, values: list[Any]) -> Any:
        found = self._run(*values)
        if self._single:
            return found[0]
        parts = list(self._parts)
        for k, value in zip(self.fetched, found, strict=True):
            parts[k] = value
        return pack_like(self.result, parts)


def trace(
    x: Any = None, name: str | None = None, *, device: str | None = None, to_device: bool = False
) -> Any:
    """Turn a function of tensors into one of arrays, which runs as a graph.

    TensorFlow's name for the sum of a matrix's diagonal is the same: ``trace(tensor)`` is
    ``linalg.trace(tensor)``.

    At the first call with arguments of certain shapes and dtypes the function is called with placeholders in
    their place; the graph that it makes is compiled and kept, and later calls with such arguments run it.
    So what Python does beside the graph, as printing, happens once for each signature.

    Parameters
    ----------
    x : callable
        Its arguments, and lists, tuples and dicts of them, may be arrays, NumPy's numbers, Python's floats
        (float32) and device arrays, which become tensors; bools, ints, strings and None are
        taken as they are, and each of their values makes a graph of its own.
    name : str, optional
        Of the operation, where `x` is a matrix.
    device : str, optional
        Where it runs, as in `Session`.
    to_device : bool
        Return device arrays, as `Session.fetch_to_device` does.

    Returns
    -------
    Traced
        Callable; ``.session``, ``.graph`` and ``.plan(*args)`` let one look inside.

    Notes
    -----
    Variables that the function makes are made at the first call, initialized, and shared by all signatures,
    so name them by `get_variable` or by the names of their layers.

    Raises
    ------
    GraphError
        If an argument is neither, or another signature makes variables of its own.

    Examples
    --------
    >>> import numpy as np
    >>> import graphrun as gr
    >>> @gr.trace
    ... def norm(x, axis=-1):
    ...     return gr.sqrt(gr.reduce_sum(x * x, axis))
    >>> print(norm(np.array([3.0, 4.0])), norm(np.array([[3.0], [4.0]]), axis=0), norm.signatures)
    5.0 [5.] 2
    """
    if x is None:
        return lambda function: Traced(function, device, to_device)
    if callable(x):
        return Traced(x, device, to_device)
    return matrix_trace(x, name)


def _leaf(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | float | complex):
        array = as_array(value, None, f"an argument of {name}")
        return array
    if isinstance(value, (DeviceArray, *_STATIC)):
        return value
    raise GraphError(
        message(
            f"{name} is called with a {type(value).__name__}: {value!r}",
            expected="arrays and numbers, bools, strings or None, and lists, tuples and dicts of them",
            fix="let the function take it from where it is defined",
        )
    )


def _kind(value: Any) -> Any:
    """What a graph was traced for."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    if isinstance(value, DeviceArray):
        return value.shape, value.dtype.numpy
    return type(value), value


def _form(item: Any) -> Any:
    if isinstance(item, Mapping):
        return type(item), tuple((k, _form(v)) for k, v in item.items())
    if isinstance(item, list | tuple):
        return type(item), tuple(_form(v) for v in item)
    return None


def _in_graph(part: Any) -> bool:
    made_of_tensors = hasattr(part, "_as_graph_element") or hasattr(part, "_parts")
    return made_of_tensors or isinstance(part, Tensor | Operation)


def _scope_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_." else "_" for c in name).lstrip("_") or "traced"
