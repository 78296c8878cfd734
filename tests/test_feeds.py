"""What may be fed, and what is said of what may not."""

from __future__ import annotations

import re
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import FeedError, GraphrunError, ShapeError
from graphrun.feeds import feed_array

SITE = r"created at .*test_feeds\.py:\d+"


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


# -- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", 2, 2.0),
        ("float32", 2.5, 2.5),
        ("float32", True, 1.0),
        ("float32", [1, 2.5, True], [1, 2.5, 1]),
        ("float32", ((1, 2), (3, 4)), [[1, 2], [3, 4]]),
        ("float32", np.float64(0.1), np.float32(0.1)),
        ("float32", 1e300, np.inf),
        ("float32", [np.float32(1), np.float64(2)], [1, 2]),
        ("float32", np.array([1, 2.5, True], object), [1, 2.5, 1]),
        ("float32", np.array([np.ones(2), np.zeros(2)]), [[1, 1], [0, 0]]),
        ("float32", [Fraction(1, 2), 1], [0.5, 1]),
        ("float32", 10**30, 1e30),
        ("float32", np.arange(3)[::-1], [2, 1, 0]),
        ("float32", np.arange(3, dtype=">f4"), [0, 1, 2]),
        ("float32", np.ma.masked_array([1.0, 2.0]), [1, 2]),
        ("float32", range(3), [0, 1, 2]),
        ("float32", [], []),
        ("float64", np.float32(0.5), 0.5),
        ("int32", 7, 7),
        ("int32", True, 1),
        ("int32", 3.0, 3),
        ("int32", np.array([1.0, 2.0]), [1, 2]),
        ("int32", np.int64(2**31 - 1), 2**31 - 1),
        ("int32", np.array([3], object), [3]),
        ("int32", [], []),
        ("int64", 2**62 + 1, 2**62 + 1),
        ("int64", np.array([2**62 + 1], object), [2**62 + 1]),
        ("int64", np.uint64(5), 5),
        ("uint8", [0, 255], [0, 255]),
        ("bool", 1, True),
        ("bool", [0, 1.0, True], [False, True, True]),
        ("bool", False, False),
        ("float16", 1.5, 1.5),
    ],
)
def test_values_that_survive(dtype: str, value: Any, expected: Any) -> None:
    t = gr.placeholder(dtype, None)
    array = feed_array(t, value)
    assert array.dtype == np.dtype(dtype) and type(array) is np.ndarray
    np.testing.assert_array_equal(array, np.asarray(expected).astype(dtype))


class Gone:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise ValueError("gone")


@pytest.mark.parametrize(
    ("dtype", "value", "why"),
    [
        ("float32", "abc", "the value is str, not numbers"),
        ("float32", None, "the value is NoneType, not numbers"),
        ("float32", [1.0, None], "an array of object, not numbers"),
        ("float32", ["1", "2"], "not numbers"),
        ("float32", np.array(["1", 2], object), "not numbers"),
        ("float32", 1j, "the value is complex"),
        ("float32", {}, "the value is dict, not numbers"),
        ("float32", [[1, 2], [3]], "a ragged list"),
        ("float32", np.datetime64("2020-01-01"), "not numbers"),
        ("float32", Gone(), "ragged"),
        ("int32", 1.5, "has fractions"),
        ("int32", [1, np.nan], "has fractions"),
        ("int32", np.inf, "has fractions"),
        ("int32", 2**31, "int32 cannot hold"),
        ("int32", 10**30, "int32 cannot hold"),
        ("int32", [10**30, 1], "int32 cannot hold"),
        ("int64", 2.0**63, "int64 cannot hold"),
        ("int64", np.uint64(2**63), "int64 cannot hold"),
        ("int32", Fraction(1, 2), "has fractions"),
        ("uint8", -1, "uint8 cannot hold"),
        ("uint8", [1, 256], "uint8 cannot hold"),
        ("bool", 2, "other than 0 and 1"),
        ("bool", [0.5, 1], "other than 0 and 1"),
    ],
)
def test_values_that_do_not(dtype: str, value: Any, why: str) -> None:
    t = gr.placeholder(dtype, (None, 3), name="x")
    with pytest.raises(FeedError) as fault:
        feed_array(t, value)
    text = str(fault.value)
    assert "'x:0' cannot be fed" in text and why in text
    assert re.search(SITE, text)
    assert f"numbers that {dtype} holds, of shape (?, 3)" in text


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: [t, t], lambda t: (t, 1.0), lambda t: t.op])
def test_a_part_of_the_graph_is_no_value(wrap: Any) -> None:
    x = gr.placeholder(gr.float32, None, name="x")
    for part in (gr.constant(1.0), gr.Variable(1.0)):
        with pytest.raises(FeedError, match="part of the graph") as fault:
            feed_array(x, wrap(part))
        assert "run it first" in str(fault.value)


