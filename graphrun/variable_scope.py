"""Scopes that share variables by name: `variable_scope` and `get_variable`.

A variable scope has a name of its own beside the name scope of operations.  Entered twice by one name, it is
the same scope of variables (``layer/w`` is one variable) and another one of operations (``layer_1/``).
"""

from __future__ import annotations

import difflib
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from graphrun.dtypes import DType, as_dtype, float32, string
from graphrun.errors import DTypeError, GraphError, ShapeError, message, place
from graphrun.graph.default import get_default_graph
from graphrun.graph.graph import Graph, GraphKeys
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.initializers import Initializer, glorot_uniform, initializer_named, zeros
from graphrun.ops.state import Variable
from graphrun.shapes import Shape, as_shape, format_shape, is_compatible, is_static


class _AutoReuse:
    def __repr__(self) -> str:
        return "gr.AUTO_REUSE"

    def __bool__(self) -> bool:
        return True


AUTO_REUSE = _AutoReuse()
Getter = Callable[..., Any]


class VariableScope:
    """What `get_variable` takes from the scope that it is called in.

    Attributes
    ----------
    name : str
        Of the scope, as in the names of its variables, without a slash at the end.
    original_name_scope : str
        The name scope of operations that was opened with it, with the slash.
    reuse : bool or AUTO_REUSE
    initializer, regularizer, custom_getter, partitioner, constraint
        Defaults of `get_variable`.
    dtype : dtype
    """

    def __init__(self, name: str, name_scope: str, reuse: Any, defaults: dict[str, Any]) -> None:
        self.name = name
        self.original_name_scope = name_scope
        self._reuse = reuse
        self._defaults = defaults

    @property
    def reuse(self) -> Any:
        return self._reuse

    @property
    def initializer(self) -> Any:
        return self._defaults["initializer"]

    @property
    def regularizer(self) -> Any:
        return self._defaults["regularizer"]

    @property
    def custom_getter(self) -> Any:
        return self._defaults["custom_getter"]

    @property
    def partitioner(self) -> Any:
        return self._defaults["partitioner"]

    @property
    def constraint(self) -> Any:
        return self._defaults["constraint"]

    @property
    def caching_device(self) -> Any:
        return self._defaults["caching_device"]

    @property
    def use_resource(self) -> Any:
        return self._defaults["use_resource"]

    @property
    def dtype(self) -> DType:
        found: DType = self._defaults["dtype"]
        return found

    def reuse_variables(self) -> None:
        """Let `get_variable` find variables from now on, and make none."""
        self._reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self._defaults["initializer"] = _named(initializer, self.dtype, f"variable_scope '{self.name}'")

    def set_regularizer(self, regularizer: Any) -> None:
        self._defaults["regularizer"] = regularizer

    def set_custom_getter(self, custom_getter: Any) -> None:
        self._defaults["custom_getter"] = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        self._defaults["dtype"] = as_dtype(dtype)

    def get_variable(self, *args: Any, **kwargs: Any) -> Variable:
        """As `gr.get_variable`, with this scope's name and defaults."""
        return _get(self, *args, **kwargs)

    def get_collection(self, name: str) -> list[Any]:
        """The items of a collection of the default graph whose names are in this scope."""
        return get_default_graph().get_collection(name, self.name + "/" if self.name else None)

    def trainable_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def __repr__(self) -> str:
        return f"<gr.VariableScope '{self.name}' reuse={self._reuse}>"


_NO_DEFAULTS = {
    "initializer": None, "regularizer": None, "custom_getter": None, "partitioner": None, "constraint": None,
    "caching_device": None, "use_resource": None, "dtype": float32,
}  # fmt: skip


