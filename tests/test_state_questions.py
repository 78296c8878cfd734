"""Variables that count, that are asked whether they have a value, that write rows by methods; `tuple`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GraphError, OutOfRangeError, ShapeError


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


# -- is_variable_initialized, report_uninitialized_variables -------------------------------------------


def test_asked_before_and_after(sess: gr.Session) -> None:
    v, w = gr.Variable(1.0, name="v"), gr.Variable([2, 3], name="w")
    known = [gr.is_variable_initialized(v), gr.is_variable_initialized(w)]
    report = gr.report_uninitialized_variables()
    assert report.dtype is gr.string and report.shape.as_list() == [None]
    assert sess.run(known) == [False, False]
    assert sess.run(report).tolist() == [b"v", b"w"]
    sess.run(v.initializer)
    assert sess.run(known) == [True, False] and sess.run(report).tolist() == [b"w"]
    w.load([4, 5], sess)
    assert sess.run(known) == [True, True] and sess.run(report).tolist() == []


def test_in_one_run(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    first = gr.is_variable_initialized(v)
    with gr.control_dependencies([v.initializer]):
        then = gr.is_variable_initialized(v)
    assert sess.run([first, then, v.initializer]) == [False, True, None]
    assert sess.run([first, then]) == [True, True]


def test_a_branch_may_depend_on_it(sess: gr.Session) -> None:
    v = gr.Variable(3.0)
    y = gr.cond(gr.is_variable_initialized(v), lambda: v * 2, lambda: gr.constant(-1.0))
    assert sess.run(y) == -1
    sess.run(v.initializer)
    assert sess.run(y) == 6


def test_which_variables_are_reported(sess: gr.Session) -> None:
    a = gr.Variable(1.0, name="a")
    gr.get_local_variable("b", [2])
    assert sess.run(gr.report_uninitialized_variables()).tolist() == [b"a", b"b"]
    assert sess.run(gr.report_uninitialized_variables([a], name="r")).tolist() == [b"a"]
    assert sess.run(gr.report_uninitialized_variables([])).tolist() == []
    assert gr.report_uninitialized_variables([a], name="q").name == "q:0"
    with pytest.raises(DTypeError, match="is_variable_initialized of <gr.Tensor"):
        gr.is_variable_initialized(a * 1)


# -- count_up_to ------------------------------------------------------------------------------------


def test_counting(sess: gr.Session) -> None:
    v = gr.Variable(0, name="epoch")
    count = gr.count_up_to(v, 2, name="epochs")
    sess.run(v.initializer)
    assert count.name == "epochs:0" and count.shape.as_list() == []
    assert [sess.run(count), sess.run(count)] == [0, 1]
    with pytest.raises(OutOfRangeError, match="reached the limit of 2") as caught:
        sess.run(count)
    assert "test_state_questions.py:" in str(caught.value)
    assert sess.run(v) == 2
    assert sess.run(v.count_up_to(9)) == 2 and sess.run(v) == 3


def test_what_cannot_count() -> None:
    with pytest.raises(DTypeError, match=r"has dtype float32\n(.|\n)*as gr\.Variable\(0\)"):
        gr.count_up_to(gr.Variable(0.0), 2)
    with pytest.raises(ShapeError, match=r"has shape \(2,\)\n(.|\n)*expected a scalar"):
        gr.count_up_to(gr.Variable([0, 1]), 2)


# -- methods that write rows ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["add", "sub", "update", "mul", "div", "min", "max"])
def test_rows_by_a_method(sess: gr.Session, mode: str) -> None:
    table = np.arange(8, dtype=np.float32).reshape(4, 2) + 1
    v, w = gr.Variable(table), gr.Variable(table)
    rows = gr.IndexedSlices([[2.0, 3.0], [4.0, 5.0]], [3, 1])
    sess.run(gr.global_variables_initializer())
    got = sess.run(getattr(v, f"scatter_{mode}")(rows))
    want = sess.run(getattr(gr, f"scatter_{mode}")(w, rows.indices, rows.values))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(sess.run(v), want)


def test_elements_by_a_method(sess: gr.Session) -> None:
    v = gr.Variable([1.0, 2.0, 3.0])
    sess.run(v.initializer)
    assert sess.run(v.scatter_nd_add([[1]], [10.0])).tolist() == [1, 12, 3]
    assert sess.run(v.scatter_nd_sub([[1], [0]], [10.0, 1.0])).tolist() == [0, 2, 3]
    assert sess.run(v.scatter_nd_update([[2]], [7.0])).tolist() == [0, 2, 7]
    assert sess.run(v.gather_nd([[2], [1]])).tolist() == [7, 2]
    assert sess.run(v.sparse_read([0, 2])).tolist() == [0, 7]


def test_a_method_wants_indexed_slices() -> None:
    v = gr.Variable([1.0, 2.0, 3.0], name="v")
    with pytest.raises(DTypeError, match=r"variable 'v:0': scatter_add of \[1\.0\]\n") as caught:
        v.scatter_add([1.0])
    assert "gr.scatter_add(v, indices, updates) takes both apart" in str(caught.value)


# -- tuple --------------------------------------------------------------------------------------------


def test_tuple_waits_for_all(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    one, none, rows = gr.tuple(
        [gr.constant(7), None, gr.IndexedSlices([[1.0]], [3])], control_inputs=[v.assign_add(1.0)]
    )
    assert none is None and one.name == "tuple/control_dependency:0"
    sess.run(v.initializer)
    assert sess.run(one) == 7 and sess.run(v) == 2
    assert sess.run(rows.values).tolist() == [[1]] and sess.run(v) == 3
    with pytest.raises(GraphError, match=r"tuple of \[None\]"):
        gr.tuple([None])


# -- local variables, templates -------------------------------------------------------------------------


def test_local_variables(sess: gr.Session) -> None:
    with gr.variable_scope("s"):
        v: Any = gr.get_local_variable("n", initializer=gr.constant_initializer(3), shape=[], dtype=gr.int32)
    assert v.name == "s/n:0" and not v.trainable
    assert gr.local_variables() == [v] and gr.global_variables() == [] and gr.trainable_variables() == []
    sess.run(gr.local_variables_initializer())
    assert sess.run(v) == 3


def scaled(x: Any, by: float = 1.0) -> Any:
    w = gr.get_variable("w", [1], initializer=gr.constant_initializer(by))
    return gr.multiply(x, w, name="o")


def test_calls_of_a_template_share_variables(sess: gr.Session) -> None:
    scale = gr.make_template("t", scaled, by=3.0)
    assert scale.variables == [] and scale.variable_scope is None
    a, b = scale(1.0), scale(2.0)
    sess.run(gr.global_variables_initializer())
    assert sess.run([a, b]) == [[3], [6]]
    # TensorFlow's names.
    assert (a.name, b.name) == ("t/o:0", "t_1/o:0")
    assert (scale.name, scale.variable_scope_name) == ("t", "t/")
    assert [v.name for v in scale.variables] == ["t/w:0"] == [v.name for v in scale.trainable_variables]
    assert gr.make_template("t", scaled)(1.0).name == "t_2/o:0"
    assert len(gr.global_variables()) == 2 and scale.func.func is scaled


def test_where_a_template_has_its_scope() -> None:
    now = gr.make_template("t", scaled, create_scope_now_=True)
    with gr.variable_scope("other"):
        assert (now(1.0).name, now(2.0).name) == ("other/t/o:0", "other/t_1/o:0")
        assert [v.name for v in now.variables] == ["t/w:0"]
        exact = gr.make_template("t", scaled, unique_name_="u")
        assert exact(1.0).name == "other/u/o:0" and exact.variables[0].name == "other/u/w:0"


def test_a_template_that_makes_more_variables() -> None:
    again = gr.make_template("g", lambda x: gr.Variable(1.0, name="v") * x)
    again(1.0)
    with pytest.raises(GraphError, match="template 'g': a later call makes trainable variables") as caught:
        again(2.0)
    assert "g_1/v:0 created at" in str(caught.value) and "use gr.get_variable" in str(caught.value)


def test_names_that_tensorflow_once_had() -> None:
    v = gr.Variable(1.0, collections=[])
    gr.add_to_collections(["a", gr.GraphKeys.GLOBAL_VARIABLES], v)
    assert gr.all_variables() == [v] == gr.get_collection("a")
    gr.get_collection_ref("a").append("w")
    assert gr.get_collection("a") == [v, "w"]
    with gr.Session() as sess:
        sess.run(gr.initialize_all_variables())
        assert sess.run(gr.tensor_scatter_nd_update([1, 2], [[1]], [7])).tolist() == [1, 7]
