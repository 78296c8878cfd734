"""The two things a graph is made of: operations, and the tensors that they produce."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphrun.dtypes import DType
from graphrun.errors import DTypeError, GraphError, NotPickled, RuleError, Site, format_site, message
from graphrun.graph import default
from graphrun.graph.descriptor import Spec
from graphrun.graph.op_types import type_of
from graphrun.graph.opdef import OpDef
from graphrun.graph.operators import Operators
from graphrun.shapes import Shape, TensorShape, as_shape, format_shape, merge

if TYPE_CHECKING:
    from graphrun.graph.graph import Graph


@dataclass(frozen=True)
class NodeDef:
    """What `Operation.node_def` gives.

    Attributes
    ----------
    op : str
        The type, as ``MatMul``.
    name : str
    input : list of str
        The tensors read, without the ``:0`` of first outputs; then what it waits for, as ``^name``.
    device : str
    """

    op: str
    name: str
    input: list[str]
    device: str


class Operation(NotPickled):
    """A node of the graph.  Made by :meth:`Graph.create_operation`; users meet it as ``tensor.op``.

    Attributes
    ----------
    inputs : tuple of Tensor
        The data inputs, then one tensor for each name in `value_attrs`.
    attrs : mapping
        Frozen and hashable values by keyword.
    value_attrs : tuple of str
        The attributes that arrive as the trailing inputs.
    opdef : OpDef
        The record; ``op.opdef.name`` is graphrun's own name for what `type` tells in TensorFlow's.
    site : (str, int) or None
        The user's file and line.
    region : Region or None
        The branch or loop that it is part of.
    gradient : str, callable or None
        What stands in for its record's gradient rule: the name of a registered one, or the rule itself.
    """

    __slots__ = (
        "opdef", "graph", "name", "inputs", "attrs", "value_attrs", "outputs", "_control_inputs",
        "device", "site", "id", "region", "gradient", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        opdef: OpDef,
        graph: Graph,
        name: str,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        value_attrs: tuple[str, ...],
        specs: Sequence[Spec],
        control_inputs: tuple[Operation, ...],
        device: str,
        site: Site,
        id: int,
        region: Any = None,
    ) -> None:
        self.opdef = opdef
        self.graph = graph
        self.name = name
        self.inputs = inputs
        self.attrs = attrs
        self.value_attrs = value_attrs
        self.outputs = tuple([Tensor(self, i, s.shape, s.dtype) for i, s in enumerate(specs)])
        self._control_inputs = control_inputs
        self.device = device
        self.site = site
        self.id = id
        self.region = region
        self.gradient: Any = None

    @property
    def type(self) -> str:
        """What it computes, by TensorFlow's name, as ``MatMul``.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default() as graph:
        ...     y = gr.matmul(gr.placeholder(gr.float32, (None, 2), "x"), gr.ones([2, 1])) + 1.0
        ...     print(y.op.type, [op.name for op in graph.get_operations() if op.type == "Placeholder"])
        AddV2 ['x']
        """
        return type_of(self)

    @property
    def control_inputs(self) -> list[Operation]:
        """The operations that run before it, in a new list."""
        return list(self._control_inputs)

    @property
    def node_def(self) -> NodeDef:
        """Its type, name and inputs as TensorFlow writes them down.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default():
        ...     a, b = gr.unstack(gr.placeholder(gr.float32, (2, 3), "x"))
        ...     with gr.control_dependencies([gr.no_op("first")]):
        ...         node = gr.add(a, b, "y").op.node_def
        ...     print(node.op, node.name, node.input)
        AddV2 y ['unstack', 'unstack:1', '^first']
        """
        read = [t.op.name if t.index == 0 else t.name for t in self.inputs]
        waits = [f"^{op.name}" for op in self._control_inputs]
        return NodeDef(self.type, self.name, [*read, *waits], self.device)

    def get_attr(self, name: str) -> Any:
        """The attribute of that name (TensorFlow's manner)."""
        try:
            return self.attrs[name]
        except KeyError:
            raise GraphError(
                message(
                    f"no attribute {name!r}",
                    where=self.label,
                    site=self.site,
                    expected=f"one of {sorted(self.attrs)}",
                )
            ) from None

    @property
    def label(self) -> str:
        """How messages name it: ``matmul 'dense_1/matmul'``."""
        return f"{self.opdef.name} '{self.name}'"

    def values(self) -> list[Tensor]:
        """Its outputs (TensorFlow's manner)."""
        return list(self.outputs)

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run it in `session`, or in the default session."""
        default.session_for(session, "Operation.run()").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<gr.Operation '{self.name}' type={self.type}>"


class Tensor(NotPickled, Operators):
    """A value that an operation will produce when the graph runs.

    Arithmetic operators, comparison, indexing and the like are attached by `graphrun.ops`.
    """

    __slots__ = ("op", "index", "_shape", "dtype", "_partial", "_slice_of", "__weakref__")
    _partial: Any  # what is known of its value, once asked for (see `apply.partial_value`)
    _slice_of: Any  # the variable and the key, where it is a slice of one, as ``v[2]``

    def __init__(self, op: Operation, index: int, shape: Shape, dtype: DType) -> None:
        self.op = op
        self.index = index
        self._shape = shape
        self.dtype = dtype

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.index}"

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        """What is known of its shape before the graph runs."""
        return TensorShape(self._shape)

    @property
    def spec(self) -> Spec:
        return Spec(self._shape, self.dtype)

    @property
    def value_index(self) -> int:
        return self.index

    def get_shape(self) -> TensorShape:
        return TensorShape(self._shape)

    def set_shape(self, shape: Any) -> None:
        """State what you know of the shape; it is checked against what graphrun knows, and in each run."""
        try:
            merged = merge(self._shape, as_shape(shape))
        except ValueError:
            fault = RuleError(
                f"set_shape({format_shape(as_shape(shape))}) contradicts {format_shape(self._shape)}"
            )
            op = self.op
            raise op.opdef.explain(fault, op.name, op.site, [t.spec for t in op.inputs]) from None
        if merged != self._shape:
            self._shape = merged
            self.op.graph._state_shape(self, merged)

    def consumers(self) -> list[Operation]:
        """The operations that read it."""
        return [op for op in self.graph.get_operations() if any(t is self for t in op.inputs)]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Compute its value in `session`, or in the default session."""
        return default.session_for(session, "Tensor.eval()").run(self, feed_dict)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _no_value(self, what: str, fix: str) -> NoReturn:
        raise DTypeError(
            message(
                f"{what}: a tensor has no value while the graph is built",
                where=f"Tensor '{self.name}'",
                got=f"{format_shape(self._shape)} {self.dtype}      {format_site(self.op.site)}".rstrip(),
                fix=fix,
            )
        )

    def __bool__(self) -> bool:
        self._no_value(
            "it cannot be used as a bool, as in `if x:`, `while x:` or `a and b`",
            "in the graph use gr.cond for `if`, gr.while_loop for `while`, gr.where to choose elements and"
            " gr.logical_and for `and`; outside of it, session.run(x) and test what it returns; `if x is not"
            " None:` asks whether there is a tensor",
        )

    def __float__(self) -> float:
        self._no_value("float(x)", "use gr.cast(x, gr.float32), or float(session.run(x))")

    def __int__(self) -> int:
        self._no_value("int(x)", "use gr.cast(x, gr.int32), or int(session.run(x))")

    __index__ = __int__

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self._no_value(
            "NumPy was asked to make an array of it",
            "use the function of graphrun instead of NumPy's (gr.exp for np.exp), or session.run(x)",
        )

    def __len__(self) -> int:
        if self._shape and self._shape[0] is not None:
            return self._shape[0]
        self._no_value("len(x)", "use gr.shape(x)[0], which is a tensor, or give x a static shape")

    def __iter__(self) -> Iterator[Tensor]:
        if self._shape is None or not self._shape or self._shape[0] is None:
            what = "it is a scalar" if self._shape == () else "its first dimension is not known"
            self._no_value(
                f"iteration over it, but {what}",
                "use gr.unstack(x, num=n), or give x a static shape",
            )
        return (self[i] for i in range(self._shape[0]))

    def __repr__(self) -> str:
        return f"<gr.Tensor '{self.name}' shape={format_shape(self._shape)} dtype={self.dtype}>"