class _Store(threading.local):
    """The variables of a graph by name, which threads share, and the scope that each thread is in."""

    def __init__(self, variables: dict[str, Variable]) -> None:
        self.variables = variables
        self.scope = VariableScope("", "", False, dict(_NO_DEFAULTS))
        self.counts: dict[str, int] = {}  # how often each scope has been opened

    def unique(self, prefix: str) -> str:
        """`prefix`, with a number where a scope of that name has been opened here."""
        full = f"{self.scope.name}/{prefix}" if self.scope.name else prefix
        if not self.counts.get(full):
            return prefix
        number = 1
        while self.counts.get(f"{full}_{number}"):
            number += 1
        return f"{prefix}_{number}"

    def close(self, name: str) -> None:
        """Forget which scopes have been opened in this one: entered again, it counts anew."""
        for key in self.counts:
            if not name or key.startswith(name + "/"):
                self.counts[key] = 0


def _store(graph: Graph) -> _Store:
    found: _Store | None = graph.extras.get("variable_scopes")
    if found is None:
        found = graph.extras["variable_scopes"] = _Store({})
    return found


def get_variable_scope() -> VariableScope:
    """The variable scope that is in force."""
    return _store(get_default_graph()).scope


@contextmanager
def variable_scope(
    name_or_scope: Any,
    default_name: str | None = None,
    values: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: Any = None,
    constraint: Any = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:
    """Put ``name/`` before the names of variables from `get_variable`, and of operations.

    Parameters
    ----------
    name_or_scope : str, VariableScope or None
        A scope is entered again, wherever it was opened.  None takes `default_name`, made unique.
    default_name : str, optional
    values : list, optional
        Tensors, whose graph becomes the default one inside.
    initializer, regularizer, partitioner, custom_getter, constraint, dtype
        Defaults of `get_variable` inside, and of scopes inside; the initializer may be a name.
    reuse : bool, None or gr.AUTO_REUSE
        True: variables must exist.  AUTO_REUSE: they are made where they don't.  None or False: as the
        scope around.
    auxiliary_name_scope : bool
        False opens no name scope of operations.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     with gr.variable_scope("layer"):
    ...         w = gr.get_variable("w", [2, 3])
    ...     with gr.variable_scope("layer", reuse=True):
    ...         print(gr.get_variable("w") is w, gr.identity(w, name="y").name, w.name)
    True layer_1/y:0 layer/w:0
    """
    if name_or_scope is None and default_name is None:
        raise GraphError(
            message("variable_scope(None) without default_name", site=user_site(), fix="name it")
        )
    if not (name_or_scope is None or isinstance(name_or_scope, str | VariableScope)):
        raise GraphError(
            message(
                f"variable_scope({name_or_scope!r})", site=user_site(), expected="a string or a VariableScope"
            )
        )
    if name_or_scope is None and reuse and reuse is not AUTO_REUSE:
        raise GraphError(
            message(
                "reuse=True without a name: a default name is made unique, so nothing is there to be reused",
                site=user_site(), fix="pass the scope's name",
            )
        )  # fmt: skip
    graph = next((v.graph for v in values or () if hasattr(v, "graph")), None) or get_default_graph()
    store = _store(graph)
    around = store.scope
    given = {
        "initializer": initializer, "regularizer": regularizer, "partitioner": partitioner,
        "constraint": constraint, "caching_device": caching_device, "use_resource": use_resource,
        "dtype": None if dtype is None else as_dtype(dtype),
    }  # fmt: skip
    again = isinstance(name_or_scope, VariableScope)
    base = name_or_scope if isinstance(name_or_scope, VariableScope) else around
    given["initializer"] = _named(
        initializer, given["dtype"] or base.dtype, f"variable_scope({name_or_scope!r})"
    )
    defaults = {**base._defaults, **{k: v for k, v in given.items() if v is not None}}
    if custom_getter is not None:
        defaults["custom_getter"] = _chained(custom_getter, base.custom_getter)
    if again:
        name = base.name
        own = name.rpartition("/")[2]
        is_reused = base.reuse if reuse is None else reuse
    else:
        own = store.unique(str(default_name)) if name_or_scope is None else str(name_or_scope)
        name = f"{around.name}/{own}" if around.name and own else own or around.name
        is_reused = reuse or around.reuse
    counts = dict(store.counts)
    store.counts[name] = store.counts.get(name, 0) + 1
    opened: Any = nullcontext(graph._scope)
    if auxiliary_name_scope and own:
        # TensorFlow makes the names of operations unique apart from those of variables.
        default = name_or_scope is None
        opened = graph.name_scope(str(default_name) if default else own.rstrip("/"))
    with graph.as_default(), opened as name_scope:
        original = base.original_name_scope if again else name_scope
        store.scope = VariableScope(name, original, is_reused, defaults)
        try:
            yield store.scope
        finally:
            store.scope = around
            store.close(name)
            if again:
                store.counts = counts


def _named(initializer: Any, dtype: DType | None, where: str) -> Any:
    """An initializer for its name; a word for a variable of strings is its value."""
    if not isinstance(initializer, str) or dtype is string:
        return initializer
    return initializer_named(initializer, where)


def reserve_scope(name: str, exact: str | None, custom_getter: Any) -> VariableScope:
    """Return a scope inside of the one in force, which it does not enter; `name` is made unique."""
    store = _store(get_default_graph())
    around = store.scope
    own = exact or store.unique(name)
    full = f"{around.name}/{own}" if around.name else own
    store.counts[full] = store.counts.get(full, 0) + 1
    defaults = dict(around._defaults)
    if custom_getter is not None:
        defaults["custom_getter"] = _chained(custom_getter, around.custom_getter)
    return VariableScope(full, around.original_name_scope, around.reuse, defaults)


def _chained(inner: Getter, outer: Getter | None) -> Getter:
    if outer is None:
        return inner

    def both(getter: Getter, *args: Any, **kwargs: Any) -> Any:
        return inner(functools.partial(outer, getter), *args, **kwargs)

    return both


@contextmanager
def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, **kwargs: Any
) -> Iterator[VariableScope]:
    """As `variable_scope`, with the order of arguments that TensorFlow once had."""
    with variable_scope(name_or_scope, default_name, values, **kwargs) as scope:
        yield scope


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Variable:
    """Return the variable of that name in the variable scope: a new one, or one that is there.

    Parameters
    ----------
    name : str
    shape : shape, optional
        Needed for a new one, unless `initializer` is a value.
    dtype : dtype, optional
        float32, or the scope's, by default.
    initializer : initializer, function, class, name, value or tensor, optional
        Glorot's uniform one by default, zeros for integers and bool.  A name, as ``"he_normal"``, where a
        shape is given.
    regularizer : function, optional
        Of the variable to a scalar, which goes into ``GraphKeys.REGULARIZATION_LOSSES``.
    trainable : bool
        True by default.
    collections : list of str, optional
    partitioner : function, optional
        Accepted where it makes one part.
    custom_getter : function, optional
        Called with the getter and the arguments, and returns the variable.
    constraint : function, optional
        Applied to the value after an optimizer's step.

    Raises
    ------
    GraphError
        If the variable exists and the scope does not reuse, or the other way round.
    ShapeError, DTypeError
        If it exists with another shape or dtype.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.variable_scope("a"):
    ...     print(gr.get_variable("w", [2, 3], initializer=gr.zeros_initializer()).name)
    a/w:0
    """
    return _get(
        get_variable_scope(), name, shape, dtype, initializer, regularizer, trainable, collections,
        caching_device, partitioner, validate_shape, use_resource, custom_getter, constraint,
    )  # fmt: skip


