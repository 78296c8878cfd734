"""Graphs: the default one, names, scopes, devices, control dependencies, collections."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DeviceError, FetchError, GraphError, NotFoundError

SITE = r"created at .*test_graph\.py:\d+"


def one(name: str | None = None) -> gr.Tensor:
    return gr.constant(1.0, name=name)


# -- the default graph -------------------------------------------------------------------------


def test_default_graphs_are_a_stack() -> None:
    outermost = gr.get_default_graph()
    g, h = gr.Graph(), gr.Graph()
    with g.as_default() as entered:
        assert entered is g and gr.get_default_graph() is g
        with h.as_default():
            assert one().graph is h
            with g.as_default():
                assert one().graph is g
            assert gr.get_default_graph() is h
        assert gr.get_default_graph() is g
    assert gr.get_default_graph() is outermost
    with pytest.raises(ZeroDivisionError):
        with g.as_default():
            1 / 0  # noqa: B018
    assert gr.get_default_graph() is outermost


def test_reset_default_graph() -> None:
    before = one("a").graph
    gr.reset_default_graph()
    after = one("a")
    assert after.graph is not before and after.name == "a:0"
    with gr.Graph().as_default():
        with pytest.raises(GraphError, match="leave the block first"):
            gr.reset_default_graph()


def test_each_thread_has_its_own_stack_and_scopes() -> None:
    found: dict[str, Any] = {}
    g = gr.Graph()

    def work() -> None:
        found["default"] = gr.get_default_graph()
        with g.as_default():
            found["name"] = one("x").name
            found["device"] = one().op.device
            found["controls"] = one().op.control_inputs
            with gr.name_scope("thread"):
                found["scoped"] = one("x").name

    with g.as_default(), gr.name_scope("main"), gr.device("/gpu:0"), gr.control_dependencies([one()]):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert one("y").name == "main/y:0"
    assert found["default"] is gr.get_default_graph()
    assert found["default"] is not g
    assert (found["name"], found["scoped"]) == ("x:0", "thread/x:0")
    assert found["device"] == "" and found["controls"] == []


def test_threads_build_one_graph() -> None:
    g = gr.Graph()
    barrier = threading.Barrier(4)

    def work() -> None:
        with g.as_default():
            barrier.wait()
            for _ in range(200):
                one("x")
                gr.add_to_collection("made", 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    names = [op.name for op in g.get_operations()]
    assert len(names) == len(set(names)) == 800
    assert [op.id for op in g.get_operations()] == list(range(800))
    assert len(g.get_collection("made")) == 800
    assert all(g.get_operation_by_name(n).name == n for n in names)


# -- names -------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    assert [one("a").name for _ in range(3)] == ["a:0", "a_1:0", "a_2:0"]
    assert one("a_1").name == "a_1_1:0"
    assert one("b_1").name == "b_1:0"
    assert [one("b").name for _ in range(3)] == ["b:0", "b_2:0", "b_3:0"]
    assert [one().name for _ in range(2)] == ["Const:0", "Const_1:0"]
    assert one("A").op.name == "A_3"  # names that differ in case alone would be one file on some systems


def test_unique_name_can_be_asked_without_being_taken() -> None:
    g = gr.get_default_graph()
    assert [g.unique_name("n", mark_as_used=False) for _ in range(2)] == ["n", "n"]
    assert [g.unique_name("n") for _ in range(2)] == ["n", "n_1"]


def test_default_names_are_tensorflows() -> None:
    x = gr.placeholder(gr.float32, (2, 2))
    names = [
        t.op.name for t in (x, gr.matmul(x, x), x + x, gr.reduce_mean(x), gr.reshape(x, [4]), gr.identity(x))
    ]
    assert names == ["Placeholder", "MatMul", "add", "Mean", "Reshape", "Identity"]
    assert gr.global_variables_initializer().name == "init"


@pytest.mark.parametrize("name", ["a b", "-x", "a:0", "ä", "_x", "/x", "x\n"])
def test_names_that_are_not_valid(name: str) -> None:
    with pytest.raises(GraphError, match="is not a valid operation name"):
        one(name)
    assert gr.get_default_graph().get_operations() == []


@pytest.mark.parametrize("name", ["a b", "-x", "a:0", "_x"])
def test_scopes_that_are_not_valid(name: str) -> None:
    with pytest.raises(GraphError, match="is not a valid scope name"):
        with gr.name_scope(name):
            pass


def test_name_scopes() -> None:
    with gr.name_scope("a") as a:
        assert a == "a/"
        assert one("x").name == "a/x:0"
        assert one("x").name == "a/x_1:0"
        with gr.name_scope("b") as b:
            assert b == "a/b/"
            assert one("x").name == "a/b/x:0"
            assert one("_private").name == "a/b/_private:0"
            with gr.name_scope(None):
                assert one("x").name == "x:0"
            assert gr.get_default_graph().get_name_scope() == "a/b"
        with gr.name_scope("b"):
            assert one("x").name == "a/b_1/x:0"
        with gr.name_scope(b):
            assert one("x").name == "a/b/x_1:0"
    with gr.name_scope("a"):
        assert one("x").name == "a_1/x:0"
    with gr.name_scope("a/"):
        assert one("y").name == "a/y:0"
        with gr.name_scope("c"):
            assert one("x").name == "a/c/x:0"
    with gr.name_scope("x/y"):
        assert one("z").name == "x/y/z:0"
    assert one("x").name == "x_1:0"
    assert gr.get_default_graph().get_name_scope() == ""


def test_name_scope_with_a_default() -> None:
    with gr.name_scope(None, "dense", [one()]) as scope:
        assert scope == "dense/"
    with gr.name_scope(None, "dense") as scope:
        assert scope == "dense_1/"
    with gr.name_scope("given", "dense") as scope:
        assert scope == "given/"


def test_name_scope_takes_the_graph_of_its_values() -> None:
    g = gr.Graph()
    with g.as_default():
        x = one()
    with gr.name_scope("s", values=[None, 1.0, x]):
        assert one("y").graph is g
        assert one("y").name == "s/y_1:0"


def test_an_operation_named_as_its_scope() -> None:
    """How functions of TensorFlow name their result after the scope that they opened."""
    with gr.name_scope("loss") as scope:
        inner = one("part")
        result = gr.identity(inner, name=scope)
    assert (inner.name, result.name) == ("loss/part:0", "loss:0")
    with gr.name_scope("loss") as scope:
        assert gr.identity(inner, name=scope).name == "loss_1:0"


# -- finding things again ----------------------------------------------------------------------


def test_look_up_by_name() -> None:
    g = gr.get_default_graph()
    with gr.name_scope("layer"):
        x = one("weights")
        parts = gr.split(gr.ones([4]), 2, name="parts")
    assert g.get_tensor_by_name("layer/weights:0") is x
    assert g.get_operation_by_name("layer/weights") is x.op
    assert g.get_tensor_by_name("layer/parts:1") is parts[1]
    assert g.as_graph_element("layer/weights:0") is x and g.as_graph_element("layer/weights") is x.op
    assert g.as_graph_element(x) is x and g.as_graph_element(x.op) is x.op
    assert x.op.values() == [x] and x.op in g.get_operations()
    for call, name, texts in (
        (
            g.get_tensor_by_name,
            "layer/weight:0",
            ["no tensor named 'layer/weight:0'", "did you mean 'layer/weights:0'"],
        ),
        (g.get_operation_by_name, "layer/wiegths", ["no operation named 'layer/wiegths'", "'layer/weights'"]),
        (g.get_operation_by_name, "zzz", ["no operation named 'zzz'"]),
        (g.get_tensor_by_name, "layer/parts:2", ["'layer/parts' has 2 outputs", "no 'layer/parts:2'"]),
    ):
        with pytest.raises(KeyError) as fault:
            call(name)  # type: ignore[operator]
        assert isinstance(fault.value, NotFoundError)
        for text in texts:
            assert text in str(fault.value)
    with pytest.raises(ValueError, match='expected "operation:output", as "layer/weights:0"'):
        g.get_tensor_by_name("layer/weights")
    with pytest.raises(GraphError, match="expected an operation's, as 'layer/weights'"):
        g.get_operation_by_name("layer/weights:0")
    for wrong in (5, None, x):
        with pytest.raises(TypeError):
            g.get_tensor_by_name(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            g.get_operation_by_name(wrong)  # type: ignore[arg-type]


def test_what_is_no_element_of_a_graph() -> None:
    g = gr.get_default_graph()
    x = one("x")
    with pytest.raises(FetchError, match="5 of type int is no tensor and no operation of a graph"):
        g.as_graph_element(5)
    with pytest.raises(FetchError, match="is no tensor of a graph"):
        g.as_graph_element(x.op, allow_operation=False)
    with gr.Graph().as_default() as other:
        with pytest.raises(GraphError, match="'x:0' is not an element of this graph") as fault:
            other.as_graph_element(x)
        assert re.search(SITE, str(fault.value))


def test_consumers() -> None:
    x = one()
    y, z = x + 1.0, x * x
    assert x.consumers() == [y.op, z.op]
    assert z.consumers() == []


# -- operations that do not fit --------------------------------------------------------------------


def test_inputs_of_another_graph() -> None:
    with gr.Graph().as_default():
        foreign = one("foreign")
        foreign_variable = gr.Variable(1.0, name="w")
    here = one("here")
    for build in (lambda: here + foreign, lambda: gr.matmul([[1.0]], [[2.0]]) * here + foreign):
        with pytest.raises(GraphError) as fault:
            build()
        text = str(fault.value)
        assert "'foreign:0', is in another graph" in text and "add" in text
        assert re.search(SITE, text)
        assert "with graph.as_default():" in text
    with pytest.raises(GraphError, match="'w:0', is in another graph"):
        here + foreign_variable
    with pytest.raises(GraphError, match="'foreign' is not an element of this graph"):
        with gr.control_dependencies([foreign.op]):
            pass


def test_operations_follow_the_graph_of_their_inputs() -> None:
    g = gr.Graph()
    with g.as_default():
        x = one()
    assert (x * 2.0 + [1.0]).graph is g
    assert gr.reduce_sum(gr.reshape(x, [1, 1]), 1).graph is g
    assert gr.gradients(x * x, x)[0].graph is g
    assert gr.Variable(x).graph is g


def test_finalized_graph() -> None:
    g = gr.get_default_graph()
    x = gr.placeholder(gr.float32, (), name="x")
    v = gr.Variable(1.0)
    y = v.assign_add(x)
    init = gr.global_variables_initializer()
    assert not g.finalized
    g.finalize()
    assert g.finalized
    count = len(g.get_operations())
    for build in (lambda: x + 1.0, lambda: v.read_value(), lambda: gr.constant(1.0), lambda: gr.no_op()):
        with pytest.raises(RuntimeError) as fault:
            build()
        assert isinstance(fault.value, GraphError)
        text = str(fault.value)
        assert "the graph is finalized, no operation can be added" in text
        assert re.search(SITE, text) and "Graph.finalize()" in text
    with gr.Session() as sess:
        sess.run(init)
        assert sess.run([y, "x:0"], {x: 2.0}) == [3.0, 2.0]
        v.load(5.0)
        assert sess.run(v) == 5.0
        assert sess.make_callable(y, [x])(1.0) == 6.0
    assert len(g.get_operations()) == count


def test_a_fault_leaves_nothing_behind() -> None:
    x = gr.placeholder(gr.float32, (2, 3))
    before = gr.get_default_graph().get_operations()
    with pytest.raises(ValueError, match="matmul"):
        gr.matmul(x, x)
    assert gr.get_default_graph().get_operations() == before


# -- devices -----------------------------------------------------------------------------------


def test_device_scopes() -> None:
    assert one().device == ""
    with gr.device("/gpu:1"):
        assert one().op.device == one().device == "opencl:1"
        with gr.device("/cpu:0"):
            assert one().op.device == "cpu:0"
        with gr.device(""):
            assert one().op.device == "opencl:1"
        with gr.device(None):
            assert one().op.device == ""
        assert one().op.device == "opencl:1"
    for name in ("/device:GPU:0", "gpu:0", "GPU", "/job:localhost/replica:0/task:0/device:GPU:0", "opencl:0"):
        with gr.device(name):
            assert one().op.device == "opencl:0"
    with gr.device("/job:worker/task:3"):
        assert one().op.device == ""
    with gr.device("/cpu:3"):
        assert one().op.device == "cpu:0"


def test_device_functions() -> None:
    def by_type(op: gr.Operation) -> str | None:
        assert isinstance(op, gr.Operation)
        return {"VariableV2": "/cpu:0", "MatMul": "/gpu:0"}.get(op.type)

    with gr.device(by_type):
        v = gr.Variable(np.ones((1, 1), np.float32))
        y = gr.matmul(v, v)
        z = y + 1.0
        with gr.device("/gpu:2"):
            assert gr.matmul(v, v).op.device == "opencl:2"
    assert (v.op.device, y.op.device, z.op.device) == ("cpu:0", "opencl:0", "")
    with gr.device("/gpu:2"), gr.device(by_type):
        assert gr.matmul(v, v).op.device == "opencl:0"
        assert (v + 1.0).op.device == "opencl:2"


@pytest.mark.parametrize("name", ["/tpu:0", "gpu0", "/gpu:-1", "/gpu:0/cpu:0", "cuda"])
def test_devices_that_are_no_devices(name: str) -> None:
    with pytest.raises(DeviceError, match=f"no such device: '{name}'") as fault:
        with gr.device(name):
            pass
    assert "graphrun doctor" in str(fault.value)
    with pytest.raises(DeviceError, match="a device is named by a string, got 5"):
        with gr.device(5):
            pass


def test_a_device_function_that_is_wrong_leaves_the_graph_alone() -> None:
    with gr.device(lambda op: "nowhere"):
        with pytest.raises(DeviceError, match="no such device"):
            one("x")
    assert gr.get_default_graph().get_operations() == []


# -- control dependencies ------------------------------------------------------------------------


def test_control_dependencies() -> None:
    a, b, v = one("a"), gr.no_op("b"), gr.Variable(1.0)
    with gr.control_dependencies([a, b]):
        x = one()
        with gr.control_dependencies([v, a]):
            y = one()
        with gr.control_dependencies(None):
            z = one()
        with gr.control_dependencies([]):
            w = one()
    assert x.op.control_inputs == w.op.control_inputs == [a.op, b]
    assert y.op.control_inputs == [a.op, b, v.op]
    assert z.op.control_inputs == one().op.control_inputs == []
    with gr.control_dependencies(["a:0", "b"]):
        assert one().op.control_inputs == [a.op, b]
    assert gr.group(a, b).control_inputs == [a.op, b]


@pytest.mark.parametrize("wrong", [1.0, "nowhere", None])
def test_control_dependencies_on_nothing(wrong: Any) -> None:
    with pytest.raises((GraphError, NotFoundError, FetchError)):
        with gr.control_dependencies([wrong]):
            pass


def test_control_dependencies_take_a_list() -> None:
    x, v = gr.ones([3], name="x"), gr.Variable(1.0, name="v")
    for wrong in (x, x.op, v, "x:0"):
        with pytest.raises(GraphError, match="takes a list") as fault:
            with gr.control_dependencies(wrong):
                pass
        assert "control_dependencies([x])" in str(fault.value)


def test_group() -> None:
    a, v = one("a"), gr.Variable(1.0, name="v")
    assert gr.group(a, [v, a.op], None).control_inputs == [a.op, v.op]
    assert gr.group().control_inputs == []
    assert gr.group(a, name="all").name == "all"
    with gr.Session() as sess:
        assert sess.run(gr.group(a)) is None


# -- collections -------------------------------------------------------------------------------


def test_collections() -> None:
    g = gr.get_default_graph()
    with gr.name_scope("conv1"):
        a = one("w")
    with gr.name_scope("conv10"):
        b = one("w")
    c = one("dense/conv1")
    for t in (a, b, c):
        gr.add_to_collection("t", t)
    gr.add_to_collection("t", 5)
    assert gr.get_collection("t") == [a, b, c, 5]
    assert gr.get_collection("t", scope="conv1") == [a, b]  # a regular expression, matched from the start
    assert gr.get_collection("t", scope="conv1/") == [a]
    assert gr.get_collection("t", scope=".*conv1$|conv10") == [b]
    assert gr.get_collection("t", "dense") == [c]
    assert gr.get_collection("nothing") == []
    gr.get_collection("t").clear()
    assert len(gr.get_collection("t")) == 4
    g.get_collection_ref("t").pop()
    assert len(gr.get_collection("t")) == 3
    g.add_to_collections(["t", "u", "u"], 1)
    g.add_to_collections("s", 2)
    g.add_to_collections(("s", "u"), 3)
    assert (gr.get_collection("u"), gr.get_collection("s")) == ([1, 3], [2, 3])
    assert set(g.get_all_collection_keys()) == {"t", "u", "s"}
    g.clear_collection("u")
    assert gr.get_collection("u") == [] and "u" not in g.get_all_collection_keys()
    v = gr.Variable(1.0, name="conv1/bias")
    assert gr.get_collection(gr.GraphKeys.TRAINABLE_VARIABLES, "conv1") == [v]


def test_collections_belong_to_their_graph() -> None:
    gr.add_to_collection("k", 1)
    with gr.Graph().as_default():
        assert gr.get_collection("k") == []


def test_manners_of_an_operation() -> None:
    x = gr.placeholder(gr.float32, (None, 2), name="x")
    y = gr.reduce_sum(x, 1, name="y")
    assert (y.op.type, y.op.name, y.op.label) == ("Sum", "y", "sum 'y'")
    assert y.op.inputs == (x,) and y.op.outputs == (y,)
    assert repr(y.op) == "<gr.Operation 'y' type=Sum>"
    assert repr(y.graph) == f"<gr.Graph with {len(y.graph.get_operations())} operations>"
    assert y.op.get_attr("axis") == (1,)
    with pytest.raises(ValueError, match="no attribute 'axes'") as fault:
        y.op.get_attr("axes")
    assert "'axis'" in str(fault.value) and re.search(SITE, str(fault.value))
    file, line = y.op.site
    assert file.endswith("test_graph.py") and line > 0
    assert y.graph.is_feedable(y) and y.graph.is_fetchable(y)


@pytest.mark.parametrize("name", ["*/", "a b/", "/"])
def test_scope_like_names_are_checked_too(name: str) -> None:
    with pytest.raises(GraphError, match="not a valid scope name"):
        gr.placeholder(gr.float32, name=name)


def test_scopes_have_tensorflows_argument_names() -> None:
    a = gr.constant(1.0, name="a")
    with gr.control_dependencies(control_inputs=[a]), gr.get_default_graph().control_dependencies([a.op]):
        b = gr.constant(2.0, name="b")
    assert b.op.control_inputs == [a.op]
    with gr.device(device_name_or_function=lambda op: "/gpu:0" if op.name == "c" else ""):
        assert gr.constant(1.0, name="c").device == "opencl:0"
        with gr.device(None):
            assert gr.constant(1.0, name="c").device == ""


def test_a_dtype_that_is_nearly_spelled() -> None:
    with pytest.raises(gr.errors.DTypeError, match=r"no such dtype: 'flaot32'\n(.|\n)*mean gr\.float32\?"):
        gr.placeholder("flaot32")
    with pytest.raises(gr.errors.DTypeError, match=r"write it as gr\.float32"):
        gr.placeholder(7)