@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.sampled_from(["float32", "float64", "int32", "int64", "uint8", "bool"]),
)
@settings(max_examples=150, deadline=None)
def test_any_array_is_fed_exactly_or_refused(array: Any, dtype: str) -> None:
    """Whole numbers come through unchanged; nothing is cut off silently."""
    with gr.Graph().as_default():
        t = gr.placeholder(dtype, None)
        try:
            got = feed_array(t, array)
        except FeedError:
            assert np.dtype(dtype).kind != "f"
            with np.errstate(all="ignore"):
                assert not np.array_equal(array.astype(dtype).astype(object), array.astype(object))
            return
        assert got.shape == array.shape and got.dtype == np.dtype(dtype)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, array.astype(dtype))
        if np.dtype(dtype).kind != "f":
            assert np.array_equal(got.astype(object), array.astype(object))


# -- keys --------------------------------------------------------------------------------------


def test_any_tensor_can_be_fed(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,), name="x")
    c = gr.constant([1.0, 2.0], name="c")
    v = gr.Variable(np.ones(2, np.float32), name="v")
    middle = gr.add(x * 2.0, c, name="middle")
    y = middle * 10.0 + v
    sess.run(gr.global_variables_initializer())
    one = np.ones(2, np.float32)
    np.testing.assert_array_equal(sess.run(y, {x: one}), [31, 41])
    np.testing.assert_array_equal(sess.run(y, {middle: one}), [11, 11])  # x is not needed
    np.testing.assert_array_equal(sess.run(y, {"middle:0": [2, 3]}), [21, 31])
    np.testing.assert_array_equal(sess.run(y, {x: one, c: [5.0, 6.0]}), [71, 81])
    np.testing.assert_array_equal(sess.run(y, {x: one, v: [0.5, 0.25]}), [30.5, 40.25])
    np.testing.assert_array_equal(sess.run(y, {x: one, "v:0": [0, 0]}), [30, 40])
    np.testing.assert_array_equal(sess.run(y, {y: one}), [1, 1])
    np.testing.assert_array_equal(sess.run(v), one)
    np.testing.assert_array_equal(sess.run(y, {x: one}), [31, 41])


