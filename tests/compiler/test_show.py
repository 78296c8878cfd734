"""Plans as text: what comes in, what each step writes and reads, what goes out."""

from __future__ import annotations

import os

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.show import described
from graphrun.device_names import runs_kernels


def line_with(text: str, part: str) -> str:
    found = [line for line in text.splitlines() if part in line]
    assert len(found) == 1, text
    return found[0].strip()


@pytest.fixture
def step():
    """A training step: its session's feeds and fetches."""
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (8, 3), name="x")
        w = gr.Variable(np.ones((3, 2), np.float32), name="w")
        loss = gr.reduce_mean(gr.square(gr.matmul(x, w)), name="loss")
        update = gr.train.GradientDescentOptimizer(0.5).minimize(loss)
        yield {"fetches": [loss, update], "feeds": {x: np.ones((8, 3), np.float32)}}


def test_on_numpy_it_is_a_list_of_assignments(step):
    with gr.Session(device="cpu:0") as sess:
        sess.run(gr.global_variables_initializer())
        plan = sess.plan(step["fetches"], step["feeds"])
    text = str(plan)
    assert text.splitlines()[0] == "in    r0 = x  (8, 3) float32"
    assert line_with(text, "constant 0.5").endswith("() float32")
    assert line_with(text, "= w  ").split(" = ")[1] == "w  (3, 2) float32"
    backwards = line_with(text, "transpose_a=True")
    here = os.path.relpath(__file__)
    assert f" {here}:" in backwards and "(3, 2) float32 = matmul(r0, " in backwards
    out = text[text.index("out") :].splitlines()
    assert out[0].startswith("out   loss = r") and out[1].startswith("      w <- r")
    assert out[2] == f"peak  cpu:0: {plan.peak_bytes():,} bytes"
    assert repr(plan) == f"<Plan of {len(plan.steps)} steps, 0 launches, on cpu:0; print it to read it>"


def test_on_a_device_launches_say_what_they_write(step, device):
    if not runs_kernels(device):
        pytest.skip("NumPy has no launches")
    with gr.Session(device=device) as sess:
        sess.run(gr.global_variables_initializer())
        plan = sess.plan(step["fetches"], step["feeds"])
    text = str(plan)
    assert "= w  (3, 2) float32" in text
    written = line_with(text, "AssignSub")
    variable = written.split()[2]
    assert f"w <- {variable}" in text, "the update is written into the variable's own buffer"
    assert "96 bytes up" in text and "4 bytes down" in text
    read = sum(s.read_bytes for s in plan.launches)
    assert f"{len(plan.launches)} launches of" in text and f"{read:,} bytes read" in text


def test_a_loop_shows_its_iteration(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        n = gr.placeholder(gr.int32, (), name="n")
        x = gr.placeholder(gr.float32, (5, 5), name="x")
        limit = gr.cast(gr.reduce_sum(x), gr.int32) + n
        _, y = gr.while_loop(lambda i, a: i < limit, lambda i, a: (i + 1, gr.tanh(a) * 2), [0, x])
        feeds = {n: 3, x: np.zeros((5, 5), np.float32)}
        plan = sess.plan(y, feeds)
        assert [title for title, _ in plan.inner] == [
            "before the first iteration", "each iteration, until the last value is false",
        ]  # fmt: skip
        text = str(plan)
        assert line_with(text, "each iteration").endswith(":")
        assert "tanh" in text and "while/" in text
        inner = plan.inner[1][1]
        assert plan.peak_bytes(device) >= inner.peak_bytes(device) > 0
        if runs_kernels(device):
            assert inner.launches
        want = np.zeros((5, 5), np.float32)
        np.testing.assert_array_equal(sess.run(y, feeds), want)


def test_a_plan_that_depends_on_data_says_so_and_shows_what_followed(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (4,), name="x")
        large = gr.greater(gr.reduce_sum(x), 3.0, name="large")
        y = gr.cond(large, lambda: gr.exp(x), lambda: gr.boolean_mask(x, x > 0))
        feeds = {x: np.ones(4, np.float32)}
        text = str(sess.plan(y, feeds))
        assert "then  another plan, which depends on large" in text and "run it once" in text
        assert "exp" not in text
        sess.run(y, feeds)
        text = str(sess.plan(y, feeds))
        assert "then  where large is True:" in text and "run it once" not in text
        assert "exp" in text and "large is False" not in text
        sess.run(y, {x: np.zeros(4, np.float32)})
        text = str(sess.plan(y, feeds))
        assert "then  where large is False:" in text and text.index("is True") < text.index("is False")


def test_what_was_found_in_words():
    assert (
        described([("a", np.bool_(True)), ("the shape of b", "(3,)")]) == "a is True, the shape of b is (3,)"
    )
    long = described([("a", np.arange(100))])
    assert long.endswith("...") and len(long) < 60