def get_local_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: bool = False, collections: Iterable[str] | None = None, caching_device: Any = None,
    partitioner: Any = None, validate_shape: bool = True, use_resource: bool | None = None,
    custom_getter: Any = None, constraint: Any = None,
) -> Variable:  # fmt: skip
    """As `get_variable`, for a variable in ``GraphKeys.LOCAL_VARIABLES``, which is not trained.

    `gr.local_variables_initializer` gives it its value.
    """
    names = [*(collections or ()), GraphKeys.LOCAL_VARIABLES]
    return _get(
        get_variable_scope(), name, shape, dtype, initializer, regularizer, False, names, caching_device,
        partitioner, validate_shape, use_resource, custom_getter, constraint,
    )  # fmt: skip


def _get(
    scope: VariableScope, name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
    regularizer: Any = None, trainable: bool | None = None, collections: Any = None,
    caching_device: Any = None, partitioner: Any = None, validate_shape: bool = True,
    use_resource: bool | None = None, custom_getter: Any = None, constraint: Any = None,
    reuse: Any = None, **_: Any,
) -> Variable:  # fmt: skip
    if not isinstance(name, str) or not name:
        raise GraphError(message(f"get_variable({name!r})", site=user_site(), expected="a name"))
    full = f"{scope.name}/{name}" if scope.name else name
    if shape is not None:  # without one it is a value, and the variable one of strings
        initializer = _named(initializer, None if dtype is None else as_dtype(dtype), f"variable '{full}'")
    getter = scope.custom_getter if custom_getter is None else _chained(custom_getter, scope.custom_getter)
    arguments = {
        "name": full, "shape": shape, "dtype": scope.dtype if dtype is None else as_dtype(dtype),
        "initializer": scope.initializer if initializer is None else initializer,
        "regularizer": scope.regularizer if regularizer is None else regularizer,
        "reuse": scope.reuse if reuse is None else reuse,
        "trainable": True if trainable is None else trainable, "collections": collections,
        "caching_device": scope.caching_device if caching_device is None else caching_device,
        "partitioner": scope.partitioner if partitioner is None else partitioner,
        "validate_shape": validate_shape,
        "use_resource": scope.use_resource if use_resource is None else use_resource,
        "constraint": scope.constraint if constraint is None else constraint,
    }  # fmt: skip
    if dtype is None and initializer is not None and not callable(initializer):
        arguments["dtype"] = None  # that of the value
    found: Variable = _true_getter(**arguments) if getter is None else getter(_true_getter, **arguments)
    return found


