"""What all layers share: names, variables, and their losses and updates."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.control.structure import flatten, is_nested, map_structure
from graphrun.dtypes import as_dtype
from graphrun.errors import GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arguments import near_argument
from graphrun.ops.array import reshape, shape
from graphrun.ops.convert import cast
from graphrun.ops.state import Variable
from graphrun.shapes import TensorShape, as_shape, format_shape
from graphrun.variable_scope import VariableScope, get_variable, penalty, variable_scope


class InputSpec:
    """What a layer takes: rank, least rank, and sizes of axes."""

    def __init__(
        self, dtype: Any = None, shape: Any = None, ndim: int | None = None, max_ndim: int | None = None,
        min_ndim: int | None = None, axes: dict[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.dtype, self.shape = dtype, shape
        self.ndim, self.max_ndim, self.min_ndim, self.axes = ndim, max_ndim, min_ndim, axes or {}


class Layer:
    """Base of layers, and of your own: `build` makes variables by `add_variable`, `call` uses them.

    Parameters
    ----------
    trainable : bool
        Whether its variables are put into ``GraphKeys.TRAINABLE_VARIABLES``.
    name : str, optional
        Its scope; by default its class's name, made unique.
    dtype : dtype, optional
        Of its variables; that of the first input by default.
    activity_regularizer : function, optional
        From the layer's result to a penalty, which is divided by the size of the batch.
    """

    def __init__(
        self, trainable: bool = True, name: str | None = None, dtype: Any = None,
        activity_regularizer: Callable[[Any], Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self._reuse = kwargs.pop("_reuse", None)
        given = kwargs.pop("_scope", None)
        if kwargs:
            known = [p for p in inspect.signature(type(self).__init__).parameters if p != "kwargs"]
            raise TypeError(
                message(
                    f"{type(self).__name__} got unknown arguments: {', '.join(sorted(kwargs))}",
                    site=user_site(), expected=", ".join(known[1:]), fix=near_argument(min(kwargs), known),
                )
            )  # fmt: skip
        self._base_name = name or snake_case(type(self).__name__)
        self._wanted = given
        self._scope: VariableScope | None = None
        self.trainable = trainable
        self.dtype = None if dtype is None else as_dtype(dtype)
        self.activity_regularizer = activity_regularizer
        self.built = False
        self.input_spec: InputSpec | None = None
        self._variables: list[Variable] = []
        self._losses: list[Any] = []
        self._updates: list[Any] = []

    # -- names and variables ------------------------------------------------------------------

    @property
    def scope_name(self) -> str:
        """The name of its variable scope; known once it has been called."""
        if self._scope is None:
            raise GraphError(message(f"layer '{self._base_name}' has no scope yet", fix="call it first"))
        return self._scope.name

    @property
    def name(self) -> str:
        return self._base_name if self._scope is None else self._scope.name.rpartition("/")[2]

    @property
    def variables(self) -> list[Variable]:
        """Trainable ones first."""
        return self.trainable_variables + self.non_trainable_variables

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self._variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return [v for v in self._variables if not (self.trainable and v.trainable)]

    weights = variables
    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    @property
    def losses(self) -> list[Any]:
        return list(self._losses)

    @property
    def updates(self) -> list[Any]:
        return list(self._updates)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add to the layer's losses and to ``GraphKeys.REGULARIZATION_LOSSES``."""
        for loss in losses if isinstance(losses, list | tuple) else [losses]:
            self._losses.append(loss)
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Add operations that belong to a training step, here and in ``GraphKeys.UPDATE_OPS``."""
        for update in updates if isinstance(updates, list | tuple) else [updates]:
            self._updates.append(update)
            get_default_graph().add_to_collection(GraphKeys.UPDATE_OPS, update)

    def add_variable(
        self, name: str, shape: Any, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
        trainable: bool = True, constraint: Any = None, **kwargs: Any,
    ) -> Variable:  # fmt: skip
        """Make, or find, a variable of the layer."""
        graph = get_default_graph()
        count = len(graph._ops)
        # The scope's regularizer applies too, as in TensorFlow; the layer's own is not instead of it.
        variable = get_variable(
            name, shape, dtype or self.dtype, initializer, trainable=trainable and self.trainable,
            constraint=constraint,
        )  # fmt: skip
        if regularizer is not None and variable.op.id >= count:
            loss = penalty(graph, regularizer, variable)
            if loss is not None:
                self.add_loss(loss)
        if variable not in self._variables:
            self._variables.append(variable)
        return variable

    add_weight = add_variable

    def count_params(self) -> int:
        """How many numbers its variables hold."""
        if not self.built:
            raise GraphError(message(f"layer '{self._base_name}' has no variables yet", fix="call it first"))
        return sum(int(TensorShape(v.shape).num_elements() or 0) for v in self._variables)

    # -- to be overridden ---------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the variables for inputs of this shape."""
        self.built = True

    def call(self, inputs: Any, **kwargs: Any) -> Any:
        """The layer's result."""
        raise NotImplementedError(f"{type(self).__name__} has no call")

    # -- calling it ---------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # A list of numbers is one tensor; with a tensor in it, it is a structure of them.
        several = is_nested(inputs) and any(isinstance(x, Tensor | Variable) for x in flatten(inputs))
        inputs = map_structure(convert_to_tensor, inputs) if several else convert_to_tensor(inputs)
        tensors = flatten(inputs)
        graph = tensors[0].graph
        with graph.as_default():
            # Given by `scope=`, a scope is shared: its variables are found there when it reuses.
            self._check(tensors)
            again = self._reuse if self._scope is None else True
            opened = self._scope = self._scope or self._opened()
            with variable_scope(opened, reuse=again, auxiliary_name_scope=False):
                with graph.name_scope(opened.original_name_scope or None):
                    if not self.built:
                        if self.dtype is None and tensors[0].dtype.is_floating:
                            self.dtype = tensors[0].dtype
                        self.build(map_structure(lambda t: t.shape, inputs))
                        self.built = True
                    outputs = self.call(inputs, *args, **kwargs)
                    if self.activity_regularizer is not None:
                        for y in outputs if isinstance(outputs, list | tuple) else [outputs]:
                            with graph.name_scope("ActivityRegularizer"):
                                loss = self.activity_regularizer(y)
                                if loss is not None:  # for each example, whatever the size of the batch
                                    self.add_loss(loss / cast(shape(y)[0], loss.dtype))
        return outputs

    apply = __call__

    def _opened(self) -> VariableScope:
        if isinstance(self._wanted, VariableScope):
            return self._wanted
        # A layer that reuses is named as the one whose variables it takes; another one's name is made unique.
        wanted = self._base_name if self._reuse and self._wanted is None else self._wanted
        with variable_scope(wanted, self._base_name) as scope:
            return scope

    def _check(self, tensors: Sequence[Tensor]) -> None:
        spec = self.input_spec
        if spec is None:
            return
        shape = tensors[0]._shape
        if shape is None:
            return
        rank = len(shape)
        expected = ""
        if spec.ndim is not None and rank != spec.ndim:
            expected = f"rank {spec.ndim}"
        elif spec.min_ndim is not None and rank < spec.min_ndim:
            expected = f"rank {spec.min_ndim} or more"
        else:
            for axis, size in spec.axes.items():
                if shape[axis] is not None and shape[axis] != size:
                    expected = f"{size} along axis {axis}, as when the layer was first called"
        if expected:
            raise ShapeError(
                message(
                    f"the input '{tensors[0].name}' does not fit",
                    where=f"layer {type(self).__name__} '{self._base_name}'", site=user_site(),
                    got=f"shape {format_shape(shape)}", expected=expected, fix=_mended(rank, spec, expected),
                )
            )  # fmt: skip


