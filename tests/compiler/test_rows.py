"""Pass: which reductions and elementwise nodes become one kernel that takes a row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized, text
from compiler.run_plan import STYLES, compile_for, run_plan, target
from tolerances import assert_close

import graphrun as gr
from graphrun.compiler.codegen import rows as codegen_rows
from graphrun.compiler.placement import place
from graphrun.compiler.rows import ROWS, rows
from graphrun.graph.descriptor import Spec

EACH_STYLE = pytest.mark.parametrize("style", STYLES)


def _x(*shape: int, dtype: Any = gr.float32) -> gr.Tensor:
    return gr.placeholder(dtype, shape or (16, 20), name="x")


def _group(fetches: list[Any], feeds: dict[Any, Any]) -> Any:
    """The only row group of a program."""
    program = rows(place(specialized(fetches, feeds), target("null")))
    (node,) = (n for n in program.nodes if n.op is ROWS)
    return node.attrs["group"]


def _labels(*fetches: Any) -> list[str]:
    graph = gr.get_default_graph()
    fed = [op.outputs[0] for op in graph.get_operations() if op.opdef.name == "placeholder"]
    values = {t: np.zeros(t._shape, t.dtype.numpy) for t in fed}
    return [s.label for s in compile_for("null", list(fetches), values).plan.launches]


# -- regions --------------------------------------------------------------------------------------


def test_softmax() -> None:
    x = _x(16, 20)
    y = gr.nn.softmax(x, name="y")
    program = rows(place(specialized([y], {x: (16, 20)}), target("null")))
    assert str(program) == text("""
        %0 = feed() : (16, 20) float32  # 'x'
        %1 = rows(%0) group=rows:max+subtract+exp+sum+reciprocal+... rows=16 : (16, 20) float32  null:0  # 'y'
        fetch %1
    """)
    group = program.nodes[1].attrs["group"]
    assert [i.kind for i in group.instructions] == ["reduce", "full", "full", "reduce", "row", "full"]
    assert (group.columns, group.results) == (20, (5,))


def test_producers_that_only_the_region_reads_join_it() -> None:
    x = _x()
    assert _labels(gr.nn.softmax(gr.tanh(x) * 2.0)) == ["rows:tanh+multiply+max+subtract+exp+sum+..."]


def test_a_producer_that_others_read_too_is_computed_once() -> None:
    x = _x()
    z = gr.tanh(x)
    assert _labels(gr.nn.softmax(z), gr.transpose(z)) == [
        "tanh", "rows:max+subtract+exp+sum+reciprocal+multiply", "view",
    ]  # fmt: skip


def test_cross_entropy_and_its_gradient_are_one_kernel() -> None:
    x = _x(16, 10)
    labels = gr.placeholder(gr.int32, (16,), name="labels")
    loss = gr.reduce_mean(gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x))
    found = _labels(loss, *gr.gradients(loss, [x]))
    assert len(found) == 2 and found[1] == "mean", found


def test_regions_that_a_node_joins_become_one() -> None:
    """The sums of two inputs are apart until a node reads both."""
    a, b = _x(16, 20), gr.placeholder(gr.float32, (16, 20))
    y = gr.reduce_sum(a, 1) / gr.reduce_sum(b, 1)
    assert _labels(y) == ["rows:sum+sum+divide"]


def test_no_circle_around_a_node_that_cannot_join() -> None:
    """max -> matmul -> subtract: the difference depends on the maximum through a product, outside."""
    x = _x(16, 16)
    m = gr.reduce_max(x, 1, keepdims=True)
    outside = gr.matmul(m * x, x)
    y = gr.nn.softmax(outside - m)
    found = _labels(y)
    assert sum(label.startswith("rows") for label in found) == 2, found


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 20), 1), ((16, 20), 0), ((16, 1), 1), ((16, 1 << 17), 1), ((16, 20), None)]
)
def test_what_is_not_a_region(shape: Any, axis: Any) -> None:
    """Few rows, columns, rows of one, rows too long, and a reduction to one value."""
    x = _x(*shape)
    assert not any(label.startswith("rows") for label in _labels(gr.reduce_sum(gr.exp(x), axis)))


def test_limits_of_a_region() -> None:
    x = _x()
    y = gr.reduce_sum(x, 1, keepdims=True)
    for i in range(150):
        y = y * 0.5 + float(i)
    assert len(_labels(y)) > 1


# -- passes ---------------------------------------------------------------------------------------


def test_costly_values_are_kept_and_cheap_ones_computed_again() -> None:
    x = _x()
    group = _group([gr.nn.softmax(x)], {x: (16, 20)})
    found = codegen_rows.schedule(group)
    computed = [[group.instructions[j].op for j in p.computed] for p in found.passes]
    assert computed == [[], ["subtract", "exp"], ["multiply"]]
    assert [group.instructions[j].op for j in found.scratch] == ["exp"]
    group = _group([gr.nn.log_softmax(x)], {x: (16, 20)})
    found = codegen_rows.schedule(group)
    assert [[group.instructions[j].op for j in p.computed] for p in found.passes] == [
        [], ["subtract", "exp"], ["subtract", "subtract"],
    ]  # fmt: skip
    assert not found.scratch


def test_literals_are_arguments() -> None:
    """Groups that differ in a literal share a kernel; those that use the same two otherwise do not."""
    x = _x()
    s = gr.reduce_sum(x, 1, keepdims=True)

    def kernels(*fetches: Any) -> int:
        return len({s.kernel for s in compile_for("null", fetches, {x: np.zeros((16, 20))}).plan.launches})

    # Of the three the last alone may overwrite x.
    assert kernels(*(gr.nn.softmax(x * factor) for factor in (2.0, 3.0, 4.0))) == 2
    assert kernels(s * 2.0 + 3.0) == 1
    a, b = gr.Graph(), gr.Graph()
    sources = []
    for graph, (p, q) in ((a, (2.0, 3.0)), (b, (3.0, 2.0))):
        with graph.as_default():
            x = _x()
            y = gr.reduce_sum(x * p, 1) + q
            sources.append(compile_for("null", [y], {x: np.zeros((16, 20))}).plan.sources)
    assert sources[0] == sources[1]


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.opencl
@EACH_STYLE
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_against_numpy(style: str, dtype: str) -> None:
    rng = np.random.default_rng(7)
    fetches, feeds, labels = [], {}, []

    def feed(*shape: int) -> gr.Tensor:
        t = gr.placeholder(gr.as_dtype(dtype), shape)
        feeds[t] = rng.uniform(-3, 3, shape).astype(dtype)
        return t

    # Lengths around vectors and work-groups, and shapes whose rows are several axes.
    for count, columns in [(8, 2), (9, 15), (33, 16), (10, 17), (64, 127), (17, 129), (8, 1000)]:
        x, w, c = feed(count, columns), feed(count, columns), feed(columns)
        p = gr.nn.softmax(x)
        mean, variance = gr.nn.moments(x, [1], keep_dims=True)
        y = (x - mean) * gr.rsqrt(variance + 0.5) * c + w
        found = [p, gr.nn.log_softmax(x * c), y, gr.reduce_max(x * w, 1), gr.reduce_mean(x - w, 1)]
        found += [gr.gradients(p * w, [x])[0], gr.reduce_any(x > w, 1), gr.reduce_prod(x * 0.5, 1)]
        fetches += found
        labels += [f"{count}x{columns}"] * len(found)
    x, mask = feed(2, 4, 6, 24), feed(2, 1, 1, 24)
    fetches += [gr.nn.softmax(x + mask), gr.reduce_sum(gr.exp(x) * mask, [2, 3])]
    labels += ["mask", "two axes"]
    expected = run_plan("numpy", fetches, feeds)
    assert any("rows:" in s.label for s in compile_for(style, fetches, feeds).plan.launches)
    for label, e, result in zip(labels, expected, run_plan(style, fetches, feeds), strict=True):
        assert_close(result, e, 16, label)


@pytest.mark.opencl
@EACH_STYLE
def test_special_values(style: str) -> None:
    x = gr.placeholder(gr.float32, (12, 19))
    value = np.zeros((12, 19), np.float32)
    value[0, 3], value[1, 4], value[2, 5] = np.nan, np.inf, -np.inf
    value[3] = -np.inf
    fetches = [gr.nn.softmax(x), gr.nn.log_softmax(x), gr.reduce_max(x, 1), gr.reduce_sum(x * 2.0, 1)]
    with np.errstate(all="ignore"):
        expected = run_plan("numpy", fetches, {x: value})
    for e, result in zip(expected, run_plan(style, fetches, {x: value}), strict=True):
        assert_close(result, e)


@pytest.mark.opencl
@EACH_STYLE
def test_labels_of_each_type(style: str) -> None:
    """Labels that are no class give NaN on devices; narrow types have fewer numbers than classes."""
    fetches, feeds, missing = [], {}, []
    for dtype, classes in (("int32", 10), ("int64", 33), ("uint8", 10), ("int8", 200)):
        logits, labels = gr.placeholder(gr.float32, (9, classes)), gr.placeholder(gr.as_dtype(dtype), (9,))
        rng = np.random.default_rng(3)
        feeds[logits] = rng.normal(size=(9, classes)).astype(np.float32)
        feeds[labels] = np.array([0, 1, classes - 1 if dtype != "int8" else 127, 5, 9, 7, 2, 3, 4], dtype)
        loss = gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        fetches += [loss, *gr.gradients(loss, [logits])]
        if classes < 100:
            missing.append((labels, len(fetches) - 2))
    expected = run_plan("numpy", fetches, feeds)
    for e, result in zip(expected, run_plan(style, fetches, feeds), strict=True):
        assert_close(result, e, 8)
    for labels, _ in missing:  # NumPy says so instead
        feeds[labels] = np.array([0, 1, 2, 5, 9, 100, 2, 3, 4], feeds[labels].dtype)
    found = run_plan(style, fetches, feeds)
    for _, k in missing:
        assert np.isnan(found[k]).tolist() == [False] * 5 + [True] + [False] * 3
        assert np.isnan(found[k + 1][5]).all() and np.isfinite(found[k + 1][:5]).all()


@pytest.mark.opencl
@EACH_STYLE
def test_same_bits_twice(style: str) -> None:
    x = gr.placeholder(gr.float32, (50, 333))
    value = np.random.default_rng(0).normal(size=(50, 333)).astype(np.float32)
    fetches = [gr.nn.softmax(x), gr.reduce_sum(gr.exp(x), 1)]
    first, second = (run_plan(style, fetches, {x: value}) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.opencl
@pytest.mark.parametrize("style", ["loops", "grid"])
def test_many_instructions_between_reductions(style: str) -> None:
    """Instruction 14 and the fourth of instruction 1's lanes are two variables."""
    x = gr.placeholder(gr.float32, (16, 8))
    t = gr.sin(x)
    t = t - gr.reduce_max(t, 1, keepdims=True)
    for _ in range(36):
        t = gr.sin(t)
    y = t / gr.reduce_sum(t, 1, keepdims=True)
    a = np.random.default_rng(0).random((16, 8)).astype(np.float32)
    (got,) = run_plan(style, [y], {x: a})
    (want,) = run_plan("numpy", [y], {x: a})
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


