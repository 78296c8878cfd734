"""Lives of values: what lies in memory at each step, before there is a plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized
from compiler.run_plan import target

import graphrun as gr
from graphrun.compiler.fusion import fuse
from graphrun.compiler.lives import Lives
from graphrun.compiler.lower import lower
from graphrun.compiler.order import sparing_order
from graphrun.compiler.placement import place
from graphrun.compiler.schedule import schedule
from graphrun.compiler.verify import verify

SHAPE = (16, 16)


def _dense(layers: int) -> tuple[Any, list[Any]]:
    x = gr.placeholder(gr.float32, SHAPE, name="x")
    h, weights = x, []
    for i in range(layers):
        w = gr.Variable(np.ones(SHAPE, np.float32), name=f"w{i}")
        weights.append(w)
        h = gr.nn.relu(gr.matmul(h, w))
    loss = gr.reduce_mean(gr.square(h))
    return x, [loss, *gr.gradients(loss, weights)]


def _branches(layers: int) -> tuple[Any, list[Any]]:
    x = gr.placeholder(gr.float32, SHAPE, name="x")
    parts = [gr.tanh(x * float(i + 1)) for i in range(layers)]
    return x, [gr.add_n([gr.transpose(p) for p in parts]), gr.concat(parts, 0)]


def _training(layers: int) -> tuple[Any, list[Any]]:
    x, (loss, *_) = _dense(layers)
    return x, [gr.train.MomentumOptimizer(0.1, 0.9).minimize(loss), loss]


@pytest.mark.parametrize("make", [_dense, _branches, _training])
def test_the_peak_on_the_host_is_that_of_the_plan(make: Any) -> None:
    x, fetches = make(5)
    program = place(specialized(fetches, {x: SHAPE}), target("numpy"))
    program.nodes = schedule(program)
    assert Lives(program, "cpu:0").peak_bytes == lower(program, target("numpy")).peak_bytes("cpu:0")


def test_a_value_lives_from_its_step_to_its_last_reader() -> None:
    x = gr.placeholder(gr.float32, SHAPE, name="x")
    a = gr.exp(x)
    program = place(specialized([gr.sin(a) + gr.cos(a)], {x: SHAPE}), target("numpy"))
    lives = Lives(program, "cpu:0")
    (life,) = [life for (node, _), life in lives.of.items() if node.op.name == "exp"]
    assert (life.start, life.end, life.readers, life.kept) == (1, 3, [2, 3], False)
    assert lives.usage == [0, 1024, 2048, 3072, 3072, 1024] and lives.peak_at == 3


@pytest.mark.parametrize("where", ["numpy", "null"])
@pytest.mark.parametrize("make", [_dense, _training])
def test_the_sparing_order_is_an_order_with_a_lower_peak(make: Any, where: str) -> None:
    x, fetches = make(8)
    program = place(specialized(fetches, {x: SHAPE}), target(where))
    if where == "null":
        program = fuse(program)
    device = target(where).default
    program.nodes = schedule(program)
    nodes, before = program.nodes, Lives(program, device).peak_bytes
    program.nodes = sparing_order(program)
    verify(program, "sparing order", placed=True)
    assert sorted(map(id, nodes)) == sorted(map(id, program.nodes))
    assert Lives(program, device).peak_bytes < before
    plan = lower(program, target(where), ordered=True)
    assert len(plan.device_updates) + len(plan.host_updates) == (16 if make is _training else 0)


def test_an_update_in_place_waits_for_who_reads_the_old_value() -> None:
    v = gr.Variable(np.ones(SHAPE, np.float32), name="v")
    x = gr.placeholder(gr.float32, SHAPE, name="x")
    step = gr.assign_add(v, x)
    late = gr.matmul(gr.exp(gr.matmul(x, x)), v)
    program = place(specialized([step.op, late], {x: SHAPE}), target("null"))
    order = sparing_order(program)
    update = next(iter(program.updates.values()))[0]
    state = program.states[next(iter(program.states))]
    assert all(order.index(update) >= order.index(n) for n in order if (state, 0) in n.inputs)
