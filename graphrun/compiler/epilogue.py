"""Pass: what follows a matrix product or a convolution element by element is computed where it is stored.

A fused group that reads the result of such a kernel at its own place becomes the kernel's epilogue: the
result goes from registers through the group to memory, without a launch and without a trip through memory
of its own.  What others read too, the result itself among it, is stored on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphrun.compiler.fusion import COPY_EXPR, FUSED, MAX_OUTPUTS, Group, Instruction
from graphrun.compiler.ir import Node, Program, Value, no_rule
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.compiler.placement import Target
from graphrun.compiler.views import is_contiguous, view_map
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.opdef import OpDef
from graphrun.graph.traverse import topological_order
from graphrun.shapes import num_elements

# The text of an epilogue stands in a kernel twice, inside of loops over registers.
MAX_INSTRUCTIONS = 48
MAX_INPUTS = 16


@dataclass(frozen=True)
class Epilogue:
    """A kernel operation and the group that its result goes through.

    Attributes
    ----------
    op : OpDef
        Whose kernels store through the group; the node's first `count` inputs are its.
    attrs : mapping
    count : int
    group : Group
        Its inputs are the node's further ones and, at `position`, the kernel's result.
    position : int
    spec : Spec
        Of the kernel's own result.
    """

    op: OpDef
    attrs: Mapping[str, Any]
    count: int
    group: Group
    position: int
    spec: Spec

    def input_of(self, k: int) -> int:
        """Which input of the node is input k of the group."""
        return self.count + k - (k > self.position)

    def may_share(self, k: int, j: int, partial: bool) -> bool:
        """Whether input k of the node may lie where output j goes; `partial` as in `KernelPlan`."""
        own = k - self.count
        if own < 0 or (partial and j == 0):
            return False
        return self.group.maps[own + (own >= self.position)] is None

    def outs(self, node: Node) -> list[Spec]:
        """The outputs in the shape of the kernel's result, whose rows its vectors lie in."""
        return [Spec(self.spec.shape, s.dtype) for s in node.specs]

    def group_specs(self, node: Node) -> list[Spec]:
        """Of the group's inputs."""
        specs = node.input_specs[self.count :]
        return [*specs[: self.position], self.spec, *specs[self.position :]]

    def __str__(self) -> str:
        return f"{self.op.name}:{self.group}"


EPILOGUE = OpDef("epilogue", no_rule, None)


def kernel_of(node: Node) -> tuple[OpDef, Mapping[str, Any]]:
    """The operation whose kernels a node runs, and its attributes: its own, or those under its epilogue."""
    if node.op is not EPILOGUE:
        return node.op, node.attrs
    return node.attrs["epilogue"].op, node.attrs["epilogue"].attrs


def epilogues(program: Program, target: Target) -> Program:
    """Run the pass."""
    kernels: set[Node] = set()
    for node in program.nodes:
        if not runs_kernels(node.device) or len(node.specs) != 1 or node.op.opencl is None:
            continue
        descriptor = node.op.descriptor(node.input_specs, node.attrs)
        if isinstance(descriptor, Kernel) and descriptor.epilogue:
            if "epilogue" not in target.blocked[node.device]:
                kernels.add(node)
    if kernels:
        _Pass(program, target, kernels).run()
    return program


