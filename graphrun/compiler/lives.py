"""Lives of a placed program's values: when each is made and read, and what lies in memory at each step.

This is the memory plan as far as it can be known without the plan: kernels' scratch, copies of operands in
another order and parts that are computed within joined values are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from graphrun.compiler.epilogue import EPILOGUE
from graphrun.compiler.fusion import FUSED
from graphrun.compiler.ir import CONST, COPY, FEED, RESIDENT, STATE, Node, Program, Value
from graphrun.compiler.lower import IN_PLACE_BYTES
from graphrun.compiler.rows import ROWS
from graphrun.compiler.steps import size_bytes
from graphrun.compiler.views import only_renames
from graphrun.device_names import NUMPY, runs_kernels


@dataclass
class Life:
    """One value: made at step `start`, in memory up to step `end`, which its readers and `kept` decide."""

    value: Value
    size_bytes: int
    start: int
    end: int
    readers: list[int] = field(default_factory=list)
    kept: bool = False  # the run gives it to somebody, so it stays to the end


class Lives:
    """The lives on one device, for the order in which `program.nodes` stand.

    Parameters
    ----------
    program : Program
    device : str
    zero_copy : bool
        Large fed arrays are read where they lie (`Capabilities.zero_copy`).

    Attributes
    ----------
    of : dict of Value to Life
        By the value that lies in memory; views that move nothing are seen through.
    usage : list of int
        Bytes at each step; the last entry is what is left at the end.
    """

    def __init__(self, program: Program, device: str, zero_copy: bool = False) -> None:
        self.program, self.device = program, device
        self._zero_copy = zero_copy
        self.place = {n: i for i, n in enumerate(program.nodes)}
        self._renames: dict[Node, bool] = {}
        self.of: dict[Value, Life] = {}
        self._find()
        end = len(program.nodes)
        change = [0] * (end + 2)
        for life in self.of.values():
            change[life.start] += life.size_bytes
            change[life.end + 1] -= life.size_bytes
        for at, saved in self._written_over():
            change[at] -= saved
            change[at + 1] += saved
        self.usage = list(accumulate(change[:-1]))

    def renames(self, node: Node) -> bool:
        """Whether a node's results are its input as it lies, so that nothing is computed."""
        known = self._renames.get(node)
        if known is None:
            known = self._renames[node] = only_renames(node)
        return known

    def root(self, value: Value) -> Value:
        """What lies in memory behind a value."""
        while self.renames(value[0]):
            value = value[0].inputs[0]
        return value

    @property
    def peak_bytes(self) -> int:
        return max(self.usage)

    @property
    def peak_at(self) -> int:
        """The first step at which most is in memory."""
        return self.usage.index(self.peak_bytes)

    def _find(self) -> None:
        program, device = self.program, self.device
        end = len(program.nodes)
        fetched = {self.root(v) for v in program.fetches if v is not None}
        updated = {self.root(v) for v in program.updates.values()}
        for position, node in enumerate(program.nodes):
            if self.renames(node):
                continue
            if node.device == device and node.op not in (CONST, FEED, STATE):
                self._made(node, position, end, fetched, updated)
            for v in node.inputs:
                root = self.root(v)
                if node.op is COPY and root[0].device != device != node.device:
                    continue
                life = self.of.get(root)
                if life is None and root[0].op is FEED and node.device == device != NUMPY:
                    size = size_bytes(root[0].specs[0])
                    if RESIDENT not in root[0].attrs and not (self._zero_copy and size >= IN_PLACE_BYTES):
                        life = self.of[root] = Life(root, size, position, position)
                if life is not None:
                    life.readers.append(position)
                    life.end = max(life.end, position)
        if device == NUMPY:
            for v in fetched:
                if runs_kernels(v[0].device):
                    self.of[v] = Life(v, size_bytes(v[0].specs[v[1]]), end, end, kept=True)

    def _made(self, node: Node, position: int, end: int, fetched: set[Value], updated: set[Value]) -> None:
        device = self.device
        for i, spec in enumerate(node.specs):
            value = (node, i)
            kept = value in fetched or (value in updated and device == NUMPY)
            if value in updated and value not in fetched:
                # Written into the variable itself: on devices by the kernel, on the host by what it gives.
                if runs_kernels(device) or node.op.rewrite is not None:
                    continue
            self.of[value] = Life(value, size_bytes(spec), position, end if kept else position, kept=kept)

    def _written_over(self) -> list[tuple[int, int]]:
        """Steps whose kernel writes over what nobody reads any more, and how many bytes that saves."""
        if not runs_kernels(self.device):
            return []
        found = []
        for node, position in self.place.items():
            if node.op not in (FUSED, ROWS, EPILOGUE) or node.device != self.device:
                continue
            taken: set[Value] = set()
            first = node.attrs["epilogue"].count if node.op is EPILOGUE else 0
            for i in range(len(node.specs)):
                own = self.of.get((node, i))
                if own is None:
                    continue
                for v in map(self.root, node.inputs[first:]):
                    life = self.of.get(v)
                    if life is None or v in taken or life.end != position or v[0].op is FEED:
                        continue
                    if life.size_bytes == own.size_bytes and v[0].specs[v[1]].dtype is node.specs[i].dtype:
                        taken.add(v)
                        found.append((position, own.size_bytes))
                        break
        return found
