"""Whose memory a value is: what the user gets is his, what he gave is not kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphrun as gr

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def test_fetched_arrays_belong_to_the_caller(sess: gr.Session) -> None:
    w = gr.Variable(np.arange(6, dtype=F32).reshape(2, 3))
    c = gr.constant(np.arange(6, dtype=F32).reshape(2, 3))
    x = gr.placeholder(gr.float32, (2, 3))
    fed = np.arange(6, dtype=F32).reshape(2, 3)
    fetches = {}
    for name, t in (("w", w), ("c", c), ("x", x)):
        fetches[name] = [
            t, gr.identity(t), gr.reshape(t, [3, 2]), gr.transpose(t), t[0], t[:, 1:], gr.squeeze(t),
            gr.expand_dims(t, 0), gr.stop_gradient(t), gr.unstack(t)[1], gr.cast(t, gr.float32),
            gr.broadcast_to(t, [2, 3]), gr.concat([t], 0), gr.split(t, 1)[0], t * 1.0, t + 0.0,
        ]  # fmt: skip
        # A tensor that is fetched twice gives the same array twice, and some of these are the tensor itself.
        graph = gr.get_default_graph()
        fetches[name] = list(dict.fromkeys(graph.as_graph_element(f) for f in fetches[name]))
    sess.run(gr.global_variables_initializer())
    expected = np.arange(6, dtype=F32).reshape(2, 3)
    for _ in range(2):
        for part in (*fetches.values(), fetches):
            got = sess.run(part, {x: fed})
            arrays = [a for v in got.values() for a in v] if isinstance(got, dict) else got
            for i, array in enumerate(arrays):
                before = [a.copy() for a in arrays[i + 1 :]]
                assert array.flags.writeable
                array[...] = -99
                for a, b in zip(arrays[i + 1 :], before, strict=True):
                    np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(fed, expected)
    np.testing.assert_array_equal(sess.run(w), expected)
    np.testing.assert_array_equal(sess.run(c), expected)


def test_fetched_updates_belong_to_the_caller(sess: gr.Session) -> None:
    v = gr.Variable(np.arange(4, dtype=F32))
    x = gr.placeholder(gr.float32, (4,))
    doubled = x * 2.0
    fetches = [v.assign(doubled), doubled, gr.identity(doubled), gr.reshape(doubled, [2, 2]), x]
    sess.run(gr.global_variables_initializer())
    fed = np.ones(4, F32)
    for array in sess.run(fetches, {x: fed}):
        array[...] = -1
    np.testing.assert_array_equal(sess.run(v), [2, 2, 2, 2])
    np.testing.assert_array_equal(fed, [1, 1, 1, 1])


def test_a_fed_array_that_was_assigned_may_change_later(sess: gr.Session) -> None:
    a, b, c, d = (gr.Variable(np.zeros((2, 3), F32)) for _ in range(4))
    x = gr.placeholder(gr.float32, (2, 3))
    y = gr.placeholder(gr.float32, (3, 2))
    put = [a.assign(x), b.assign(gr.reshape(y, [2, 3])), c.assign(gr.transpose(y)), d.assign(gr.identity(x))]
    fed_x, fed_y = np.full((2, 3), 1, F32), np.full((3, 2), 1, F32)
    sess.run(put, {x: fed_x, y: fed_y})
    fed_x[...] = fed_y[...] = 8
    for got in sess.run([a, b, c, d]):
        np.testing.assert_array_equal(got, np.ones((2, 3)))


def test_an_initial_array_may_change_later(sess: gr.Session) -> None:
    array = np.ones(3, F32)
    v, c = gr.Variable(array), gr.constant(array)
    array[:] = 5
    sess.run(gr.global_variables_initializer())
    np.testing.assert_array_equal(sess.run(v), [1, 1, 1])
    np.testing.assert_array_equal(sess.run(c), [1, 1, 1])
    got = sess.run(v)
    got[:] = 7
    sess.run(v.initializer)
    np.testing.assert_array_equal(sess.run(v), [1, 1, 1])
