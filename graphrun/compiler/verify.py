"""What every program must hold after every pass; a fault here is a fault of the pass before."""

from __future__ import annotations

from graphrun.compiler.ir import CONST, FEED, STATE, Node, Program
from graphrun.errors import VerifyError
from graphrun.shapes import is_static


def verify(program: Program, after: str, concrete: bool = True, placed: bool = False) -> None:
    """Raise `VerifyError` with the program's neighbourhood of the first fault.

    Checked: each input is computed before it is read and has that output; shapes are concrete from
    `specialize` on, but for results that nobody reads; inputs lie on the node's device once nodes are placed;
    fetches and updates are computed.
    """
    seen: set[Node] = set()
    read = {source for node in program.nodes for source, _ in node.inputs}
    for number, node in enumerate(program.nodes):
        fault = _fault(node, seen, concrete and node in read, placed)
        if fault:
            lines = str(program).splitlines()
            near = lines[max(0, number - 5) : number + 6]
            raise VerifyError("\n  ".join([f"after {after}: %{number} {node.op.name}: {fault}", *near]))
        seen.add(node)
    for v in program.outputs():
        if v[0] not in seen:
            raise VerifyError(f"after {after}: {v[0]} is fetched or assigned, and is not in the program")
        if v[1] >= len(v[0].specs):
            raise VerifyError(f"after {after}: {v[0]} has no output {v[1]}")


def _fault(node: Node, seen: set[Node], concrete: bool, placed: bool) -> str:
    if node in seen:
        return "it stands in the program twice"
    for source, i in node.inputs:
        if source not in seen:
            return f"it reads {source.op.name} '{source.name}' before that is computed"
        if i >= len(source.specs):
            return f"it reads output {i} of {source.op.name}, which has {len(source.specs)}"
        if placed and source.device and source.device != node.device and node.op.name != "copy":
            return f"it is on {node.device} and reads {source.op.name} on {source.device}"
    if concrete and not all(is_static(s.shape) for s in node.specs):
        return "its shape is not concrete"
    if not node.op.name.startswith("_") and node.op in (CONST, FEED, STATE) and node.inputs:
        return "it has inputs"
    return ""
