"""What loops and branches pass on: tensors, and objects that are made of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.structure import flatten, pack_like
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import DType
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.ops.sparse_tensor import SparseTensor

Rebuild = Callable[[Sequence[Tensor]], Any]


class Value:
    """A leaf of a structure: its tensors, and how to put it together again."""

    __slots__ = ("tensors", "rebuild", "is_rows")

    def __init__(self, item: Any, dtype: DType | None = None) -> None:
        self.is_rows = isinstance(item, TensorArray)
        self.tensors: list[Tensor]
        self.rebuild: Rebuild
        if isinstance(item, TensorArray):
            self.tensors = [item.flow]
            self.rebuild = lambda parts: item._with(parts[0])
        elif isinstance(item, SparseTensor):
            self.tensors = list(item._parts())
            self.rebuild = lambda parts: SparseTensor(*parts)
        else:
            self.tensors = [convert_to_tensor(item, dtype)]
            self.rebuild = lambda parts: parts[0]


class Values:
    """A structure of leaves, as a flat list of tensors."""

    def __init__(self, structure: Any, like: Values | None = None) -> None:
        self.structure = structure
        leaves = flatten(structure)
        # A Python number takes the dtype of the tensor in whose place it stands.
        dtypes: list[Any] = [None] * len(leaves)
        if like is not None:
            for k, (leaf, other) in enumerate(zip(leaves, like.leaves, strict=True)):
                if isinstance(leaf, int | float | bool) and len(other.tensors) == 1:
                    dtypes[k] = other.tensors[0].dtype
        self.leaves: list[Value] = [Value(leaf, d) for leaf, d in zip(leaves, dtypes, strict=True)]

    @property
    def tensors(self) -> list[Tensor]:
        return [t for leaf in self.leaves for t in leaf.tensors]

    @property
    def is_rows(self) -> list[bool]:
        """For each tensor whether it is that of a `TensorArray`."""
        return [leaf.is_rows for leaf in self.leaves for _ in leaf.tensors]

    def rebuilt(self, tensors: Sequence[Tensor]) -> Any:
        """The structure with other tensors in it."""
        items, at = [], 0
        for leaf in self.leaves:
            n = len(leaf.tensors)
            items.append(leaf.rebuild(tensors[at : at + n]))
            at += n
        return pack_like(self.structure, items)
