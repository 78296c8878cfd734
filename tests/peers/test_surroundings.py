"""What programs do around their operations, beside TensorFlow: collections, scopes, sessions, initializers,
averages, coordinators."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from beside import in_both, tf

tf.disable_v2_behavior()


def names(items: Any) -> list[str]:
    return [x.name for x in items]


# -- collections and variables --------------------------------------------------------------------------


def test_keys_of_collections() -> None:
    def public(keys: Any) -> dict[str, str]:
        return {k: getattr(keys, k) for k in dir(keys) if k.isupper() and k[0] != "_"}

    ours, theirs = public(gr.GraphKeys), public(tf.GraphKeys)
    assert ours == theirs
    assert ours["TRAINABLE_VARIABLES"] == gr.GraphKeys.TRAINABLE_VARIABLES == "trainable_variables"


def test_collections() -> None:
    def build(lib: Any, session: Any) -> Any:
        every, local = lib.GraphKeys.GLOBAL_VARIABLES, lib.GraphKeys.LOCAL_VARIABLES
        trainable = lib.GraphKeys.TRAINABLE_VARIABLES
        losses, summaries = lib.GraphKeys.LOSSES, lib.GraphKeys.SUMMARIES
        with lib.variable_scope("a"):
            v = lib.get_variable("v", [2])
            lib.get_variable("fixed", [3], trainable=False)
            lib.get_variable("l", [1], collections=[local], trainable=False)
        lib.add_to_collection("mine", v)
        lib.add_to_collection("mine", 7)
        lib.add_to_collection(losses, lib.constant(2.0, name="own"))
        lib.add_to_collection(summaries, "text")
        lib.losses.mean_squared_error([1.0, 2.0], [0.0, 1.0])
        held = lib.get_collection(every)
        held.clear()  # a copy
        graph = lib.get_default_graph()
        return [
            *(names(lib.get_collection(k)) for k in (every, trainable, local)),
            names(lib.get_collection(trainable, "a/v")), lib.get_collection(trainable, "v"),
            lib.get_collection("mine")[1], lib.get_collection("none"), names(lib.get_collection(losses)),
            lib.get_collection(summaries), sorted(k for k in graph.get_all_collection_keys() if k),
            session.run(lib.losses.get_total_loss()), [v.name for v in lib.trainable_variables("a")],
        ]  # fmt: skip

    in_both(build, rtol=1e-6)


def test_initializers_of_variables() -> None:
    def build(lib: Any, session: Any) -> Any:
        empty = names([lib.global_variables_initializer(), lib.local_variables_initializer()])
        v, w = lib.Variable([1.0, 2.0]), lib.get_variable("w", initializer=3.0)
        n = lib.get_local_variable("n", initializer=4)
        ops = [
            lib.global_variables_initializer(), lib.local_variables_initializer(),
            lib.variables_initializer([v, n]), lib.variables_initializer([w], name="some"),
        ]  # fmt: skip
        session.run(ops[2])
        found = [session.run([v, n]), [int(x) for x in session.run([lib.is_variable_initialized(w)])]]
        session.run([lib.assign(v, [5.0, 6.0]), lib.assign(n, 9)])
        session.run(ops[0])
        found.append(session.run([v, w, n]))
        session.run(ops[1])
        session.run(ops[3])
        return empty, names(ops), found, session.run([v, w, n])

    in_both(build)


def test_variables_shared_by_name() -> None:
    def used(lib: Any, name: str, reuse: Any = None) -> Any:
        with lib.variable_scope(name, reuse=reuse):
            return lib.get_variable("w", [2, 3], initializer=lib.constant_initializer(0.5)) * 2.0

    def build(lib: Any, session: Any) -> Any:
        outs = [
            used(lib, "a"),
            used(lib, "a", True),
            used(lib, "b", lib.AUTO_REUSE),
            used(lib, "b", lib.AUTO_REUSE),
        ]
        with lib.variable_scope("outer") as scope:
            outs.append(used(lib, "a", lib.AUTO_REUSE))
            with lib.variable_scope(None, "default"):
                outs.append(used(lib, "a"))
            with lib.variable_scope(None, "default"):
                outs.append(used(lib, "a"))
            scope.reuse_variables()
            outs.append(used(lib, "a"))
            with lib.name_scope("plain"):
                outs.append(used(lib, "a"))
            state = [lib.get_variable_scope().name, lib.get_variable_scope().original_name_scope]
        with lib.variable_scope(scope, reuse=lib.AUTO_REUSE) as again:
            outs.append(used(lib, "new"))
            state += [again.name, again.original_name_scope]
        session.run(lib.global_variables_initializer())
        return names(outs), names(lib.global_variables()), state, session.run(outs)

    in_both(build)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda lib: lib.get_variable("w", [2]), lambda lib: lib.get_variable("W2"),
        lambda lib: _reused(lib, "other", [2]), lambda lib: _reused(lib, "w", [3]),
        lambda lib: _reused(lib, "w", [2], lib.int32),
    ],
    ids=["twice", "no shape", "not there", "another shape", "another dtype"],
)  # fmt: skip
def test_variables_that_both_refuse(mistake: Any) -> None:
    for lib in (gr, tf):
        with lib.Graph().as_default():
            lib.get_variable("w", [2])
            # Each says it in its own words, and a dtype is a TypeError here.
            with pytest.raises((ValueError, TypeError)):
                mistake(lib)


def _reused(lib: Any, name: str, shape: list[int], dtype: Any = None) -> Any:
    with lib.variable_scope("", reuse=True):
        return lib.get_variable(name, shape, dtype)


def test_the_global_step() -> None:
    def build(lib: Any, session: Any) -> Any:
        before = lib.train.get_global_step()
        step = lib.train.get_or_create_global_step()
        again = lib.train.get_global_step()
        v = lib.get_variable("v", initializer=2.0)
        update = lib.train.GradientDescentOptimizer(0.25).minimize(v * v, global_step=step)
        session.run(lib.global_variables_initializer())
        session.run(update)
        session.run(update)
        rate = lib.train.exponential_decay(0.5, step, 2, 0.5, staircase=True)
        slow = lib.train.polynomial_decay(0.5, step, 4, 0.1, power=2.0)
        return [
            before, again is step, step.name, step.dtype.base_dtype.name, step.shape.as_list(),
            names(lib.get_collection(lib.GraphKeys.GLOBAL_STEP)), [x.name for x in lib.trainable_variables()],
            session.run([step, v, rate, slow]), rate.name, slow.name,
        ]  # fmt: skip

    in_both(build, rtol=1e-6)


@pytest.mark.parametrize("updates", [None, 2, "step"])
@pytest.mark.parametrize("debias", [False, True])
def test_moving_averages(updates: Any, debias: bool) -> None:
    def build(lib: Any, session: Any) -> Any:
        v = lib.get_variable("v", initializer=np.array([1.0, -2.0], "f4"))
        w = lib.get_variable("s/w", initializer=np.float32(3.0))
        step = lib.Variable(0, trainable=False, name="step")
        ema = lib.train.ExponentialMovingAverage(0.75, step if updates == "step" else updates, debias)
        change = [lib.assign_add(v, [1.0, 2.0]), lib.assign(w, w * 1.5), lib.assign_add(step, 3)]
        loss = lib.reduce_sum(v * w, name="loss")
        with lib.control_dependencies(change):
            update = ema.apply([v, w, loss])
        averages = [ema.average(x) for x in (v, w, loss)]
        found = [
            update.name, names(averages), [ema.average_name(x) for x in (v, w, loss)], ema.average(step),
            ema.average_name(step), names(lib.moving_average_variables()), names(lib.trainable_variables()),
            sorted(names(lib.global_variables())), sorted(ema.variables_to_restore()),
            sorted(ema.variables_to_restore([w, step])),
        ]  # fmt: skip
        # In one run with the averages, TensorFlow reads variables before they have values.
        session.run(lib.variables_initializer([v, w]))
        session.run(lib.global_variables_initializer())
        for _ in range(4):
            session.run(update)
            found.append(session.run(averages[:2]))
        return found

    in_both(build, rtol=1e-5)


# -- graphs and sessions --------------------------------------------------------------------------------


def test_default_graphs_and_sessions() -> None:
    for lib in (gr, tf):
        lib.reset_default_graph()
        first = lib.constant([1.0, 2.0])
        graph = lib.get_default_graph()
        session = lib.InteractiveSession(
            config=lib.ConfigProto(allow_soft_placement=True, gpu_options=lib.GPUOptions(allow_growth=True))
        )
        assert lib.get_default_session() is session and session.graph is graph
        np.testing.assert_array_equal((first * 2.0).eval(), [2, 4])
        with lib.Session() as inner:
            assert lib.get_default_session() is inner
            assert first[1].eval() == 2
        assert lib.get_default_session() is session
        session.close()
        assert lib.get_default_session() is None
        lib.reset_default_graph()
        assert lib.get_default_graph() is not graph and lib.constant(1.0).name == first.name == "Const:0"
        lib.reset_default_graph()
        with lib.Graph().as_default() as own:
            assert lib.get_default_graph() is own
            here = lib.constant(1.0)
            with lib.Session(graph=lib.Graph()) as other:
                assert lib.get_default_graph() is other.graph is not own
                lib.constant(1.0)
                with pytest.raises(ValueError, match="graph"):
                    other.run(here)


def test_options_of_sessions() -> None:
    for lib in (gr, tf):
        config = lib.ConfigProto(
            allow_soft_placement=True, log_device_placement=False, device_count={"GPU": 0},
            gpu_options=lib.GPUOptions(per_process_gpu_memory_fraction=0.25),
        )  # fmt: skip
        config.gpu_options.allow_growth = True
        config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 2
        assert (config.allow_soft_placement, config.log_device_placement) == (True, False)
        assert (config.gpu_options.allow_growth, config.gpu_options.per_process_gpu_memory_fraction) == (
            True,
            0.25,
        )
        assert (lib.ConfigProto().allow_soft_placement, lib.GPUOptions().allow_growth) == (False, False)
        assert lib.ConfigProto().intra_op_parallelism_threads == 0
        with pytest.raises(ValueError, match="no_such_option"):
            lib.ConfigProto(no_such_option=1)
        with pytest.raises(AttributeError, match="no_such_option"):
            config.no_such_option = 1
        with lib.Graph().as_default(), lib.Session("", config=config) as session:
            assert session.run(lib.constant(2.0)) == 2.0


def test_devices() -> None:
    def build(lib: Any, session: Any) -> Any:
        with lib.device("/cpu:0"):
            a = lib.constant([1.0, 2.0])
            with lib.device(None):
                b = a * 2.0
            c = a + b
        with lib.device(lambda op: "/device:CPU:0"):
            d = lib.exp(c)
        # What a device is called differs; what has none, and what is computed, does not.
        return (
            [bool(x.device) for x in (a, b, c, d)],
            [x.name for x in (a, b, c, d)],
            session.run([a, b, c, d]),
        )

    in_both(build, rtol=1e-6)


def test_coordinators() -> None:
    for lib in (gr, tf):
        coord, counted = lib.train.Coordinator(), []

        def work(coord: Any = coord, counted: Any = counted) -> None:
            while not coord.should_stop():
                counted.append(1)
                if len(counted) == 5:
                    coord.request_stop()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for t in threads:
            t.start()
        coord.join(threads)
        assert coord.should_stop() and coord.wait_for_stop(0.1) and coord.joined and len(counted) >= 5

        coord.clear_stop()
        assert not coord.should_stop()

        def fail(coord: Any = coord) -> None:
            with coord.stop_on_exception():
                raise KeyError("from the thread")

        thread = threading.Thread(target=fail)
        thread.start()
        with pytest.raises(KeyError, match="from the thread"):
            coord.join([thread])

        ended = lib.train.Coordinator()
        ended.request_stop(lib.errors.OutOfRangeError(None, None, "no more input"))
        ended.join([])  # the end of the input is no failure
        with pytest.raises(RuntimeError, match="."):
            late = lib.train.Coordinator()
            late.request_stop()
            late.join([threading.Thread(target=lambda: None)], stop_grace_period_secs=0.1)
            raise RuntimeError("threads that have ended are no failure")


def test_scaffolds() -> None:
    def build(lib: Any, session: Any) -> Any:
        v = lib.get_variable("v", initializer=2.0)
        n = lib.get_local_variable("n", initializer=4)
        scaffold = lib.train.Scaffold(
            init_fn=lambda scaffold, sess: sess.run(double),
            init_feed_dict={},
            ready_op=lib.constant([], lib.string),
        )
        double = lib.assign(v, v * 2.0)
        before = [scaffold.init_op, scaffold.local_init_op, scaffold.init_feed_dict]
        scaffold.finalize()
        keys = lib.GraphKeys
        found = [
            before, lib.get_default_graph().finalized, len(lib.get_collection(keys.INIT_OP)),
            len(lib.get_collection(keys.LOCAL_INIT_OP)),
        ]  # fmt: skip
        session.run([scaffold.init_op, scaffold.local_init_op])
        scaffold.init_fn(session)
        return [*found, session.run([v, n])]

    in_both(build)


# -- placeholders and dtypes ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [None, [None, 4], [3, 4], [None, None]])
def test_sparse_placeholders(shape: Any) -> None:
    def build(lib: Any, session: Any) -> Any:
        found = []
        for name in ("s", None):
            x = lib.sparse_placeholder(lib.float32, shape, name)
            parts = [x.indices, x.values, x.dense_shape]
            known = x.get_shape()
            found += [names(parts), x.dtype.name, None if known.ndims is None else known.as_list()]
            found.append([None if p.shape.ndims is None else p.shape.as_list() for p in parts])
            fed = lib.SparseTensorValue(
                np.array([[0, 1], [2, 3]]), np.array([1.5, 2.5], "f4"), np.array([3, 4])
            )
            found.append(session.run(lib.sparse_tensor_to_dense(x), {x: fed}))
            found.append(list(session.run(x, {x: fed})))
        return found

    in_both(build)


@pytest.mark.parametrize(
    "name", "float16 float32 float64 int8 int16 int32 int64 uint8 bool string complex64 complex128".split()
)
def test_dtypes(name: str) -> None:
    def build(lib: Any, session: Any) -> Any:
        dtype = getattr(lib, name)
        found = [
            dtype.name, np.dtype(dtype.as_numpy_dtype).str, dtype == lib.as_dtype(name),
            dtype.base_dtype.name, dtype.is_floating, dtype.is_integer, dtype.is_bool, dtype.is_complex,
            lib.placeholder(dtype).dtype.name, dtype == name, dtype.size if name != "string" else 0,
        ]  # fmt: skip
        if dtype.is_floating or dtype.is_integer:
            found += [dtype.max, dtype.min, session.run(lib.cast([0.0, 1.0, 100.0], dtype))]
        return found

    in_both(build)


def test_dtypes_by_name() -> None:
    """Those that programs use most."""
    for lib in (gr, tf):
        kinds = [lib.float16, lib.uint8, lib.bool, lib.int16, lib.string]
        assert [k.name for k in kinds] == ["float16", "uint8", "bool", "int16", "string"]


def test_ways_to_resize() -> None:
    def build(lib: Any, session: Any) -> Any:
        methods = lib.image.ResizeMethod
        x = lib.constant(np.random.default_rng(0).random((1, 4, 5, 3)).astype("f4"))
        found: list[Any] = [k for k in dir(methods) if k.isupper()]
        for key in found[:]:
            found += [
                getattr(methods, key),
                session.run(lib.image.resize_images(x, [3, 7], getattr(methods, key))),
            ]
        return found

    in_both(build, rtol=1e-4)


# -- operations -------------------------------------------------------------------------------------------


def test_an_operation_as_a_node() -> None:
    def build(lib: Any, session: Any) -> Any:
        x = lib.placeholder(lib.float32, [2, 2], "x")
        a, b = lib.unstack(x)
        v = lib.Variable([1.0, 2.0], name="v")
        with lib.control_dependencies([v.initializer]):
            y = lib.add(a, b, "y")
        node = y.op.node_def
        ops = lib.get_default_graph().get_operations()
        return [
            node.op, node.name, list(node.input), type(y.op.control_inputs),
            [op.name for op in y.op.control_inputs],
            [op.name for op in ops if op.type == "Placeholder"],
            [op.name for op in ops if op.type in ("VariableV2", "Assign", "Unpack")],
            str(y.op.type), repr(y.op)[4:],
        ]  # fmt: skip

    in_both(build)


def test_the_step_counter_is_a_variable_of_its_scope() -> None:
    def build(lib: Any, session: Any) -> Any:
        with lib.name_scope("n"), lib.variable_scope("s", initializer=lib.ones_initializer()):
            count = lib.train.get_or_create_global_step()
            found = [lib.train.get_global_step() is count, lib.train.get_or_create_global_step() is count]
        other = lib.Graph()
        with lib.variable_scope("s"):
            with other.as_default(), lib.name_scope("n"):
                plain = lib.train.create_global_step()
            third = lib.Graph()
            fourth = lib.train.create_global_step(third)
        session.run(count.initializer)
        return [
            *found, lib.train.get_global_step() is count, count.name, plain.name, fourth.name,
            names(lib.get_collection(lib.GraphKeys.GLOBAL_STEP)), names(lib.trainable_variables()),
            lib.train.get_global_step(other) is plain, lib.train.get_global_step(lib.Graph()),
            lib.train.global_step(session, count), count.dtype.base_dtype.name,
        ]  # fmt: skip

    in_both(build)
