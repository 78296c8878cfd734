"""Gradients that users give: registered by name for operations, or beside a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from graphrun.errors import GradientError, NotFoundError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import registered_ops
from graphrun.graph.site import user_site
from graphrun.ops.state import Variable, identity_n_op

Rule = Callable[..., Any]
_REGISTERED: dict[str, Rule | None] = {}


def _register(name: str, rule: Rule | None) -> None:
    if not isinstance(name, str):
        raise GradientError(message(f"a gradient is registered by a string, got {name!r}", site=user_site()))
    built_in = any(name == op.node_name for op in registered_ops().values())
    if built_in or name in _REGISTERED:
        raise GradientError(
            message(
                f"'{name}' has a gradient already",
                where="RegisterGradient",
                site=user_site(),
                fix="register it by another name, and map the type to that with Graph.gradient_override_map"
                if built_in
                else "use another name",
            )
        )
    _REGISTERED[name] = rule


class RegisterGradient:
    """Decorator that registers a gradient rule by name, for `Graph.gradient_override_map`.

    The function gets the operation and one gradient for each of its outputs, and returns one for each of
    its inputs, or None where there is none.

    Parameters
    ----------
    op_type : str
        A name that no operation has.

    Raises
    ------
    GradientError
        If the name is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import graphrun as gr
    >>> @gr.RegisterGradient("CubeOnTheHost")
    ... def cube_gradient(op, dy):
    ...     return dy * 3.0 * op.inputs[0] ** 2
    >>> with gr.Graph().as_default() as g, gr.Session() as sess:
    ...     x = gr.constant(2.0)
    ...     with g.gradient_override_map({"PyFunc": "CubeOnTheHost"}):
    ...         y = gr.py_func(lambda a: a * a * a, [x], gr.float32)
    ...     print(sess.run([y, gr.gradients(y, x)[0]]))
    [np.float32(8.0), np.float32(12.0)]
    """

    def __init__(self, op_type: str) -> None:
        self._name = op_type

    def __call__(self, f: Rule) -> Rule:
        _register(self._name, f)
        return f


def NotDifferentiable(op_type: str) -> None:  # noqa: N802  TensorFlow's name
    """Register by name that no gradient flows, for `Graph.gradient_override_map`."""
    _register(op_type, None)


NoGradient = NotDifferentiable


def users_rule(op: Operation) -> Rule | None:
    """The rule that stands in for that of the operation's record; None where no gradient flows."""
    if not isinstance(op.gradient, str):
        rule: Rule = op.gradient
        return rule
    try:
        return _REGISTERED[op.gradient]
    except KeyError:
        raise NotFoundError(
            message(
                f"no gradient is registered as '{op.gradient}', which gradient_override_map names",
                where=op.label,
                site=op.site,
                fix=f'write @gr.RegisterGradient("{op.gradient}") above the function',
            )
        ) from None


# -- functions with gradients of their own ------------------------------------------------------------


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a function of tensors that says itself what its gradient is.

    Parameters
    ----------
    f : function
        Returns ``(y, grad_fn)``, where `y` is a tensor or a list of tensors.  ``grad_fn(*dys)`` gets one
        gradient for each tensor in `y` and returns one for each positional argument of `f`, or None.  Where
        `f` uses variables, ``grad_fn(*dys, variables=None)`` gets them, and returns a pair: those gradients,
        and a list with one for each variable.

    Returns
    -------
    function
        Of the same arguments; it returns `y`.

    Raises
    ------
    GradientError
        If `f` returns something else, or uses variables that `grad_fn` does not take.

    Examples
    --------
    >>> import graphrun as gr
    >>> @gr.custom_gradient
    ... def log1pexp(x):
    ...     e = gr.exp(x)
    ...     return gr.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant(100.0)
    ...     print(sess.run(gr.gradients(log1pexp(x), x)[0]))
    1.0
    """

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        inputs = [convert_to_tensor(a) for a in args]
        returned = f(*inputs, **kwargs)
        if not (isinstance(returned, tuple) and len(returned) == 2 and callable(returned[1])):
            raise GradientError(
                message(
                    f"{f.__name__} returned {type(returned).__name__}",
                    where="custom_gradient",
                    site=user_site(),
                    expected="a pair: the result, and a function that returns its gradients",
                )
            )
        result, grad_fn = returned
        several = isinstance(result, list | tuple)
        outputs = [convert_to_tensor(y) for y in (result if several else [result])]
        variables = _variables(outputs, inputs)
        takes_variables = _takes_variables(grad_fn)
        if variables and not takes_variables:
            raise GradientError(
                message(
                    f"{f.__name__} uses variables: {', '.join(v.op.name for v in variables)}",
                    where="custom_gradient",
                    site=user_site(),
                    expected="a gradient function that takes them, as grad_fn(*dys, variables=None)",
                )
            )
        sources = [*inputs, *(v._as_graph_element() for v in variables)]
        joined = apply(identity_n_op, [*outputs, *sources], None)
        op: Operation = (joined[0] if isinstance(joined, tuple) else joined).op

        def rule(_: Operation, *dys: Tensor) -> list[Any]:
            more = {"variables": variables} if takes_variables else {}
            found = grad_fn(*dys[: len(outputs)], **more)
            of_variables: Sequence[Any] = []
            if takes_variables:
                found, of_variables = _pair(found, variables, f.__name__, len(inputs))
            of_inputs = list(found) if isinstance(found, list | tuple) else [found]
            if not inputs and of_inputs == [None]:
                of_inputs = []
            if len(of_inputs) != len(inputs):
                raise GradientError(
                    message(
                        f"the gradient of {f.__name__} returned {len(of_inputs)} gradients for"
                        f" {len(inputs)} arguments",
                        where="custom_gradient",
                        site=op.site,
                        expected="one for each argument, None where there is none",
                    )
                )
            # Nothing flows into what f has made: the gradient leads around it.
            return [None] * len(outputs) + of_inputs + list(of_variables)

        op.gradient = rule
        results = list(op.outputs[: len(outputs)])
        if not several:
            return results[0]
        return type(result)(results) if type(result) in (list, tuple) else result._make(results)

    return decorated


def _pair(found: Any, variables: Sequence[Variable], name: str, inputs: int) -> tuple[Any, Sequence[Any]]:
    if not variables and not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], list)):
        return found, []  # it takes variables, and there are none
    if isinstance(found, tuple | list) and len(found) == 2:
        of_variables = found[1]
        listed = list(of_variables) if isinstance(of_variables, list | tuple) else [of_variables]
        if len(listed) == len(variables):
            return found[0], listed
    raise GradientError(
        message(
            f"the gradient of {name} is to return two lists: gradients of {inputs} arguments, and of"
            f" {len(variables)} variables",
            where="custom_gradient",
            site=user_site(),
            got=repr(found),
        )
    )


def _takes_variables(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "variables" or p.kind is p.VAR_KEYWORD for p in parameters)


def _variables(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Variable]:
    """The trainable variables that `outputs` depend on other than through `inputs`."""
    if not outputs:
        return []
    given = set(inputs)
    seen: set[Operation] = set()
    found: set[Operation] = set()
    stack = [t.op for t in outputs if t not in given]
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.opdef.name == "variable":
            found.add(op)
        stack.extend(t.op for t in op.inputs if t not in given)
    graph = outputs[0].graph
    everywhere = [*graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)]
    return [v for v in dict.fromkeys(everywhere) if v.op in found]
