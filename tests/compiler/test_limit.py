"""The session's limit on memory: what is refused, what it says, and what recomputing saves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.limit import MemoryLimit, memory_limit, needed_bytes

DEVICES = ["cpu:0", pytest.param("opencl:0", marks=pytest.mark.opencl)]
RNG = np.random.default_rng(3)
X = RNG.standard_normal((256, 64)).astype(np.float32)


# -- what is given -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1, 1), (2.5e3, 2500), (np.int64(7), 7), ("17", 17), ("17 B", 17), ("512 MiB", 512 << 20),
        ("1.5KiB", 1536), ("2 gb", 2 * 10**9), (" 3 TiB ", 3 << 40),
    ],
)  # fmt: skip
def test_limits(given: Any, expected: int) -> None:
    assert memory_limit(given, True) == MemoryLimit(expected, True)


@pytest.mark.parametrize("given", [0, -5, True, "much", "5 apples", "", [1], float("nan"), float("inf"), 0.5])
def test_limits_that_are_none(given: Any) -> None:
    with pytest.raises(gr.errors.GraphError, match=r"memory_limit=.*\n.*'512 MiB'"):
        gr.Session(memory_limit=given)


def test_recompute_needs_a_limit() -> None:
    assert memory_limit(None) is None
    with pytest.raises(gr.errors.GraphError, match="recompute=True and no memory_limit"):
        gr.Session(recompute=True)


# -- what is refused ---------------------------------------------------------------------------------


def _line(here: int = 0) -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno + here


def test_the_message_names_the_step_and_the_largest_values() -> None:
    x = gr.placeholder(gr.float32, (None, 64), name="x")
    v = gr.Variable(np.ones((64, 64), np.float32), name="v")
    a = gr.tanh(gr.matmul(x, v), name="a")
    line = _line(-1)
    total = gr.reduce_sum(gr.multiply(a, gr.exp(a, name="b"), name="c"))
    step = v.assign_add(v * 0.5 + gr.reduce_sum(a))
    with gr.Session(memory_limit=100_000) as session:
        session.run(v.initializer)
        with pytest.raises(gr.errors.MemoryLimitError) as caught:
            session.run([total, step], {x: X})
        file = re.escape(__file__)
        assert re.fullmatch(
            r"a run needs ([\d,]+) bytes on cpu:0, ([\d,]+) more than the session's memory_limit of 100,000\n"
            r"  [\d,]+ bytes of values at the peak, 16,384 of variables\n"
            rf"  the peak is at multiply 'c' created at {file}:{line + 2}\n"
            r"  the largest values there:\n"
            rf"    65,536 bytes: \(256, 64\) float32, tanh 'a' created at {file}:{line}\n"
            r"(    65,536 bytes: .*\n){2}(    .*\n){0,2}"
            r"  feed a smaller batch, pass Session\(recompute=True\) .*, or raise memory_limit",
            str(caught.value),
        ), str(caught.value)
        assert isinstance(caught.value, MemoryError)
        np.testing.assert_array_equal(session.run(v), np.ones((64, 64)))
        # A smaller batch fits, in the same session.
        assert session.run([total, step], {x: X[:10]})[0] is not None
        assert session.run(v)[0, 0] != 1


@pytest.mark.parametrize("on", DEVICES)
def test_variables_count(on: str) -> None:
    v = gr.Variable(np.ones((64, 64), np.float32), name="v")
    total = gr.reduce_sum(v)
    with gr.Session(device=on, memory_limit="10 KiB") as session:
        v.load(np.ones((64, 64)), session)
        with pytest.raises(gr.errors.MemoryLimitError, match="16,384 of variables"):
            session.run(total)


def test_a_loop_keeps_to_the_limit_too() -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    big = gr.while_loop(
        lambda a: a < 100.0, lambda a: a + gr.reduce_sum(gr.exp(gr.zeros([10_000]) + a)), [x], name="big"
    )
    with gr.Session(memory_limit=1000) as session:
        with pytest.raises(gr.errors.MemoryLimitError, match="40,000 bytes"):
            session.run(big, {x: 0.0})
    assert gr.Session(memory_limit="1 MB").run(big, {x: 0.0}) > 100


def test_where_shapes_depend_on_data_each_part_is_compared() -> None:
    x = gr.placeholder(gr.float32, (None,), name="x")
    rows = gr.boolean_mask(x, x > 0)
    y = gr.reduce_sum(gr.exp(gr.reshape(rows, [-1, 1]) * gr.reshape(rows, [1, -1])))
    with gr.Session(memory_limit="100 kB") as session:
        assert session.run(y, {x: np.ones(20)}) > 0
        with pytest.raises(gr.errors.MemoryLimitError, match=r"\(300, 300\) float32, exp"):
            session.run(y, {x: np.ones(300)})


@pytest.mark.parametrize("on", DEVICES)
def test_another_order_is_tried_before_a_plan_is_refused(on: str) -> None:
    """Gradients of weights are computed where their operands are, and not at the end."""
    x, fetches = _relu(12)
    peak = _needed(fetches, {x: X}, on)
    with gr.Session(device=on, memory_limit=int(0.8 * peak)) as session:
        plan = session.plan(fetches, {x: X})
        assert needed_bytes(plan, on) <= 0.8 * peak
        assert len(plan.steps) == len(gr.Session(device=on).plan(fetches, {x: X}).steps)
    _same(fetches, x, on, int(0.8 * peak), False)


# -- recomputing -------------------------------------------------------------------------------------


def _relu(layers: int) -> tuple[Any, list[Any]]:
    return _layers(layers, gr.nn.relu, True)


def _gelu(layers: int) -> tuple[Any, list[Any]]:
    return _layers(layers, lambda h: 0.5 * h * (1.0 + gr.tanh(0.8 * (h + 0.04 * h * h * h))), True)


def _elementwise(layers: int) -> tuple[Any, list[Any]]:
    return _layers(layers, lambda h: gr.tanh(h * 1.1) * h + gr.sin(h), False)


def _dropout(layers: int) -> tuple[Any, list[Any]]:
    gr.set_random_seed(5)
    return _layers(layers, lambda h: gr.nn.dropout(gr.tanh(h) * h, 0.8), True)


def _normed(layers: int) -> tuple[Any, list[Any]]:
    def block(h: Any) -> Any:
        mean, variance = gr.nn.moments(h, [1], keep_dims=True)
        return gr.tanh((h - mean) * gr.rsqrt(variance + 1e-3)) + gr.nn.softmax(h)

    return _layers(layers, block, True)


def _reshaped(layers: int) -> tuple[Any, list[Any]]:
    def block(h: Any) -> Any:
        turned = gr.transpose(gr.reshape(h, [16, 16, 64]), [1, 0, 2])
        return gr.reshape(gr.sigmoid(turned) * turned, [256, 64])

    return _layers(layers, block, True)


def _layers(layers: int, block: Callable[[Any], Any], dense: bool) -> tuple[Any, list[Any]]:
    x = gr.placeholder(gr.float32, X.shape, name="x")
    h, weights = x, []
    rng = np.random.default_rng(0)
    for i in range(layers):
        if dense:
            value = (rng.standard_normal((64, 64)) / 8).astype(np.float32)
            weights.append(gr.Variable(value, name=f"w{i}"))
            h = gr.matmul(h, weights[-1])
        h = block(h)
    loss = gr.reduce_mean(gr.square(h))
    return x, [loss, *gr.gradients(loss, [x, *weights])]


def _values(fetches: list[Any], feeds: Any, session: gr.Session) -> list[Any]:
    session.run(gr.global_variables_initializer())
    return [session.run(fetches, feeds) for _ in range(2)]


def _needed(fetches: list[Any], feeds: Any, device: str) -> int:
    return needed_bytes(gr.Session(device=device).plan(fetches, feeds), device)


def _same(fetches: list[Any], x: Any, device: str, limit: int, recompute: bool) -> None:
    with gr.Session(device=device) as session:
        want = _values(fetches, {x: X}, session)
    with gr.Session(device=device, memory_limit=limit, recompute=recompute, verify=True) as session:
        got = _values(fetches, {x: X}, session)
    for one, other in zip(want, got, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("make", [_relu, _gelu, _elementwise, _dropout, _normed, _reshaped])
def test_the_peak_falls_and_no_bit_changes(make: Any, on: str) -> None:
    if make is _elementwise and on != "cpu:0":
        pytest.skip("two kernels: one for all values forwards, one that reads them all backwards")
    x, fetches = make(12)
    before = gr.Session(device=on).plan(fetches, {x: X})
    limit = int(0.65 * needed_bytes(before, on))
    with pytest.raises(gr.errors.MemoryLimitError):
        gr.Session(device=on, memory_limit=limit // 8).plan(fetches, {x: X})
    after = gr.Session(device=on, memory_limit=limit, recompute=True).plan(fetches, {x: X})
    assert needed_bytes(after, on) <= limit
    assert len(after.steps) < 2.5 * len(before.steps)
    _same(fetches, x, on, limit, True)


@pytest.mark.parametrize("on", DEVICES)
def test_training_with_half_of_the_memory(on: str) -> None:
    x, (loss, *_) = _gelu(10)
    step = gr.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    init = gr.global_variables_initializer()

    def losses(**options: Any) -> list[Any]:
        with gr.Session(device=on, **options) as session:
            session.run(init)
            return [session.run([loss, step], {x: X})[0] for _ in range(3)]

    limit = int(0.6 * _needed([loss, step], {x: X}, on))
    assert losses(memory_limit=limit, recompute=True) == losses()


def test_a_limit_that_cannot_be_kept_says_how_far_it_came() -> None:
    x, fetches = _elementwise(12)
    with pytest.raises(gr.errors.MemoryLimitError) as caught:
        gr.Session(memory_limit=100_000, recompute=True).run(fetches, {x: X})
    assert re.search(
        r"\n  recomputing has brought it down from [\d,]+ bytes, and finds no more to drop\n",
        str(caught.value),
    )
    assert "recompute=True" not in str(caught.value)


def test_passes_show_what_was_recomputed() -> None:
    x, fetches = _elementwise(8)
    limit = int(0.6 * _needed(fetches, {x: X}, "cpu:0"))
    passes = gr.Session(memory_limit=limit, recompute=True).passes(fetches, {x: X})
    assert passes["spare"].count("tanh(") > passes["place"].count("tanh(")
    assert "spare" not in gr.Session(memory_limit="1 GiB", recompute=True).passes(fetches, {x: X})
