"""An order of a program's nodes in which less is in memory at once.

Nodes run as they stand, which is near the order in which they were written: the gradients of weights may
then wait until the end, and what they read waits with them.  Here the node that is ready and frees most, or
takes least, comes next.
"""

from __future__ import annotations

from graphrun.compiler.ir import CONST, STATE, Node, Program, Value
from graphrun.compiler.schedule import may_fail
from graphrun.compiler.steps import size_bytes
from graphrun.compiler.views import only_renames
from graphrun.device_names import runs_kernels


def sparing_order(program: Program) -> list[Node]:
    """Return the nodes in an order in which values are read for the last time early.

    An update of a variable on a device comes when all who read the old value have run, and all on the host
    that may raise, so that it can be written in its place (see `schedule`).

    Examples
    --------
    >>> sparing_order(Program())
    []
    """
    renames = {n: only_renames(n) for n in program.nodes}

    def root(value: Value) -> Value:
        while renames[value[0]]:
            value = value[0].inputs[0]
        return value

    reads = {n: {root(v) for v in n.inputs} if not renames[n] else set() for n in program.nodes}
    unread: dict[Value, int] = {}
    readers: dict[Value, list[Node]] = {}
    for node, values in reads.items():
        for v in values:
            unread[v] = unread.get(v, 0) + 1
            readers.setdefault(v, []).append(node)
    kept = {root(v) for v in program.outputs()}
    waits, followers = _dependencies(program, readers)
    place = {n: i for i, n in enumerate(program.nodes)}

    def price(node: Node) -> tuple[int, int]:
        made = 0 if renames[node] or node.op in (CONST, STATE) else sum(map(size_bytes, node.specs))
        freed = sum(
            size_bytes(v[0].specs[v[1]])
            for v in reads[node]
            if unread[v] == 1 and v not in kept and v[0].op not in (CONST, STATE)
        )
        return made - freed, place[node]

    ready = {n: price(n) for n in program.nodes if not waits[n]}
    order: list[Node] = []
    while ready:
        node = min(ready, key=ready.__getitem__)
        del ready[node]
        order.append(node)
        for v in reads[node]:
            unread[v] -= 1
            if unread[v] == 1:
                ready.update({n: price(n) for n in readers[v] if n in ready})
        for n in followers.get(node, ()):
            waits[n] -= 1
            if not waits[n]:
                ready[n] = price(n)
    return order


def _dependencies(
    program: Program, readers: dict[Value, list[Node]]
) -> tuple[dict[Node, int], dict[Node, list[Node]]]:
    """For how many nodes each one waits, and which wait for it."""
    before = {node: {n for n, _ in node.inputs} for node in program.nodes}
    used = {n for inputs in before.values() for n in inputs}
    updates = {v[0] for v in program.updates.values() if v[0] not in used and runs_kernels(v[0].device)}
    hosts = [n for n in program.nodes if may_fail(n)]
    for key, (node, _) in program.updates.items():
        if node in updates:
            old = program.states.get(key)
            before[node] |= set(readers.get((old, 0), ())) - updates if old is not None else set()
            before[node] |= set(hosts)
    followers: dict[Node, list[Node]] = {}
    for node, nodes in before.items():
        for n in nodes:
            followers.setdefault(n, []).append(node)
    return {node: len(nodes) for node, nodes in before.items()}, followers
