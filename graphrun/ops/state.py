"""Placeholders, variables and what orders and groups operations.

Variables live in the session.  The compiler turns reads and assigns into values that flow through a run,
so these operations have no NumPy function of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, GraphError, NotPickled, RuleError, ShapeError, message
from graphrun.graph.apply import (
    apply,
    as_array,
    convert_to_tensor,
    converted_like,
    register_tensor_conversion_function,
    told_for,
)
from graphrun.graph.default import get_default_graph, session_for
from graphrun.graph.descriptor import AffineMap, Spec, View
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.operators import Operators
from graphrun.graph.site import user_site
from graphrun.ops.arguments import placeholder_attrs
from graphrun.ops.variable_rows import RowMethods
from graphrun.shapes import as_shape, format_shape, is_compatible, is_static, row_major_strides


def _same_place(specs: Any, out: Spec, attrs: Any, index: int) -> AffineMap:
    return AffineMap(out.shape, row_major_strides(out.shape))  # type: ignore[arg-type]


IDENTITY = View(_same_place)

identity_op = register(
    OpDef(
        "identity", lambda x: (x,), lambda x: x, IDENTITY, lambda op, dy: dy,
        partial=lambda op: _known(op.inputs[0]), node_name="Identity", onnx="Identity", input_names=("x",),
    )
)  # fmt: skip
stop_gradient_op = register(
    OpDef(
        "stop_gradient", lambda x: (x,), lambda x: x, IDENTITY, no_gradient,
        partial=lambda op: _known(op.inputs[0]), node_name="StopGradient", input_names=("x",),
    )
)  # fmt: skip
identity_n_op = register(
    OpDef(
        "identity_n", lambda *xs: xs, lambda *xs: xs, gradient=lambda op, *dys: dys, node_name="IdentityN",
        expand=lambda build, inputs, specs, attrs: list(inputs), input_names=(),
    )
)  # fmt: skip
placeholder_op = register(
    OpDef(
        "placeholder", lambda *, shape, dtype: (Spec(shape, dtype),), None, gradient=no_gradient,
        stateful=True, node_name="Placeholder",
    )
)  # fmt: skip


def _default_rule(x: Spec, *, shape: Any) -> tuple[Spec]:
    if not is_compatible(x.shape, shape):
        raise RuleError(f"the default has shape {format_shape(x.shape)}, not {format_shape(shape)}")
    return (Spec(shape, x.dtype),)


placeholder_with_default_op = register(
    OpDef(
        "placeholder_with_default", _default_rule, lambda x, *, shape: x, IDENTITY, lambda op, dy: dy,
        stateful=True, node_name="PlaceholderWithDefault", input_names=("default",),
    )
)  # fmt: skip
no_op_op = register(OpDef("no_op", lambda: (), None, side_effect=True, stateful=True, node_name="NoOp"))
variable_op = register(
    OpDef(
        "variable", lambda *, shape, dtype: (Spec(shape, dtype),), None, gradient=no_gradient,
        stateful=True, node_name="Variable",
    )
)  # fmt: skip
read_variable_op = register(
    OpDef("read_variable", lambda v: (v,), None, gradient=lambda op, dy: dy, stateful=True, node_name="read")
)


def _initialized_rule(variable: Spec, initial: Spec) -> tuple[Spec]:
    return (Spec(initial.shape if is_compatible(variable.shape, initial.shape) else None, variable.dtype),)


initialized_value_op = register(
    OpDef(
        "initialized_value", _initialized_rule, None, gradient=lambda op, dy: (dy, None), stateful=True,
        input_names=("variable", "initial"),
    )
)  # fmt: skip


def _assign_rule(
    variable: Spec, value: Spec, *, validate_shape: bool = True, initializer: bool = False
) -> tuple[Spec]:
    if value.dtype is not variable.dtype:
        raise RuleError(
            f"a value of dtype {value.dtype} for a variable of dtype {variable.dtype}",
            fix=f"convert it with gr.cast(value, gr.{variable.dtype})",
            kind=DTypeError,
        )
    if not validate_shape:
        return (value,)
    if not is_compatible(value.shape, variable.shape):
        raise RuleError(
            f"the value's shape {format_shape(value.shape)} is not the variable's,"
            f" {format_shape(variable.shape)}",
            expected=f"a value of shape {format_shape(variable.shape)}",
            fix="validate_shape=False lets gr.assign change a variable's shape",
        )
    return (Spec(variable.shape if is_static(variable.shape) else value.shape, variable.dtype),)


def _update_rule(variable: Spec, value: Spec) -> tuple[Spec]:
    if value.shape == () and value.dtype is variable.dtype:
        return (variable,)
    return _assign_rule(variable, value)


assign_op, assign_add_op, assign_sub_op = (
    register(
        OpDef(
            name, rule, None, stateful=True, side_effect=True, node_name=node_name,
            input_names=("variable", "value"), writes=writes,
        )
    )
    for name, rule, node_name, writes in (
        ("assign", _assign_rule, "Assign", ""),  # the value itself
        ("assign_add", _update_rule, "AssignAdd", "add"),
        ("assign_sub", _update_rule, "AssignSub", "subtract"),
    )
)  # fmt: skip


def _known(t: Tensor) -> Any:
    from graphrun.graph.apply import partial_value

    return partial_value(t)


def identity(input: Any, name: str | None = None) -> Tensor:
    """Return a new tensor of the same value; inside `control_dependencies` it waits for them."""
    return apply(identity_op, (convert_to_tensor(input),), None, name)


def identity_n(input: Iterable[Any], name: str | None = None) -> list[Tensor]:
    """Return new tensors of the same values; with `Graph.gradient_override_map` they share a gradient."""
    found = apply(identity_n_op, [convert_to_tensor(t) for t in input], None, name)
    return list(found) if isinstance(found, tuple) else [found]


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """Return a new tensor of the same value through which no gradient flows."""
    return apply(stop_gradient_op, (convert_to_tensor(input),), None, name)


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str | None = None, verify_shape: bool = False
) -> Tensor:
    """Return a tensor of a fixed value.

    Parameters
    ----------
    value : number, list or array
        Python floats make float32, Python ints int32.
    dtype : dtype, optional
    shape : shape, optional
        A single value is repeated to fill it; a shorter list is filled up with its last value.
    verify_shape : bool
        Make it an error where `value` does not have that shape already.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.constant([1.0, 2.0]).dtype, gr.constant(-1, shape=(2, 3)).shape.as_list()
    (graphrun.float32, [2, 3])
    """
    from graphrun.graph.apply import make_constant

    if isinstance(value, Tensor | Variable):
        raise DTypeError(
            message(f"gr.constant of tensor '{value.name}'", fix="use gr.identity(x) for a copy of a tensor")
        )
    with told_for("constant"):
        array = as_array(value, None if dtype is None else as_dtype(dtype), "a constant")
    if shape is not None:
        known = as_shape(shape)
        if not is_static(known):
            raise ShapeError(
                message(
                    f"shape {format_shape(known)} leaves a size open",
                    where="constant",
                    site=user_site(),
                    expected="a size for each dimension",
                )
            )
        wanted = cast("tuple[int, ...]", known)
        size = int(np.prod(wanted, dtype=np.int64))
        if array.shape != wanted:
            if verify_shape or array.size > size or (array.size == 0 and size):
                raise _misfit("constant", array, wanted)
            flat = array.reshape(-1)
            array = np.concatenate([flat, np.repeat(flat[-1:], size - flat.size)]).reshape(wanted)
    return make_constant(array, get_default_graph(), name)


def _misfit(op: str, array: np.ndarray, wanted: tuple[int, ...]) -> Exception:
    return ShapeError(
        message(
            f"{array.size} values of shape {format_shape(array.shape)} for shape {format_shape(wanted)}",
            where=op,
            site=user_site(),
            expected="as many values as the shape holds, or fewer without verify_shape",
        )
    )


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """Return a tensor whose value is given at each run, in `feed_dict`.

    Parameters
    ----------
    dtype : dtype
    shape : shape, optional
        What is known of it; None, or None in a dimension, for unknown.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.placeholder(gr.float32, (None, 2))
    ...     print(sess.run(x * 2, {x: [[1.0, 2.0]]}))
    [[2. 4.]]
    """
    return apply(placeholder_op, (), placeholder_attrs(dtype, shape), name)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """Return a tensor that may be fed, and has the value of `input` where it is not."""
    return apply(placeholder_with_default_op, (convert_to_tensor(input),), {"shape": as_shape(shape)}, name)


class Variable(NotPickled, Operators, RowMethods):
    """State that a session keeps between runs.

    Parameters
    ----------
    initial_value : value, tensor or function without arguments that returns one
        Computed when the initializer runs.
    trainable : bool
        Whether optimizers change it unless told which variables to take.
    collections : list of str, optional
        Instead of ``GraphKeys.GLOBAL_VARIABLES``.
    validate_shape : bool
        Whether the shape is fixed by `initial_value`.
    name : str, optional
    dtype : dtype, optional
    expected_shape : shape, optional
        Checked against that of `initial_value`.
    constraint : function, optional
        Applied to the value after an optimizer's step.
    use_resource, synchronization, aggregation
        Accepted for TensorFlow's sake; all variables are like its resource variables.

    Notes
    -----
    In one run a variable's value is that from before the run, unless the read is made inside of
    ``control_dependencies`` on an assign.  A run that fails changes no variable.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     v = gr.Variable(1.0, name="v")
    ...     step = v.assign_add(0.5)
    ...     sess.run(gr.global_variables_initializer())
    ...     print(sess.run(step), sess.run(v), v.name)
    1.5 1.5 v:0
    """

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool = True,
        collections: Iterable[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
    ) -> None:
        if initial_value is None:
            raise GraphError(
                message("gr.Variable() without an initial value", fix="pass a value, a tensor or a function")
            )
        graph = initial_value.graph if isinstance(initial_value, Tensor) else get_default_graph()
        # A variable belongs to no branch or loop, whoever makes it.
        with (
            graph.as_default(), graph.outermost(), graph.control_dependencies(None),
            graph.name_scope(name or "Variable") as s,
        ):  # fmt: skip
            if callable(initial_value) and not isinstance(initial_value, Tensor):
                initial_value = initial_value()
            if isinstance(initial_value, Tensor):
                initial = convert_to_tensor(initial_value, dtype)
            else:
                with told_for(f"Variable '{s[:-1]}'"):
                    initial = convert_to_tensor(initial_value, dtype, "initial_value")
            shape = initial._shape if validate_shape else None
            if expected_shape is not None and not is_compatible(shape, as_shape(expected_shape)):
                raise ShapeError(
                    message(
                        f"the initial value has shape {format_shape(shape)}",
                        where=f"Variable '{s[:-1]}'",
                        site=user_site(),
                        expected=f"expected_shape {format_shape(as_shape(expected_shape))}",
                    )
                )
            self._variable: Tensor = apply(variable_op, (), {"shape": shape, "dtype": initial.dtype}, s)
            self._initial_value = initial
            self._constraint = constraint
            self._trainable = trainable
            attrs = {"validate_shape": validate_shape, "initializer": True}
            self._initializer: Operation = apply(assign_op, (self._variable, initial), attrs).op
        names = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if trainable and GraphKeys.TRAINABLE_VARIABLES not in names:
            names.append(GraphKeys.TRAINABLE_VARIABLES)
        graph.add_to_collections(names, self)

    # -- being a tensor -----------------------------------------------------------------------

    def _as_graph_element(self) -> Tensor:
        return self._variable

    def _as_tensor(self) -> Tensor:
        if self.graph._controls:
            return self.read_value()
        return self._variable

    def value(self) -> Tensor:
        """The value as a tensor."""
        return self._as_tensor()

    def read_value(self) -> Tensor:
        """A new read, which waits for the control dependencies that are in force."""
        with self.graph.name_scope(self.op.name + "/"):
            return apply(read_variable_op, (self._variable,), None)

    def initialized_value(self) -> Tensor:
        """The value where there is one, else the initial value; for initializers of other variables.

        In a run of the variable's own initializer it is the initial value.
        """
        with self.graph.name_scope(self.op.name + "/"):
            return apply(initialized_value_op, (self._variable, self._initial_value), None)

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    @property
    def initializer(self) -> Operation:
        """The operation that assigns the initial value."""
        return self._initializer

    @property
    def name(self) -> str:
        return self._variable.name

    @property
    def op(self) -> Operation:
        return self._variable.op

    @property
    def graph(self) -> Any:
        return self._variable.op.graph

    @property
    def dtype(self) -> DType:
        return self._variable.dtype

    @property
    def device(self) -> str:
        return self._variable.op.device

    @property
    def shape(self) -> Any:
        return self._variable.shape

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def constraint(self) -> Any:
        return self._constraint

    def get_shape(self) -> Any:
        return self._variable.shape

    def set_shape(self, shape: Any) -> None:
        self._variable.set_shape(shape)

    # -- changing it --------------------------------------------------------------------------

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Return an operation's tensor that sets the variable and is the new value."""
        return _result(assign(self, value, name=name), read_value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Return a tensor that adds `delta` to the variable and is the new value."""
        return _result(assign_add(self, delta, name=name), read_value)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Return a tensor that subtracts `delta` from the variable and is the new value."""
        return _result(assign_sub(self, delta, name=name), read_value)

    def load(self, value: Any, session: Any = None) -> None:
        """Set the value in `session` (or the default one) without adding to the graph."""
        session_for(session, "Variable.load()").load_variable(self, value)

    def eval(self, session: Any = None) -> np.ndarray:
        """The value in `session`, or in the default session."""
        return session_for(session, "Variable.eval()").run(self)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __iter__(self) -> Any:
        raise DTypeError(message(f"variable '{self.name}' is not iterable", fix="use gr.unstack(v)"))

    def __bool__(self) -> bool:
        # As in TensorFlow 1, whose programs ask `if ema.average(v)` whether there is a variable.
        return True

    def __float__(self) -> float:
        return float(self._variable)

    def __int__(self) -> int:
        return int(self._variable)

    __index__ = __int__

    def __len__(self) -> int:
        return len(self._variable)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._variable.__array__()

    def __repr__(self) -> str:
        return f"<gr.Variable '{self.name}' shape={format_shape(self._variable._shape)} dtype={self.dtype}>"


register_tensor_conversion_function(Variable, lambda v: v._as_tensor())


def _result(t: Tensor, read_value: bool) -> Any:
    return t if read_value else t.op


def variable_of(ref: Any, what: str) -> Tensor:
    """The tensor of the variable that `ref` is, or stands for; `what` names the operation in messages."""
    t = ref._as_graph_element() if isinstance(ref, Variable) else ref
    # The result of an assign stands for its variable, as TensorFlow's references do.
    while isinstance(t, Tensor) and t.op.opdef.writes is not None:
        t = t.op.inputs[0]
    if not isinstance(t, Tensor) or t.op.opdef is not variable_op:
        raise DTypeError(message(f"{what} of {ref!r}", expected="a gr.Variable"))
    return t


def write_state(
    opdef: OpDef, ref: Any, value: Any, attrs: dict[str, Any] | None, name: str | None,
    between: tuple[Tensor, ...] = (),
) -> Tensor:  # fmt: skip
    """A write to a variable (`OpDef.writes`); `between` are the inputs between the variable and the value."""
    v = variable_of(ref, opdef.name)
    converted = converted_like(value, v, opdef.name, name or opdef.node_name)
    # A reference that comes from an assign stands for the variable after it.
    after = [ref] if isinstance(ref, Tensor) and ref is not v else []
    with v.graph.control_dependencies(after):
        result: Tensor = apply(opdef, (v, *between, converted), attrs, name)
    return result


def assign(
    ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return a tensor that sets variable `ref` to `value` when it runs, and is the new value.

    With ``validate_shape=False`` the value may have any shape, and the variable has that shape from then on.
    A slice that was taken of a variable, as ``v[2:5]``, may stand for it: the rest stays as it is.
    """
    if isinstance(ref, Tensor) and hasattr(ref, "_slice_of"):
        return ref.assign(value, name=name)
    v = variable_of(ref, "assign")
    validate = v._shape is not None if validate_shape is None else bool(validate_shape)
    result = write_state(assign_op, ref, value, {"validate_shape": validate, "initializer": False}, name)
    if not validate and is_static(v._shape):
        v.graph._free_shape(v.op)
    return result


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Return a tensor that adds `value` to variable `ref` when it runs, and is the new value."""
    return write_state(assign_add_op, ref, value, None, name)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Return a tensor that subtracts `value` from variable `ref` when it runs, and is the new value."""
    return write_state(assign_sub_op, ref, value, None, name)


def no_op(name: str | None = None) -> Operation:
    """Return an operation that does nothing but wait for its control dependencies."""
    return get_default_graph().create_operation(no_op_op, (), {}, name)


def group(*inputs: Any, name: str | None = None, **_: Any) -> Operation:
    """Return an operation that runs all of `inputs` (operations, tensors, variables or lists of them)."""
    flat = [x for item in inputs for x in (item if isinstance(item, list | tuple) else [item])]
    flat = [x for x in flat if x is not None]
    graph = get_default_graph()
    if flat:
        first = flat[0]._as_graph_element() if isinstance(flat[0], Variable) else flat[0]
        graph = getattr(first, "graph", graph)
    with graph.control_dependencies(flat):
        return graph.create_operation(no_op_op, (), {}, name or "group_deps")


def global_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph; `scope` is a regular expression that their names begin with."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The trainable variables of the default graph, as `global_variables`."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def local_variables() -> list[Variable]:
    """The variables of the default graph that belong to this process alone, as those of metrics."""
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES)


def model_variables(scope: str | None = None) -> list[Variable]:
    """The variables in the collection ``GraphKeys.MODEL_VARIABLES``."""
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    """The variables that an `ExponentialMovingAverage` keeps averages of."""
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Iterable[Variable], name: str = "init") -> Operation:
    """Return an operation that initializes the variables of `var_list`."""
    return group(*[v.initializer for v in var_list], name=name)


def global_variables_initializer() -> Operation:
    """Return an operation that initializes all global variables of the default graph."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """Return an operation that initializes all local variables of the default graph."""
    return variables_initializer(local_variables())


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """Return an operation that runs what the collection ``GraphKeys.TABLE_INITIALIZERS`` holds."""
    return group(*get_default_graph().get_collection(GraphKeys.TABLE_INITIALIZERS), name=name)
