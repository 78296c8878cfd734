"""Pass 6: each rule fires, does not fire where it must not, and never changes a bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from compiler.programs import assert_same_bits, names, specialized, text, values_of

import graphrun as gr
from graphrun.compiler import simplify as module
from graphrun.compiler.simplify import RULES, simplify
from graphrun.ops.reduce import sum_to_shape

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -3e38]


class Case(NamedTuple):
    """``build(x)`` becomes a program of these operations behind the feed; `rule` is the one that does it."""

    rule: str
    build: Callable[[Any], Any]
    after: list[str]
    shape: tuple[int, ...] = (9, 2)
    dtype: str = "float32"


def _ones(*shape: int) -> Any:
    return gr.constant(np.ones(shape, np.float32))


FIRES = [
    Case("drop_identity", gr.identity, []),
    Case("drop_identity", gr.stop_gradient, []),
    Case("multiply_by_one", lambda x: x * 1.0, []),
    Case("multiply_by_one", lambda x: 1.0 * x, []),
    Case("multiply_by_one", lambda x: x * _ones(9, 2), []),
    Case("multiply_by_one", lambda x: x * gr.fill([9, 2], 1.0), []),
    Case("multiply_by_one", lambda x: x * gr.broadcast_to(gr.constant(1.0), [9, 2]), []),
    Case("multiply_by_one", lambda x: x * 1, [], dtype="int32"),
    Case("divide_by_one", lambda x: x / 1.0, []),
    Case("divide_by_one", lambda x: gr.floordiv(x, 1), [], dtype="int32"),
    Case("subtract_zero", lambda x: x - 0.0, []),
    Case("subtract_zero", lambda x: x - gr.zeros([9, 2]), []),
    Case("subtract_zero", lambda x: x - 0, [], dtype="int64"),
    Case("add_integer_zero", lambda x: x + 0, [], dtype="int32"),
    Case("add_integer_zero", lambda x: 0 + x, [], dtype="uint8"),
    Case("power_by_constant", lambda x: x**1.0, []),
    Case("power_by_constant", lambda x: x**2.0, ["square"]),
    Case("power_by_constant", lambda x: x**2, ["square"], dtype="int32"),
    Case("twice_is_nothing", lambda x: gr.negative(-x), []),
    Case("twice_is_nothing", lambda x: gr.negative(-x), [], dtype="int8"),
    Case("twice_is_nothing", lambda x: gr.logical_not(gr.logical_not(x)), [], dtype="bool"),
    Case("cast_to_same", lambda x: gr.cast(gr.cast(x, gr.float32), gr.float32), []),
    Case("same_shape", lambda x: gr.reshape(x, [9, -1]), []),
    Case("same_shape", lambda x: gr.tile(x, [1, 1]), []),
    Case("same_shape", lambda x: x[:, :], []),
    Case("same_shape", lambda x: x[::1, 0:2], []),
    Case("same_shape", lambda x: gr.slice(x, [0, 0], [-1, 2]), []),
    Case("same_shape", lambda x: gr.pad(x, [[0, 0], [0, 0]]), []),
    Case("same_shape", lambda x: gr.broadcast_to(x, [9, 2]), []),
    Case("same_shape", lambda x: sum_to_shape(x, gr.shape(x)), []),
    Case("reshape_of_reshape", lambda x: gr.reshape(gr.reshape(x, [18]), [3, 6]), ["reshape"]),
    Case("reshape_of_reshape", lambda x: gr.squeeze(gr.expand_dims(x, 1), [1]), []),
    Case("reshape_of_reshape", lambda x: gr.expand_dims(gr.reshape(x, [18]), 0), ["reshape"]),
    Case("transpose_to_nothing", lambda x: gr.transpose(x, [0, 1]), []),
    Case("transpose_to_nothing", lambda x: gr.transpose(gr.transpose(x)), []),
    Case("transpose_to_nothing", lambda x: gr.transpose(gr.transpose(x, [1, 2, 0]), [1, 2, 0]), ["transpose"],
         (9, 2, 3)),
    Case("reduce_nothing", lambda x: gr.reduce_max(x, 1), ["reshape"], (9, 1)),
    Case("reduce_nothing", lambda x: gr.reduce_min(x, 1, keepdims=True), [], (9, 1)),
    Case("reduce_nothing", lambda x: gr.reduce_prod(x, [1, 2]), ["reshape"], (9, 1, 1)),
    Case("reduce_nothing", lambda x: gr.reduce_sum(x, 1), ["reshape", "add"], (9, 1)),
    Case("reduce_nothing", lambda x: gr.reduce_mean(x, 1), ["reshape", "add"], (9, 1)),
    Case("reduce_nothing", lambda x: gr.reduce_sum(x, []), ["add"]),
    Case("reduce_nothing", lambda x: gr.reduce_sum(x, []), [], dtype="int32"),
    Case("reduce_nothing", lambda x: gr.reduce_max(x, []), []),
    Case("reduce_nothing", lambda x: gr.reduce_sum(x, 1), ["reshape"], (9, 1), "int32"),
    Case("reduce_nothing", lambda x: gr.reduce_mean(x, 1), ["reshape"], (9, 1), "int32"),
    Case("reduce_nothing", lambda x: gr.reduce_any(x, 1), ["reshape"], (9, 1), "bool"),
    Case("reduce_nothing", lambda x: gr.reduce_all(x, 1, keepdims=True), [], (9, 1), "bool"),
    Case("gather_of_one_row", lambda x: gr.gather(x, gr.constant(2)), ["strided_slice"]),
    Case("gather_of_one_row", lambda x: x[gr.constant(-1)], ["strided_slice"], (9, 2, 3)),
    Case("add_one", lambda x: gr.add_n([x]), []),
    Case("add_one", lambda x: gr.add_n([x, x]), ["add"]),
    Case("transpose_into_matmul", lambda x: gr.matmul(gr.transpose(x), x), ["matmul"]),
    Case("transpose_into_matmul", lambda x: gr.matmul(x, gr.transpose(x)), ["matmul"]),
    Case("transpose_into_matmul", lambda x: gr.matmul(gr.transpose(x), gr.transpose(x), transpose_a=True,
                                                      transpose_b=False), ["matmul"]),
    Case("transpose_into_matmul", lambda x: gr.matmul(x, gr.transpose(x, [0, 2, 1])), ["matmul"], (2, 3, 4)),
]  # fmt: skip

STAYS = {
    "x * 0": lambda x: x * 0.0,  # NaN for an infinite x
    "x + 0.0": lambda x: x + 0.0,  # turns -0.0 into 0.0
    "x - -0.0": lambda x: x - (-0.0),
    "0 - x": lambda x: 0.0 - x,
    "x / 2": lambda x: x / 2.0,
    "floordiv of floats": lambda x: gr.floordiv(x, 1.0),
    "1 that broadcasts": lambda x: x[:1] * _ones(9, 2),
    "0 that broadcasts": lambda x: x[:1] - gr.zeros([9, 2]),
    "backwards": lambda x: x[::-1],
    "another transpose": lambda x: gr.transpose(x),
    "another power": lambda x: x**3.0,
    "sum over 2": lambda x: gr.reduce_sum(x, 1),
    "cast": lambda x: gr.cast(x, gr.float64),
    "add_n of three": lambda x: gr.add_n([x, x, x]),
    "matmul of another transpose": lambda x: gr.matmul(gr.transpose(gr.reshape(x, [1, 9, 2]), [1, 0, 2]),
                                                       gr.ones([9, 2, 3])),
    "broadcast": lambda x: gr.broadcast_to(x, [2, 9, 2]),
    "tile": lambda x: gr.tile(x, [1, 2]),
    "reversing pad": lambda x: gr.pad(x, [[1, 0], [0, 0]])[:9],
}  # fmt: skip


def _inputs(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith(("int", "uint")):
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
        values[:3] = [info.min, info.max, 0]
        return values.reshape(shape)
    values = rng.normal(0, 10, count).astype(dtype)
    values[: len(SPECIAL)] = SPECIAL[:count]
    return rng.permutation(values).reshape(shape)


def test_every_name_is_an_operation() -> None:
    assert module.unknown_rules() == []


def test_every_rule_is_tested() -> None:
    tested = {c.rule for c in FIRES}
    assert {rule.__name__ for rules in RULES.values() for rule in rules} == tested


@pytest.mark.parametrize("case", FIRES, ids=lambda c: c.rule)
def test_rule_fires(case: Case) -> None:
    """The expected operations are left, and the results have the same bits before and after."""
    x = gr.placeholder(case.dtype, case.shape)
    fetch = case.build(x)
    program = simplify(specialized([fetch], {x: case.shape}))
    assert [n for n in names(program) if n not in ("feed", "const", "fill")] == case.after
    exact = case.rule not in ("transpose_into_matmul", "power_by_constant")
    for seed in range(5):
        value = _inputs(case.shape, case.dtype, seed)
        (before,) = values_of(specialized([fetch], {x: case.shape}), [value])
        (after,) = values_of(program, [value])
        if exact or case.dtype != "float32":
            assert_same_bits(after, before, case.rule)
        else:  # a library's product, or its pow, may round in another way
            np.testing.assert_allclose(after, before, rtol=2e-7 if "power" in case.rule else 1e-5)


@pytest.mark.parametrize("label", STAYS)
def test_what_must_stay(label: str) -> None:
    x = gr.placeholder(gr.float32, (9, 2))
    fetch = STAYS[label](x)
    before = specialized([fetch], {x: (9, 2)})
    kept = names(before)
    program = simplify(before)
    assert names(program) == kept
    assert program.fetches[0] != (program.nodes[0], 0)


def test_rules_follow_each_other() -> None:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    y = gr.transpose(gr.identity(gr.transpose(gr.reshape(gr.reshape(x * 1.0, [6]), [2, 3]) - 0.0)))
    assert str(simplify(specialized([gr.exp(y, name="y")], {x: (2, 3)}))) == text("""
        %0 = feed() : (2, 3) float32  # 'x'
        %1 = exp(%0) : (2, 3) float32  # 'y'
        fetch %1
    """)


def test_long_chains_of_reshapes_and_transposes() -> None:
    x = gr.placeholder(gr.float32, (2, 3, 4), name="x")
    y: Any = x
    for i in range(200):
        y = gr.transpose(y, [1, 2, 0])
        y = gr.reshape(gr.reshape(y, [24]), y.shape) if i % 3 == 0 else y
    program = simplify(specialized([y], {x: (2, 3, 4)}))
    assert names(program) == ["feed", "transpose"] and program.nodes[1].attrs["perm"] == (2, 0, 1)


def test_other_readers_keep_what_they_read() -> None:
    x = gr.placeholder(gr.float32, (2, 3), name="x")
    t = gr.transpose(x, name="t")
    program = simplify(specialized([gr.matmul(t, x, name="y"), t], {x: (2, 3)}))
    assert str(program) == text("""
        %0 = feed() : (2, 3) float32  # 'x'
        %1 = transpose(%0) perm=(1, 0) : (3, 2) float32  # 't'
        %2 = matmul(%0, %0) transpose_a=True transpose_b=False : (3, 3) float32  # 'y'
        fetch %2
        fetch %1
    """)
