"""Cells made of cells: several on each other, with dropout, with a shortcut, on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from graphrun.control.structure import flatten, is_nested, map_structure, pack_like
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import as_dtype
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.scopes import device as device_scope
from graphrun.graph.scopes import name_scope
from graphrun.graph.site import user_site
from graphrun.layers.base import Layer
from graphrun.ops.array import concat
from graphrun.ops.attributes import is_tensor
from graphrun.ops.convert import cast
from graphrun.ops.math import floor
from graphrun.ops.nn import dropout
from graphrun.ops.random import random_uniform
from graphrun.ops.slicing import slice_
from graphrun.rnn.base import RNNCell, require_cell, size_dims, total_size
from graphrun.rnn.cells import LSTMStateTuple
from graphrun.shapes import format_shape, is_compatible
from graphrun.variable_scope import variable_scope


class MultiRNNCell(RNNCell):
    """Several cells on each other: the output of each is the input of the next.

    Parameters
    ----------
    cells : list of cells
        Each with variables of its own, which are in scopes ``cell_0``, ``cell_1``, ...
    state_is_tuple : bool
        Whether states are tuples of the cells' states; else they are joined along axis 1.

    Raises
    ------
    DTypeError, GraphError
        If `cells` is no list, is empty, or has something in it that is no cell.
    """

    def __init__(self, cells: Any, state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, list | tuple):
            raise DTypeError(
                message(f"cells is a {type(cells).__name__}", where="MultiRNNCell", site=user_site(),
                        expected="a list of cells", fix="MultiRNNCell([cell])")
            )  # fmt: skip
        if not cells:
            raise GraphError(
                message("cells is empty", where="MultiRNNCell", site=user_site(), expected="one cell or more")
            )
        for k, cell in enumerate(cells):
            require_cell(cell, "MultiRNNCell", f"cells[{k}]")
        self._cells, self._state_is_tuple = list(cells), bool(state_is_tuple)
        nested = [k for k, cell in enumerate(cells) if is_nested(cell.state_size)]
        if not state_is_tuple and nested:
            raise GraphError(
                message(
                    f"state_is_tuple=False, and the state of cells[{nested[0]}] is a structure",
                    where="MultiRNNCell", site=user_site(), expected="states of one tensor",
                    fix="make the cells with state_is_tuple=False too",
                )
            )  # fmt: skip

    @property
    def state_size(self) -> Any:
        if self._state_is_tuple:
            return tuple(cell.state_size for cell in self._cells)
        return sum(total_size(cell.state_size) for cell in self._cells)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    @property
    def trainable_variables(self) -> list[Any]:
        return _of_cells(self._cells, "trainable_variables") if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Any]:
        frozen = _of_cells(self._cells, "non_trainable_variables")
        return frozen if self.trainable else _of_cells(self._cells, "trainable_variables") + frozen

    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            if self._state_is_tuple:
                return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)
            return super().zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        if self._state_is_tuple and (not isinstance(state, list | tuple) or len(state) != len(self._cells)):
            count = f" of {len(state)}" if isinstance(state, list | tuple) else ""
            raise GraphError(
                message(
                    f"the state is a {type(state).__name__}{count}", site=user_site(),
                    where=f"MultiRNNCell '{self._base_name}'",
                    expected=f"a tuple of {len(self._cells)} states, one for each cell",
                    fix="cell.zero_state(batch, dtype) makes it",
                )
            )  # fmt: skip
        states, at = [], 0
        for k, cell in enumerate(self._cells):
            with variable_scope(f"cell_{k}"):
                if self._state_is_tuple:
                    before = state[k]
                else:
                    size = total_size(cell.state_size)
                    before = slice_(state, [0, at], [-1, size])
                    at += size
                inputs, after = cell(inputs, before)
                states.append(after)
        return inputs, tuple(states) if self._state_is_tuple else concat(states, 1)


def _of_cells(cells: list[Any], attribute: str) -> list[Any]:
    found = [v for cell in cells for v in getattr(cell, attribute, ())]
    return list({id(v): v for v in found}.values())  # a cell may stand there twice


class _Wrapper(RNNCell):
    """A cell around a cell, whose sizes and variables it has; it opens no scope of its own."""

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_cell(cell, type(self).__name__)
        self._cell = cell

    @property
    def wrapped_cell(self) -> Any:
        return self._cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    @property
    def trainable_variables(self) -> list[Any]:
        return _of_cells([self._cell], "trainable_variables")

    @property
    def non_trainable_variables(self) -> list[Any]:
        return _of_cells([self._cell], "non_trainable_variables")

    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with name_scope(f"{type(self).__name__}ZeroState", values=[batch_size]):
            return self._cell.zero_state(batch_size, dtype)

    def build(self, input_shape: Any) -> None:
        if isinstance(self._cell, Layer):
            self._cell.build(input_shape)
        self.built = True

    def _step(self, inputs: Any, state: Any, scope: Any) -> Any:
        return self._cell(inputs, state) if scope is None else self._cell(inputs, state, scope=scope)


class DropoutWrapper(_Wrapper):
    """A cell with dropout of its inputs, its state and its outputs.

    Parameters
    ----------
    cell : cell
    input_keep_prob, output_keep_prob, state_keep_prob : float or scalar tensor
        The probability of keeping an element.  The memory `c` of an `LSTMStateTuple` is always kept.
    variational_recurrent : bool
        Whether the same elements are dropped in all steps, and for the whole batch (Gal and Ghahramani 2015).
    input_size : int, shape or structure of them, optional
        Of the inputs; needed for `variational_recurrent` with an `input_keep_prob`.
    dtype : dtype, optional
        Of inputs, state and outputs; needed for `variational_recurrent`.
    seed : int, optional
    dropout_state_filter_visitor : function, optional
        Of a part of the state: returns whether it is dropped, or a structure of that for its parts.
    """

    def __init__(
        self, cell: Any, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0, state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False, input_size: Any = None, dtype: Any = None,
        seed: int | None = None, dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(cell, dtype=dtype, **kwargs)
        self._input_keep_prob = _probability(input_keep_prob, "input_keep_prob")
        self._output_keep_prob = _probability(output_keep_prob, "output_keep_prob")
        self._state_keep_prob = _probability(state_keep_prob, "state_keep_prob")
        self._variational_recurrent, self._seed = bool(variational_recurrent), seed
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise DTypeError(
                message("dropout_state_filter_visitor is no function", where="DropoutWrapper",
                        site=user_site(), got=repr(dropout_state_filter_visitor))
            )  # fmt: skip
        self._is_dropped = dropout_state_filter_visitor or _all_but_memory
        self._noise: dict[str, list[Tensor]] = {}
        if variational_recurrent:
            self._draw_noise(dtype, input_size)

    def _draw_noise(self, dtype: Any, input_size: Any) -> None:
        """One pattern for all steps, with a batch of one, drawn outside of any loop."""
        if dtype is None:
            raise GraphError(
                message("variational_recurrent=True without a dtype", where="DropoutWrapper",
                        site=user_site(), fix="pass dtype=gr.float32")
            )  # fmt: skip
        sizes: dict[str, Any] = {"state": self._cell.state_size, "output": self._cell.output_size}
        if _drops(self._input_keep_prob):
            if input_size is None:
                raise GraphError(
                    message("variational_recurrent=True with input_keep_prob, without input_size",
                            where="DropoutWrapper", site=user_site(),
                            fix="pass input_size=, the depth of the inputs")
                )  # fmt: skip
            sizes["input"] = input_size
        for what, size in sizes.items():
            if _drops(getattr(self, f"_{what}_keep_prob")):
                self._noise[what] = [
                    random_uniform([1, *size_dims(s)], dtype=as_dtype(dtype), seed=self._seed_of(what, k))
                    for k, s in enumerate(flatten(size))
                ]

    def _seed_of(self, what: str, index: int) -> int | None:
        """A seed for each part, so that they are not dropped alike."""
        if self._seed is None:
            return None
        text = f"{self._seed}{what}_{index}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "little") & 0x7FFFFFFF

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        inputs = self._dropped(inputs, "input", self._input_keep_prob)
        output, new_state = self._step(inputs, state, scope)
        new_state = self._dropped(new_state, "state", self._state_keep_prob)
        return self._dropped(output, "output", self._output_keep_prob), new_state

    def _dropped(self, values: Any, what: str, keep_prob: Any) -> Any:
        if not _drops(keep_prob):
            return values
        leaves = flatten(values)
        chosen = self._chosen(values) if what == "state" else [True] * len(leaves)
        parts = [
            self._drop(x, what, k, keep_prob) if wanted else x
            for k, (x, wanted) in enumerate(zip(leaves, chosen, strict=True))
        ]
        return pack_like(values, parts)

    def _chosen(self, state: Any) -> list[bool]:
        """For each leaf of a state whether it is dropped."""
        decided = self._is_dropped(state)
        if not is_nested(state):
            return [bool(decided)]
        parts = _parts(state)
        each = _parts(decided) if is_nested(decided) else [decided] * len(parts)
        return [
            choice
            for part, wanted in zip(parts, each, strict=True)
            for choice in (self._chosen(part) if wanted else [False] * len(flatten(part)))
        ]

    def _drop(self, value: Any, what: str, k: int, keep_prob: Any) -> Any:
        if isinstance(value, TensorArray):
            return value
        if not self._variational_recurrent:
            return dropout(value, keep_prob=keep_prob, seed=self._seed_of(what, k))
        x = convert_to_tensor(value)
        with x.graph.name_scope(f"{what}_dropout"):
            noise = self._noise[what][k]
            keep = cast(convert_to_tensor(keep_prob, None if is_tensor(keep_prob) else x.dtype), x.dtype)
            return x / keep * floor(keep + noise)


def _parts(value: Any) -> list[Any]:
    return [value[k] for k in sorted(value)] if isinstance(value, dict) else list(value)


def _all_but_memory(part: Any) -> Any:
    if isinstance(part, LSTMStateTuple):
        return LSTMStateTuple(c=False, h=True)
    return not isinstance(part, TensorArray)


def _probability(value: Any, name: str) -> Any:
    if is_tensor(value):
        return convert_to_tensor(value)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise GraphError(
            message(f"{name}={value!r}", where="DropoutWrapper", site=user_site(),
                    expected="a number from 0 to 1, or a tensor of one")
        )  # fmt: skip
    return float(value)


def _drops(keep_prob: Any) -> bool:
    return not isinstance(keep_prob, float) or keep_prob < 1


class ResidualWrapper(_Wrapper):
    """A cell whose inputs are added to its outputs.

    Parameters
    ----------
    cell : cell
    residual_fn : function, optional
        Of the inputs and the outputs, in place of the sum.

    Raises
    ------
    ShapeError
        If inputs and outputs cannot be added because their shapes differ.
    """

    def __init__(
        self, cell: Any, residual_fn: Callable[[Any, Any], Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cell, **kwargs)
        self._residual_fn = residual_fn

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        outputs, new_state = self._step(inputs, state, scope)
        if self._residual_fn is not None:
            return self._residual_fn(inputs, outputs), new_state
        return map_structure(self._sum, inputs, outputs), new_state

    def _sum(self, x: Any, y: Any) -> Tensor:
        x, y = convert_to_tensor(x), convert_to_tensor(y)
        if not is_compatible(x._shape, y._shape):
            raise ShapeError(
                message(
                    "inputs and outputs have different shapes", where="ResidualWrapper", site=user_site(),
                    got=f"inputs: {format_shape(x._shape)}   outputs: {format_shape(y._shape)}",
                    expected="inputs of the cell's output_size",
                    fix="residual_fn= may project the inputs first",
                )
            )  # fmt: skip
        return x + y


class DeviceWrapper(_Wrapper):
    """A cell whose operations are placed on a device.

    Parameters
    ----------
    cell : cell
    device : str or function
        As for `gr.device`.
    """

    def __init__(self, cell: Any, device: Any, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self._device = device

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        with device_scope(self._device):
            return super().zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        with device_scope(self._device):
            return self._step(inputs, state, scope)
