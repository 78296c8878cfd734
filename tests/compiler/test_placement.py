"""Pass 7: devices, the reasons for the host, and copies where devices meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compiler.programs import names, specialized, text
from compiler.run_plan import compile_for

import graphrun as gr
from graphrun.compiler.cse import cse
from graphrun.compiler.placement import Target, place
from graphrun.errors import DeviceError
from graphrun.graph.descriptor import Capabilities

CAPABILITIES = Capabilities(compute_units=4)


def _target(**changes: Any) -> Target:
    return Target("null:0", {"null:0": CAPABILITIES}, **changes)


def test_everything_on_one_device() -> None:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    w = gr.Variable(np.ones((3, 2), np.float32), name="w")
    y = gr.add(gr.matmul(x, w, name="product"), gr.constant(1.0, name="one"), name="y")
    assert str(place(specialized([y], {x: (2, 3)}), _target())) == text("""
        %0 = feed() : (2, 3) float32  # 'x'
        %1 = state() key=w : (3, 2) float32  # 'w'
        %2 = matmul(%0, %1) transpose_a=False transpose_b=False : (2, 2) float32  null:0  # 'product'
        %3 = const() value=1. dtype=float32 : () float32  # 'one'
        %4 = add(%2, %3) : (2, 2) float32  null:0  # 'y'
        fetch %4
    """)


def test_numpy_by_default() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    program = place(specialized([gr.exp(x)], {x: (2,)}), Target())
    assert [n.device for n in program.nodes] == ["", "cpu:0"]


def test_scopes_and_copies() -> None:
    """A value is copied once to each device that reads it; what is known or fed is not copied."""
    x = gr.placeholder(gr.float32, (2,), name="x")
    a = gr.exp(x, name="a")
    with gr.device("/cpu:0"):
        b = gr.add(a, x, name="b")
        c = gr.subtract(a, b, name="c")
    d = gr.multiply(c, c, name="d")
    assert str(place(specialized([d], {x: (2,)}), _target())) == text("""
        %0 = feed() : (2,) float32  # 'x'
        %1 = exp(%0) : (2,) float32  null:0  # 'a'
        %2 = copy(%1) : (2,) float32  cpu:0  # 'a'
        %3 = add(%2, %0) : (2,) float32  cpu:0  # 'b'
        %4 = subtract(%2, %3) : (2,) float32  cpu:0  # 'c'
        %5 = copy(%4) : (2,) float32  null:0  # 'c'
        %6 = multiply(%5, %5) : (2,) float32  null:0  # 'd'
        fetch %6
    """)


def _reasons(fetch: Any, feeds: Any, target: Target) -> list[tuple[str, str]]:
    plan = compile_for(target, [fetch], {k: np.zeros(s, k.dtype.numpy) for k, s in feeds.items()}).plan
    return [(origin.name, why) for origin, why in plan.host_fallbacks()]


def test_operation_without_a_kernel() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    y = gr.random_shuffle(x, seed=1, name="y")
    assert _reasons(y * 2.0, {x: (2,)}, _target()) == [("y/RandomShuffle", "it has no OpenCL kernel")]


def test_kernel_that_does_not_take_the_case() -> None:
    x = gr.placeholder(gr.float32, (None, 1), name="x")
    y = gr.matmul(x, [[1.0]], name="y")
    program = place(specialized([y], {x: (2**32, 1)}), _target())  # more rows than an int counts
    (node,) = (n for n in program.nodes if n.op.name == "matmul")
    assert node.device == "cpu:0"
    assert node.note == "its OpenCL kernel does not take float32, float32 of these shapes"


def test_device_without_double() -> None:
    x = gr.placeholder(gr.float32, (2,), name="x")
    target = Target("null:0", {"null:0": replace(CAPABILITIES, fp64=False)})
    y = gr.cast(gr.exp(gr.cast(x, gr.float64, name="wide"), name="y"), gr.float32, name="back")
    why = "the device has no float64"
    assert _reasons(y, {x: (2,)}, target) == [("wide", why), ("y", why), ("back", why)]


@pytest.mark.parametrize(
    ("family", "blocked"),
    [
        ("elementwise", ["e"]), ("view", ["v"]), ("index", ["i"]), ("reduce", ["r"]), ("gemm", ["m"]),
        ("another", []),
    ],
)  # fmt: skip
def test_blocked_families(family: str, blocked: list[str]) -> None:
    x = gr.placeholder(gr.float32, (3, 3), name="x")
    rows = gr.gather(gr.transpose(gr.exp(x, name="e"), name="v"), [0, 2, 1], name="i")
    y = gr.reduce_sum(gr.matmul(rows, x, name="m"), 0, name="r")
    found = _reasons(y, {x: (3, 3)}, _target(blocked={"null:0": frozenset({family})}))
    assert found == [(n, f"the device failed the self-test of the {family} kernels") for n in blocked]


def test_strict() -> None:
    x = gr.placeholder(gr.float32, (2, 5), name="x")
    y = gr.random_shuffle(x, seed=1, name="y")
    with pytest.raises(DeviceError) as error:
        place(specialized([y], {x: (2, 5)}), _target(strict=True))
    lines = str(error.value).splitlines()
    assert lines[0] == "philox_shuffle 'y/RandomShuffle': cannot run on null:0: it has no OpenCL kernel"
    assert "() int64, (2,) int32" in str(error.value)
    assert "created at " in str(error.value) and "test_placement.py" in str(error.value)
    assert "Session(strict=False) runs it on the host" in lines[-1]


def test_strict_lets_the_user_choose_the_host() -> None:
    x = gr.placeholder(gr.float32, (2, 5), name="x")
    with gr.device("/cpu:0"):
        y = gr.random_shuffle(x, seed=1, name="y")
    assert "cpu:0" in str(place(specialized([y * 2.0], {x: (2, 5)}), _target(strict=True)))


def test_missing_device() -> None:
    """Soft placement: the host stands in for a device that is not there."""
    x = gr.placeholder(gr.float32, (2,), name="x")
    with gr.device("/gpu:7"):
        y = gr.exp(x, name="y")
    target = Target("cpu:0", {"opencl:7": None})
    assert _reasons(y, {x: (2,)}, target) == [("y", "there is no device opencl:7")]


def test_expansion() -> None:
    """A softmax becomes operations that the device has; on NumPy it stays one."""
    x = gr.placeholder(gr.float32, (4, 5), name="x")
    y = gr.nn.softmax(x, name="y")
    assert names(place(specialized([y], {x: (4, 5)}), Target())) == ["feed", "softmax"]
    assert str(place(specialized([y], {x: (4, 5)}), _target())) == text("""
        %0 = feed() : (4, 5) float32  # 'x'
        %1 = max(%0) axis=(1,) keepdims=True : (4, 1) float32  null:0  # 'y'
        %2 = subtract(%0, %1) : (4, 5) float32  null:0  # 'y'
        %3 = exp(%2) : (4, 5) float32  null:0  # 'y'
        %4 = sum(%3) axis=(1,) keepdims=True : (4, 1) float32  null:0  # 'y'
        %5 = reciprocal(%4) : (4, 1) float32  null:0  # 'y'
        %6 = multiply(%3, %5) : (4, 5) float32  null:0  # 'y'
        fetch %6
    """)


def test_common_parts_of_expansions_are_merged() -> None:
    x = gr.placeholder(gr.float32, (4, 5), name="x")
    program = place(specialized([gr.nn.softmax(x), gr.nn.log_softmax(x)], {x: (4, 5)}), _target())
    assert names(program).count("max") == 2
    assert names(cse(program)).count("max") == 1


def test_expansion_with_a_blocked_part() -> None:
    """What an operation expands to is placed like everything else."""
    x = gr.placeholder(gr.float32, (4, 5), name="x")
    found = _reasons(gr.nn.softmax(x, name="y"), {x: (4, 5)},
                     _target(blocked={"null:0": frozenset({"reduce"})}))  # fmt: skip
    assert found == [("y", "the device failed the self-test of the reduce kernels")] * 2


def test_obstacles_are_looked_up_once() -> None:
    """A plan of a kernel takes its time, and deep networks repeat the same ones."""
    x = gr.placeholder(gr.float32, (3, 3), name="x")
    y: Any = x
    for _ in range(50):
        y = gr.matmul(y, x)
    target = _target()
    place(specialized([y], {x: (3, 3)}), target)
    assert len(target.obstacles) == 1
