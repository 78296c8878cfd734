"""Where an update takes place: in whole variables, or in the rows that a gradient names.

Optimizers state their formula once, in terms of reading and writing at such a place.
"""

from __future__ import annotations

from typing import Any

from graphrun.graph.node import Tensor
from graphrun.ops.attributes import shape_attr
from graphrun.ops.compare import equal, where
from graphrun.ops.duplicates import first_places, sums_of_equal
from graphrun.ops.fill import broadcast_to, size, zeros_like
from graphrun.ops.gather import take
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.reshape import reshape
from graphrun.ops.scatter import scatter_sub, scatter_update
from graphrun.ops.sequences import range_
from graphrun.ops.state import Variable, assign, assign_sub
from graphrun.train.optimizer import Optimizer


class Whole:
    """All of each variable."""

    def read(self, v: Any) -> Tensor:
        """The value from before the step."""
        value: Tensor = v.value()
        return value

    def write(self, v: Any, value: Any) -> Any:
        """The update that makes `value` the new one."""
        return assign(v, value)

    def subtract(self, v: Any, step: Any) -> Any:
        """The update that takes `step` from the value."""
        return assign_sub(v, step)


class Rows(Whole):
    """The rows that the indices of an `IndexedSlices` name.

    An index may come several times.  What is read, computed and written is then the same at each of its
    places, since `gradient` has the sum of all of them at each; so the step needs no list without duplicates,
    whose length would be another one in each run, and with it the plan.
    """

    def __init__(self, slices: IndexedSlices) -> None:
        self._indices = slices.indices
        self._may_repeat = slices.indices._shape not in ((0,), (1,))
        self._places = first_places(slices.indices) if self._may_repeat else None
        self.gradient = slices.values if self._places is None else sums_of_equal(slices.values, self._places)

    def read(self, v: Any) -> Tensor:
        return take(v.value(), self._indices, axis=0)

    def write(self, v: Any, value: Any) -> Any:
        return scatter_update(v, self._indices, value)

    def subtract(self, v: Any, step: Any) -> Any:
        if self._places is not None:  # only where an index comes first: what others take from the row stays
            step = where(self._comes_first(), step, zeros_like(step))
        return scatter_sub(v, self._indices, step)

    def _comes_first(self) -> Tensor:
        assert self._places is not None
        numbers = range_(size(self._places))
        dims = self.gradient._shape
        if dims is None or len(dims) == 1:
            return equal(self._places, numbers)
        # Of the shape of the rows: the comparison is then a part of the kernel that computes the step.
        column = [-1] + [1] * (len(dims) - 1)
        whole = shape_attr(self.gradient)
        return equal(*(broadcast_to(reshape(x, column), whole) for x in (self._places, numbers)))


WHOLE = Whole()


class FormulaOptimizer(Optimizer):
    """An optimizer whose formula is the same for whole variables and for rows of them."""

    def _apply(self, grad: Tensor, var: Variable, at: Whole) -> Any:
        """Return the update of `var` and its slots by `grad`, which reads and writes by `at` alone."""
        raise NotImplementedError(f"{type(self).__name__} does not define _apply(grad, var, at)")

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._apply(grad, var, WHOLE)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        rows = Rows(grad)
        return self._apply(rows.gradient, var, rows)

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._apply_sparse(grad, var)
