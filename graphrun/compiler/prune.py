"""Pass 1: take from the graph what the fetches need, with fed tensors in place of what computes them."""

from __future__ import annotations

from collections.abc import Sequence

from graphrun.compiler.ir import FEED, Node, Program, Value
from graphrun.errors import FeedError, FetchError, message
from graphrun.graph.node import Operation, Tensor
from graphrun.shapes import format_shape


def reachable(fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor]) -> list[Operation]:
    """The operations that the fetches need, in the order in which they were made."""
    fed = set(feeds)
    stack = [f.op if isinstance(f, Tensor) else f for f in fetches if f not in fed]
    seen: set[Operation] = set()
    while stack:
        op = stack.pop()
        # A placeholder that is waited for is there when it is fed.
        if op in seen or (op.opdef.name == "placeholder" and op.outputs[0] in fed):
            continue
        seen.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed and t.op not in seen)
        stack.extend(c for c in op.control_inputs if c not in seen)
    return sorted(seen, key=lambda op: op.id)


def prune(
    fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor]
) -> tuple[Program, dict[Operation, Node]]:
    """Return the program of what is fetched, still with reads and assigns, and the node of each operation.

    Raises
    ------
    FeedError
        If a placeholder is needed and not fed.
    """
    program = Program()
    value_of: dict[Tensor, Value] = {}
    for t in feeds:
        node = Node(FEED, specs=(t.spec,), origin=t.op)
        program.feeds.append((t, node))
        program.nodes.append(node)
        value_of[t] = (node, 0)
    node_of: dict[Operation, Node] = {}
    for f in fetches:
        op = f.op if isinstance(f, Tensor) else f
        if op.region is not None:
            raise _inside_of_region(f)
    add_operations(program, reachable(fetches, feeds), value_of, node_of)
    # What is merely waited for, as the members of a group, is run too; writes are, as updates.
    waited_for = [c for op in node_of for c in op.control_inputs if not c.opdef.side_effect]
    run_only = dict.fromkeys([f for f in fetches if isinstance(f, Operation)] + waited_for)
    program.kept = [value_of[t] for op in run_only if op in node_of for t in op.outputs]
    program.fetches = [value_of[f] if isinstance(f, Tensor) else None for f in fetches]
    return program, node_of


def add_operations(
    program: Program,
    operations: Sequence[Operation],
    value_of: dict[Tensor, Value],
    node_of: dict[Operation, Node],
) -> None:
    """Add a node for each operation; `value_of` has what stands for tensors that are computed elsewhere."""
    for op in operations:
        if op.opdef.name == "placeholder":
            t = op.outputs[0]
            raise FeedError(
                message(
                    f"placeholder '{t.name}' is needed and not fed",
                    got=f"it is {format_shape(t._shape)} {t.dtype}",
                    site=op.site,
                    fix=f"pass a value in the feed_dict of run: {{{op.name}: ...}}",
                )
            )
        node = Node(
            op.opdef, [value_of[t] for t in op.inputs], op.attrs,
            [t.spec for t in op.outputs], op, op.device, op.value_attrs,
        )  # fmt: skip
        node_of[op] = node
        program.nodes.append(node)
        for t in op.outputs:
            value_of.setdefault(t, (node, t.index))


def _inside_of_region(fetch: Tensor | Operation) -> FetchError:
    op = fetch.op if isinstance(fetch, Tensor) else fetch
    return FetchError(
        message(
            f"'{fetch.name}' is inside of {op.region.kind}, and has a value only there",
            where=op.label,
            site=op.site,
            fix="return it from the function, and fetch what the branch or the loop gives back",
        )
    )
