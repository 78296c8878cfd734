"""Sessions: being the default, plans and their cache, callables, devices."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compilations import count_compilations

import graphrun as gr
from graphrun.errors import (
    DeviceError,
    ExecutionError,
    FeedError,
    GraphError,
    KernelBuildError,
    NotFoundError,
    SessionClosedError,
    ShapeError,
)  # fmt: skip
from graphrun.runtime.devices import get_device

F32 = np.float32
SITE = r"created at .*test_session\.py:\d+"


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


# -- being the default -------------------------------------------------------------------------


def test_default_session() -> None:
    assert gr.get_default_session() is None
    x = gr.constant(2.0)
    with gr.Session() as outer:
        assert gr.get_default_session() is outer
        with gr.Session() as inner:
            assert gr.get_default_session() is inner
            assert x.eval() == 2.0
        assert gr.get_default_session() is outer
    assert gr.get_default_session() is None


def test_eval_and_operation_run() -> None:
    x = gr.placeholder(gr.float32, ())
    v = gr.Variable(1.0)
    add = v.assign_add(x)
    with gr.Session() as sess:
        gr.global_variables_initializer().run()
        v.initializer.run()
        assert (x * 2.0).eval({x: 4.0}) == 8.0
        assert (x * 2.0).eval(feed_dict={x: 4.0}) == 8.0
        assert add.op.run(feed_dict={x: 5.0}) is None
        assert v.eval() == 6.0
        other = gr.Session()
        other.run(v.initializer)
        assert v.eval(session=other) == v.eval(other) == 1.0
        assert add.eval({x: 1.0}, session=other) == 2.0
        gr.no_op().run(session=other)
        assert sess.run(v) == 6.0


@pytest.mark.parametrize(
    "call", [lambda x: x.eval(), lambda x: x.op.run(), lambda x: gr.Variable(1.0).load(2.0)]
)
def test_without_a_session(call: Any) -> None:
    with pytest.raises(GraphError) as fault:
        call(gr.constant(1.0))
    assert "needs a session, and there is no default session" in str(fault.value)
    assert "with gr.Session():" in str(fault.value)


def test_default_session_of_another_graph() -> None:
    x = gr.constant(1.0, name="x")
    with gr.Session(graph=gr.Graph()):
        with pytest.raises(GraphError, match="'x:0' is not in this session's graph"):
            x.eval()


def test_as_default_leaves_it_open_and_the_graph_alone() -> None:
    graph = gr.Graph()
    sess = gr.Session(graph=graph)
    with sess.as_default() as same:
        assert same is sess and gr.get_default_session() is sess
        assert gr.get_default_graph() is not graph
    with graph.as_default():
        x = gr.constant(1.0)
    assert sess.run(x) == 1.0


def test_with_is_not_for_entering_twice() -> None:
    x = gr.constant(1.0)
    with gr.Session() as sess:
        with pytest.raises(GraphError, match="entered already") as fault:
            with sess:
                pass
        assert "session.as_default()" in str(fault.value)
        with sess.as_default():
            assert x.eval() == 1.0
        assert x.eval() == 1.0


def test_with_makes_the_graph_the_default_too() -> None:
    graph = gr.Graph()
    with gr.Session(graph=graph) as sess:
        assert gr.get_default_graph() is graph
        assert sess.graph is graph
    assert gr.get_default_graph() is not graph


def test_interactive_session(device: str) -> None:
    sess = gr.InteractiveSession(device=device)
    v = gr.Variable(2.0)
    gr.global_variables_initializer().run()
    assert (v * 3.0).eval() == 6.0
    assert gr.get_default_session() is sess
    second = gr.InteractiveSession()
    assert gr.get_default_session() is second
    sess.close()
    assert gr.get_default_session() is second
    second.close()
    second.close()
    assert gr.get_default_session() is None
    graph = gr.Graph()
    with gr.InteractiveSession(graph=graph):
        assert gr.get_default_graph() is graph
    assert gr.get_default_session() is None and gr.get_default_graph() is not graph


def test_closed_session(device: str) -> None:
    v = gr.Variable(1.0)
    x = gr.placeholder(gr.float32, ())
    y = v + x
    sess = gr.Session(device=device)
    sess.run(v.initializer)
    call = sess.make_callable(y, [x])
    assert call(1.0) == sess.run(y, {x: 1.0}) == 2.0
    sess.close()
    sess.close()

    def enter() -> None:
        with sess:
            pass

    feeds = {x: 1.0}
    for use in (
        lambda: sess.run(y, feeds), lambda: call(1.0), lambda: sess.plan(y, feeds), lambda: sess.run([]),
        lambda: sess.passes(y, feeds), lambda: sess.make_callable(y), lambda: v.load(1.0, sess), enter,
        lambda: y.eval(feeds, sess),
    ):  # fmt: skip
        with pytest.raises(SessionClosedError) as fault:
            use()
        assert "the session is closed" in str(fault.value) and "make a new gr.Session()" in str(fault.value)
    assert gr.get_default_session() is None


def test_an_exception_inside_of_with_passes_through() -> None:
    x = gr.constant(1.0)
    with pytest.raises(ZeroDivisionError):
        with gr.Session() as sess:
            1 / 0  # noqa: B018
    assert gr.get_default_session() is None
    with pytest.raises(SessionClosedError):
        sess.run(x)


@pytest.mark.parametrize("graph", [5, gr.constant, [1.0]])
def test_session_of_something_else(graph: Any) -> None:
    with pytest.raises(GraphError, match="expected a gr.Graph"):
        gr.Session(graph)
    with pytest.raises(GraphError, match="expected a gr.Graph"):
        gr.Session("", graph)


def test_arguments_stand_where_tensorflow_has_them() -> None:
    g, config = gr.Graph(), gr.ConfigProto(allow_soft_placement=True)
    for make in (gr.Session, gr.InteractiveSession):
        for session in (
            make(g), make("", g), make("", graph=g, config=config), make("", g, config),
            make(graph=g, config=config), make(target="", graph=g), make(None, g), make(g, device="cpu:0"),
        ):  # fmt: skip
            assert session.graph is g and session.config in (None, config)
            session.close()
    with g.as_default():
        x = gr.constant(2.0)
        with gr.Session(config=config) as session:
            assert session.run(x) == 2.0


def test_a_server_is_refused() -> None:
    with pytest.raises(GraphError, match=r"(?s)target 'grpc://10\.0\.0\.1:2222'.*this process.*gr.Session\("):
        gr.Session("grpc://10.0.0.1:2222")
    with pytest.raises(GraphError, match=r"'opencl:0', which is a device\n.*gr.Session\(device='opencl:0'\)"):
        gr.Session("opencl:0")
    with pytest.raises(GraphError, match="one graph"):
        gr.Session(gr.Graph(), gr.Graph())


def test_graph_grows_after_the_session_was_made(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    total: Any = gr.reduce_sum(x)
    for k in range(3):
        assert sess.run(total, {x: [1.0, 2.0]}) == 3.0 + k
        total = total + 1.0
    v = gr.Variable(total)
    sess.run(v.initializer, {x: [1.0]})
    assert sess.run(v) == 4.0


# -- plans -------------------------------------------------------------------------------------


def test_plans_are_kept(sess: gr.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (None, 3))
    v = gr.Variable(np.ones(3, F32))
    y = gr.reduce_sum(x * v, 1)
    step = v.assign_add(gr.reduce_sum(x, 0))
    sess.run(gr.global_variables_initializer())
    first = sess.plan(y, {x: np.ones((4, 3))})
    assert sess.plan([y], {x: np.zeros((4, 3))}) is first
    assert sess.plan(y, {x: np.ones((5, 3))}) is not first
    assert sess.plan(y, {"Placeholder:0": np.ones((4, 3))}) is first
    compiled = count_compilations(monkeypatch)
    for _ in range(3):
        for n in (1, 4, 5, 1):
            got = sess.run(y, {x: np.ones((n, 3))})
            assert got.shape == (n,)
            sess.run(step, {x: np.ones((n, 3), np.float64)})
            sess.run([y, step], {x: [[1, 2, 3]] * n})
    assert len(compiled) == 1 + 3 + 3  # y of batch 1; step, and both, of three batches
    assert sess.plan(y, {x: np.ones((4, 3))}) is first


def test_least_recently_used_plans_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (None,))
    y = x * 2.0
    with gr.Session(max_plans=3) as sess:
        compiled = count_compilations(monkeypatch)
        for n in (1, 2, 3):
            sess.run(y, {x: np.ones(n)})
        sess.run(y, {x: np.ones(1)})
        sess.run(y, {x: np.ones(4)})  # throws out 2
        assert len(compiled) == 4
        for n in (1, 3, 4):
            sess.run(y, {x: np.ones(n)})
        assert len(compiled) == 4
        sess.run(y, {x: np.ones(2)})
        assert len(compiled) == 5
        for n in range(1, 20):
            sess.run(y, {x: np.ones(n)})
        assert len(sess._plans) == 3
        for k in range(20):
            sess.run([y] * (k + 1), {x: np.ones(1)})
        assert len(sess._handlers) == 3


def test_plans_that_depend_on_variables_are_used_too(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, ())
    v = gr.Variable(np.ones(3, F32), validate_shape=False)
    y = v * x
    with gr.Session(max_plans=2) as sess:
        sess.run(v.initializer)
        sess.run(y, {x: 1.0})
        compiled = count_compilations(monkeypatch)
        for k in range(5):
            sess.run([x] * (k + 1), {x: 1.0}) if k < 2 else sess.run(x + float(k), {x: 1.0})
            sess.run(y, {x: 1.0})
        assert len(compiled) == 4  # y was never the one that went


def test_batch_sizes_in_turn(sess: gr.Session, rng: np.random.Generator) -> None:
    x = gr.placeholder(gr.float32, (None, 5))
    w = gr.Variable(rng.normal(size=(5, 2)).astype(F32))
    y = gr.reduce_mean(gr.matmul(x, w), 0)
    train = w.assign_sub(0.1 * gr.gradients(y, w)[0])
    expected = rng.normal(size=(5, 2)).astype(F32)
    sess.run(w.assign(expected))
    for n in (3, 8, 1, 3, 64, 8, 1):
        batch = rng.normal(size=(n, 5)).astype(F32)
        np.testing.assert_allclose(sess.run(y, {x: batch}), (batch @ expected).mean(0), rtol=1e-4, atol=1e-5)
        sess.run(train, {x: batch})
        expected = expected - 0.1 * np.repeat(batch.mean(0)[:, None], 2, 1)
    np.testing.assert_allclose(sess.run(w), expected, rtol=1e-4, atol=1e-5)


def test_set_shape_after_a_plan_was_made(sess: gr.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    y = x * 2.0
    assert sess.run(y, {x: np.ones((4, 3))}).shape == (4, 3)
    x.set_shape([5, None])
    with pytest.raises(ShapeError, match=r"shape \(4, 3\) is fed to 'x:0'"):
        sess.run(y, {x: np.ones((4, 3))})
    assert sess.run(y, {x: np.ones((5, 3))}).shape == (5, 3)
    compiled = count_compilations(monkeypatch)
    x.set_shape([None, 3])  # says nothing new
    sess.run(y, {x: np.ones((5, 3))})
    assert not compiled


def test_set_shape_is_checked_in_each_run(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, None, name="x")
    y = gr.multiply(x, 2.0, name="y")
    total = gr.reduce_sum(y)
    y.set_shape([None, 2])
    assert sess.run(total, {x: np.ones((3, 2))}) == 12
    with pytest.raises(ShapeError) as fault:
        sess.run(total, {x: np.ones((2, 3))})
    text = str(fault.value)
    assert "'y'" in text and "(2, 3) in this run" in text and "set_shape stated (?, 2)" in text
    assert re.search(SITE, text)
    assert sess.run(total, {x: np.ones((1, 2))}) == 4


def test_set_shape_of_what_data_decides(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    where = gr.where(x > 0.0, name="where")
    where.set_shape([2, 1])
    y = where * 1
    np.testing.assert_array_equal(sess.run(y, {x: [1, 0, 1]}), [[0], [2]])
    for fetch in (y, where):
        with pytest.raises(ShapeError, match=r"\(3, 1\) in this run, and set_shape stated \(2, 1\)"):
            sess.run(fetch, {x: [1, 1, 1]})


def test_plan_and_passes_can_be_read(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    y = gr.matmul(x, gr.ones([3, 2]), name="product")
    text = str(sess.plan(y, {x: np.ones((2, 3))}))
    assert "matmul" in text and "'product'" in text and "test_session.py" in text
    passes = sess.passes(y, {x: np.ones((2, 3))})
    assert list(passes)[:3] == ["prune", "purify", "specialize"]
    assert "(2, 2) float32" in passes["specialize"]


# -- callables ---------------------------------------------------------------------------------


def test_make_callable(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,), name="x")
    v = gr.Variable(1.0)
    y = {"sum": gr.reduce_sum(x) * v, "add": v.assign_add(1.0)}
    sess.run(gr.global_variables_initializer())
    call = sess.make_callable(y, [x])
    assert call([1.0, 2.0]) == {"sum": 3.0, "add": 2.0}
    assert call(np.ones(5, F32)) == {"sum": 10.0, "add": 3.0}
    assert call(np.ones(5)) == {"sum": 15.0, "add": 4.0}
    assert call(np.zeros(0, F32)) == {"sum": 0.0, "add": 5.0}
    assert sess.make_callable(v)() == 5.0
    assert sess.make_callable([v.assign(0.0).op, "x:0"], ["x:0"])([1.0])[0] is None
    assert sess.run(v) == 0.0


def test_wrong_arguments_of_a_callable(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, 2), name="x")
    call = sess.make_callable(x * 2.0, [x])
    for wrong in ((), (1.0, 2.0)):
        with pytest.raises(FeedError, match=f"{len(wrong)} values for 1 fed tensors"):
            call(*wrong)
    with pytest.raises(ShapeError, match=r"shape \(3,\) is fed to 'x:0'"):
        call([1.0, 2.0, 3.0])
    with pytest.raises(FeedError, match="not numbers"):
        call("ab")
    np.testing.assert_array_equal(call([[1, 2]]), [[2, 4]])
    with pytest.raises(FeedError, match="'y:0' cannot be fed"):
        sess.make_callable(x, ["y:0"])
    with pytest.raises(FeedError, match="is needed and not fed"):
        sess.make_callable(x)()
    with pytest.raises(FeedError, match="'x:0' is fed twice"):
        sess.make_callable(x, [x, x])([[1, 2]], [[1, 2]])


def test_callable_sees_a_variable_change_its_shape(sess: gr.Session) -> None:
    v = gr.Variable(np.ones(2, F32), validate_shape=False)
    call = sess.make_callable(v * 2.0)
    sess.run(v.initializer)
    np.testing.assert_array_equal(call(), [2, 2])
    v.load(np.ones(3, F32), sess)
    np.testing.assert_array_equal(call(), [2, 2, 2])


# -- devices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["opencl:99", "/gpu:99", "/device:GPU:99"])
def test_device_that_does_not_exist(name: str) -> None:
    with pytest.raises(DeviceError) as fault:
        gr.Session(device=name)
    assert "there is no device opencl:99" in str(fault.value)
    assert "devices: cpu:0" in str(fault.value)
    assert "graphrun doctor" in str(fault.value)
    with pytest.raises(DeviceError, match="no such device: 'tpu:0'"):
        gr.Session(device="tpu:0")


def test_device_scope_that_does_not_exist() -> None:
    v = gr.Variable(1.0)
    with gr.device("/gpu:77"):
        y = gr.add(v, 2.0, name="y")
    with gr.Session() as sess:
        sess.run(v.initializer)
        with pytest.raises(DeviceError) as fault:
            sess.run([y, v.assign_add(1.0)])
        text = str(fault.value)
        assert "add 'y' asks for a device: there is no device opencl:77" in text and re.search(SITE, text)
        assert sess.run(v) == 1.0
    with gr.Session(config=gr.ConfigProto(allow_soft_placement=True)) as soft:
        soft.run(v.initializer)
        assert soft.run(y) == 3.0
        plan = soft.plan(y)
        assert [(o.name, why) for o, why in plan.host_fallbacks()] == [("y", "there is no device opencl:77")]


def test_log_device_placement(capsys: pytest.CaptureFixture[str]) -> None:
    config = gr.ConfigProto(log_device_placement=True, gpu_options=gr.GPUOptions(allow_growth=True))
    y = gr.add(gr.placeholder(gr.float32, (), name="x"), 1.0, name="total")
    with gr.Session(config=config) as sess:
        for _ in range(2):
            sess.run(y, {"x:0": 1.0})
    out = capsys.readouterr().out
    assert out.count("add 'total'") == 1 and "cpu:0" in out


def test_options_have_protobufs_manners() -> None:
    config = gr.ConfigProto()
    config.gpu_options.allow_growth = True
    config.gpu_options.per_process_gpu_memory_fraction = 0.4
    config.graph_options.optimizer_options.global_jit_level = gr.OptimizerOptions.ON_1
    assert config.gpu_options.allow_growth is True
    assert config.allow_soft_placement is False
    assert "allow_growth=True" in repr(config)
    with pytest.raises(AttributeError, match="no option 'alow_growth'"):
        config.gpu_options.alow_growth = True
    with pytest.raises(ValueError, match="ConfigProto has no option 'alow_soft_placement'"):
        gr.ConfigProto(alow_soft_placement=True)
    with pytest.raises(AttributeError, match="it has allow_soft_placement"):
        config.soft  # noqa: B018
    with pytest.raises(GraphError, match="expected a gr.ConfigProto"):
        gr.Session(config={"allow_soft_placement": True})  # type: ignore[arg-type]


@pytest.mark.opencl
def test_two_devices_in_one_graph() -> None:
    v = gr.Variable(np.arange(4, dtype=F32))
    with gr.device("/gpu:0"):
        y = v * 2.0
        update = v.assign_add(np.ones(4, F32))
    with gr.device("/cpu:0"):
        z = y + 1.0
    with gr.Session(verify=True) as sess:
        sess.run(gr.global_variables_initializer())
        for k in range(3):
            got_y, got_z, _ = sess.run([y, z, update])
            np.testing.assert_array_equal(got_y, (np.arange(4) + k) * 2)
            np.testing.assert_array_equal(got_z, (np.arange(4) + k) * 2 + 1)
        np.testing.assert_array_equal(sess.run(v), np.arange(4) + 3)


@pytest.mark.opencl
def test_a_kernel_that_does_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    import graphrun.compiler.pipeline as pipeline

    v = gr.Variable(np.ones(4, F32))
    y = gr.exp(v) * 2.0
    step = v.assign_add(y)
    real = pipeline.lower

    def broken(*args: Any) -> Any:
        plan = real(*args)
        plan.sources = {
            d: s + "\n__kernel void broken(int) { no_such_thing; }" for d, s in plan.sources.items()
        }
        plan.kernels = {d: {n: f"// another\n{t}" for n, t in k.items()} for d, k in plan.kernels.items()}
        return plan

    with gr.Session(device="opencl:0") as sess:
        sess.run(gr.global_variables_initializer())
        gc.collect()  # sessions of other tests
        allocated = get_device("opencl:0").allocated_bytes
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "lower", broken)
            with pytest.raises(KernelBuildError) as fault:
                sess.run([step, y])
        text = str(fault.value)
        assert "does not compile" in text and "no_such_thing" in text and "opencl:0" in text
        assert "device: " in text and "the full source is in" in text
        gc.collect()
        assert get_device("opencl:0").allocated_bytes <= allocated
        np.testing.assert_array_equal(sess.run(v), np.ones(4))
        np.testing.assert_allclose(sess.run([step, y])[1], np.full(4, np.e * 2), rtol=1e-5)


@pytest.mark.opencl
@pytest.mark.parametrize("kind", [DeviceError, RuntimeError, KeyboardInterrupt])
def test_a_device_that_fails_after_the_updates(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    v = gr.Variable(np.ones(4, F32))
    add = v.assign_add(np.ones(4, F32))
    device = get_device("opencl:0")
    with gr.Session(device="opencl:0") as sess:
        sess.run(v.initializer)
        np.testing.assert_array_equal(sess.run(add), np.full(4, 2))
        np.testing.assert_array_equal(sess.run(v), np.full(4, 2))

        def failing(*args: Any) -> Any:
            raise kind("lost")

        plan = sess.make_callable(add)
        fetches = [add, v * 3.0]
        both = sess.make_callable(fetches)
        sess.plan(fetches)  # bound while the device still works
        with monkeypatch.context() as patch:
            patch.setattr(device, "download", failing)
            patch.setattr(device, "queue", SimpleNamespace(finish=failing))
            with pytest.raises(ExecutionError if kind is RuntimeError else kind, match="lost"):
                both()
        np.testing.assert_array_equal(sess.run(v), np.full(4, 2))
        np.testing.assert_array_equal(plan(), np.full(4, 3))


def test_names_in_run(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    gr.multiply(x, 3.0, name="y")
    assert sess.run("y:0", {"x:0": 2.0}) == 6.0
    with pytest.raises(NotFoundError):
        sess.run("z:0", {"x:0": 2.0})
    with pytest.raises(ExecutionError, match="gather 'bad'"):
        with gr.device("/cpu:0"):
            sess.run(gr.gather([1.0, 2.0], [5], name="bad"))


def test_members_of_a_group_run() -> None:
    """What a group only waits for is run too, so its error is told and no variable changes."""
    w = gr.Variable([1.0, 2.0], name="w")
    index = gr.placeholder(gr.int32, (), name="index")
    both = gr.group(w.assign(w * 2.0), gr.gather(w, index))
    with gr.Session() as session:
        session.run(gr.global_variables_initializer())
        with pytest.raises(gr.errors.ExecutionError, match="the index is 7, out of range"):
            session.run(both, {index: 7})
        np.testing.assert_array_equal(session.run(w), [1, 2])
        session.run(both, {index: 1})
        np.testing.assert_array_equal(session.run(w), [2, 4])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_process_is_told(device: str) -> None:
    """An OpenCL driver hangs in a forked child; there it is an error, and NumPy goes on."""
    if device == "cpu:0":
        pytest.skip("NumPy survives a fork")
    code = """
import os, numpy as np, graphrun as gr
x = gr.placeholder(gr.float32, (3,)); y = x * 2
s = gr.Session(device=DEVICE); s.run(y, {x: np.ones(3)})
if os.fork() == 0:
    for use in (lambda: s.run(y, {x: np.ones(3)}), lambda: gr.Session(device=DEVICE)):
        try: use()
        except gr.errors.DeviceError as error: print(str(error).splitlines()[0], flush=True)
    print(gr.Session().run(y, {x: np.ones(3)}), flush=True); os._exit(0)
os.wait()
""".replace("DEVICE", repr(device))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    told = f"this process was forked from one that had opened {device}"
    assert done.stdout.splitlines() == [told, told, "[2. 2. 2.]"], done.stderr
