"""Methods of variables that read rows or count; those that write rows are attached by `scatter`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphrun.graph.node import Tensor


class RowMethods:
    """What `Variable` inherits.

    The functions are imported where they are called, since they are made of variables themselves.
    """

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
