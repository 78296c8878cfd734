"""Fetches of any nesting: flattened to tensors and operations, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.errors import FetchError, GraphError, NotFoundError, message
from graphrun.graph.graph import Graph
from graphrun.graph.node import Operation, Tensor

Element = Tensor | Operation
Assemble = Callable[[Sequence[Any]], Any]


class FetchHandler:
    """What `fetches` asks for.

    Attributes
    ----------
    elements : tuple of Tensor or Operation
        Each once, in the order of first mention.
    assemble : function
        From the elements' values to a result in the form of `fetches`; operations give None.
    stay : bool
        Whether values are wanted on the device that computes them.
    givens : mapping
        Tensors that take the places of others.
    key
        What tells its plans from those of other fetches.
    """

    __slots__ = ("elements", "assemble", "stay", "givens", "key")

    def __init__(
        self, graph: Graph, fetches: Any, stay: bool = False, givens: Mapping[Tensor, Tensor] | None = None
    ) -> None:
        places: dict[Element, int] = {}
        self.assemble = _visit(graph, fetches, places)
        self.elements = tuple(places)
        self.stay = stay
        self.givens = dict(givens or {})
        self.key: Any = self.elements
        if stay or givens:
            self.key = (self.elements, stay, tuple(self.givens.items()))


def is_flat(fetches: Any) -> bool:
    """Whether it is one fetch, or a list or tuple of such: equal keys then mean equal results.

    Deeper down they need not: a namedtuple is equal to the tuple of its items.
    """
    if isinstance(fetches, list | tuple):
        return not any(isinstance(f, list | tuple | Mapping) for f in fetches)
    return not isinstance(fetches, Mapping)


def _visit(graph: Graph, fetch: Any, places: dict[Element, int]) -> Assemble:
    if isinstance(fetch, list | tuple):
        parts = [_visit(graph, f, places) for f in fetch]
        if isinstance(fetch, list):
            return lambda values: [p(values) for p in parts]
        make = getattr(type(fetch), "_make", None)  # of a namedtuple
        if make is not None:
            return lambda values: make([p(values) for p in parts])
        return lambda values: tuple([p(values) for p in parts])
    if isinstance(fetch, Mapping):
        keys = list(fetch)
        parts = [_visit(graph, fetch[k], places) for k in keys]
        kind = OrderedDict if isinstance(fetch, OrderedDict) else dict
        return lambda values: kind([(k, p(values)) for k, p in zip(keys, parts, strict=True)])
    if hasattr(fetch, "_parts"):  # made of several tensors, as a SparseTensor
        parts = [_visit(graph, f, places) for f in fetch._parts()]
        return lambda values: fetch._assembled([p(values) for p in parts])
    if fetch is None:
        raise FetchError(
            message(
                "None cannot be fetched",
                expected="a tensor, operation, variable, a name, or lists, tuples and dicts of them",
                fix="gr.gradients returns None for an x that y does not depend on; leave that one out",
            )
        )
    try:
        element = graph.as_graph_element(fetch)
    except NotFoundError:
        raise
    except GraphError as fault:
        if isinstance(fetch, str):
            raise
        site = getattr(getattr(fetch, "op", fetch), "site", None)
        raise GraphError(
            message(
                f"fetch {getattr(fetch, 'name', fetch)!r} is not in this session's graph",
                site=site,
                fix="make the session with gr.Session(graph=...), or build inside of its graph.as_default()",
            )
        ) from fault
    except FetchError:
        raise FetchError(
            message(
                f"{fetch!r} of type {type(fetch).__name__} cannot be fetched",
                expected="a tensor, operation, variable, a name, or lists, tuples and dicts of them",
            )
        ) from None
    place = places.setdefault(element, len(places))
    return lambda values: values[place]