def _true_getter(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    reuse: Any = None, trainable: bool = True, collections: Any = None, partitioner: Any = None,
    validate_shape: bool = True, constraint: Any = None, **_: Any,
) -> Variable:  # fmt: skip
    graph: Graph = get_default_graph()
    known = _store(graph).variables
    wanted = None if shape is None else as_shape(shape)
    found = known.get(name)
    if found is not None:
        if not reuse:
            raise GraphError(
                message(
                    f"variable '{name}' exists already", where="get_variable",
                    got=[
                        f"first made at {place(found.op.site)}",
                        f"made again at {place(user_site(beyond=found.op.site))}",
                    ],
                    fix="enter its scope with reuse=True or reuse=gr.AUTO_REUSE, or choose another name",
                )
            )  # fmt: skip
        _check_same(found, wanted, dtype)
        return found
    if reuse and reuse is not AUTO_REUSE:
        close = difflib.get_close_matches(name, known, n=3)
        hint = "did you mean " + ", ".join(f"'{c}'" for c in close) + "? or " if close else ""
        raise GraphError(
            message(
                f"variable '{name}' does not exist, and the scope reuses", where="get_variable",
                site=user_site(), expected="a variable that get_variable has made",
                fix=f"{hint}enter the scope with reuse=gr.AUTO_REUSE to make it where it is not there",
            )
        )  # fmt: skip
    _check_partitions(partitioner, wanted, dtype, name)
    variable = _new(
        graph, name, wanted, dtype, initializer, trainable, collections, validate_shape, constraint
    )
    known[name] = variable
    if regularizer is not None:
        loss = penalty(graph, regularizer, variable)
        if loss is not None:
            graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def penalty(graph: Graph, regularizer: Any, variable: Variable) -> Any:
    """What a regularizer makes of a variable; like that it belongs to no branch or loop."""
    scope = f"{variable.op.name}/Regularizer/"
    with graph.outermost(), graph.control_dependencies(None), graph.name_scope(scope):
        return regularizer(variable)