def test_what_passes_ask_for_and_how_they_sum() -> None:
    """A light pass has four accumulators; the last but one asks for the next row and this one's result."""
    x = gr.placeholder(gr.float32, (64, 1024))
    group = _group([gr.nn.softmax(x)], {x: (64, 1024)})
    spec = Spec((64, 1024), gr.float32)
    source, _ = codegen_rows.row_kernel(group, [spec], [spec], {}, "cpu")
    first, second, last = source.split("{ uint c = 0;")[1:]
    assert "lanes0_3 = " in first and "gr_fetch" not in first
    assert "gr_fetch(x0 + base + c + 1024);" in second and "gr_fetch_to(y0 + base + c + 0);" in second
    assert "_3 = " not in second, "an exp takes longer than a sum waits"
    assert "gr_fetch" not in last
    gpu, _ = codegen_rows.row_kernel(group, [spec], [spec], {}, "gpu")
    assert "gr_fetch" not in gpu
    mean, variance = gr.nn.moments(x, [1], keep_dims=True)
    group = _group([gr.nn.batch_normalization(x, mean, variance, None, None, 1e-3)], {x: (64, 1024)})
    source, _ = codegen_rows.row_kernel(group, [spec], [spec], {}, "cpu")
    light = source.split("{ uint c = 0;")[2]
    assert light.count("gr_fetch(x0 +") == 5, "with each of its four vectors, and with what is left"
