"""Python's operators for tensors and variables.

``==`` and ``!=`` are not among them: they ask whether two names mean one tensor, so that tensors can be
keys of a feed_dict.  Elementwise they are `gr.equal` and `gr.not_equal`.
"""

from __future__ import annotations

from collections.abc import Callable

from graphrun.graph.node import Tensor
from graphrun.ops import arithmetic, compare, elementwise
from graphrun.ops.array import getitem
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.linalg import matmul
from graphrun.ops.slice_writes import assign_slice
from graphrun.ops.state import Variable

_BINARY: dict[str, tuple[Callable[..., Tensor], str]] = {
    "add": (arithmetic.add, "add"),
    "sub": (arithmetic.subtract, "sub"),
    "mul": (arithmetic.multiply, "mul"),
    "truediv": (arithmetic.truediv, "truediv"),
    "floordiv": (arithmetic.floordiv, "floordiv"),
    "mod": (arithmetic.floormod, "mod"),
    "pow": (arithmetic.pow, "pow"),
    "matmul": (lambda x, y, name: matmul(x, y, name=name), "matmul"),
    "and": (compare.logical_and, "and"),
    "or": (compare.logical_or, "or"),
    "xor": (compare.logical_xor, "xor"),
}
_COMPARISONS: dict[str, Callable[..., Tensor]] = {
    "lt": compare.less,
    "le": compare.less_equal,
    "gt": compare.greater,
    "ge": compare.greater_equal,
}
_UNARY: dict[str, Callable[..., Tensor]] = {
    "neg": elementwise.negative,
    "abs": elementwise.abs,
    "invert": compare.logical_not,
}


def _attach(kind: type) -> None:
    """Give `kind` the operators that it does not define itself."""
    methods: dict[str, Callable[..., Tensor]] = {"__getitem__": getitem}
    for name, (function, node_name) in _BINARY.items():
        methods[f"__{name}__"] = lambda x, y, f=function, n=node_name: f(x, y, n)
        methods[f"__r{name}__"] = lambda x, y, f=function, n=node_name: f(y, x, n)
    for name, comparison in _COMPARISONS.items():
        methods[f"__{name}__"] = lambda x, y, f=comparison: f(x, y)
    for name, one in _UNARY.items():
        methods[f"__{name}__"] = lambda x, f=one: f(x)
    for name, method in methods.items():
        if name not in vars(kind):
            setattr(kind, name, method)


_attach(Tensor)
_attach(Variable)
setattr(Tensor, "assign", assign_slice)  # noqa: B010 - as above
_attach(IndexedSlices)
