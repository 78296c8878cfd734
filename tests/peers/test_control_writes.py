"""Random programs of branches and loops that write variables, beside TensorFlow's, where it is installed."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow")

import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()


class Program:
    """Statements one after the other: writes, branches and loops, each of which waits for the one before.

    Both libraries get the same ones, since each body is drawn from a seed of its own, however often and in
    which order a library traces it.
    """

    def __init__(self, lib: Any, seed: int) -> None:
        random = Random(seed)
        self.lib = lib
        self.variables = [
            # TensorFlow's other variables are read at any time, so that results differ from run to run.
            lib.get_variable(
                f"v{i}", [2], initializer=lib.constant_initializer(i + 1.0), use_resource=True
            )
            for i in range(random.randint(2, 4))
        ]  # fmt: skip
        self.flags = [lib.placeholder(lib.bool, ()) for _ in range(2)]
        self.count = lib.placeholder(lib.int32, ())
        self.last = self.statements(random, 0, None)

    def read(self, random: Random) -> Any:
        return random.choice(self.variables).read_value()

    def statements(self, random: Random, depth: int, last: Any) -> Any:
        for _ in range(random.randint(1, 3)):
            with self.lib.control_dependencies([] if last is None else [last]):
                last = self.lib.identity(self.statement(random, depth))
        return last

    def statement(self, random: Random, depth: int) -> Any:
        kind = random.random()
        if depth < 2 and kind < 0.25:
            known = random.random() < 0.6
            pred = random.choice(self.flags) if known else self.read(random)[0] > 2.0
            seeds = random.random(), random.random()
            return self.lib.cond(pred, *(lambda s=s: self.body(s, depth, 0.0) for s in seeds))
        if depth < 2 and kind < 0.4:
            end, seed = random.choice([self.count, 2]), random.random()

            def step(i: Any, a: Any) -> Any:
                a = self.body(seed, depth, a * 0.1)
                with self.lib.control_dependencies([a]):
                    return i + 1, a

            start = [self.lib.constant(0), self.lib.ones([2])]
            return self.lib.while_loop(lambda i, a: i < end, step, start, parallel_iterations=1)[1]
        target = random.choice(self.variables)
        if kind < 0.7:
            return target.assign(
                self.read(random) * 0.5 + self.read(random) * 0.25 + random.choice([0.0, 1.0])
            )
        if kind < 0.85:
            return target.assign_add(self.read(random) * 0.5)
        return target.assign_sub(self.lib.tanh(self.read(random)))

    def body(self, seed: float, depth: int, more: Any) -> Any:
        random = Random(seed)
        with self.lib.control_dependencies([self.statements(random, depth + 1, None)]):
            return self.read(random) * 0.5 + more


def _results(lib: Any, seed: int) -> list[Any]:
    with lib.Graph().as_default(), lib.Session() as session:
        program = Program(lib, seed)
        session.run(lib.global_variables_initializer())
        found = []
        for first, second, count in ((False, True, 2), (True, False, 0), (True, True, 3)):
            feed = {program.flags[0]: first, program.flags[1]: second, program.count: count}
            found += [session.run(program.last, feed), *session.run(program.variables)]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_branches_and_loops_leave_the_same_state(seed: int) -> None:
    for ours, theirs in zip(_results(gr, seed), _results(tf, seed), strict=True):
        # A loose rtol, for differences of almost equal numbers.
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