class _Pass:
    def __init__(self, program: Program, target: Target, kernels: set[Node]) -> None:
        self.program, self.target, self.kernels = program, target, kernels
        self.place = {n: i for i, n in enumerate(program.nodes)}
        self.consumers = program.consumers()
        self.outputs = set(program.outputs())
        self.replaced: dict[Value, Value] = {}
        self.made: dict[Node, Node] = {}  # by the node at whose place it stands
        self.gone: set[Node] = set()

    def run(self) -> None:
        for node in self.program.nodes:
            if node.op is FUSED:
                self._consider(node)
        if not self.made:
            return
        program = self.program
        program.nodes = [self.made.get(n, n) for n in program.nodes if n in self.made or n not in self.gone]
        program.replace(self.replaced)
        program.remove_dead()
        program.nodes = topological_order(program.nodes, lambda n: [p for p, _ in n.inputs])

    def _consider(self, node: Node) -> None:
        """Let a group be the epilogue of the last kernel that it reads and that can take it."""
        group: Group = node.attrs["group"]
        if len(group.instructions) > MAX_INSTRUCTIONS or len(group.maps) > MAX_INPUTS:
            return
        found = []
        for k, (value, m) in enumerate(zip(node.inputs, group.maps, strict=True)):
            source = self._source(value)
            if m is None and source is not None and source not in self.gone:
                found.append((self.place[source], k, source))
        for _, k, source in sorted(found, key=lambda f: f[0], reverse=True):
            if self._join(node, k, source):
                return

    def _source(self, value: Value) -> Node | None:
        """The kernel whose result a value is, seen through reshapes."""
        while True:
            node = value[0]
            if node in self.kernels:
                return node
            m = None if node.op in (FUSED, EPILOGUE) else view_map(node, value[1])
            if m is None or not is_contiguous(m) or m.offset:
                return None
            before = node.inputs[0]
            if num_elements(before[0].specs[before[1]].shape) != num_elements(node.specs[0].shape):
                return None
            value = before

    def _join(self, node: Node, position: int, source: Node) -> bool:
        group: Group = node.attrs["group"]
        # Read at other places as well, or as one of the other inputs: then it is not there yet.
        if sum(self._source(v) is source for v in node.inputs) > 1:
            return False
        readers, wanted = self._readers(source, node)
        others = [v for k, v in enumerate(node.inputs) if k != position]
        first, last = self.place[source], self.place[node]
        # In place of the group: all inputs have been computed by then.  In place of the kernel: nobody who
        # reads its result has to wait.  Either way the order of the program stays one.
        if all(self.place[r] > last for r in readers):
            at = node
        elif all(self._at(v) < first for v in others):
            at = source
        else:
            return False
        if wanted and len(node.specs) >= MAX_OUTPUTS:
            return False
        spec = source.specs[0]
        first_out = Spec(spec.shape, node.specs[0].dtype)
        capabilities = self.target.capabilities[source.device]
        ins, attrs = source.input_specs, source.attrs
        plan = kernel_plan(source.op, ins, [first_out], attrs, capabilities, epilogue=True)
        if plan is None or not plan.launches:
            return False
        specs = list(node.specs)
        if wanted:
            group = _storing_input(group, position, spec)
            specs.append(spec)
        epilogue = Epilogue(source.op, source.attrs, len(source.inputs), group, position, spec)
        new = Node(
            EPILOGUE, [*source.inputs, *others], {"epilogue": epilogue}, specs, node.origin, node.device
        )
        self.place[new] = self.place[at]
        self.made[at] = new
        self.gone |= {node, source}
        self.replaced.update({(node, j): (new, j) for j in range(len(node.specs))})
        if wanted:
            self.replaced[source, 0] = (new, len(specs) - 1)
        return True

    def _at(self, value: Value) -> int:
        return self.place[self.replaced.get(value, value)[0]]

    def _readers(self, source: Node, group: Node) -> tuple[list[Node], bool]:
        """Who else reads a kernel's result, through reshapes too, and whether it has to be stored."""
        readers: list[Node] = []
        wanted = False
        stack: list[Value] = [(source, 0)]
        while stack:
            value = stack.pop()
            wanted |= value in self.outputs
            for reader in self.consumers.get(value, ()):
                if reader is group:
                    continue
                if reader.op not in (FUSED, EPILOGUE) and self._source((reader, 0)) is source:
                    stack.append((reader, 0))
                else:
                    readers.append(reader)
        return readers, wanted or bool(readers)


def _storing_input(group: Group, position: int, spec: Spec) -> Group:
    """The group with one of its inputs as another output, behind the others."""
    first = Instruction("view", COPY_EXPR, {}, (("in", position),), (spec.dtype,), spec.dtype)

    def moved(operand: tuple[str, Any]) -> tuple[str, Any]:
        return ("t", operand[1] + 1) if operand[0] == "t" else operand

    rest = [replace(i, operands=tuple(moved(o) for o in i.operands)) for i in group.instructions]
    return replace(group, instructions=(first, *rest), extra=(*(e + 1 for e in group.extra), 0))
