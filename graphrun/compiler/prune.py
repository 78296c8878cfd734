"""Pass 1: take from the graph what the fetches need, with fed tensors in place of what computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphrun.compiler.ir import FEED, Node, Program, Value
from graphrun.errors import FeedError, FetchError, message
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.traverse import topological_order
from graphrun.shapes import format_shape

Givens = Mapping[Tensor, Tensor]


def reachable(
    fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor], givens: Givens | None = None
) -> list[Operation]:
    """The operations that the fetches need, in an order in which they can run: that in which they were made.

    With `givens`, values that take the places of others, that may be another one.
    """
    fed = set(feeds)
    givens = givens or {}
    wanted = [givens.get(f, f) if isinstance(f, Tensor) else f for f in fetches]
    stack = [f.op if isinstance(f, Tensor) else f for f in wanted if f not in fed]
    seen: set[Operation] = set()
    while stack:
        op = stack.pop()
        # A placeholder that is waited for is there when it is fed.
        if op in seen or (op.opdef.name == "placeholder" and op.outputs[0] in fed):
            continue
        seen.add(op)
        inputs = [givens.get(t, t) for t in op.inputs] if givens else op.inputs
        stack.extend(t.op for t in inputs if t not in fed and t.op not in seen)
        stack.extend(c for c in op.control_inputs if c not in seen)
    found = sorted(seen, key=lambda op: op.id)
    return _ordered(found, fed, givens) if givens else found


def _ordered(found: list[Operation], fed: set[Tensor], givens: Givens) -> list[Operation]:
    present = set(found)

    def needed(op: Operation) -> list[Operation]:
        inputs = [t.op for t in (givens.get(t, t) for t in op.inputs) if t not in fed]
        return [n for n in (*inputs, *op.control_inputs) if n in present]

    try:
        return topological_order(found, needed)
    except ValueError:
        names = ", ".join(f"'{t.name}'" for t in givens)
        site = next(iter(givens)).op.site
        raise FeedError(
            message(
                f"what is given for {names} is computed from it",
                site=site,
                expected="givens that do not depend on what they replace",
                fix="compute the given value from another placeholder",
            )
        ) from None


def prune(
    fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor], givens: Givens | None = None
) -> tuple[Program, dict[Operation, Node]]:
    """Return the program of what is fetched, still with reads and assigns, and the node of each operation.

    `givens` are values that take the places of others.

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
    givens = givens or {}
    add_operations(program, reachable(fetches, feeds, givens), value_of, node_of, givens)
    # What is merely waited for, as the members of a group, is run too; writes are, as updates.
    waited_for = [c for op in node_of for c in op.control_inputs if not c.opdef.side_effect]
    run_only = dict.fromkeys([f for f in fetches if isinstance(f, Operation)] + waited_for)
    program.kept = [value_of[t] for op in run_only if op in node_of for t in op.outputs]
    program.fetches = [value_of[givens.get(f, f)] if isinstance(f, Tensor) else None for f in fetches]
    return program, node_of


def add_operations(
    program: Program,
    operations: Sequence[Operation],
    value_of: dict[Tensor, Value],
    node_of: dict[Operation, Node],
    givens: Givens | None = None,
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
        inputs = [givens.get(t, t) for t in op.inputs] if givens else op.inputs
        node = Node(
            op.opdef, [value_of[t] for t in inputs], op.attrs,
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
