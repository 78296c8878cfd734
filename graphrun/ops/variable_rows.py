"""Methods of variables that write or read rows; `scatter` and its neighbours hold what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphrun.errors import DTypeError, message
from graphrun.graph.site import user_site

if TYPE_CHECKING:
    from graphrun.graph.node import Tensor


class RowMethods:
    """What `Variable` inherits.

    The functions are imported where they are called, since they are made of variables themselves.
    """

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that adds the rows of an `IndexedSlices` when it runs, and is the new value."""
        return _scatter(self, "add", sparse_delta, name)

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that subtracts the rows of an `IndexedSlices`, and is the new value."""
        return _scatter(self, "sub", sparse_delta, name)

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that sets the rows of an `IndexedSlices`, and is the new value."""
        return _scatter(self, "update", sparse_delta, name)

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that multiplies by the rows of an `IndexedSlices`, and is the new value."""
        return _scatter(self, "mul", sparse_delta, name)

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that divides by the rows of an `IndexedSlices`, and is the new value."""
        return _scatter(self, "div", sparse_delta, name)

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that takes the minimum with an `IndexedSlices`, and is the new value."""
        return _scatter(self, "min", sparse_delta, name)

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Return a tensor that takes the maximum with an `IndexedSlices`, and is the new value."""
        return _scatter(self, "max", sparse_delta, name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """As `gr.scatter_nd_add` of this variable."""
        return _scatter_nd(self, "add", indices, updates, name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """As `gr.scatter_nd_sub` of this variable."""
        return _scatter_nd(self, "sub", indices, updates, name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """As `gr.scatter_nd_update` of this variable."""
        return _scatter_nd(self, "update", indices, updates, name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """As `gr.gather_nd` of this variable."""
        from graphrun.ops.scatter import gather_nd

        return gather_nd(self, indices, name)

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows that `indices` name, as `gr.gather` of this variable."""
        from graphrun.ops.gather import gather

        return gather(self, indices, name=name)

    def count_up_to(self, limit: int) -> Tensor:
        """As `gr.count_up_to` of this variable."""
        from graphrun.ops.counting import count_up_to

        return count_up_to(self, limit)


def _scatter(variable: Any, mode: str, rows: Any, name: str | None) -> Tensor:
    from graphrun.ops import scatter
    from graphrun.ops.indexed_slices import IndexedSlices

    if not isinstance(rows, IndexedSlices):
        raise DTypeError(
            message(
                f"{rows!r} is no IndexedSlices", where=f"scatter_{mode} of '{variable.name}'",
                site=user_site(), expected="gr.IndexedSlices(rows, indices)",
                fix=f"gr.scatter_{mode}(v, indices, rows) takes them apart",
            )
        )  # fmt: skip
    result: Tensor = getattr(scatter, f"scatter_{mode}")(variable, rows.indices, rows.values, name=name)
    return result


def _scatter_nd(variable: Any, mode: str, indices: Any, updates: Any, name: str | None) -> Tensor:
    from graphrun.ops import scatter

    result: Tensor = getattr(scatter, f"scatter_nd_{mode}")(variable, indices, updates, name=name)
    return result
