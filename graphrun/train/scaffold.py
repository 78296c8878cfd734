"""What makes a session ready for training: initializers, and a check that they have done it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun.errors import DTypeError, GraphError, UninitializedError, message
from graphrun.graph.default import get_default_graph, new_session
from graphrun.graph.graph import GraphKeys
from graphrun.graph.site import user_site
from graphrun.ops.state import (
    global_variables,
    global_variables_initializer,
    group,
    local_variables,
    local_variables_initializer,
    tables_initializer,
)
from graphrun.train.basic_hooks import refuse_files


class Scaffold:
    """How a `MonitoredSession` initializes its session; what is not given is made by `finalize`.

    Parameters
    ----------
    init_op : operation, optional
        The initializer of all global variables by default.
    init_feed_dict : dict, optional
        Fed to `init_op`.
    init_fn : function of (scaffold, session), optional
        Called after `init_op`.
    ready_op, ready_for_local_init_op : tensor of names, optional
        Empty where the session is ready, or is ready for `local_init_op`; else the session refuses to start.
        By default all variables must have a value in the end.
    local_init_op : operation, optional
        The initializer of local variables and tables by default.
    summary_op, saver : None
        Summaries and checkpoints are not there yet.
    copy_from_scaffold : Scaffold, optional
        Where what is not given is taken from.
    local_init_feed_dict : dict, optional
        Fed to `local_init_op`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     size = gr.placeholder(gr.int32, ())
    ...     v = gr.Variable(gr.ones([size]), validate_shape=False)
    ...     total = gr.reduce_sum(v)
    ...     scaffold = gr.train.Scaffold(v.initializer, {size: 3})
    ...     with gr.train.MonitoredTrainingSession(scaffold=scaffold) as sess:
    ...         print(sess.run(total))
    3.0
    """

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Any = None,
        init_fn: Callable[[Scaffold, Any], None] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: None = None,
        saver: None = None,
        copy_from_scaffold: Scaffold | None = None,
        local_init_feed_dict: Any = None,
    ) -> None:
        other = copy_from_scaffold
        if other is not None and not isinstance(other, Scaffold):
            raise DTypeError(
                message(f"copy_from_scaffold={other!r}", where="Scaffold", site=user_site(),
                        expected="a Scaffold")
            )  # fmt: skip
        refuse_files("Scaffold", summary_op=summary_op, saver=saver)

        def chosen(given: Any, name: str) -> Any:
            return getattr(other, name) if given is None and other is not None else given

        self._init_op = chosen(init_op, "_init_op")
        self._init_feed_dict = chosen(init_feed_dict, "_init_feed_dict")
        self._user_init_fn = chosen(init_fn, "_user_init_fn")
        self._ready_op = chosen(ready_op, "_ready_op")
        self._ready_for_local_init_op = chosen(ready_for_local_init_op, "_ready_for_local_init_op")
        self._local_init_op = chosen(local_init_op, "_local_init_op")
        self._local_init_feed_dict = chosen(local_init_feed_dict, "_local_init_feed_dict")

    def finalize(self) -> Scaffold:
        """Make what is not given, and make the default graph read-only."""
        if self._init_op is None:
            self._init_op = self.get_or_default("init_op", GraphKeys.INIT_OP, global_variables_initializer)
        if self._local_init_op is None:
            self._local_init_op = self.get_or_default(
                "local_init_op", GraphKeys.LOCAL_INIT_OP, self.default_local_init_op
            )
        get_default_graph().finalize()
        return self

    @staticmethod
    def get_or_default(arg_name: str, collection_key: str, default_constructor: Callable[[], Any]) -> Any:
        """What the collection holds; where it is empty, what `default_constructor` makes, kept there."""
        graph = get_default_graph()
        found = graph.get_collection(collection_key)
        if len(found) > 1:
            raise GraphError(
                message(
                    f"the collection {collection_key!r} holds {len(found)} operations", where="Scaffold",
                    site=user_site(), fix=f"say which one to use: gr.train.Scaffold({arg_name}=...)",
                )
            )  # fmt: skip
        if found:
            return found[0]
        made = default_constructor()
        if made is not None:
            graph.add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op() -> Any:
        """An operation that initializes local variables and tables."""
        return group(local_variables_initializer(), tables_initializer())

    @property
    def init_fn(self) -> Callable[[Any], None] | None:
        """The function as one of the session alone, or None."""
        function = self._user_init_fn
        return None if function is None else lambda session: function(self, session)

    @property
    def init_op(self) -> Any:
        return self._init_op

    @property
    def init_feed_dict(self) -> Any:
        return self._init_feed_dict

    @property
    def ready_op(self) -> Any:
        return self._ready_op

    @property
    def ready_for_local_init_op(self) -> Any:
        return self._ready_for_local_init_op

    @property
    def local_init_op(self) -> Any:
        return self._local_init_op

    @property
    def local_init_feed_dict(self) -> Any:
        return self._local_init_feed_dict

    @property
    def summary_op(self) -> None:
        """None: summaries are not there yet."""

    @property
    def saver(self) -> None:
        """None: checkpoints are not there yet."""


class SessionCreator:
    """Makes the session of a `MonitoredSession`."""

    def create_session(self) -> Any:
        """Return a session that is ready for training."""
        raise NotImplementedError(f"{type(self).__name__} does not define create_session()")


class ChiefSessionCreator(SessionCreator):
    """Makes a session, and initializes it as a `Scaffold` says.

    Parameters
    ----------
    scaffold : Scaffold, optional
    master : str
        Empty: sessions run in this process.
    config : ConfigProto, optional
    checkpoint_dir, checkpoint_filename_with_path : None
        Checkpoints are not there yet.
    device : str, optional
        As for `Session`.
    """

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: None = None,
        checkpoint_filename_with_path: None = None,
        *,
        device: str | None = None,
    ) -> None:
        refuse_files(
            "ChiefSessionCreator", checkpoint_dir=checkpoint_dir,
            checkpoint_filename_with_path=checkpoint_filename_with_path,
        )  # fmt: skip
        self._scaffold = scaffold or Scaffold()
        self._master = master
        self._config = config
        self._device = device

    def create_session(self) -> Any:
        """Finalize the scaffold and the graph, and return a session in which everything is initialized."""
        scaffold = self._scaffold.finalize()
        session = new_session(target=self._master, config=self._config, device=self._device)
        try:
            if scaffold.init_op is not None:
                session.run(scaffold.init_op, feed_dict=scaffold.init_feed_dict)
            if scaffold.init_fn is not None:
                scaffold.init_fn(session)
            _require_ready(session, scaffold.ready_for_local_init_op, global_variables())
            if scaffold.local_init_op is not None:
                session.run(scaffold.local_init_op, feed_dict=scaffold.local_init_feed_dict)
            _require_ready(session, scaffold.ready_op, [*global_variables(), *local_variables()])
        except BaseException:
            session.close()
            raise
        return session


def _require_ready(session: Any, names: Any, variables: list[Any]) -> None:
    if names is None:
        missing = [v.name for v in session._uninitialized(variables)]
    else:
        missing = [n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(session.run(names))]
    if missing:
        raise UninitializedError(
            message(
                "the initializers did not make the session ready", where="Scaffold",
                got="without a value: " + ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else ""),
                fix="let init_op, init_fn or local_init_op give them one",
            )
        )  # fmt: skip
