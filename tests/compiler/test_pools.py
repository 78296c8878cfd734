"""Pass: gates and sums behind the gradient of a max pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import names, specialized
from compiler.run_plan import STYLES, run_plan, target

import graphrun as gr
from graphrun.compiler.placement import place
from graphrun.compiler.pools import pools


def _net(x: Any, bias: Any, ksize: int, stride: int, padding: str, layout: str, gate: Any) -> Any:
    at = [1, 2] if layout == "NHWC" else [2, 3]
    k, s = [1] * 4, [1] * 4
    for axis in at:
        k[axis], s[axis] = ksize, stride
    z = gate(gr.nn.bias_add(x * 1.5, bias, layout))
    y = gr.nn.max_pool(z, k, s, padding, data_format=layout)
    return gr.gradients(gr.reduce_sum(gr.square(y)), [x, bias])


def test_gate_and_sum_see_windows() -> None:
    x, b = gr.placeholder(gr.float32, (2, 8, 8, 3)), gr.placeholder(gr.float32, (3,))
    fetches = _net(x, b, 2, 2, "VALID", "NHWC", gr.nn.relu)
    program = pools(place(specialized(fetches, {x: (2, 8, 8, 3), b: (3,)}), target("null")))
    shapes = {n.op.name: n.specs[0].dims for n in program.nodes}
    assert shapes["relu_gradient"] == (2, 4, 4, 3)
    (total,) = (n for n in program.nodes if n.op.name == "sum" and n.specs[0].dims == (3,))
    assert total.input_specs[0].dims == (32, 3)
    assert total.inputs[0][0].inputs[0][0].op.name == "relu_gradient"
    assert names(program).count("max_pool_grad") == 1


def test_gradient_that_others_read_stays() -> None:
    x = gr.placeholder(gr.float32, (2, 8, 8, 3))
    z = gr.nn.relu(x)
    y = gr.nn.max_pool(z, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    fetches = gr.gradients(gr.reduce_sum(y * y), [x, z])
    program = pools(place(specialized(fetches, {x: (2, 8, 8, 3)}), target("null")))
    (gate,) = (n for n in program.nodes if n.op.name == "relu_gradient")
    assert gate.specs[0].dims == (2, 8, 8, 3)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("window", [(2, 2, "VALID"), (3, 2, "SAME"), (3, 1, "SAME"), (2, 3, "VALID")])
@pytest.mark.parametrize("gate", ["relu", "relu6"])
def test_values(
    style: str, layout: str, window: tuple[int, int, str], gate: str, rng: np.random.Generator
) -> None:
    shape = (2, 9, 7, 5) if layout == "NHWC" else (2, 5, 9, 7)
    a, c = (rng.standard_normal(s).astype(np.float32) * 4 for s in (shape, (5,)))
    a[0] = -9.0  # windows in which nothing passes, and many maxima are equal
    x, b = gr.placeholder(gr.float32, shape), gr.placeholder(gr.float32, (5,))
    fetches = _net(x, b, *window, layout, getattr(gr.nn, gate))
    want = run_plan("numpy", fetches, {x: a, b: c})
    for got, expected in zip(run_plan(style, fetches, {x: a, b: c}), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
