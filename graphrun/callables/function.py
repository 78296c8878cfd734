"""`function`: inputs, outputs and updates as a callable, in Theano's manner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphrun.callables.home import initialize_missing, shared_session
from graphrun.compiler.prune import reachable
from graphrun.errors import DTypeError, FeedError, GraphError, ShapeError, message
from graphrun.fetches import FetchHandler
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph, get_default_session
from graphrun.graph.graph import Graph
from graphrun.graph.node import Operation, Tensor
from graphrun.ops.state import Variable, assign, group, identity
from graphrun.session import Session
from graphrun.shapes import format_shape, is_compatible


class Function:
    """What `function` returns: call it with the values of its inputs.

    Attributes
    ----------
    session : Session
        Where it runs, and where its variables are.
    """

    def __init__(
        self, inputs: Sequence[Tensor], call: Callable[..., Any], session: Session, name: str
    ) -> None:
        self.inputs = tuple(inputs)
        self.session = session
        self.__name__ = name
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs' values; inputs may also be named, as ``f(x=1.0)``."""
        if kwargs:
            args = self._arranged(args, kwargs)
        if len(args) != len(self.inputs):
            raise FeedError(
                message(
                    f"{self.__name__} is called with {len(args)} values",
                    expected=f"{len(self.inputs)}: {', '.join(t.op.name for t in self.inputs) or 'none'}",
                )
            )
        return self._call(*args)

    def _arranged(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        names = [t.op.name for t in self.inputs]
        rest = names[len(args) :]
        for name in kwargs:
            if name not in rest:
                given = "is given twice" if name in names else "is no input"
                raise FeedError(
                    message(f"{self.__name__}: '{name}' {given}", expected=f"inputs {', '.join(names)}")
                )
        missing = [n for n in rest if n not in kwargs]
        if missing:
            raise FeedError(message(f"{self.__name__}: no value for {', '.join(missing)}"))
        return (*args, *(kwargs[n] for n in rest))

    def __repr__(self) -> str:
        return f"<graphrun function {self.__name__}({', '.join(t.op.name for t in self.inputs)})>"


def function(
    inputs: Sequence[Any],
    outputs: Any = None,
    *,
    updates: Any = None,
    givens: Any = None,
    session: Session | None = None,
    name: str = "function",
    on_unused_input: str = "raise",
    to_device: bool = False,
) -> Function:
    """Return a callable of `inputs` that computes `outputs` and applies `updates`.

    Outputs and new values are computed from the variables as they were before the call; all updates are
    applied together.

    Parameters
    ----------
    inputs : sequence of Tensor
        Placeholders, or any other tensors whose values the caller gives.
    outputs : Tensor, or lists, tuples, dicts of tensors, optional
        What a call returns, in the same form; None where there are none.
    updates : mapping or sequence of pairs, optional
        From variables to their new values.
    givens : mapping or sequence of pairs, optional
        From tensors to tensors or values that take their places in this function, as a slice of a variable
        that holds all data for a placeholder.
    session : Session, optional
        Where it runs.  Without it, in the default session if that is one of this graph, else in a session
        that all functions of the graph share, in which variables get their initial values by themselves.
    name : str
        Its name in messages.
    on_unused_input : {"raise", "ignore"}
        Whether an input that nothing depends on is an error.
    to_device : bool
        Return device arrays, as `Session.fetch_to_device` does.

    Raises
    ------
    GraphError
        If an input is not used, an update is for something else than a variable, or the tensors are of
        several graphs.
    ShapeError, DTypeError
        If a given value or an update does not fit what it replaces.

    References
    ----------
    .. [1] Theano: "function - defines theano.function", whose arguments these are.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (), name="x")
    ...     total = gr.Variable(0.0)
    ...     add = gr.function([x], total + x, updates={total: total + x})
    ...     print(add(2.0), add(x=3.0))
    2.0 5.0
    """
    if on_unused_input not in ("raise", "ignore"):
        raise GraphError(
            message(f"gr.function with on_unused_input={on_unused_input!r}", expected="'raise' or 'ignore'")
        )
    if not _is_list(inputs):
        raise GraphError(
            message(
                f"inputs of gr.function are {inputs!r}", expected="a list of tensors, as [x]; [] for none"
            )
        )
    fed = [_tensor(t, "an input") for t in inputs]
    pairs = [(_variable(v), new) for v, new in _pairs(updates, "updates")]
    replaced = [(_tensor(t, "what a given replaces"), new) for t, new in _pairs(givens, "givens")]
    graph = _graph(fed, pairs, replaced, outputs)
    if len({v.op for v, _ in pairs}) < len(pairs):
        raise GraphError(message(f"{name}: a variable is updated twice"))
    with graph.as_default():
        given = {t: _given(t, new) for t, new in replaced}
        step = _update(pairs, outputs)
    wanted = {"outputs": () if outputs is None else outputs, "updates": () if step is None else step}
    session = _session(session, graph)
    handler = FetchHandler(graph, wanted, to_device, given)
    if on_unused_input == "raise":
        _check_used(name, fed, handler, given)
    run = session._callable(handler, fed)

    def call(*values: Any) -> Any:
        found = run(*values)["outputs"]
        return None if outputs is None else found

    return Function(fed, call, session, name)


def _update(pairs: Sequence[tuple[Variable, Any]], outputs: Any) -> Operation | None:
    """An operation that applies all updates, after all that reads the old values."""
    if not pairs:
        return None
    # Copies, so that a variable that becomes another's value is read before it changes.
    values = [identity(_new_value(v, new)) for v, new in pairs]
    handler = FetchHandler(pairs[0][0].graph, [] if outputs is None else outputs)
    with pairs[0][0].graph.control_dependencies([*values, *handler.elements]):
        return group(*[assign(v, value) for (v, _), value in zip(pairs, values, strict=True)])


def _new_value(variable: Variable, new: Any) -> Tensor:
    value = convert_to_tensor(new, variable.dtype, graph=variable.graph)
    if not is_compatible(value._shape, variable._as_tensor()._shape):
        raise ShapeError(
            message(
                f"the new value of '{variable.op.name}' is of shape {format_shape(value._shape)}",
                site=value.op.site,
                expected=f"shape {format_shape(variable._as_tensor()._shape)}",
            )
        )
    return value


def _given(tensor: Tensor, new: Any) -> Tensor:
    value = convert_to_tensor(new, None if isinstance(new, Tensor) else tensor.dtype, graph=tensor.graph)
    if value.dtype != tensor.dtype:
        raise DTypeError(
            message(
                f"'{value.name}' of {value.dtype} is given for '{tensor.name}'", site=tensor.op.site,
                expected=str(tensor.dtype), fix=f"gr.cast(..., gr.{tensor.dtype})",
            )
        )  # fmt: skip
    if not is_compatible(value._shape, tensor._shape):
        raise ShapeError(
            message(
                f"'{value.name}' of shape {format_shape(value._shape)} is given for '{tensor.name}'",
                site=tensor.op.site,
                expected=f"shape {format_shape(tensor._shape)}",
            )
        )
    return value


def _is_list(items: Any) -> bool:
    return isinstance(items, Iterable) and not (
        isinstance(items, Tensor) or hasattr(items, "_as_graph_element")
    )


def _pairs(items: Any, what: str) -> list[tuple[Any, Any]]:
    if items is None:
        return []
    if not _is_list(items):
        raise GraphError(
            message(f"{what} of gr.function are {items!r}", expected="a dict, or pairs of old and new")
        )
    pairs = list(items.items()) if isinstance(items, Mapping) else list(items)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise GraphError(
                message(f"{what} of gr.function hold {pair!r}", expected="a dict, or pairs of old and new")
            )
    return [(old, new) for old, new in pairs]


def _tensor(item: Any, what: str) -> Tensor:
    t = item._as_graph_element() if hasattr(item, "_as_graph_element") else item
    if not isinstance(t, Tensor):
        raise GraphError(message(f"{what} of gr.function is {item!r}", expected="a tensor"))
    return t


def _variable(item: Any) -> Variable:
    if not isinstance(item, Variable):
        raise GraphError(message(f"gr.function updates {item!r}", expected="a gr.Variable"))
    return item


def _graph(
    fed: Sequence[Tensor], pairs: Sequence[tuple[Variable, Any]], replaced: Sequence[tuple[Tensor, Any]],
    outputs: Any,
) -> Graph:  # fmt: skip
    known: list[Any] = [*fed, *(v for v, _ in pairs), *(t for t, _ in replaced)]
    if known:
        found: Graph = known[0].graph
        return found
    rest = [outputs]
    while rest:
        item = rest.pop()
        if isinstance(item, list | tuple):
            rest += reversed(item)
        elif isinstance(item, Mapping):
            rest += reversed(list(item.values()))
        elif isinstance(getattr(item, "graph", None), Graph):
            return item.graph
    default: Graph = get_default_graph()
    return default


def _session(session: Session | None, graph: Graph) -> Session:
    if session is not None:
        if session.graph is not graph:
            raise GraphError(
                message("gr.function in a session of another graph", fix="gr.Session(graph=...) of this one")
            )
        return session
    default = get_default_session()
    if isinstance(default, Session) and default.graph is graph:
        return default
    shared = shared_session(graph)
    initialize_missing(shared)
    return shared


def _check_used(
    name: str, fed: Sequence[Tensor], handler: FetchHandler, given: Mapping[Tensor, Tensor]
) -> None:
    used = set(handler.elements)
    for op in reachable(handler.elements, fed, given):
        used.update(given.get(t, t) for t in op.inputs)
    for t in fed:
        if t not in used:
            raise GraphError(
                message(
                    f"{name}: nothing depends on input '{t.name}'", site=t.op.site,
                    fix="leave it out, or pass on_unused_input='ignore'",
                )
            )  # fmt: skip
