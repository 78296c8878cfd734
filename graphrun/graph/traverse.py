"""Orders and views of graphs, by networkx: any objects, with a function that tells what each depends on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import networkx as nx

N = TypeVar("N", bound=Hashable)


def to_networkx(nodes: Iterable[N], predecessors: Callable[[N], Iterable[N]]) -> Any:
    """A ``networkx.DiGraph`` with an edge from each predecessor to its node."""
    graph = nx.DiGraph()
    items = list(nodes)
    graph.add_nodes_from(items)
    graph.add_edges_from((p, n) for n in items for p in predecessors(n))
    return graph


def topological_order(
    nodes: Sequence[N],
    predecessors: Callable[[N], Iterable[N]],
    priority: Callable[[N], Any] | None = None,
) -> list[N]:
    """Return `nodes` so that each stands behind its predecessors.

    Among nodes that are ready the one with the lowest `priority` comes first; without it, the one that
    stands first in `nodes`.  The order is a function of the arguments alone.

    Raises
    ------
    ValueError
        If the nodes depend on each other in a circle; it is named.
    """
    place = {n: i for i, n in enumerate(nodes)}
    # Most passes change little, and then the nodes stand in this order already.
    if priority is None and all(place.get(p, i) < i for i, n in enumerate(nodes) for p in predecessors(n)):
        return list(nodes)
    graph = to_networkx(nodes, predecessors)
    key = (lambda n: place[n]) if priority is None else (lambda n: (priority(n), place[n]))
    try:
        return list(nx.lexicographical_topological_sort(graph, key=key))
    except nx.NetworkXUnfeasible:
        circle = " -> ".join(str(a) for a, _ in nx.find_cycle(graph))
        raise ValueError(f"these nodes depend on each other in a circle: {circle}") from None


def graph_to_networkx(graph: Any) -> Any:
    """The operations of a `Graph` with their data and control edges, by operation name.

    Nodes carry ``type``, ``shape``, ``dtype`` and ``device``; edges carry ``control``.
    """
    result = nx.MultiDiGraph()
    for op in graph.get_operations():
        result.add_node(
            op.name,
            type=op.opdef.name,
            device=op.device,
            shape=[t.shape.as_tuple() for t in op.outputs],
            dtype=[t.dtype.name for t in op.outputs],
        )
        for t in op.inputs:
            result.add_edge(t.op.name, op.name, control=False, output=t.index)
        for c in op.control_inputs:
            result.add_edge(c.name, op.name, control=True)
    return result