def _mended(rank: int, spec: Any, expected: str) -> str:
    wanted = spec.ndim if spec.ndim is not None else spec.min_ndim
    if "along axis" in expected:
        return "call another layer for inputs of another size: this one's variables fit the first"
    if wanted is not None and rank == wanted - 1:
        return "gr.expand_dims(x, axis) adds a dimension of 1, as that of the batch (0) or the channels (-1)"
    if wanted is not None and rank > wanted:
        return "gr.layers.flatten(x) makes (batch, features) of it, gr.squeeze(x, axis) drops dimensions of 1"
    return "gr.reshape(x, [-1, ...]) gives it the dimensions that are missing"


def function_of(layer: type[Layer], name: str, doc: str, reuse: bool = True) -> Callable[..., Any]:
    """The function that makes a layer and applies it: `inputs`, the layer's arguments, `name` and `reuse`.

    Without `reuse` the layer has no variables, and the function has no such argument.
    """
    own = list(inspect.signature(layer.__init__).parameters.values())[1:]
    own = [p for p in own if p.name != "name" and p.kind is not p.VAR_KEYWORD]
    own = [p.replace(annotation=p.empty) for p in own]  # for messages
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [inspect.Parameter(n, kind, default=None) for n in ("name", "reuse")[: 1 + reuse]]
    signature = inspect.Signature([inspect.Parameter("inputs", kind), *own, *named])

    def apply(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            unknown = next((k for k in kwargs if k not in signature.parameters), "")
            hint = near_argument(unknown, signature.parameters) if unknown else ""
            text = f"{name}(): {error}; its arguments: {signature}"
            raise TypeError(message(text, site=user_site(), fix=hint)) from None
        inputs = given.pop("inputs")
        if reuse:
            given.update(_scope=given.get("name"), _reuse=given.pop("reuse", None))
        return layer(**given)(inputs)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    apply.__signature__ = signature  # type: ignore[attr-defined]
    return apply


def snake_case(name: str) -> str:
    """``Conv2DTranspose`` as ``conv2d_transpose``."""
    text = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", text).lower().lstrip("_")


def as_flag(training: Any) -> bool | Tensor:
    """`training` as a Python bool where it is one, else as a scalar tensor.

    Programs make a placeholder of it without a shape; what is chosen by it must keep its shape.
    """
    if training is None or isinstance(training, bool | int | np.bool_):
        return bool(training)
    flag = convert_to_tensor(training)
    return flag if flag._shape == () else reshape(flag, [])


def last_size(layer: Layer, shape: Any, axis: int = -1) -> int:
    """The size along an axis, which has to be known to make variables."""
    known = as_shape(shape)
    if known is not None and not -len(known) <= axis < len(known):
        raise ShapeError(
            message(
                f"the input has no axis {axis}", where=f"layer {type(layer).__name__}", site=user_site(),
                got=f"an input of shape {format_shape(known)}",
                expected="one of features" if not known else f"-{len(known)} <= axis < {len(known)}",
                fix="gr.reshape(x, [-1, 1]) gives it one" if not known else "",
            )
        )  # fmt: skip
    size = None if known is None else known[axis]
    if size is None:
        raise ShapeError(
            message(
                "the size of the last axis has to be known to make variables" if axis == -1
                else f"the size along axis {axis} has to be known to make variables",
                where=f"layer {type(layer).__name__}", site=user_site(),
                got=f"an input of shape {format_shape(known)}",
                fix="give the placeholder that size, or x.set_shape(...)",
            )
        )  # fmt: skip
    return int(size)


def padding_rule(padding: Any, layer: Layer) -> str:
    """``"same"`` or ``"valid"`` in capitals, as operations have them."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    word = padding.lower() if isinstance(padding, str) else ""
    close = difflib.get_close_matches(word, ("same", "valid"), 1)
    raise ShapeError(
        message(
            f"padding={padding!r}", where=f"layer {type(layer).__name__}", site=user_site(),
            expected='"same" or "valid"', fix=f'did you mean "{close[0]}"?' if close else "",
        )
    )  # fmt: skip


def channels_first(data_format: str) -> bool:
    """Whether ``channels_first`` is asked for, and not ``channels_last``."""
    if data_format not in ("channels_last", "channels_first"):
        raise ShapeError(
            message(
                f"data_format={data_format!r}", site=user_site(),
                expected='"channels_last" or "channels_first"',
            )
        )  # fmt: skip
    return data_format == "channels_first"
