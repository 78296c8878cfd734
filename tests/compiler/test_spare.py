"""Pass: values that wait for a late reader are computed again just before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from compiler.programs import assert_same_bits, specialized, text, values_of
from compiler.run_plan import target

import graphrun as gr
from graphrun.compiler.epilogue import epilogues
from graphrun.compiler.fusion import FUSED, fuse
from graphrun.compiler.ir import Program
from graphrun.compiler.lives import Lives
from graphrun.compiler.placement import place
from graphrun.compiler.spare import Snapshot, spare
from graphrun.compiler.verify import verify

CPU = "cpu:0"


def _placed(fetches: list[Any], feeds: dict[Any, tuple[int, ...]], where: str = "numpy") -> Program:
    return place(specialized(fetches, feeds), target(where))


def _spared(program: Program, goal: int, device: str = CPU, zero_copy: bool = False) -> Program:
    program = spare(program, {device: (goal, zero_copy)})
    verify(program, "spare", placed=True)
    return program


def _waiting() -> tuple[Any, Any]:
    x = gr.placeholder(gr.float32, (100,), name="x")
    a = gr.tanh(x, name="a")
    m = gr.reduce_max(a, name="m")
    c = gr.multiply(gr.exp(x, name="b"), m, name="c")
    return x, gr.multiply(a, gr.reduce_sum(c, name="s"), name="y")


def test_before_and_expected() -> None:
    x, y = _waiting()
    program = _placed([y], {x: (100,)})
    assert str(program) == text("""
        %0 = feed() : (100,) float32  # 'x'
        %1 = tanh(%0) : (100,) float32  cpu:0  # 'a'
        %2 = max(%1) axis=None keepdims=False : () float32  cpu:0  # 'm'
        %3 = exp(%0) : (100,) float32  cpu:0  # 'b'
        %4 = multiply(%3, %2) : (100,) float32  cpu:0  # 'c'
        %5 = sum(%4) axis=None keepdims=False : () float32  cpu:0  # 's'
        %6 = multiply(%1, %5) : (100,) float32  cpu:0  # 'y'
        fetch %6
    """)
    assert Lives(program, CPU).peak_bytes == 1204
    program = _spared(program, 900)
    assert str(program) == text("""
        %0 = feed() : (100,) float32  # 'x'
        %1 = tanh(%0) : (100,) float32  cpu:0  # 'a'
        %2 = max(%1) axis=None keepdims=False : () float32  cpu:0  # 'm'
        %3 = exp(%0) : (100,) float32  cpu:0  # 'b'
        %4 = multiply(%3, %2) : (100,) float32  cpu:0  # 'c'
        %5 = sum(%4) axis=None keepdims=False : () float32  cpu:0  # 's'
        %6 = tanh(%0) : (100,) float32  cpu:0  # 'a'
        %7 = multiply(%6, %5) : (100,) float32  cpu:0  # 'y'
        fetch %7
    """)
    assert Lives(program, CPU).peak_bytes == 804


def test_nothing_changes_where_the_goal_is_met() -> None:
    x, y = _waiting()
    program = _placed([y], {x: (100,)})
    before = str(program)
    assert str(_spared(program, 1204)) == before


def test_what_is_fetched_stays() -> None:
    x = gr.placeholder(gr.float32, (100,), name="x")
    a = gr.tanh(x)
    c = gr.exp(x) * gr.reduce_max(a)
    program = _placed([a * gr.reduce_sum(c), a], {x: (100,)})
    before = str(program)
    assert str(_spared(program, 900)) == before


def test_what_calls_back_is_called_once() -> None:
    x = gr.placeholder(gr.float32, (100,), name="x")
    a = gr.tanh(gr.Print(gr.exp(x), [x], "once"))
    c = gr.sin(x) * gr.reduce_max(a)
    names = [n.op.name for n in _spared(_placed([a * gr.reduce_sum(c)], {x: (100,)}), 900).nodes]
    assert names.count("tanh") == 2 and sum("print" in n.lower() for n in names) == 1


def test_the_cheaper_of_two_goes_first() -> None:
    x = gr.placeholder(gr.float32, (64, 64), name="x")
    cheap, dear = gr.multiply(x, 2.0, name="cheap"), gr.matmul(x, x, name="dear")
    middle = gr.exp(x) * gr.reduce_max(cheap) * gr.reduce_max(dear)
    program = _placed([gr.reduce_sum(middle) * cheap * dear], {x: (64, 64)})
    names = [n.op.name for n in _spared(program, 3 * 64 * 64 * 4 + 64).nodes]
    assert names.count("matmul") == 1 and names.count("multiply") == 6
    names = [n.op.name for n in _spared(program, 2 * 64 * 64 * 4 + 64).nodes]
    assert names.count("matmul") == 2


def test_a_snapshot_brings_the_program_back() -> None:
    x, y = _waiting()
    program = _placed([y], {x: (100,)})
    before, snapshot = str(program), Snapshot(program)
    assert str(_spared(program, 900)) != before
    snapshot.restore(program)
    assert str(program) == before


def _chain(layers: int) -> tuple[Any, list[Any]]:
    x = gr.placeholder(gr.float32, (40, 50), name="x")
    h = x
    for i in range(layers):
        h = gr.tanh(h * 1.25) * h + gr.sin(h, name=f"h{i}")
    loss = gr.reduce_sum(gr.square(h))
    return x, [loss, gr.gradients(loss, x)[0]]


def test_a_long_chain_takes_a_few_of_its_values(rng: np.random.Generator) -> None:
    x, fetches = _chain(24)
    a = rng.standard_normal((40, 50)).astype(np.float32)
    program = _placed(fetches, {x: (40, 50)})
    want = values_of(program, [a])
    peak, count = Lives(program, CPU).peak_bytes, len(program.nodes)
    program = _spared(program, peak // 4)
    assert Lives(program, CPU).peak_bytes <= peak // 4
    assert len(program.nodes) < 2 * count, "each value is computed again about once"
    for got, expected in zip(values_of(program, [a]), want, strict=True):
        assert_same_bits(got, expected)


def test_part_of_a_group_is_computed_again() -> None:
    x = gr.placeholder(gr.float32, (128, 128), name="x")
    w = gr.placeholder(gr.float32, (128, 128), name="w")
    h = gr.tanh(x, name="first")
    late = gr.sin(h, name="late")
    z: Any = gr.matmul(h * 2.0, w)
    for _ in range(3):
        z = gr.matmul(gr.matmul(z, w), gr.exp(z))
    program = epilogues(fuse(_placed([z * late], {x: (128, 128), w: (128, 128)}, "null")), target("null"))
    (group,) = [n for n in program.nodes if n.op is FUSED and len(n.specs) > 1]
    assert sorted(i.op for i in group.attrs["group"].instructions) == ["multiply", "sin", "tanh"]
    peak = Lives(program, "null:0", True).peak_bytes
    program = _spared(program, peak - 128 * 128 * 4, "null:0", True)
    groups = [sorted(i.op for i in n.attrs["group"].instructions) for n in program.nodes if n.op is FUSED]
    assert ["multiply", "tanh"] in groups, "the group no longer stores what is computed later"
    assert ["sin", "tanh"] in groups
    assert Lives(program, "null:0", True).peak_bytes == peak - 128 * 128 * 4
