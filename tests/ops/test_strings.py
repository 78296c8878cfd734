"""Strings in the graph: constants, feeds, variables, what passes them on, and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import DTypeError, ExecutionError, FeedError


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def test_constants_and_feeds_become_bytes(sess: gr.Session) -> None:
    x = gr.placeholder(gr.string, (None,))
    assert (x.dtype, gr.constant("a").dtype, gr.as_dtype("string")) == (gr.string, gr.string, gr.string)
    assert gr.string == np.object_ and gr.as_dtype(np.array(["a"]).dtype) is gr.string
    one, many = sess.run([gr.constant("grün"), gr.constant([["a", b"\x00\xff"]])])
    assert one == "grün".encode() and many.dtype == object and many.tolist() == [[b"a", b"\x00\xff"]]
    for value in (["a", b"b"], np.array(["a", "b"]), np.array([b"a", b"b"]), np.array(["a", "b"], object)):
        assert sess.run(gr.identity(x), {x: value}).tolist() == [b"a", b"b"]


def test_what_moves_elements_moves_strings(sess: gr.Session) -> None:
    x = gr.placeholder(gr.string, (None, 2))
    value = np.array([["a", "bc"], ["d", ""]])
    fetches: list[tuple[Any, Any]] = [
        (gr.reshape(x, [-1]), value.reshape(-1)),
        (gr.transpose(x), value.T),
        (gr.concat([x, x], 1), np.hstack([value, value])),
        (gr.stack([x[0], x[1]]), value),
        (gr.gather(x, [1, 0]), value[::-1]),
        (x[:, 1], value[:, 1]),
        (gr.tile(x, [1, 2]), np.tile(value, (1, 2))),
        (gr.where(gr.equal(x, "d"), x, gr.fill(gr.shape(x), "-")), np.where(value == "d", value, "-")),
        (gr.boolean_mask(x[:, 0], [False, True]), value[1:, 0]),
        (gr.gather_nd(x, [[1, 0]]), value[1, :1]),
        (gr.unique(gr.constant(["x", "y", "x"]))[0], np.array(["x", "y"])),
    ]
    for (_, expected), got in zip(fetches, sess.run([f for f, _ in fetches], {x: value}), strict=True):
        assert np.char.decode(got.astype(bytes)).tolist() == expected.tolist()
    equal, unequal = sess.run([gr.equal(x, "a"), gr.not_equal(x, x)], {x: value})
    assert equal.dtype == bool and equal.tolist() == [[True, False], [False, False]] and not unequal.any()


def test_variables_of_strings(sess: gr.Session) -> None:
    v = gr.Variable(["a", "b"])
    step = v.assign(gr.string_join([v, "!"]))
    sess.run(v.initializer)
    assert sess.run(step).tolist() == [b"a!", b"b!"]
    before = sess.run(v)
    sess.run(gr.scatter_update(v, [0], ["new"]).op)
    assert sess.run(v).tolist() == [b"new", b"b!"] and before.tolist() == [b"a!", b"b!"]


def test_splitting_and_parsing_a_table(sess: gr.Session) -> None:
    """What programs do with lines of text."""
    lines = gr.placeholder(gr.string, (None,))
    fields = gr.string_split(lines, ",")
    table = gr.string_to_number(gr.sparse_tensor_to_dense(fields, default_value="0"))
    got = sess.run(table, {lines: ["1,2,3", "4", "", "5,6"]})
    np.testing.assert_array_equal(got, [[1, 2, 3], [4, 0, 0], [0, 0, 0], [5, 6, 0]])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
def test_base64_there_and_back(items: list[bytes]) -> None:
    with gr.Graph().as_default(), gr.Session() as sess:
        x = gr.constant(items, gr.string)
        for pad in (False, True):
            assert sess.run(gr.decode_base64(gr.encode_base64(x, pad))).tolist() == items
        raw = sess.run(gr.decode_raw(gr.constant(b"".join(items), gr.string), gr.uint8))
        assert raw.tobytes() == b"".join(items)


def test_messages(sess: gr.Session) -> None:
    x = gr.placeholder(gr.string, (None,), name="x")
    with pytest.raises(ExecutionError, match=r"'n': .*b'1,5' is no number of dtype float32"):
        sess.run(gr.string_to_number(x, name="n"), {x: ["1,5"]})
    with pytest.raises(ExecutionError, match="strings of 1 and of 2 bytes in one tensor"):
        sess.run(gr.decode_raw(x, gr.uint8), {x: ["a", "bb"]})
    with pytest.raises(ExecutionError, match="3 bytes are no whole number of int16"):
        sess.run(gr.decode_raw(x, gr.int16), {x: ["abc"]})
    with pytest.raises(ExecutionError, match="is not web-safe base64"):
        sess.run(gr.decode_base64(x), {x: ["a+/b"]})
    with pytest.raises(FeedError, match="something else than str and bytes\n.*\n.*expected strings"):
        sess.run(gr.identity(x), {x: [1]})
    with pytest.raises(FeedError, match="not numbers"):
        sess.run(gr.identity(gr.placeholder(gr.float32)) * 1.0, {gr.placeholder(gr.float32): "a"})
    with pytest.raises(DTypeError, match="a has dtype string\n.*\n.*expected a numeric dtype"):
        gr.add(x, x)
    with pytest.raises(DTypeError, match="expected a string tensor"):
        gr.string_join([gr.constant(1)])
    with pytest.raises(DTypeError, match=r"\['a', 1\] cannot become a constant of dtype string"):
        gr.constant(["a", 1])
