"""The passes together: random programs, results that no pass may change, and what can be read of a plan."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest
from compiler.run_plan import STYLES, compile_for, new_store, run_plan
from interpreter import evaluate

import graphrun as gr
from graphrun.compiler.pipeline import PASSES, Split, compile_plan
from graphrun.compiler.placement import Target
from graphrun.graph.descriptor import Spec
from graphrun.runtime.devices import get_device
from graphrun.runtime.executor import BoundPlan

WHERE = ["numpy", *(pytest.param(style, marks=pytest.mark.opencl) for style in STYLES)]
EACH = pytest.mark.parametrize("where", WHERE)
SIDE = 12


def random_program(rng: np.random.Generator, count: int, every_kind: bool = True) -> Any:
    """Tensors that depend on each other at random, and feeds.

    Each operation keeps numbers within -2 .. 2 and does not enlarge differences, so that what is wrong
    can be told from what was rounded.
    """
    x = gr.placeholder(gr.float32, (None, SIDE))
    w = gr.constant(rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32) / SIDE)
    feeds = {x: rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)}
    pool: list[Any] = [x, x * 0.5]
    common = [
        lambda a, b: (a + b) * 0.5,
        lambda a, b: gr.sin(a),
        lambda a, b: gr.tanh(a - b),
        lambda a, b: gr.maximum(a, b),
        lambda a, b: gr.where(gr.less(a, b), a, b),
        lambda a, b: gr.abs(a) - 0.5 * gr.square(b) * 0.5,
        lambda a, b: gr.identity(a) * 1.0,
    ]
    rare = [
        lambda a, b: gr.transpose(a),
        lambda a, b: a[::-1] * 0.5 + gr.reshape(b, [SIDE, SIDE]) * 0.5,
        lambda a, b: gr.matmul(a, w),
        lambda a, b: gr.matmul(gr.transpose(w), b),
        lambda a, b: gr.reduce_mean(a, 0, keepdims=True) * 0.5 + b * 0.5,
        lambda a, b: a * 0.5 - gr.reduce_max(b, 1, keepdims=True) * 0.5,
        lambda a, b: gr.concat([a[: SIDE // 3], b[SIDE // 3 :]], 0),
        lambda a, b: gr.nn.softmax(a) + gr.cast(gr.cast(b, gr.int32), gr.float32) * 0.25,
        lambda a, b: gr.broadcast_to(gr.reshape(a, [-1])[5 : 5 + SIDE], [SIDE, SIDE]),
        lambda a, b: gr.add_n([a * 0.25, b * 0.25, a * 0.25]),
    ]  # fmt: skip
    graph = gr.get_default_graph()
    while len(graph.get_operations()) < count:
        kinds = rare if every_kind and rng.random() < 0.06 else common
        recent = pool[-12:]
        a, b = (recent[int(k)] for k in rng.integers(0, len(recent), 2))
        pool.append(kinds[int(rng.integers(0, len(kinds)))](a, b))
    inner = [pool[int(k)] for k in rng.integers(0, len(pool), 6)]
    return [pool[-1], *inner, pool[-2], gr.reduce_sum(pool[-1])], feeds


@pytest.fixture(scope="module")
def thousand() -> Any:
    """A program of 1,000 operations with the interpreter's results."""
    with gr.Graph().as_default():
        fetches, feeds = random_program(np.random.default_rng(5), 1000)
        return fetches, feeds, evaluate(fetches, feeds)


