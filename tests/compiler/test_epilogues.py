"""Pass: groups that follow a matrix product or a convolution become its epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized
from compiler.run_plan import STYLES, compile_for, new_store, run_plan, target, variable_value

import graphrun as gr
from graphrun.compiler.epilogue import EPILOGUE, epilogues
from graphrun.compiler.fusion import FUSED, fuse
from graphrun.compiler.ir import Program
from graphrun.compiler.placement import place


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name=name)


def _after(fetches: Any, **feeds: Any) -> Program:
    where = target("null")
    return epilogues(fuse(place(specialized(fetches, feeds.get("feeds", {})), where)), where)


def _labels(*fetches: Any) -> list[str]:
    graph = gr.get_default_graph()
    fed = [op.outputs[0] for op in graph.get_operations() if op.opdef.name == "placeholder"]
    plan = compile_for("null", list(fetches), {t: np.zeros(t._shape, t.dtype.numpy) for t in fed}).plan
    return [s.label.replace("gemm_tile:", "").replace("gemm_dot:", "") for s in plan.launches]


def test_bias_and_activation_need_no_launch() -> None:
    x, w, b = _x(12, 20), _x(20, 30, name="w"), _x(30, name="b")
    assert _labels(gr.nn.relu(gr.matmul(x, w) + b)) == ["matmul:add+relu"]


def test_printed_program_shows_both() -> None:
    x, w = _x(12, 20), _x(20, 30, name="w")
    y = gr.tanh(gr.matmul(x, w), name="y")
    program = _after([y], feeds={x: (12, 20), w: (20, 30)})
    assert "%2 = epilogue(%0, %1) epilogue=matmul:tanh : (12, 30) float32  null:0  # 'y'" in str(program)


def test_result_that_is_wanted_too_is_stored_on_the_way() -> None:
    x, w = _x(12, 20), _x(20, 30, name="w")
    z = gr.matmul(x, w)
    assert _labels(gr.tanh(z), z) == ["matmul:tanh"]
    # A reader further down takes what was stored.
    v = _x(30, 4, name="v")
    assert _labels(gr.tanh(z), gr.matmul(z, v)) == ["matmul:tanh", "matmul:gemm_tile"]


def test_last_kernel_of_several_takes_the_group() -> None:
    x, w, h, u = _x(12, 20), _x(20, 30, name="w"), _x(12, 8, name="h"), _x(8, 30, name="u")
    labels = _labels(gr.sigmoid(gr.matmul(x, w) + gr.matmul(h, u)))
    assert labels == ["matmul:gemm_tile", "matmul:add+sigmoid"]


def test_reader_between_keeps_the_order() -> None:
    """The second product waits for the first one's result, and the group for both."""
    x, w, v = _x(12, 12), _x(12, 12, name="w"), _x(12, 12, name="v")
    z = gr.matmul(x, w)
    program = _after([z * gr.matmul(z, v)], feeds=dict.fromkeys((x, w, v), (12, 12)))
    (node,) = (n for n in program.nodes if n.op is EPILOGUE)
    assert [n.op.name for n, _ in node.inputs] == ["matmul", "feed", "matmul"]
    # Read in two places by the group, of which one is another element's.
    program = _after([z + gr.transpose(z)], feeds={x: (12, 12), w: (12, 12)})
    assert not any(n.op is EPILOGUE for n in program.nodes)


def test_reshapes_between_are_seen_through() -> None:
    x, w, r = _x(12, 20), _x(20, 30, name="w"), _x(3, 4, 30, name="r")
    assert _labels(gr.reshape(gr.matmul(x, w), (3, 4, 30)) + r) == ["matmul:add"]


def test_long_groups_stay_alone() -> None:
    x, w = _x(12, 20), _x(20, 30, name="w")
    y = gr.matmul(x, w)
    for _ in range(30):
        y = gr.tanh(y) + 1.0
    program = _after([y], feeds={x: (12, 20), w: (20, 30)})
    assert [n.op for n in program.nodes if n.op in (FUSED, EPILOGUE)] == [FUSED]


def test_where_epilogues_are_not_trusted_nothing_changes() -> None:
    x, w = _x(12, 20), _x(20, 30, name="w")
    where = target("null", blocked={"null:0": {"epilogue"}})
    program = fuse(place(specialized([gr.tanh(gr.matmul(x, w))], {x: (12, 20), w: (20, 30)}), where))
    assert not any(n.op is EPILOGUE for n in epilogues(program, where).nodes)


