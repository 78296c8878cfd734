"""Which variables have a value in the session that runs: asked in the graph, answered for each run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphrun.dtypes import bool_, string
from graphrun.graph.apply import apply
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.compare import logical_not
from graphrun.ops.gather import boolean_mask
from graphrun.ops.joining import stack
from graphrun.ops.state import Variable, constant, global_variables, identity, local_variables, variable_of

# The compiler answers it: see `compiler/state.py`.
is_initialized_op = register(
    OpDef(
        "is_initialized", lambda variable: (Spec((), bool_),), None, gradient=no_gradient, stateful=True,
        node_name="IsVariableInitialized", input_names=("variable",),
    )
)  # fmt: skip


def is_variable_initialized(variable: Any, name: str | None = None) -> Tensor:
    """Return a bool scalar: whether `variable` has a value in the session.

    As with reads, a control dependency puts the question behind an initializer of the same run.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     v = gr.Variable(1.0)
    ...     known = gr.is_variable_initialized(v)
    ...     print(sess.run(known), sess.run(v.initializer), sess.run(known))
    False None True
    """
    t: Tensor = apply(is_initialized_op, (variable_of(variable, "is_variable_initialized"),), None, name)
    return t


def report_uninitialized_variables(
    var_list: Iterable[Variable] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """Return the names of the variables that have no value in the session, a vector of strings.

    Parameters
    ----------
    var_list : list of Variable, optional
        All global and local variables by default.
    name : str

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     a, b = gr.Variable(1.0, name="a"), gr.Variable(2.0, name="b")
    ...     missing = gr.report_uninitialized_variables()
    ...     sess.run(a.initializer)
    ...     print(sess.run(missing))
    [b'b']
    """
    variables = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    graph = variables[0].graph if variables else get_default_graph()
    with graph.as_default(), graph.name_scope(name) as scope:
        if not variables:
            return constant([], string, name=scope)
        known = stack([is_variable_initialized(v) for v in variables])
        names = constant([v.op.name for v in variables])
        return identity(boolean_mask(names, logical_not(known)), scope)
