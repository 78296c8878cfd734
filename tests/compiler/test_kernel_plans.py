"""Plans of kernels are asked for once in a process, where they follow from the question alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler import kernel_plans
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.graph.descriptor import Capabilities, Kernel, KernelPlan, Spec
from graphrun.graph.opdef import OpDef


class Asked:
    """A kernel's plan that counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, ins: Any, outs: Any, attrs: Any, capabilities: Capabilities) -> KernelPlan:
        self.count += 1
        return KernelPlan((), scratch_bytes=(self.count,))


@pytest.fixture(autouse=True)
def forgets() -> Iterator[None]:
    """What the process remembers of these operations keeps them alive."""
    yield
    kernel_plans._plan.cache_clear()


def _op(kernel: Kernel) -> OpDef:
    return OpDef("asked", lambda *specs, **attrs: specs, None, kernel)


SPEC = Spec((3, 4), gr.float32)


def test_the_same_question_is_asked_once() -> None:
    asked = Asked()
    op = _op(Kernel("asked", asked))
    questions: list[dict[str, Any]] = [
        {}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": 0.0}, {"a": -0.0}, {"a": (1, 0.0)}, {"a": (1, -0.0)},
        {"a": (True, 0.0)}, {"a": (1, (0.0,))}, {"a": (1, (-0.0,))},
    ]  # fmt: skip
    for _ in range(2):
        plans = [kernel_plan(op, [SPEC], [SPEC], attrs, Capabilities()) for attrs in questions]
        assert [p.scratch_bytes[0] for p in plans if p] == list(range(1, len(questions) + 1))
    kernel_plan(op, [SPEC], [Spec((3, 4), gr.int32)], {}, Capabilities())
    kernel_plan(op, [SPEC], [SPEC], {}, Capabilities(fp64=False))
    kernel_plan(_op(Kernel("asked", asked)), [SPEC], [SPEC], {}, Capabilities())
    assert asked.count == len(questions) + 3


def test_users_functions_are_asked_each_time(device: str) -> None:
    """What they return may hang on more than their arguments."""
    factor = 2.0
    scaled = gr.custom_op(
        "scaled",
        opencl=gr.OpenCLKernel(
            """kernel void scaled(global const float *x, global float *y, float by) {
                   y[get_global_id(0)] = x[get_global_id(0)] * by;
               }""",
            global_size=lambda x: x,
            scalars=lambda x: (factor,),
        ),
        numpy=lambda x: x * np.float32(factor),
        shape=lambda x: x,
    )
    y = scaled(gr.placeholder(gr.float32, (3,), name="x"))
    for factor in (2.0, 5.0):  # noqa: B007  the functions above read it
        with gr.Session(device=device) as session:
            np.testing.assert_array_equal(
                session.run(y, {"x:0": [1, 2, 3]}), [factor, 2 * factor, 3 * factor]
            )
