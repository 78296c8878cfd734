"""What unrolled loops do with arrays of rows: rows at known places are values of their own.

A `write_row` at a known index costs nothing then, and a `read_row` is the value that was written.  Where the
array as a whole is asked for, its rows are stacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphrun.compiler.ir import CONST, Node, Value, constant_array
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import Constant
from graphrun.shapes import is_static

if TYPE_CHECKING:
    from graphrun.compiler.specialize import Specializer

# Each write makes a new list of rows, so long arrays are left to the kernels.
MAX_ROWS = 1024


class KnownRows:
    """Arrays of which each row is known; None stands for a row of zeros."""

    def __init__(self, owner: Specializer) -> None:
        self._owner = owner
        self._rows: dict[Node, list[Value | None]] = {}
        self._made: dict[Node, Value] = {}
        # Arrays that another operation than a stack makes, where they are asked for as a whole.
        self._whole: dict[Node, tuple[str, dict[str, Any]]] = {}

    def add(self, node: Node, rows: list[Value | None], row: Spec) -> None:
        """Say what the rows of a node's only output are; it is computed where that is asked for."""
        node.specs = (Spec((len(rows), *row.shape), row.dtype),)  # type: ignore[misc]
        self._rows[node] = rows

    def mark(self) -> Any:
        """The state to go `back_to`."""
        return dict(self._made)

    def back_to(self, mark: Any) -> None:
        """Forget what has been computed since."""
        self._made = mark

    def computed(self, value: Value) -> Value:
        """The array as one value."""
        node = value[0]
        rows = self._rows.get(node)
        if rows is None:
            return value
        if node not in self._made:
            if node in self._whole:
                name, attrs = self._whole[node]
                self._made[node] = self._owner.build(name, node.inputs, attrs, node)
            else:
                self._made[node] = self._stacked(node, rows)
        return self._made[node]

    def _stacked(self, node: Node, rows: list[Value | None]) -> Value:
        spec = node.specs[0]
        if not any(rows):
            return self._zeros(spec, node)
        row = Spec(spec.shape[1:], spec.dtype)  # type: ignore[index]
        zeros = self._zeros(row, node) if None in rows else None
        return self._owner.build("stack", [r or zeros for r in rows], {"axis": 0}, node)  # type: ignore[misc]

    def _zeros(self, spec: Spec, node: Node) -> Value:
        zero = Constant(np.zeros((), spec.dtype.numpy))
        return self._owner.build("fill", [], {"shape": spec.shape, "value": zero, "dtype": spec.dtype}, node)

    def take(self, node: Node) -> bool:
        """Take a node that reads or writes a known row; False for all others."""
        name, owner = node.op.name, self._owner
        if name == "identity" and node.inputs[0][0] in self._rows:
            owner.replaced[(node, 0)] = node.inputs[0]
            return True
        if name in ("strided_slice", "strided_slice_grad") and _is_one_row(node):
            return self._slice(node) if name == "strided_slice" else self._slice_grad(node)
        if name not in ("read_row", "write_row", "add_row", "grow_row"):
            return False
        at = constant_array(node.inputs[1])
        if at is None or at.shape != ():
            return False
        i, array = int(at), node.inputs[0]
        if name == "read_row":
            found = self._read(node, array, i)
            if found is not None:
                owner.replaced[(node, 0)] = found
            return found is not None
        return self._write(node, array, i)

    def _slice(self, node: Node) -> bool:
        """A row of an array of known rows, by a slice."""
        rows = self._rows.get(node.inputs[0][0])
        if rows is None or node.inputs[0][1]:
            return False
        i = node.attrs["begin"][0]
        i += len(rows) if i < 0 else 0
        found = self._read(node, node.inputs[0], i)
        if found is not None:
            self._owner.replaced[(node, 0)] = found
        return found is not None

    def _slice_grad(self, node: Node) -> bool:
        """The gradient of an array of which one row was read: zeros, but for that row."""
        shape, spec = node.attrs.get("shape"), self._owner.spec(node.inputs[0])
        if not isinstance(shape, tuple) or not shape or not 0 < shape[0] <= MAX_ROWS:
            return False
        i = node.attrs["begin"][0]
        i += shape[0] if i < 0 else 0
        if not 0 <= i < shape[0] or spec.shape != shape[1:]:
            return False
        rows: list[Value | None] = [None] * shape[0]
        rows[i] = node.inputs[0]
        self._whole[node] = "strided_slice_grad", dict(node.attrs)
        self.add(node, rows, spec)
        return True

    def _read(self, node: Node, array: Value, i: int) -> Value | None:
        spec = self._owner.spec(array)
        if not is_static(spec.shape) or not 0 <= i < spec.shape[0]:  # type: ignore[index,operator]
            return None
        rows = self._rows.get(array[0])
        if rows is not None:
            row = rows[i]
            if row is None:
                return self._zeros(Spec(spec.shape[1:], spec.dtype), node)  # type: ignore[index]
            return row
        attrs: dict[str, Any] = {"begin": (i,), "end": (i + 1,), "strides": (1,), "shrink_axis_mask": 1}
        attrs |= dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask"), 0)
        return self._owner.build("strided_slice", [array], attrs, node)

    def _write(self, node: Node, array: Value, i: int) -> bool:
        owner, row = self._owner, node.inputs[2]
        spec, part = owner.spec(array), owner.spec(row)
        before = self._before(array)
        if before is None or not is_static(part.shape) or i < 0:
            return False
        if i >= len(before):
            if node.op.name != "grow_row":
                return False
            before = before + [None] * (i + 1 - len(before))
        if spec.shape[1:] != part.shape and spec.shape[1:] != (0,):  # type: ignore[index]
            return False  # its rule says what is wrong
        rows = list(before)
        old = rows[i]
        rows[i] = (
            row if node.op.name != "add_row" or old is None else owner.build("add", [old, row], {}, node)
        )
        self.add(node, rows, part)
        return True

    def _before(self, array: Value) -> list[Value | None] | None:
        node, _ = array
        rows = self._rows.get(node)
        if rows is not None:
            return rows
        shape = self._owner.spec(array).shape
        if not is_static(shape) or not shape or shape[0] > MAX_ROWS:  # type: ignore[operator]
            return None
        n: int = shape[0]  # type: ignore[assignment]
        if node.op.name == "fill" and not node.attrs["value"].array.any():
            return [None] * n
        if node.op is CONST and not node.attrs["value"].array.any():
            return [None] * n
        return None


def _is_one_row(node: Node) -> bool:
    """Whether a slice takes one row at a known place, and all of that."""
    attrs = node.attrs
    if node.value_attrs or len(attrs.get("begin", ())) != 1 or attrs.get("shrink_axis_mask") != 1:
        return False
    others = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask")
    return isinstance(attrs["begin"][0], int) and not any(attrs.get(m) for m in others)
