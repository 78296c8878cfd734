"""`InteractiveSession`: the default session of a notebook."""

from __future__ import annotations

from typing import Any

from graphrun.config import ConfigProto
from graphrun.graph.graph import Graph
from graphrun.session import Session


class InteractiveSession(Session):
    """A session that is the default one as soon as it is made, until it is closed; for notebooks."""

    def __init__(
        self, target: str | Graph | None = "", graph: Graph | None = None, config: ConfigProto | None = None,
        device: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(target, graph, config, device, **options)
        self._context = self.as_default()
        self._context.__enter__()
        given = graph is not None or isinstance(target, Graph)
        self._graph_context = self.graph.as_default() if given else None
        if self._graph_context is not None:
            self._graph_context.__enter__()

    def close(self) -> None:
        if not self._closed:
            if self._graph_context is not None:
                self._graph_context.__exit__(None, None, None)
            self._context.__exit__(None, None, None)
        super().close()