def _check_same(found: Variable, wanted: Shape, dtype: DType | None) -> None:
    if wanted is not None and not is_compatible(wanted, found.op.outputs[0]._shape):
        raise ShapeError(
            message(
                f"variable '{found.op.name}' has another shape", where="get_variable", site=user_site(),
                got=format_shape(wanted), expected=format_shape(found.op.outputs[0]._shape),
                fix=f"it was made at {place(found.op.site)}",
            )
        )  # fmt: skip
    if dtype is not None and dtype is not found.dtype:
        raise DTypeError(
            message(
                f"variable '{found.op.name}' has another dtype", where="get_variable", site=user_site(),
                got=str(dtype), expected=str(found.dtype), fix=f"it was made at {place(found.op.site)}",
            )
        )  # fmt: skip


def _check_partitions(partitioner: Any, shape: Shape, dtype: Any, name: str) -> None:
    if partitioner is None or shape is None:
        return
    parts = partitioner(shape=as_shape(shape), dtype=dtype)
    if any(int(p) != 1 for p in parts):
        raise GraphError(
            message(
                f"variable '{name}' in parts, {list(parts)} of them along its axes",
                where="get_variable", site=user_site(),
                expected="one part", fix="graphrun keeps a variable whole: leave the partitioner out",
            )
        )  # fmt: skip


def _new(
    graph: Graph, name: str, shape: Shape, dtype: DType | None, initializer: Any, trainable: bool,
    collections: Any, validate_shape: bool, constraint: Any,
) -> Variable:  # fmt: skip
    if initializer is None:
        assert dtype is not None
        initializer = glorot_uniform() if dtype.is_floating else zeros()
    if isinstance(initializer, type):
        initializer = initializer()
    if isinstance(initializer, Tensor | Variable) or not callable(initializer):
        value: Any = initializer
        actual = value.shape if isinstance(value, Tensor | Variable) else np.shape(value)
        if shape is not None and not is_compatible(as_shape(actual), shape):
            raise ShapeError(
                message(
                    f"the initial value of '{name}' has another shape",
                    where="get_variable", site=user_site(),
                    got=format_shape(as_shape(actual)), expected=format_shape(shape),
                    fix="leave the shape out where the initializer is a value",
                )
            )  # fmt: skip
    else:
        if (shape is None or not is_static(shape)) and _wants_shape(initializer):
            raise ShapeError(
                message(
                    f"variable '{name}' is new and its shape is not known", where="get_variable",
                    site=user_site(), got="no shape" if shape is None else format_shape(shape),
                    expected="a size for each dimension",
                    fix=f'gr.get_variable("{name.rpartition("/")[2]}", [rows, columns])',
                )
            )  # fmt: skip
        made = initializer

        def value() -> Any:
            with graph.name_scope("Initializer"):
                try:
                    return made(shape, dtype=dtype) if _wants_shape(made) else made()
                except (ShapeError, DTypeError) as fault:
                    if not isinstance(made, Initializer):
                        raise
                    raise type(fault)(f"variable '{name}': {fault}") from None

    with graph.name_scope(None):
        return Variable(
            value, trainable=trainable, collections=collections, validate_shape=validate_shape, name=name,
            dtype=dtype, constraint=constraint,
        )  # fmt: skip


def _wants_shape(initializer: Any) -> bool:
    """Whether a function takes a shape, as initializers do, or nothing, as for `gr.Variable`."""
    try:
        parameters = inspect.signature(initializer).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind is not p.VAR_KEYWORD for p in parameters)
