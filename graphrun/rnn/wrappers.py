"""Cells that are made of other cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphrun.control.structure import flatten, is_nested, map_structure, pack_like
from graphrun.dtypes import DType
from graphrun.errors import GraphError, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import concat, split
from graphrun.ops.elementwise import floor
from graphrun.ops.nn import dropout
from graphrun.ops.random import random_uniform
from graphrun.rnn.cells import LSTMStateTuple, RNNCell, dims_of_size
from graphrun.variable_scope import variable_scope


class MultiRNNCell(RNNCell):
    """Cells one above the other: the output of each is the input of the next.

    Parameters
    ----------
    cells : list of RNNCell
    state_is_tuple : bool
        Whether the state is a tuple with an entry for each cell; else all are side by side in one tensor.
    """

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, list | tuple) or not cells:
            raise GraphError(
                message("MultiRNNCell without cells", site=user_site(), got=repr(cells),
                        expected="a list of one cell or more")
            )  # fmt: skip
        self._cells = list(cells)
        self._state_is_tuple = state_is_tuple

    @property
    def state_size(self) -> Any:
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self._state_is_tuple else sum(flatten(sizes))

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The states of all cells."""
        if not self._state_is_tuple:
            return super().zero_state(batch_size, dtype)
        with get_default_graph().name_scope("MultiRNNCellZeroState"):
            return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)

    @property
    def variables(self) -> list[Any]:
        return [v for cell in self._cells for v in cell.variables]

    weights = variables

    @property
    def trainable_variables(self) -> list[Any]:
        return [v for cell in self._cells for v in cell.trainable_variables]

    trainable_weights = trainable_variables

    def call(self, inputs: Any, state: Any) -> Any:  # type: ignore[override]
        """One step of all cells."""
        if self._state_is_tuple:
            if not is_nested(state) or len(state) != len(self._cells):
                raise GraphError(
                    message("the state does not fit", where=f"MultiRNNCell '{self.name}'", site=user_site(),
                            got=repr(state), expected=f"a tuple of {len(self._cells)} states")
                )  # fmt: skip
            states = list(state)
        else:
            states = split(state, [sum(flatten([cell.state_size])) for cell in self._cells], axis=1)
        new = []
        for k, (cell, before) in enumerate(zip(self._cells, states, strict=True)):
            with variable_scope(f"cell_{k}"):
                inputs, after = cell(inputs, before)
            new.append(after)
        return inputs, tuple(new) if self._state_is_tuple else concat(new, 1)


class _Wrapper(RNNCell):
    """A cell around another one, whose variables keep their names."""

    def __init__(self, cell: RNNCell) -> None:
        super().__init__()
        self._cell = cell

    @property
    def wrapped_cell(self) -> RNNCell:
        return self._cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The state of the cell inside."""
        return self._cell.zero_state(batch_size, dtype)

    @property
    def variables(self) -> list[Any]:
        return self._cell.variables

    weights = variables

    @property
    def trainable_variables(self) -> list[Any]:
        return self._cell.trainable_variables

    trainable_weights = trainable_variables


class DropoutWrapper(_Wrapper):
    """Dropout of a cell's input, state and output.

    Parameters
    ----------
    cell : RNNCell
    input_keep_prob, output_keep_prob, state_keep_prob : float or scalar tensor
        How likely a value is kept; the memory `c` of an LSTM is kept always.
    variational_recurrent : bool
        Whether all steps of a run drop the same places.
    input_size, dtype
        With `variational_recurrent`: depth of the input, and dtype of the places.
    seed : int, optional
    dropout_state_filter_visitor : function, optional
        Of a state or a part of one: whether it is subject to dropout, or a structure of such bools.
    """

    def __init__(
        self, cell: RNNCell, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0, variational_recurrent: bool = False, input_size: Any = None,
        dtype: DType | None = None, seed: int | None = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(cell)
        for what, keep in (
            ("input_keep_prob", input_keep_prob), ("output_keep_prob", output_keep_prob),
            ("state_keep_prob", state_keep_prob),
        ):  # fmt: skip
            if isinstance(keep, int | float) and not 0 <= keep <= 1:
                raise GraphError(message(f"DropoutWrapper: {what} is {keep}", site=user_site(),
                                         expected="0 to 1"))  # fmt: skip
        self._keep = {"input": input_keep_prob, "output": output_keep_prob, "state": state_keep_prob}
        self._seed = seed
        self._filter = dropout_state_filter_visitor or _all_but_memory
        self._noise: dict[str, list[Tensor]] = {}
        if variational_recurrent:
            if dtype is None or (input_size is None and not _is_one(input_keep_prob)):
                raise GraphError(
                    message("variational_recurrent needs dtype, and input_size where the input is dropped",
                            where="DropoutWrapper", site=user_site())
                )  # fmt: skip
            sizes = {"input": input_size, "output": cell.output_size, "state": cell.state_size}
            for k, (which, size) in enumerate(sizes.items()):
                if not _is_one(self._keep[which]):
                    seeds = None if seed is None else seed + k
                    self._noise[which] = [
                        random_uniform([1, *dims_of_size(s)], dtype=dtype, seed=seeds) for s in flatten(size)
                    ]

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One step."""
        inputs = self._dropped(inputs, "input", 0)
        output, new = self._cell(inputs, state, scope)
        if not _is_one(self._keep["state"]):
            chosen = _spread(self._filter(new), new)
            parts = [
                self._dropped(part, "state", k) if drop else part
                for k, (part, drop) in enumerate(zip(flatten(new), chosen, strict=True))
            ]
            new = pack_like(new, parts)
        return self._dropped(output, "output", 0), new

    def _dropped(self, x: Any, which: str, number: int) -> Any:
        keep = self._keep[which]
        if _is_one(keep):
            return x
        if which in self._noise:
            kept = floor(self._noise[which][number] + keep)
            return x / keep * kept
        return dropout(x, keep_prob=keep, seed=None if self._seed is None else self._seed + number)


def _is_one(keep: Any) -> bool:
    return isinstance(keep, int | float) and keep == 1


def _all_but_memory(state: Any) -> Any:
    if isinstance(state, LSTMStateTuple):
        return LSTMStateTuple(c=False, h=True)
    if is_nested(state):
        return type(state)(_all_but_memory(s) for s in state)
    return True


def _spread(chosen: Any, state: Any) -> list[bool]:
    """A bool for each part of the state."""
    if isinstance(chosen, bool):
        return [chosen] * len(flatten(state))
    return [c for part, s in zip(chosen, state, strict=True) for c in _spread(part, s)]


class ResidualWrapper(_Wrapper):
    """A cell whose input is added to its output.

    Parameters
    ----------
    cell : RNNCell
    residual_fn : function, optional
        Of input and output, in place of their sum.
    """

    def __init__(self, cell: RNNCell, residual_fn: Callable[[Any, Any], Any] | None = None) -> None:
        super().__init__(cell)
        self._residual = residual_fn

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One step."""
        output, new = self._cell(inputs, state, scope)
        join = self._residual or (lambda x, y: map_structure(lambda a, b: a + b, x, y))
        return join(inputs, output), new


class DeviceWrapper(_Wrapper):
    """A cell that runs on a device of its own.

    Parameters
    ----------
    cell : RNNCell
    device : str or function
        As for `device`.
    """

    def __init__(self, cell: RNNCell, device: Any) -> None:
        super().__init__(cell)
        self._device = device

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
        """One step."""
        with get_default_graph().device(self._device):
            return self._cell(inputs, state, scope)
