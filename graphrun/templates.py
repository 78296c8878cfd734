"""`make_template`: a function that makes its variables once, and shares them from then on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from graphrun.errors import GraphError, format_site, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import GraphKeys
from graphrun.graph.site import user_site
from graphrun.variable_scope import VariableScope, reserve_scope, variable_scope


class Template:
    """A function in a variable scope of its own; made by `make_template`."""

    def __init__(
        self, name: str, function: Callable[..., Any], create_scope_now: bool, unique_name: str | None,
        custom_getter: Any,
    ) -> None:  # fmt: skip
        self._name = name
        self._function = function
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._called = False
        self._scope: VariableScope | None = (
            reserve_scope(name, unique_name, custom_getter) if create_scope_now else None
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; variables that `get_variable` makes in it are shared by all calls."""
        if self._scope is None:
            with variable_scope(
                self._unique_name, self._name, custom_getter=self._custom_getter
            ) as self._scope:
                return self._call(args, kwargs)
        with variable_scope(self._scope, reuse=self._called or None):
            return self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        graph = get_default_graph()
        before = len(graph.get_collection(GraphKeys.TRAINABLE_VARIABLES))
        result = self._function(*args, **kwargs)
        made = graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)[before:]
        if self._called and made:
            raise GraphError(
                message(
                    "a later call makes trainable variables, which are not shared",
                    where=f"template '{self._name}'", site=user_site(),
                    got=[f"{v.name} {format_site(v.op.site)}".rstrip() for v in made],
                    expected="variables that the first call has made",
                    fix="use gr.get_variable in the function instead of gr.Variable",
                )
            )  # fmt: skip
        self._called = True
        return result

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        """The function that was given."""
        return self._function

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of its variables; None before there is one."""
        return self._scope

    @property
    def variable_scope_name(self) -> str | None:
        """The name of that scope, with a slash."""
        return None if self._scope is None else (self._scope.name + "/" if self._scope.name else "")

    @property
    def trainable_variables(self) -> list[Any]:
        """Its trainable variables."""
        return [] if self._scope is None else self._scope.trainable_variables()

    @property
    def global_variables(self) -> list[Any]:
        """Its global variables."""
        return [] if self._scope is None else self._scope.global_variables()

    @property
    def local_variables(self) -> list[Any]:
        """Its local variables."""
        return [] if self._scope is None else self._scope.local_variables()

    @property
    def variables(self) -> list[Any]:
        """Its global and local variables."""
        return self.global_variables + self.local_variables


def make_template(
    name_: str, func_: Callable[..., Any], create_scope_now_: bool = False, unique_name_: str | None = None,
    custom_getter_: Any = None, **kwargs: Any,
) -> Template:  # fmt: skip
    """Return a function whose calls share the variables that ``gr.get_variable`` makes in it.

    Parameters
    ----------
    name_ : str
        Of the variable scope; a number makes it unique.
    func_ : function
    create_scope_now_ : bool
        Take the scope's name now and here, instead of at the first call.
    unique_name_ : str, optional
        The scope's name as it is; templates of the same one share their variables, where the scope reuses.
    custom_getter_ : function, optional
        As for `variable_scope`.
    **kwargs
        Arguments of `func_` that are the same for each call.

    Returns
    -------
    Template
        Called like the function; it has `variables`, `trainable_variables` and `variable_scope`.

    Raises
    ------
    GraphError
        If a later call makes a trainable variable.

    Examples
    --------
    >>> import graphrun as gr
    >>> def scaled(x):
    ...     return x * gr.get_variable("w", [], initializer=gr.ones_initializer())
    >>> with gr.Graph().as_default():
    ...     scale = gr.make_template("scale", scaled)
    ...     a, b = scale(1.0), scale(2.0)
    ...     print([v.name for v in gr.global_variables()])
    ['scale/w:0']
    """
    function = functools.partial(func_, **kwargs) if kwargs else func_
    return Template(name_, function, create_scope_now_, unique_name_, custom_getter_)