@EACH
def test_thousand_operations(where: str, thousand: Any) -> None:
    """All devices, and the interpreter that knows no compiler, agree."""
    fetches, feeds, expected = thousand
    for result, reference in zip(run_plan(where, fetches, feeds), expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_numpy_is_the_interpreter(seed: int) -> None:
    """On NumPy every pass keeps every bit, but for the order in which a library adds a product up."""
    fetches, feeds = random_program(np.random.default_rng(seed), 300)
    for result, reference in zip(run_plan("numpy", fetches, feeds), evaluate(fetches, feeds), strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_elementwise_programs_keep_every_bit(seed: int) -> None:
    fetches, feeds = random_program(np.random.default_rng(seed), 300, every_kind=False)
    for result, reference in zip(run_plan("numpy", fetches, feeds), evaluate(fetches, feeds), strict=True):
        np.testing.assert_array_equal(result, reference)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(3))
def test_small_random_programs(style: str, seed: int) -> None:
    """Fewer common operations, so that kernels of every kind meet."""
    fetches, feeds = random_program(np.random.default_rng(100 + seed), 60)
    for result, reference in zip(run_plan(style, fetches, feeds), evaluate(fetches, feeds), strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_same_program_same_plan(seed: int) -> None:
    """Compiling is a function of the program: the text of a plan, and its kernels, are the same each time."""
    fetches, feeds = random_program(np.random.default_rng(seed), 200)
    first, second = (compile_for("null", fetches, feeds).plan for _ in range(2))
    assert str(first) == str(second) and first.sources == second.sources


@EACH
def test_training_reduces_the_loss(where: str, rng: np.random.Generator) -> None:
    """A whole step with its gradients gives the same numbers on every device."""
    x, y = gr.placeholder(gr.float32, (None, 8)), gr.placeholder(gr.float32, (None, 3))
    w1, w2 = (gr.Variable(np.zeros(s, np.float32)) for s in ((8, 16), (16, 3)))
    b = gr.Variable(np.zeros(16, np.float32))
    out = gr.matmul(gr.tanh(gr.matmul(x, w1) + b), w2)
    loss = gr.reduce_mean(gr.squared_difference(out, y))
    step = gr.train.GradientDescentOptimizer(0.5).minimize(loss)
    data = rng.normal(0, 1, (32, 8)).astype(np.float32)
    feeds = {x: data, y: np.tanh(data[:, :3] - data[:, 3:6])}
    initial = {w1: rng.normal(0, 0.3, (8, 16)), w2: rng.normal(0, 0.3, (16, 3)), b: np.zeros(16)}
    bound = BoundPlan(compile_for(where, [loss, step], feeds).plan, new_store(initial), get_device)
    losses = [float(bound.run(list(feeds.values()))[0]) for _ in range(30)]
    assert losses[0] > 0.3 and losses[-1] < losses[0] / 2
    w, v, c = initial[w1].astype(np.float32), initial[w2].astype(np.float32), np.zeros(16, np.float32)
    for expected in losses:
        h = np.tanh(data @ w + c)
        error = h @ v - feeds[y]
        np.testing.assert_allclose(np.mean(error**2), expected, rtol=1e-3)
        d = 2 * error / error.size
        dh = (d @ v.T) * (1 - h**2)
        v, w, c = v - 0.5 * (h.T @ d), w - 0.5 * (data.T @ dh), c - 0.5 * dh.sum(0)


# -- the null device ------------------------------------------------------------------------------


def test_null_device_plans_and_computes_nothing() -> None:
    """A plan is made, its memory is counted, and results are zeros."""
    x = gr.placeholder(gr.float32, (None, 1000))
    w = gr.Variable(np.ones((1000, 1000), np.float32))
    y = gr.nn.relu(gr.matmul(x, w))
    (result,) = run_plan("null", [y], {x: np.ones((5, 1000))}, new_store({w: np.ones((1000, 1000))}))
    np.testing.assert_array_equal(result, np.zeros((5, 1000)))


def test_memory_of_what_this_machine_could_not_run() -> None:
    """The peak is known without the memory that it takes: one array, written in place each time."""
    x = gr.placeholder(gr.float32, (None, 1 << 16))
    y: Any = x
    for _ in range(5):
        y = gr.exp(gr.reduce_max(y, 1, keepdims=True) + y)
    plan = compile_for("null", [gr.reduce_sum(y)], {x: Spec((1 << 20, 1 << 16), gr.float32)}).plan
    whole = 4 << 36
    assert whole <= plan.peak_bytes("null:0") < 1.01 * whole


# -- what can be read -----------------------------------------------------------------------------


def test_text_of_a_plan() -> None:
    x = gr.placeholder(gr.float32, (4, 6), name="x")
    with gr.device("/cpu:0"):
        h = gr.exp(x, name="h")
    y = gr.random_shuffle(gr.tanh(h, name="t") * 2.0, seed=1, name="y")
    target = Target("null:0", {"null:0": get_device("null:0").capabilities})
    text = str(compile_for(target, [y], {x: np.zeros((4, 6))}).plan)
    lines = text.splitlines()
    assert lines[0] == "in    r0 = x  (4, 6) float32"
    assert any(line.startswith("   0  cpu:0   r1 (4, 6) float32 = exp(r0)  # exp 'h' ") for line in lines)
    assert any(line.startswith("   1  null:0  b0 = r1, 96 bytes up") for line in lines)
    assert any(
        "= tanh+multiply(" in line and "over 1, " in line and "# multiply 'mul'" in line for line in lines
    )
    assert any("(on the host: it has no OpenCL kernel)" in line and "RandomShuffle" in line for line in lines)
    assert any(line.startswith("peak  cpu:0: ") and line.endswith(" bytes") for line in lines)
    assert any(line.startswith("peak  null:0: ") for line in lines)
    assert lines[-1].startswith("sum   null:0: 3 launches of 3 kernels, ")


def test_each_pass_can_be_read() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    passes = compile_for("null", [gr.exp(x) + 1.0], {x: np.zeros(4)}).passes
    between = [name for name, _ in PASSES]
    assert between[:3] == ["fold", "cse", "simplify"]
    for_kernels = ["cse again", "pools", "products", "sums", "rows", "fuse", "recompute", "read through"]
    assert list(passes) == ["prune", "purify", "specialize", *between, "place", *for_kernels, "epilogues"]
    assert list(compile_for("numpy", [gr.exp(x)], {x: np.zeros(4)}).passes)[-1] == "place"
    assert all(text.startswith("%0 = feed() : (4,) float32  # 'x'") for text in passes.values())


def test_passes_are_timed() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    plan = compile_for("null", [gr.exp(x)], {x: np.zeros(4)}).plan
    assert list(plan.passes_ns)[-1] == "lower" and min(plan.passes_ns.values()) >= 0


# -- the compiler itself --------------------------------------------------------------------------


def test_split_says_what_is_needed() -> None:
    x = gr.placeholder(gr.float32, (None,), name="x")
    n = gr.cast(gr.reduce_max(x), gr.int32)
    with pytest.raises(Split, match="1 values and 0 results decide shapes") as split:
        compile_for("numpy", [gr.reshape(x, [n, -1])], {x: np.zeros(6)})
    bound = BoundPlan(split.value.plan, new_store(), get_device)
    (shape,) = bound.run([np.array([1, 2, 3, 0, 0, 0], np.float32)])
    np.testing.assert_array_equal(shape, [3, -1])


def test_collector_is_as_before() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    assert gc.isenabled()
    compile_for("numpy", [gr.exp(x)], {x: np.zeros(4)})
    assert gc.isenabled()
    with pytest.raises(gr.errors.FeedError):
        compile_for("numpy", [gr.exp(x)])
    assert gc.isenabled()
    gc.disable()
    try:
        compile_for("numpy", [gr.exp(x)], {x: np.zeros(4)})
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_work_grows_with_the_size_and_not_with_its_square() -> None:
    """Counted in function calls, which are the same on every machine."""

    def calls(count: int) -> int:
        with gr.Graph().as_default():
            fetches, feeds = random_program(np.random.default_rng(0), count)
            specs = [(t, Spec(a.shape, t.dtype)) for t, a in feeds.items()]
            target = Target("null:0", {"null:0": get_device("null:0").capabilities})
            counted = 0

            def count_call(frame: Any, event: str, argument: Any) -> None:
                nonlocal counted
                counted += event in ("call", "c_call")

            before = sys.getprofile()
            sys.setprofile(count_call)
            try:
                compile_plan(fetches, specs, lambda op: op.outputs[0].spec, target)
            finally:
                sys.setprofile(before)
            return counted

    small, large = calls(400), calls(3200)
    assert large < 12 * small, f"8 times the operations take {large / small:.1f} times the calls"