def test_a_fed_variable_in_a_read_and_an_update(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    with gr.control_dependencies([gr.no_op()]):
        read = v.read_value()
    add = v.assign_add(1.0)
    sess.run(gr.global_variables_initializer())
    assert sess.run(read, {v: 10.0}) == 10.0
    assert sess.run(v) == 1.0
    assert sess.run(add, {add: 5.0}) == 5.0  # what is fed is not computed
    assert sess.run(v) == 1.0


def test_one_output_of_several(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (4,))
    a, b = gr.split(x, 2)
    total = a + b
    np.testing.assert_array_equal(sess.run(total, {x: np.arange(4), a: [10, 20]}), [12, 23])
    np.testing.assert_array_equal(sess.run(total, {a: [1, 1], b: [2, 2]}), [3, 3])


def test_fed_tensor_that_nobody_needs(sess: gr.Session) -> None:
    x, y = gr.placeholder(gr.float32, ()), gr.placeholder(gr.float32, ())
    assert sess.run(x * 2.0, {x: 1.0, y: 5.0}) == 2.0


def test_default_of_a_placeholder(sess: gr.Session) -> None:
    keep = gr.placeholder_with_default(0.5, ())
    rows = gr.placeholder_with_default(np.zeros((2, 3), np.float32), (None, 3))
    y = gr.reduce_sum(rows * keep + 1.0, 1)
    assert y.shape.as_list() == [None]
    np.testing.assert_array_equal(sess.run(y), [3, 3])
    np.testing.assert_array_equal(sess.run(y, {rows: np.ones((1, 3))}), [4.5])
    np.testing.assert_array_equal(sess.run(y, {rows: np.ones((4, 3)), keep: 0.0}), [3, 3, 3, 3])
    gradient = gr.gradients(y, keep)[0]
    assert sess.run(gradient, {rows: np.ones((2, 3))}) == 6.0


def test_fed_placeholder_in_control_dependencies(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, ())
    v = gr.Variable(1.0)
    with gr.control_dependencies([x, x.op]):
        y = v + 1.0
    sess.run(gr.global_variables_initializer())
    assert sess.run(y, {x: 3.0}) == 2.0
    with pytest.raises(FeedError, match="'Placeholder:0' is needed and not fed"):
        sess.run(y)


def test_keys_of_several_tensors(sess: gr.Session) -> None:
    State = namedtuple("State", "c h")
    state = State(gr.placeholder(gr.float32, (2,)), gr.placeholder(gr.float32, ()))
    x = gr.placeholder(gr.float32, ())
    y = state.c * state.h + x
    expected = [7, 9]
    value = (np.array([1, 2], np.float32), 2.0)
    np.testing.assert_array_equal(sess.run(y, {state: value, x: 5.0}), expected)
    np.testing.assert_array_equal(sess.run(y, {state: State(*value), x: 5.0}), expected)
    np.testing.assert_array_equal(sess.run(y, {(state, x): [value, 5.0]}), expected)
    with pytest.raises(FeedError) as fault:
        sess.run(y, {state: (1.0, 2.0, 3.0), x: 5.0})
    assert "3 values for a feed_dict key of 2 tensors" in str(fault.value)
    with pytest.raises(FeedError, match="one value for a feed_dict key of 2 tensors"):
        sess.run(y, {state: 1.0, x: 5.0})


@pytest.mark.parametrize("make", [dict, OrderedDict, MappingProxyType])
def test_mappings(make: Any) -> None:
    x = gr.placeholder(gr.float32, ())
    with gr.Session() as sess:
        assert sess.run(x + 1.0, make({x: 1.0})) == 2.0
        assert sess.run(gr.constant(1.0), make({})) == 1.0


@pytest.mark.parametrize("feeds", [[("x:0", 1.0)], 5.0, np.ones(2), "x:0"])
def test_a_feed_dict_is_a_dict(feeds: Any) -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    with gr.Session() as sess:
        with pytest.raises(FeedError, match="feed_dict is of type") as fault:
            sess.run(x, feeds)
        assert "{x: array}" in str(fault.value)


# -- errors, with the session usable afterwards and no variable changed --------------------------


def test_wrong_feeds(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    n = gr.placeholder(gr.int32, (), name="n")
    v = gr.Variable(np.zeros(3, np.float32), name="v")
    update = v.assign_add(gr.reduce_sum(x, 0) * gr.cast(n, gr.float32))
    other = gr.Graph()
    with other.as_default():
        foreign = gr.placeholder(gr.float32, (), name="foreign")
    sess.run(gr.global_variables_initializer())
    good = {x: np.ones((2, 3)), n: 1}

    def fails(feeds: Any, kind: type[GraphrunError], *texts: str) -> None:
        with pytest.raises(kind) as fault:
            sess.run(update, feeds)
        for text in texts:
            assert re.search(text, str(fault.value)), str(fault.value)

    fails({x: np.ones((2, 3))}, FeedError, "placeholder 'n:0' is needed and not fed", r"\(\) int32", SITE,
          "feed_dict")  # fmt: skip
    fails(None, FeedError, "is needed and not fed")
    fails({**good, x: np.ones((2, 4))}, ShapeError, r"shape \(2, 4\) is fed to 'x:0'",
          r"expected shape \(\?, 3\)", SITE, "None in a placeholder")  # fmt: skip
    fails({**good, x: np.ones(3)}, ShapeError, r"shape \(3,\) is fed to 'x:0'")
    fails({**good, n: 1.5}, FeedError, "'n:0' cannot be fed", "int32")
    fails({**good, n: "one"}, FeedError, "the value is str, not numbers")
    fails({**good, "nowhere:0": 1}, FeedError, "'nowhere:0' cannot be fed", "no tensor named 'nowhere:0'")
    fails({**good, "n": 1}, FeedError, "'n' cannot be fed: it is an operation", "its tensor is 'n:0'")
    fails({**good, "m": 1}, FeedError, "'m' cannot be fed: it is of type str", "a tensor's name as 'x:0'")
    fails({**good, "n:1": 1}, FeedError, "has 1 outputs")
    fails({**good, 5: 1}, FeedError, "5 cannot be fed: it is of type int")
    fails({**good, x.op: 1}, FeedError, "cannot be fed: it is an operation", "its tensor is 'x:0'")
    fails({**good, None: 1}, FeedError, "None cannot be fed")
    fails({**good, foreign: 1.0}, FeedError, "'foreign:0'", "not in this session's graph", SITE)
    fails({**good, "n:0": 2}, FeedError, "'n:0' is fed twice", SITE)
    np.testing.assert_array_equal(sess.run(v), np.zeros(3))
    sess.run(update, good)
    np.testing.assert_array_equal(sess.run(v), np.full(3, 2))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("uint64", [2**63 + 1, 1]), ("uint64", [2**64 - 1, 1]), ("int64", [2**53 + 1, -(2**62) - 1])],
)
def test_large_integers_in_lists_are_exact(dtype: str, values: list[int]) -> None:
    x = gr.placeholder(dtype, [None])
    with gr.Session() as sess:
        for fed in (values, np.array(values, object)):
            assert [int(v) for v in sess.run(gr.identity(x), {x: fed})] == values
        assert [int(v) for v in sess.run(gr.constant(values, dtype))] == values
        with pytest.raises(FeedError, match=f"{dtype} cannot hold"):
            sess.run(gr.identity(x), {x: [2**64, 1]})


@pytest.mark.parametrize(
    ("value", "fix"),
    [(None, "leave the tensor out of feed_dict"), ("abc", "convert text to numbers first"),
     (["1", "2"], "convert text to numbers first"), (object(), "feed a number, a list of num")],
)  # fmt: skip
def test_what_is_no_number_says_what_to_feed(value: object, fix: str) -> None:
    x = gr.placeholder(gr.float32, (None,))
    with gr.Session() as sess, pytest.raises(gr.errors.FeedError, match=fix):
        sess.run(x, {x: value})