def _data(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[Any]:
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("sizes", [(7, 33, 65), (64, 16, 1), (1, 700, 31), (129, 300, 17)])
def test_values(style: str, sizes: tuple[int, int, int], rng: np.random.Generator) -> None:
    m, k, n = sizes
    a, b, c, d = _data(rng, (m, k), (k, n), (n,), (m, 1))
    x, w, bias, rows = _x(m, k), _x(k, n, name="w"), _x(n, name="b"), _x(m, 1, name="r")
    z = gr.matmul(x, w) + bias
    y = gr.tanh(z) * rows - 0.5
    got = run_plan(style, [y, z, gr.reduce_sum(y, 0)], {x: a, w: b, bias: c, rows: d})
    want_z = a.astype(np.float64) @ b + c
    want = np.tanh(want_z) * d - 0.5
    np.testing.assert_allclose(got[1], want_z, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[2], want.sum(0), rtol=1e-3, atol=1e-3)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions(style: str, layout: str, stride: int, rng: np.random.Generator) -> None:
    shape = (2, 9, 11, 5) if layout == "NHWC" else (2, 5, 9, 11)
    a, f, c = _data(rng, shape, (3, 3, 5, 18), (18,))
    strides = (1, stride, stride, 1) if layout == "NHWC" else (1, 1, stride, stride)

    def both(where: str) -> list[Any]:
        with gr.Graph().as_default():
            x, w, b = _x(*shape), _x(3, 3, 5, 18, name="w"), _x(18, name="b")
            z = gr.nn.bias_add(gr.nn.conv2d(x, w, strides, "SAME", data_format=layout), b, layout)
            y = gr.nn.relu(z)
            (dx,) = gr.gradients(y, x)
            fetches = [y, gr.tanh(dx) * 2.0]
            if where != "numpy":
                labels = [s.label for s in compile_for(where, fetches, {x: a, w: f, b: c}).plan.launches]
                assert not any(label in ("tanh+multiply", "add+relu") for label in labels), labels
            return run_plan(where, fetches, {x: a, w: f, b: c})

    for got, want in zip(both(style), both("numpy"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("k", [40, 1500])
def test_updates_in_place(style: str, k: int, rng: np.random.Generator) -> None:
    """``w - rate * x^T d`` is written over w, but where partial sums would lie there first."""
    a, d, first = _data(rng, (k, 33), (k, 50), (33, 50))
    with gr.Graph().as_default():
        x, dy = _x(k, 33), _x(k, 50, name="d")
        w = gr.Variable(first, name="w")
        step = gr.assign_sub(w, 0.1 * gr.matmul(x, dy, transpose_a=True))
        store = new_store({w: first})
        plan = compile_for(style, [step], {x: a, dy: d}).plan
        assert not any(s.label == "multiply+subtract" for s in plan.launches)
        run_plan(style, [step], {x: a, dy: d}, store)
        got = variable_value(store, w)
    np.testing.assert_allclose(got, first - 0.1 * (a.T.astype(np.float64) @ d), rtol=1e-3, atol=1e-3)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_few_channels_in_double_precision(style: str, channels: int, rng: np.random.Generator) -> None:
    a, f = rng.standard_normal((2, 9, 9, 3)), rng.standard_normal((3, 3, 3, channels))
    x, w = gr.placeholder(gr.float64, a.shape), gr.placeholder(gr.float64, f.shape)
    y = gr.nn.conv2d(x, w, (1, 1, 1, 1), "SAME")
    fetches = [gr.nn.relu(y), gr.tanh(y), gr.exp(gr.gradients(y, x)[0] * 0.1)]
    want = run_plan("numpy", fetches, {x: a, w: f})
    for g, expected in zip(run_plan(style, fetches, {x: a, w: f}), want, strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_other_dtypes(style: str, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((9, 33), (33, 21)))
    x, w = gr.placeholder(gr.float16, (9, 33)), gr.placeholder(gr.float16, (33, 21))
    z = gr.matmul(x, w)
    got = run_plan(style, [gr.cast(gr.tanh(z), gr.float32), gr.cast(z * 8.0, gr.int32)], {x: a, w: b})
    want = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16)
    np.testing.assert_allclose(got[0], np.tanh(want.astype(np.float32)), atol=4e-3)
    assert np.abs(got[1] - (want * np.float16(8)).astype(np.int32)).max() <= 1
