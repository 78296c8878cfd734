"""`Session`: feeds, fetches, variables, and the plans that it has compiled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.ir import StateKey
from graphrun.compiler.limit import memory_limit as parsed_limit
from graphrun.compiler.pipeline import Split, compile_plan
from graphrun.compiler.plan import Plan
from graphrun.compiler.specialize import Found
from graphrun.config import ConfigProto, session_graph
from graphrun.device_names import NUMPY, parse_device
from graphrun.dtypes import as_dtype
from graphrun.errors import (
    DTypeError,
    FeedError,
    FetchError,
    GraphError,
    NotFoundError,
    NotPickled,
    RunShapeError,
    SessionClosedError,
    ShapeError,
    message,
)  # fmt: skip
from graphrun.feeds import feed_array, feed_items, misshapen
from graphrun.fetches import FetchHandler, is_flat
from graphrun.graph import default
from graphrun.graph.apply import as_array
from graphrun.graph.default import get_default_graph
from graphrun.graph.descriptor import Spec
from graphrun.graph.graph import Graph
from graphrun.graph.node import Operation, Tensor
from graphrun.moving import Trial, Watch, chosen_device, may_move, moved, watch_of
from graphrun.runtime.device_array import DeviceArray, on_host, uploaded
from graphrun.runtime.devices import get_device
from graphrun.runtime.stages import Stage, compiled, remember, run_stages, with_followers
from graphrun.runtime.store import Store
from graphrun.runtime.targets import target
from graphrun.shapes import format_shape, is_compatible

# A dtype that no fed array has.
_NEVER = np.dtype("V1")


class _Entry:
    """A compiled signature: one plan, or a first plan and those that follow for what it finds."""

    __slots__ = ("stage", "bound", "is_plain", "shape_version", "asked", "watch")

    def __init__(self, stage: Stage, shape_version: int) -> None:
        self.stage = stage
        self.bound = stage.bound
        # Whether a run is that of one plan, and nothing else.
        self.is_plain = not stage.is_first
        self.watch: Watch | Trial | None = None
        self.shape_version = shape_version
        # What the compiler was told of variables: shape and dtype, or that there is no value yet.
        self.asked: tuple[tuple[StateKey, Spec | None], ...] = ()

    def watched(self, watch: Watch | Trial | None) -> None:
        """Let runs be watched, or no longer."""
        self.watch = watch
        self.is_plain = watch is None and not self.stage.is_first


class Session(NotPickled):
    """Runs what is fetched from a graph, and holds the values of its variables.

    Parameters
    ----------
    target : str, optional
        TensorFlow's address of a server.  Only ``""`` has a meaning here: this process.  A graph may stand
        in its place, as in ``Session(graph)``.
    graph : Graph, optional
        The default graph where none is given.
    config : ConfigProto, optional
        TensorFlow's options; see `ConfigProto` for those that count.
    device : str, optional
        Where operations run that ask for no device: ``"cpu:0"`` (NumPy), ``"opencl:0"``, ``"/gpu:0"``.
        Without it, what the environment variable ``GRAPHRUN_DEVICE`` says, else NumPy at first, and the
        first OpenCL device for a plan whose runs have taken long enough to be worth it.
    strict : bool
        Make it an error where a device cannot run an operation that is placed on it, instead of running
        it on the host.
    max_plans : int
        Plans kept; the one that was not used for longest goes first.
    verify : bool
        Check the program after each compiler pass.
    memory_limit : int or str, optional
        The most bytes, as ``"512 MiB"``, that a run may need on a device for its values and the variables
        that it touches.  A plan that needs more is an `errors.MemoryLimitError` before anything runs.
    recompute : bool
        Where a plan needs more, compute values again, cheap ones first, instead of keeping them.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None,))
    ...     y = gr.reduce_sum(x * x)
    ...     with gr.Session() as sess:
    ...         print(sess.run(y, {x: [1.0, 2.0]}), sess.run({"y": y}, {x: [3.0]}))
    5.0 {'y': np.float32(9.0)}
    """

    def __init__(
        self,
        target: str | Graph | None = "",
        graph: Graph | None = None,
        config: ConfigProto | None = None,
        device: str | None = None,
        strict: bool = False,
        *,
        max_plans: int = 64,
        verify: bool = False,
        memory_limit: int | str | None = None,
        recompute: bool = False,
    ) -> None:
        graph = session_graph(target, graph)
        if config is not None and not isinstance(config, ConfigProto):
            raise GraphError(message(f"gr.Session with config={config!r}", expected="a gr.ConfigProto"))
        self.graph: Graph = get_default_graph() if graph is None else graph
        self.strict = strict
        self.config = config
        self._soft = bool(config is not None and config.allow_soft_placement)
        self._verify = verify
        self._memory = parsed_limit(memory_limit, recompute)
        chosen = chosen_device(device)
        self._may_move = may_move(chosen, strict, config)
        self.device = chosen or NUMPY
        if self.device != NUMPY:
            get_device(self.device)  # a device that does not exist is told here
        self._store = Store()
        self._max_plans = max(1, max_plans)
        self._handlers: OrderedDict[Any, FetchHandler] = OrderedDict()
        self._plans: OrderedDict[Any, _Entry] = OrderedDict()
        self._closed = False
        self._entered: list[Any] = []

    # -- being the default --------------------------------------------------------------------

    def as_default(self) -> Any:
        """Context manager in which this session is the default one; it stays open afterwards."""
        return default.session_as_default(self)

    def __enter__(self) -> Session:
        self._check_open()
        if self._entered:
            raise GraphError(
                message(
                    "the session is entered already, and leaving the inner block would close it",
                    fix="write `with session.as_default():` to enter it several times",
                )
            )
        graph_context = self.graph.as_default()
        session_context = self.as_default()
        graph_context.__enter__()
        session_context.__enter__()
        self._entered.append((session_context, graph_context))
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        session_context, graph_context = self._entered.pop()
        session_context.__exit__(kind, value, trace)
        graph_context.__exit__(kind, value, trace)
        self.close()

    def close(self) -> None:
        """Free plans and variables; the session cannot be used afterwards."""
        self._closed = True
        self._plans.clear()
        self._handlers.clear()
        self._store.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError(
                message("the session is closed", fix="make a new gr.Session(); a `with` block closes its own")
            )

    # -- running ------------------------------------------------------------------------------

    def run(
        self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None,
        run_metadata: Any = None,
    ) -> Any:  # fmt: skip
        """Compute `fetches` and return their values in the same form.

        Parameters
        ----------
        fetches : tensor, operation, variable, name, or lists, tuples, dicts, namedtuples of them
            An operation gives None.
        feed_dict : mapping, optional
            Values for placeholders, or for any other tensor in place of what computes it.  Keys are
            tensors, variables or names.
        options, run_metadata
            Accepted for TensorFlow's sake.

        Raises
        ------
        FeedError, FetchError, ShapeError, UninitializedError, ExecutionError
            With the user's line.  No variable has changed then.  What TensorFlow tells as an
            `InvalidArgumentError` is one here too: a missing feed, shapes that clash, an index out of range.
        """
        key: Any = tuple(fetches) if type(fetches) is list else fetches
        try:
            handler = self._handlers.get((type(fetches), key))
        except (TypeError, ValueError):  # something in it cannot be hashed, as a list in a list
            handler = None
        if handler is None:
            self._check_open()
            handler = FetchHandler(self.graph, fetches)
            if is_flat(fetches):
                remember(self._handlers, (type(fetches), key), handler, self._max_plans)
        if feed_dict is not None:
            tensors: list[Tensor] = []
            arrays: list[Any] = []
            shapes: list[Any] = []
            for k, v in feed_items(feed_dict):
                t = k if type(k) is Tensor else self._feed_key(k)
                if type(v) is not np.ndarray or v.dtype != t.dtype.numpy or t.dtype.is_string:
                    v = feed_array(t, v)
                tensors.append(t)
                arrays.append(v)
                shapes.append(v.shape if type(v) is np.ndarray else v.placed_shape)
            signature = (handler.key, tuple(tensors), tuple(shapes))
        else:
            arrays = tensors = shapes = []
            signature = (handler.key, (), ())
        entry = self._plans.get(signature)
        if entry is None or entry.shape_version != self.graph.shape_version or entry.asked:
            entry = self._entry(signature, handler, tensors, arrays, entry)
        else:
            try:
                self._plans.move_to_end(signature)
            except KeyError:  # another thread has just thrown it out
                pass
        values = entry.bound.run(arrays) if entry.is_plain else self._run(entry, handler, tensors, arrays)
        return handler.assemble(values)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False,
        *, to_device: bool = False,
    ) -> Callable[..., Any]:  # fmt: skip
        """Return a function of the values of `feed_list` that returns the fetched values.

        It skips what `run` does to find its plan, for loops in which each microsecond counts.  With
        `to_device` it returns device arrays, as `fetch_to_device` does.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default(), gr.Session() as sess:
        ...     a = gr.placeholder(gr.float32, ())
        ...     double = sess.make_callable(a * 2, [a])
        ...     print(double(1.5))
        3.0
        """
        self._check_open()
        return self._callable(FetchHandler(self.graph, fetches, stay=to_device), feed_list or ())

    def _callable(self, handler: FetchHandler, feed_list: Sequence[Any]) -> Callable[..., Any]:
        tensors = [t if type(t) is Tensor else self._feed_key(t) for t in feed_list]
        # Arrays of strings may hold str, so they are never taken as they are.
        dtypes = [_NEVER if t.dtype.is_string else t.dtype.numpy for t in tensors]
        count = len(tensors)
        fed = tuple(tensors)
        assemble = self._assemble_on_devices(handler) if handler.stay else handler.assemble
        last: tuple[Any, Any] = (None, None)  # shapes and entry, set together for other threads

        def call(*values: Any) -> Any:
            nonlocal last
            if len(values) != count:
                raise FeedError(
                    message(
                        f"{len(values)} values for {count} fed tensors", where="callable of make_callable"
                    )
                )
            arrays: list[Any] = [
                v if type(v) is np.ndarray and v.dtype == d else feed_array(t, v)
                for v, d, t in zip(values, dtypes, tensors)  # noqa: B905  the lengths were compared
            ]
            shapes = tuple([a.shape if type(a) is np.ndarray else a.placed_shape for a in arrays])
            last_shapes, entry = last
            if (
                shapes != last_shapes or self._closed
                or entry.shape_version != self.graph.shape_version or entry.asked
            ):  # fmt: skip
                signature = (handler.key, fed, shapes)
                entry = self._entry(signature, handler, tensors, arrays, self._plans.get(signature))
                last = (shapes, entry)
            if entry.is_plain:
                return assemble(entry.bound.run(arrays))
            if entry.watch is not None:
                last = (None, None)  # it may be another one the next time
            return assemble(self._run(entry, handler, tensors, arrays))

        return call

    # -- values on devices --------------------------------------------------------------------

    def device_array(self, value: Any, dtype: Any = None, device: str | None = None) -> DeviceArray:
        """Copy `value` to a device, to be fed to many runs.

        Parameters
        ----------
        value : array_like or DeviceArray
        dtype : DType, optional
            As for `constant`: without it Python's floats become float32, and NumPy's arrays keep theirs.
        device : str, optional
            The session's device where none is given.

        Raises
        ------
        DTypeError
            If `dtype` cannot hold the values.
        DeviceError
            If there is no such device.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default(), gr.Session() as sess:
        ...     x = gr.placeholder(gr.float32, (None,))
        ...     data = sess.device_array([1.0, 2.0])
        ...     print(data, sess.run(gr.reduce_sum(x), {x: data}))
        <DeviceArray (2,) float32 on cpu:0> 3.0
        """
        self._check_open()
        name = self.device if device is None else parse_device(device) or self.device
        wanted = None if dtype is None else as_dtype(dtype)
        if isinstance(value, DeviceArray):
            if value.device == name and wanted in (None, value.dtype):
                return value
            value = value.numpy()
        array = as_array(value, wanted, "a device array")
        kind = as_dtype(array.dtype) if wanted is None else wanted
        if kind.is_string and name != NUMPY:
            raise DTypeError(message(f"strings are no values of {name}", fix="feed them as NumPy arrays"))
        if name == NUMPY:
            return on_host(np.array(array, order="C"), kind)
        return uploaded(array, kind, get_device(name))

    def fetch_to_device(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Any:
        """Compute `fetches` as `run` does, and return a `DeviceArray` in place of each value.

        A value stays on the device that computes it; one that is computed on the host goes to the session's
        device.

        Examples
        --------
        >>> import graphrun as gr
        >>> with gr.Graph().as_default(), gr.Session() as sess:
        ...     x = gr.placeholder(gr.float32, (2,))
        ...     sess.fetch_to_device([x + 1, x * 2], {x: [1.0, 2.0]})
        [<DeviceArray (2,) float32 on cpu:0>, <DeviceArray (2,) float32 on cpu:0>]
        """
        self._check_open()
        handler = FetchHandler(self.graph, fetches, stay=True)
        tensors, arrays = self._feeds(feed_dict)
        signature = self._signature(handler, tensors, arrays)
        entry = self._entry(signature, handler, tensors, arrays, self._plans.get(signature))
        values = entry.bound.run(arrays) if entry.is_plain else self._run(entry, handler, tensors, arrays)
        return self._assemble_on_devices(handler)(values)

    def _assemble_on_devices(self, handler: FetchHandler) -> Callable[[Sequence[Any]], Any]:
        def moved(element: Any, value: Any) -> Any:
            if value is None or isinstance(value, DeviceArray):
                return value
            if self.device == NUMPY or element.dtype.is_string:
                return on_host(np.asarray(value), element.dtype)
            return uploaded(np.asarray(value), element.dtype, get_device(self.device))

        return lambda values: handler.assemble(
            [moved(e, v) for e, v in zip(handler.elements, values, strict=True)]
        )

    # -- plans --------------------------------------------------------------------------------

    def plan(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Plan:
        """The plan that `run` uses for these arguments, to be read: ``print(session.plan(loss, feeds))``.

        Where data decide what is computed, as the predicate of a `cond` that is computed itself, it is the
        first of several plans; those that have followed it in a run are shown too.
        """
        self._check_open()
        handler = FetchHandler(self.graph, fetches)
        tensors, arrays = self._feeds(feed_dict)
        signature = self._signature(handler, tensors, arrays)
        entry = self._entry(signature, handler, tensors, arrays, self._plans.get(signature))
        return with_followers(entry.stage)

    def passes(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> dict[str, str]:
        """The program after each compiler pass, as text, by the pass's name."""
        self._check_open()
        handler = FetchHandler(self.graph, fetches)
        tensors, arrays = self._feeds(feed_dict)
        texts: dict[str, str] = {}
        try:
            self._compile(
                handler, tensors, arrays, Found(), lambda name, program: texts.update({name: str(program)})
            )
        except Split:
            pass  # what was observed up to the split is what there is to read
        return texts

    def _signature(self, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any]) -> Any:
        shapes = tuple([a.shape if type(a) is np.ndarray else a.placed_shape for a in arrays])
        return handler.key, tuple(tensors), shapes

    def _feeds(self, feed_dict: Mapping[Any, Any] | None) -> tuple[list[Tensor], list[Any]]:
        items = [] if feed_dict is None else list(feed_items(feed_dict))
        tensors = [k if type(k) is Tensor else self._feed_key(k) for k, _ in items]
        return tensors, [feed_array(t, v) for t, (_, v) in zip(tensors, items, strict=True)]

    def _feed_key(self, key: Any) -> Tensor:
        try:
            t = self.graph.as_graph_element(key, allow_operation=False)
        except FetchError:
            name = key.name if isinstance(key, Operation) else key
            if isinstance(name, str) and f"{name}:0" in self.graph:
                why, fix = "it is an operation", f"its tensor is '{name}:0'"
            else:
                why, fix = f"it is of type {type(key).__name__}", ""
        except (GraphError, NotFoundError) as fault:
            why, fix = str(fault), ""
        else:
            assert isinstance(t, Tensor)
            return t
        raise FeedError(
            message(
                f"{key!r} cannot be fed: {why}",
                expected="a tensor of this session's graph, a variable, or a tensor's name as 'x:0'",
                fix=fix,
            )
        )

    def _entry(
        self, signature: Any, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any],
        found: _Entry | None,
    ) -> _Entry:  # fmt: skip
        self._check_open()
        if found is not None and found.shape_version == self.graph.shape_version:
            if all(self._store.cell(key).spec == spec for key, spec in found.asked):
                remember(self._plans, signature, found, self._max_plans)
                return found
        self._check_feeds(tensors, arrays)
        entry = self._compiled(handler, tensors, arrays, Found())
        if self._may_move and not entry.stage.is_first:
            entry.watched(watch_of(entry.bound.plan))
        remember(self._plans, signature, entry, self._max_plans)
        return entry

    def _check_feeds(self, tensors: Sequence[Tensor], arrays: Sequence[Any]) -> None:
        if len(set(tensors)) != len(tensors):
            twice = next(t for t in tensors if list(tensors).count(t) > 1)
            raise FeedError(message(f"'{twice.name}' is fed twice", site=twice.op.site))
        for t, a in zip(tensors, arrays, strict=True):
            if t.graph is not self.graph:
                raise FeedError(
                    message(f"'{t.name}' is fed and is not in this session's graph", site=t.op.site)
                )
            if not is_compatible(a.shape, t._shape):
                raise misshapen(t, a.shape)

    def _compile(
        self, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any],
        found: Found, observe: Any = None,
        asked: dict[StateKey, Spec | None] | None = None, device: str = "",
    ) -> Plan:  # fmt: skip
        feeds = [(t, Spec(a.shape, t.dtype)) for t, a in zip(tensors, arrays, strict=True)]

        def state_spec(variable: Operation) -> Spec | None:
            key = StateKey(variable)
            spec = self._store.cell(key).spec
            if asked is not None:
                asked[key] = spec
            return spec

        resident = {t: a.device for t, a in zip(tensors, arrays, strict=True) if type(a) is DeviceArray}
        where = target(device or self.device, self._soft, self.strict, self._memory)
        return compile_plan(
            handler.elements, feeds, state_spec, where, found, observe, self._verify, resident,
            handler.stay, handler.givens,
        )  # fmt: skip

    def _compiled(
        self, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any],
        found: Found, device: str = "",
    ) -> _Entry:  # fmt: skip
        version = self.graph.shape_version
        asked: dict[StateKey, Spec | None] = {}

        def compile(found: Found) -> Plan:
            return self._compile(handler, tensors, arrays, found, asked=asked, device=device)

        try:
            stage = compiled(compile, found, self._store, get_device)
        except ShapeError as fault:
            raise RunShapeError.of(fault) from fault.__cause__
        if self.config is not None and self.config.log_device_placement:
            print(stage.bound.plan)
        entry = _Entry(stage, version)
        entry.asked = tuple(asked.items())
        return entry

    def _run(
        self, entry: _Entry, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any]
    ) -> Any:
        """A run that is more than that of one plan: of several, or one that is watched."""
        watch = entry.watch
        if watch is None:
            return self._staged(entry, handler, tensors, arrays)
        values = watch.run(entry.bound.run, arrays)
        if isinstance(watch, Trial):
            if watch.is_over:
                entry.watched(None)
                if watch.was_slower:
                    watch.before.watched(None)
                    signature = self._signature(handler, tensors, arrays)
                    remember(self._plans, signature, watch.before, self._max_plans)
        elif watch.left <= 0:
            entry.watched(None)
            new = moved(lambda device: self._compiled(handler, tensors, arrays, Found(), device), watch)
            if new is not None and not new.stage.is_first:
                new.watched(Trial(entry, watch.typical_ns))
                signature = self._signature(handler, tensors, arrays)
                remember(self._plans, signature, new, self._max_plans)
        return values

    def _staged(
        self, entry: _Entry, handler: FetchHandler, tensors: Sequence[Tensor], arrays: Sequence[Any]
    ) -> Any:
        """Run a first plan, and the one that follows for what it finds."""

        def follow(found: Found) -> Stage:
            return self._compiled(handler, tensors, arrays, found).stage

        with self._store.lock:  # all stages see the same variables
            return run_stages(entry.stage, arrays, follow, self._max_plans)

    # -- variables ----------------------------------------------------------------------------

    def load_variable(self, variable: Any, value: Any) -> None:
        """Set a variable's value; ``variable.load(value, session)`` calls this."""
        self._check_open()
        t = self._feed_key(variable)
        array = np.array(feed_array(t, value), order="C")
        if not is_compatible(array.shape, t._shape):
            raise ShapeError(
                message(
                    f"a value of shape {format_shape(array.shape)} is loaded into variable '{t.op.name}'",
                    site=t.op.site,
                    expected=f"shape {format_shape(t._shape)}",
                )
            )
        with self._store.lock, self._store.commit:
            self._store.set_host(self._store.cell(StateKey(t.op)), array, Spec(array.shape, t.dtype))

    def _uninitialized(self, variables: Iterable[Any]) -> list[Any]:
        """Those of `variables` that have no value in this session."""
        self._check_open()
        return [v for v in variables if self._store.cell(StateKey(v.op)).spec is None]

    def list_devices(self) -> list[str]:
        """The devices of this machine that work."""
        from graphrun.runtime.devices import list_devices

        return list_devices()


default.install_session(Session)
