"""`Graph`: operations by name, and the scopes that new operations are made in."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from graphrun.device_names import parse_device
from graphrun.errors import FetchError, FinalizedError, GraphError, NotFoundError, NotPickled, message
from graphrun.graph import default
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef
from graphrun.graph.site import user_site
from graphrun.shapes import Shape

_VALID_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")
_VALID_SCOPE = re.compile(r"^[A-Za-z0-9_.\\/>-]*\Z")


class GraphKeys:
    """Names of collections, those that graphrun itself fills among them."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    GLOBAL_STEP = "global_step"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    REGULARIZATION_LOSSES = "regularization_losses"
    TRAIN_OP = "train_op"
    INIT_OP = "init_op"
    SUMMARIES = "summaries"
    SUMMARY_OP = "summary_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    METRIC_VARIABLES = "metric_variables"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    SAVERS = "savers"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    ASSET_FILEPATHS = "asset_filepaths"
    EVAL_STEP = "eval_step"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    CONCATENATED_VARIABLES = "concatenated_variables"
    TRAINABLE_RESOURCE_VARIABLES = "trainable_resource_variables"
    RESOURCES = "resources"
    LOCAL_RESOURCES = "local_resources"
    SAVEABLE_OBJECTS = "saveable_objects"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"


class Graph(NotPickled):
    """A graph of operations.  New operations go into the default graph of their thread.

    Examples
    --------
    >>> import graphrun as gr
    >>> g = gr.Graph()
    >>> with g.as_default():
    ...     a = gr.constant(1.0, name="a")
    >>> g.get_tensor_by_name("a:0") is a, a.name
    (True, 'a:0')
    """

    def __init__(self) -> None:
        self._ops: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._name_counts: dict[str, int] = {}
        self._collections: dict[str, list[Any]] = {}
        self._scopes = threading.local()
        self._lock = threading.RLock()
        self._finalized = False
        self.seed: int | None = None
        # What sessions must know of shapes: variables that an assign may give another shape than theirs,
        # and what `set_shape` has claimed of tensors that are computed.
        self.free_shapes: set[Operation] = set()
        self.stated_shapes: dict[Tensor, Shape] = {}
        self.shape_version = 0
        # Rooms above keep what belongs to a graph here (variable scopes, seeds of operations).
        self.extras: dict[str, Any] = {}

    # -- being the default --------------------------------------------------------------------

    def as_default(self) -> Any:
        """Context manager in which new operations of this thread go into this graph."""
        return default.graph_as_default(self)

    # -- scopes: each thread has its own ------------------------------------------------------

    @property
    def _scope(self) -> str:
        return getattr(self._scopes, "name", "")

    @property
    def _devices(self) -> tuple[Any, ...]:
        return getattr(self._scopes, "devices", ())

    @property
    def _controls(self) -> tuple[Operation, ...]:
        return getattr(self._scopes, "controls", ())

    @property
    def _overrides(self) -> Mapping[str, str]:
        return getattr(self._scopes, "overrides", {})

    @property
    def region(self) -> Any:
        """The branch or loop body that new operations become part of; None outside of all."""
        return getattr(self._scopes, "region", None)

    def outermost(self) -> Any:
        """Context manager that leaves all branches, loops and control dependencies, as for new variables."""
        return self._set_scope("region", None)

    def visible(self, tensor: Tensor, region: Any) -> Tensor:
        """What stands for `tensor` within `region`; an error where it cannot be read there."""
        from graphrun.graph.region import resolved

        return resolved(tensor, region)

    @contextmanager
    def _set_scope(self, field: str, value: Any, result: Any = None) -> Iterator[Any]:
        missing = object()
        old = getattr(self._scopes, field, missing)
        setattr(self._scopes, field, value)
        try:
            yield result
        finally:
            if old is missing:
                delattr(self._scopes, field)
            else:
                setattr(self._scopes, field, old)

    def name_scope(self, name: str | None) -> Any:
        """Context manager that puts ``name/`` before the names of new operations.

        A name that ends in ``/`` is entered again as it is; None or an empty one leaves all scopes.
        Yields the scope's full name with the slash.
        """
        if name is not None and not isinstance(name, str):
            raise GraphError(message(f"a scope is named by a string, got {name!r}"))
        if not name:
            return self._set_scope("name", "", "")
        if not _VALID_SCOPE.match(name) or (not self._scope and not _VALID_NAME.match(name)):
            raise GraphError(message(f"{name!r} is not a valid scope name", expected=_VALID_SCOPE.pattern))
        scope = name if name.endswith("/") else self.unique_name(name) + "/"
        return self._set_scope("name", scope, scope)

    def get_name_scope(self) -> str:
        """The current scope's name without the slash."""
        return self._scope.rstrip("/")

    def device(self, device_name_or_function: str | Callable[[Operation], str] | None) -> Any:
        """Context manager that asks for a device, by name or by a function of the operation."""
        device = device_name_or_function
        if device is None:
            return self._set_scope("devices", ())
        if not callable(device):
            parse_device(device)  # a wrong name is told here, where it is written
        return self._set_scope("devices", (*self._devices, device))

    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> Any:
        """Context manager: new operations of these types have gradients that are registered by name.

        Parameters
        ----------
        op_type_map : dict of str to str
            From a type (``"Relu"``, ``"Identity"``, ``"PyFunc"``) to what was passed to `RegisterGradient`.

        Examples
        --------
        >>> import graphrun as gr
        >>> @gr.RegisterGradient("StraightThrough")
        ... def straight_through(op, dy):
        ...     return dy
        >>> with gr.Graph().as_default() as g, gr.Session() as sess:
        ...     x = gr.constant(0.3)
        ...     with g.gradient_override_map({"Sign": "StraightThrough"}):
        ...         y = gr.sign(x)
        ...     print(sess.run([y, gr.gradients(y, x)[0]]))
        [np.float32(1.0), np.float32(1.0)]
        """
        if not isinstance(op_type_map, Mapping) or not all(
            isinstance(s, str) for pair in op_type_map.items() for s in pair
        ):
            raise GraphError(
                message(
                    f"gradient_override_map of {op_type_map!r}",
                    expected='a dict from types of operations to names, as {"Relu": "GuidedRelu"}',
                )
            )
        return self._set_scope("overrides", {**self._overrides, **op_type_map})

    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Any:
        """Context manager: new operations run after all of `control_inputs`; None leaves such blocks."""
        inputs = control_inputs
        if inputs is None:
            return self._set_scope("controls", ())
        if isinstance(inputs, str | Tensor | Operation) or hasattr(inputs, "_as_graph_element"):
            raise GraphError(
                message(f"control_dependencies takes a list, got {inputs!r}", fix="control_dependencies([x])")
            )
        if not isinstance(inputs, Iterable):
            raise GraphError(message(f"control_dependencies takes a list of operations, got {inputs!r}"))
        ops = list(self._controls)
        for item in inputs:
            element = self.as_graph_element(item)
            op = element.op if isinstance(element, Tensor) else element
            if op.region is not None:
                from graphrun.graph.region import inside, outside

                if outside(op.region, self.region):
                    raise inside(f"'{op.name}'", op.region, op)
            if op not in ops:
                ops.append(op)
        return self._set_scope("controls", tuple(ops))

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` in the current scope, with ``_1``, ``_2``, ... where it is taken."""
        full = self._scope + name
        with self._lock:
            # Names that differ only in case would collide where they become file names.
            key = full.lower()
            count = self._name_counts.get(key, 0)
            if mark_as_used:
                self._name_counts[key] = count + 1
            if count == 0:
                return full
            while True:
                candidate = f"{full}_{count}"
                if candidate.lower() not in self._name_counts:
                    break
                count += 1
            if mark_as_used:
                self._name_counts[key] = count + 1
                self._name_counts[candidate.lower()] = 1
            return candidate

    # -- operations ---------------------------------------------------------------------------

    def create_operation(
        self,
        opdef: OpDef,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, Any],
        name: str | None = None,
        value_attrs: tuple[str, ...] = (),
        rule_attrs: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Add an operation; shape and dtype faults are raised here, with the user's line.

        `rule_attrs` are passed to the shape rule in place of `attrs`: they hold what is known of the
        attributes that arrive as tensors.
        """
        site = user_site()
        if self._finalized:
            raise FinalizedError(
                message(
                    "the graph is finalized, no operation can be added",
                    where=f"{opdef.name} '{name or opdef.name}'",
                    site=site,
                    fix="build everything before Graph.finalize(), in training loops too: an expression"
                    " made inside of the loop makes the graph grow with each step",
                )
            )
        for i, t in enumerate(inputs):
            if t.op.graph is not self:
                raise GraphError(
                    message(
                        f"input {i}, '{t.name}', is in another graph",
                        where=f"{opdef.name} '{name or opdef.name}'",
                        site=t.op.site,
                        expected="inputs and operation in the same gr.Graph",
                        fix="build both inside of the same `with graph.as_default():` block",
                    )
                )
        region = self.region
        if any(t.op.region is not region and t.op.region is not None for t in inputs):
            inputs = [self.visible(t, region) for t in inputs]
        if name is not None and not isinstance(name, str):
            raise GraphError(
                message(f"an operation is named by a string, got {name!r}", where=opdef.name, site=site)
            )
        # A name that ends in "/" is that of an existing scope, and is taken as it is (TensorFlow's rule).
        if name and name.endswith("/"):
            wanted, full = name[:-1], None
            if not wanted or not _VALID_SCOPE.match(wanted):
                raise GraphError(
                    message(f"{name!r} is not a valid scope name", expected=_VALID_SCOPE.pattern)
                )
            with self._lock:
                full = wanted if wanted not in self._by_name else None
            full = full or self.unique_name(wanted)
        else:
            if name and not _VALID_NAME.match(name) and not (self._scope and _VALID_SCOPE.match(name)):
                raise GraphError(
                    message(f"{name!r} is not a valid operation name", expected=_VALID_NAME.pattern)
                )
            full = None
        with self._lock:
            label = full or self.unique_name(name or opdef.node_name or opdef.name)
            data_inputs = inputs[: len(inputs) - len(value_attrs)]
            specs = opdef.check(
                label, site, [t.spec for t in data_inputs], attrs if rule_attrs is None else rule_attrs
            )
            controls = self._controls
            op = Operation(
                opdef, self, label, tuple(inputs), attrs, value_attrs, specs, controls, "", site,
                len(self._ops), region,
            )  # fmt: skip
            if self._overrides:
                names = (op.type, opdef.node_name, opdef.name)
                op.gradient = next((self._overrides[n] for n in names if n in self._overrides), None)
            for device in self._devices:
                wish = parse_device(device(op) or "") if callable(device) else parse_device(device)
                op.device = wish or op.device
            self._ops.append(op)
            self._by_name[label] = op
        return op

    def get_operations(self) -> list[Operation]:
        """All operations in the order in which they were made."""
        return list(self._ops)

    def __contains__(self, name: object) -> bool:
        """Whether the graph has an operation, or a tensor, of that name."""
        if not isinstance(name, str):
            return False
        op_name, colon, index = name.partition(":")
        op = self._by_name.get(op_name)
        return op is not None and (not colon or (index.isdigit() and int(index) < len(op.outputs)))

    def get_operation_by_name(self, name: str) -> Operation:
        self._check_name(name)
        found = self._by_name.get(name)
        if found is None:
            op = self._by_name.get(name.partition(":")[0])
            if op is not None:
                raise GraphError(
                    message(f"'{name}' is the name of a tensor", expected=f"an operation's, as '{op.name}'")
                )
            raise NotFoundError(self._unknown_name("operation", name))
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor called ``operation:output``."""
        self._check_name(name)
        op_name, _, index = name.partition(":")
        if not index.isdigit():
            raise GraphError(
                message(f"{name!r} is no tensor name", expected=f'"operation:output", as "{op_name}:0"')
            )
        op = self._by_name.get(op_name)
        if op is None:
            raise NotFoundError(self._unknown_name("tensor", name))
        if int(index) >= len(op.outputs):
            raise NotFoundError(
                message(f"operation '{op_name}' has {len(op.outputs)} outputs, so there is no '{name}'")
            )
        return op.outputs[int(index)]

    @staticmethod
    def _check_name(name: Any) -> None:
        if not isinstance(name, str):
            raise FetchError(
                message(f"{name!r} of type {type(name).__name__} is no name", expected="a string")
            )

    def _unknown_name(self, kind: str, name: str) -> str:
        import difflib

        wanted, _, index = name.partition(":")
        close = difflib.get_close_matches(wanted, self._by_name, n=3)
        if kind == "tensor":  # an operation's name would give None where it is fetched
            counts = [(c, len(self._by_name[c].outputs)) for c in close]
            close = [f"{c}:{min(int(index), n - 1)}" for c, n in counts if n]
        hint = "did you mean " + ", ".join(f"'{c}'" for c in close) + "?" if close else ""
        return message(f"the graph has no {kind} named '{name}'", fix=hint)

    def as_graph_element(self, item: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The tensor or operation of this graph that `item` (an object or a name) stands for."""
        if hasattr(item, "_as_graph_element"):
            item = item._as_graph_element()
        if isinstance(item, str):
            if ":" in item and allow_tensor:
                return self.get_tensor_by_name(item)
            if allow_operation:
                return self.get_operation_by_name(item)
        if isinstance(item, Tensor) and allow_tensor or isinstance(item, Operation) and allow_operation:
            if item.graph is not self:
                site = item.op.site if isinstance(item, Tensor) else item.site
                raise GraphError(message(f"'{item.name}' is not an element of this graph", site=site))
            return item
        kinds = [k for k, allowed in (("tensor", allow_tensor), ("operation", allow_operation)) if allowed]
        raise FetchError(
            message(
                f"{item!r} of type {type(item).__name__} is no {' and no '.join(kinds)} of a graph",
                expected=f"a {' or '.join(kinds)}, or the name of one",
            )
        )

    def is_feedable(self, tensor: Any) -> bool:
        """Whether it can be fed: what is inside of a branch or a loop cannot."""
        return bool(tensor.op.region is None)

    def is_fetchable(self, element: Any) -> bool:
        """Whether it can be fetched: what is inside of a branch or a loop cannot."""
        return getattr(element, "op", element).region is None

    def finalize(self) -> None:
        """Make the graph read-only: adding an operation is an error from now on."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    @property
    def finalized(self) -> bool:
        return self._finalized

    def _state_shape(self, tensor: Tensor, shape: Shape) -> None:
        with self._lock:
            self.stated_shapes[tensor] = shape
            self.shape_version += 1

    def _free_shape(self, variable: Operation) -> None:
        with self._lock:
            self.free_shapes.add(variable)
            self.shape_version += 1

    # -- collections --------------------------------------------------------------------------

    def add_to_collection(self, name: str, value: Any) -> None:
        with self._lock:
            self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: str | Iterable[str], value: Any) -> None:
        for name in {names} if isinstance(names, str) else dict.fromkeys(names):
            self.add_to_collection(name, value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """A copy of the collection; `scope` is a regular expression that the items' names begin with."""
        items = list(self._collections.get(name, ()))
        if scope is None:
            return items
        pattern = re.compile(scope)
        return [i for i in items if hasattr(i, "name") and pattern.match(i.name)]

    def get_collection_ref(self, name: str) -> list[Any]:
        """The collection itself."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[str]:
        return [k for k, v in self._collections.items() if v]

    def clear_collection(self, name: str) -> None:
        self._collections.pop(name, None)

    def __repr__(self) -> str:
        return f"<gr.Graph with {len(self._ops)} operations>"
