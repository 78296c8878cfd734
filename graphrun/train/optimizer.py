"""What all optimizers share: gradients, slots, and the operation that applies one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphrun.dtypes import DType
from graphrun.errors import DTypeError, GradientError, GraphError, format_site, message
from graphrun.gradients import gradients
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.graph import GraphKeys
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.site import user_site
from graphrun.ops.arguments import KnownArguments
from graphrun.ops.convert import cast
from graphrun.ops.fill import fill, ones, shape, size, zeros
from graphrun.ops.gather import gather_grad_op
from graphrun.ops.indexed_slices import IndexedSlices
from graphrun.ops.joining import concat
from graphrun.ops.reshape import reshape
from graphrun.ops.sets import unique
from graphrun.ops.state import Variable, assign_add, constant, group, trainable_variables
from graphrun.shapes import is_static
from graphrun.variable_scope import get_variable_scope

GradsAndVars = Sequence[tuple[Any, Variable]]


class Optimizer(KnownArguments):
    """Base of the optimizers.

    A subclass defines `_apply_dense` and, where it keeps state, `_create_slots`; `_prepare` may make
    tensors that all updates share, and `_finish` what follows them.

    Parameters
    ----------
    use_locking : bool
        Accepted for TensorFlow's sake; updates of one run never mix with those of another.
    name : str
        Name scope of the updates, and part of the names of slots.

    Notes
    -----
    In one run every update is computed from the values before the run, and all variables change at its
    end.  A slot is a variable that belongs to another one: ``W/Adam`` is Adam's first for ``W``.
    """

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise GraphError(
                message("an optimizer without a name", where=type(self).__name__, expected="a name")
            )
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._non_slot_dict: dict[tuple[str, Any], Variable] = {}
        self._numbers: dict[Tensor, Any] = {}
        self._cached: dict[Any, Tensor] = {}

    def get_name(self) -> str:
        return self._name

    # -- what users call ----------------------------------------------------------------------

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Iterable[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """Return an operation that takes one step towards a smaller `loss`.

        Parameters
        ----------
        loss : tensor
            Floating-point; the elements of one that is no scalar are added up.
        global_step : variable, optional
            Incremented by each step.
        var_list : iterable of Variable, optional
            What to change; the trainable variables of the graph unless given.
        gate_gradients, aggregation_method, colocate_gradients_with_ops
            Accepted for TensorFlow's sake; the compiler decides these things.
        name : str, optional
        grad_loss : tensor, optional
            The gradient that `loss` starts with, in place of one.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default(), gr.Session() as sess:
        ...     w = gr.Variable(5.0)
        ...     step = gr.train.GradientDescentOptimizer(0.25).minimize((w - 3.0) ** 2)
        ...     sess.run(gr.global_variables_initializer())
        ...     for _ in range(3):
        ...         sess.run(step)
        ...     print(sess.run(w))
        3.25
        """
        found = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if all(g is None for g, _ in found):
            what = f"loss '{loss.name}'" if isinstance(loss, Tensor) else "the loss"
            raise GradientError(
                message(
                    f"no gradient for any variable: {what} depends on none of {_names(v for _, v in found)}",
                    where=self._label,
                    got=_site_of(loss),
                    fix="check that the loss is computed from these variables, and that no gr.stop_gradient,"
                    " gr.argmax, comparison or cast to an integer type lies between",
                )
            )
        return self.apply_gradients(found, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Iterable[Variable] | None = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Variable]]:
        """Return (gradient, variable) pairs, to be changed perhaps and given to `apply_gradients`.

        The parameters are those of `minimize`.  The gradient is None where `loss` does not depend on the
        variable, and an `IndexedSlices` where it depends on rows that are gathered from it.
        """
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise GraphError(
                message(
                    f"gate_gradients={gate_gradients!r}",
                    where=self._label,
                    site=user_site(),
                    expected="Optimizer.GATE_NONE, GATE_OP or GATE_GRAPH",
                )
            )
        loss = convert_to_tensor(loss() if callable(loss) and not isinstance(loss, Tensor) else loss)
        if not loss.dtype.is_floating:
            raise DTypeError(
                message(
                    f"loss '{loss.name}' has dtype {loss.dtype}",
                    where=self._label,
                    got=_site_of(loss),
                    expected="a floating-point loss",
                    fix="use gr.cast(x, gr.float32) where it is computed",
                )
            )
        with loss.graph.as_default():
            variables = trainable_variables() if var_list is None else _flatten(var_list)
            if not variables:
                raise GradientError(
                    message(
                        "no variables to optimize",
                        where=self._label,
                        site=user_site(),
                        fix="make them with gr.Variable(..., trainable=True), in the graph of the loss, or"
                        " pass var_list",
                    )
                )
            for v in variables:
                self._require_variable(v, loss.graph)
            found = gradients(loss, variables, grad_ys=grad_loss)
        for g, v in zip(found, variables, strict=True):
            if g is not None:
                self._require_floating(v)
        return list(zip(found, variables, strict=True))

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Variable]], global_step: Any = None, name: str | None = None
    ) -> Operation:
        """Return an operation that applies gradients, given as pairs like those of `compute_gradients`.

        Pairs whose gradient is None are passed over.
        """
        pairs = tuple(grads_and_vars)
        if not pairs:
            raise GradientError(message("no variables given", where=self._label, site=user_site()))
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise DTypeError(
                    message(f"{pair!r} is no (gradient, variable) pair", where=self._label, site=user_site())
                )
            self._require_variable(pair[1], None)
        changed = [v for g, v in pairs if g is not None]
        if not changed:
            raise GradientError(
                message(
                    f"no gradient for any variable of {_names(v for _, v in pairs)}",
                    where=self._label,
                    site=user_site(),
                    fix="check that the loss is computed from these variables",
                )
            )
        graph = changed[0].graph
        self._cached = {}
        with graph.as_default():
            with graph.control_dependencies(None):
                self._create_slots(changed)
            with graph.name_scope(name or self._name) as scope:
                self._prepare()
                updates = [self._update(g, v) for g, v in pairs if g is not None]
                if global_step is None:
                    step = _operation(self._finish(updates, scope))
                else:
                    with graph.control_dependencies([self._finish(updates, "update")]):
                        step = assign_add(global_step, 1, name=scope).op
            if step not in graph.get_collection_ref(GraphKeys.TRAIN_OP):
                graph.add_to_collection(GraphKeys.TRAIN_OP, step)
        return step

    def _update(self, gradient: Any, var: Variable) -> Any:
        self._require_floating(var)
        graph = var.graph
        with graph.name_scope("update_" + var.op.name):
            if isinstance(gradient, IndexedSlices):
                return self._update_rows(gradient, var)
            update = self._apply_dense(convert_to_tensor(gradient, var.dtype), var)
            if var.constraint is None:
                return update
            # A read that waits for the update sees its result.
            with graph.control_dependencies([update]):
                return var.assign(var.constraint(var.read_value()))

    def _update_rows(self, gradient: IndexedSlices, var: Variable) -> Any:
        if gradient.dtype is not var.dtype:
            raise DTypeError(
                message(f"the gradient of variable '{var.name}' has dtype {gradient.dtype}",
                        where=self._label, site=gradient.op.site, expected=f"the variable's, {var.dtype}")
            )  # fmt: skip
        if var.constraint is not None:
            raise GraphError(
                message(
                    f"variable '{var.name}' has a constraint, and a gradient of single rows",
                    where=self._label, site=var.op.site, expected="no constraint on an embedding",
                    fix="turn the gradient into a tensor: [(gr.convert_to_tensor(g), v) for g, v in"
                    " compute_gradients(loss)]",
                )
            )  # fmt: skip
        return self._apply_sparse_duplicate_indices(gradient, var)

    # -- slots --------------------------------------------------------------------------------

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot of that name that belongs to `var`, or None."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        """The names of slots, as ``["m", "v"]`` for Adam."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """The optimizer's own variables in the default graph: slots, and those that belong to none."""
        from graphrun.graph.default import get_default_graph

        graph = get_default_graph()
        own = [v for (_, g), v in self._non_slot_dict.items() if g is graph]
        own += [s for slots in self._slots.values() for s in slots.values() if s.graph is graph]
        return sorted(own, key=lambda v: v.name)

    def _slot_dict(self, slot_name: str) -> dict[Variable, Variable]:
        return self._slots.setdefault(slot_name, {})

    def _zeros_slot(self, var: Variable, slot_name: str, op_name: str) -> Variable:
        """The slot, made with zeros where it is new."""
        return self._slot(var, slot_name, op_name, zeros)

    def _get_or_make_slot(self, var: Variable, val: Any, slot_name: str, op_name: str) -> Variable:
        """The slot, made with the value `val` where it is new."""
        slots = self._slot_dict(slot_name)
        if var not in slots:
            slots[var] = make_slot(var, op_name, lambda: convert_to_tensor(val, graph=var.graph))
        return slots[var]

    def _get_or_make_slot_with_initializer(
        self, var: Variable, initializer: Any, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Variable:
        """The slot, made with ``initializer(shape, dtype=dtype)`` where it is new."""
        slots = self._slot_dict(slot_name)
        if var not in slots:
            slots[var] = make_slot(var, op_name, lambda: initializer(shape, dtype=dtype))
        return slots[var]

    def _slot(
        self, var: Variable, slot_name: str, op_name: str, initializer: Callable[[Any, DType], Tensor]
    ) -> Variable:
        slots = self._slot_dict(slot_name)
        if var not in slots:
            slots[var] = make_slot(var, op_name, lambda: initializer(_initial_shape(var), var.dtype))
        return slots[var]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Variable) -> Variable:
        """A variable of the optimizer itself, one in each graph."""
        key = (name, colocate_with.graph)
        if key not in self._non_slot_dict:
            self._non_slot_dict[key] = Variable(initial_value, name=name, trainable=False)
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Variable | None:
        return self._non_slot_dict.get((name, graph))

    def _non_slot_variables(self) -> list[Variable]:
        return list(self._non_slot_dict.values())

    # -- what subclasses define ---------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        """Make the slots that the variables need."""

    def _prepare(self) -> None:
        """Make the tensors that all updates share."""

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        """Return the operation, or tensor, that updates `var` by `grad`."""
        return self._resource_apply_dense(grad, var)

    def _resource_apply_dense(self, grad: Tensor, handle: Variable) -> Any:
        """TensorFlow's name of `_apply_dense` for the other kind of variables that it has."""
        raise NotImplementedError(f"{type(self).__name__} does not define _apply_dense(grad, var)")

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        """Return what updates rows of `var`; an index may come several times in `grad`.

        Unless it is overridden, `_apply_sparse` gets each index once, with the sum.
        """
        indices, places = unique(grad.indices)
        dims = concat([reshape(size(indices), [1]), shape(grad.values)[1:]], 0)
        attrs = {"axis": 0, "batch_dims": 0, "negative": False, "shape": dims}
        sums = apply(gather_grad_op, (grad.values, places), attrs)
        return self._apply_sparse(IndexedSlices(sums, indices, grad.dense_shape), var)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        """Return what updates the rows of `var` that `grad` names, each of them once."""
        return self._resource_apply_sparse(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Tensor, handle: Variable, indices: Tensor) -> Any:
        """TensorFlow's name of `_apply_sparse` for the other kind of variables that it has."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define _apply_sparse(grad, var), and the gradient of"
            f" '{handle.name}' is rows (gr.IndexedSlices): define it, or turn gradients into tensors with"
            " gr.convert_to_tensor before apply_gradients"
        )

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """Return the operation that runs all updates."""
        return group(*update_ops, name=name_scope)

    # -- hyperparameters ----------------------------------------------------------------------

    def _call_if_callable(self, param: Any) -> Any:
        """The result of a function without arguments; anything else as it is."""
        return param() if callable(param) and not isinstance(param, Tensor) else param

    def _hyperparameter(self, value: Any, name: str) -> Tensor:
        """`value` (a number, tensor, variable or function that returns one) as a tensor."""
        value = self._call_if_callable(value)
        tensor = numbers_of(value, name, self._label)
        if isinstance(value, int | float):
            self._numbers[tensor] = value
        return tensor

    def _as(self, tensor: Tensor, dtype: DType) -> Tensor:
        """A hyperparameter in the dtype of a variable; Python's numbers lose nothing on the way."""
        if tensor.dtype is dtype:
            return tensor
        if tensor in self._numbers:
            return self._shared((tensor, dtype), lambda: constant(self._numbers[tensor], dtype))
        return self._shared((tensor, dtype), lambda: cast(tensor, dtype))

    def _shared(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """A tensor that is made once for all updates of one `apply_gradients`."""
        if key not in self._cached:
            self._cached[key] = make()
        return self._cached[key]

    # -- checks -------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return f"{type(self).__name__} '{self._name}'"

    def _require_variable(self, v: Any, graph: Any) -> None:
        if not isinstance(v, Variable):
            raise DTypeError(
                message(
                    f"{getattr(v, 'name', None) or repr(v)!r} of type {type(v).__name__} is no variable",
                    where=self._label,
                    site=user_site(),
                    expected="gr.Variable objects",
                    fix="pass what gr.Variable() or gr.trainable_variables() returned",
                )
            )
        if graph is not None and v.graph is not graph:
            raise GraphError(
                message(
                    f"variable '{v.name}' is in another graph than the loss",
                    where=self._label,
                    site=v.op.site,
                    fix="build both inside of the same `with graph.as_default():` block",
                )
            )

    def _require_floating(self, v: Variable) -> None:
        if not v.dtype.is_floating:
            raise DTypeError(
                message(
                    f"variable '{v.name}' has dtype {v.dtype}",
                    where=self._label,
                    site=v.op.site,
                    expected="a floating-point variable",
                    fix="make it with trainable=False",
                )
            )


def make_slot(var: Any, op_name: str, initial_value: Callable[[], Tensor]) -> Variable:
    """A variable that belongs to `var` (a variable or tensor) and is named after it.

    A variable scope that is open stands before the name: it is by this that programs tell the slots from the
    variables of a net, when they collect all that a scope has.
    """
    graph = var.graph
    with graph.as_default():
        scope = get_variable_scope().name
    name = f"{var.op.name}/{op_name}"
    # In whatever name scope and after whatever operations the optimizer is built.
    with graph.as_default(), graph.name_scope(None), graph.device(var.device or None):
        return Variable(
            initial_value,
            trainable=False,
            validate_shape=is_static(var.shape.as_tuple()),
            name=f"{scope}/{name}" if scope else name,
        )


def _initial_shape(var: Variable) -> Any:
    known = var._as_graph_element()._shape
    return known if is_static(known) else shape(var.initialized_value())


def filled_with(number: float) -> Callable[[Any, DType], Tensor]:
    """An initializer of slots."""
    if number == 1.0:
        return ones
    return lambda dims, dtype: fill(dims, constant(number, dtype))


def require_not_negative(what: str, value: float, label: str) -> None:
    """Raise for a hyperparameter below 0."""
    if value < 0.0:
        raise GraphError(message(f"{what}={value}", where=label, site=user_site(), expected="0 or more"))


def numbers_of(value: Any, name: str, label: str, is_name: bool = True) -> Tensor:
    """A hyperparameter as a tensor of real numbers; text, truth values and complex numbers are refused.

    `name` names it in messages, and in the graph where `is_name`.
    """
    if value is not None:
        tensor = convert_to_tensor(value, name=name if is_name else None)
        if tensor.dtype.is_floating or tensor.dtype.is_integer:
            return tensor
    is_text = isinstance(value, str)
    raise DTypeError(
        message(
            f"{name} is {value!r} of type {type(value).__name__}", where=label, site=user_site(),
            expected="a number, or a tensor or variable of numbers",
            fix=f"convert the text first, as float({value!r})" if is_text else "",
        )
    )  # fmt: skip


def require_positive(what: str, value: float, label: str) -> None:
    """Raise for a hyperparameter that is not above 0."""
    if value <= 0.0:
        raise GraphError(
            message(f"{what}={value}", where=label, site=user_site(), expected="a number above 0")
        )


def _operation(x: Any) -> Operation:
    return x.op if isinstance(x, Tensor) else x


def _flatten(items: Any) -> list[Any]:
    if isinstance(items, dict):
        items = items.values()
    if isinstance(items, Variable) or not isinstance(items, Iterable) or isinstance(items, str | Tensor):
        return [items]
    return [v for item in items for v in _flatten(item)]


def _names(variables: Iterable[Variable]) -> str:
    names = [f"'{v.name}'" for v in variables]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _site_of(loss: Any) -> str:
    return format_site(loss.op.site) if isinstance(loss, Tensor) else ""
