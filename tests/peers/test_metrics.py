"""Streaming metrics beside TensorFlow's: names, variables, collections, and values over several batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from beside import in_both

# Of labels, predictions, weights, or values and weights.
PAIRS = (
    "accuracy mean_absolute_error mean_squared_error root_mean_squared_error precision recall"
    " true_positives true_negatives false_positives false_negatives auc"
).split()
WEIGHTS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "plain": lambda rng, n: None,
    "scalar": lambda rng, n: np.float32(0.5),
    "each": lambda rng, n: rng.uniform(0, 2, n).astype("f4"),
    "some": lambda rng, n: rng.integers(0, 2, n).astype("f4"),
    "none": lambda rng, n: np.zeros(n, "f4"),
}


def _batches(name: str, weights: str) -> list[tuple[Any, Any, Any]]:
    rng = np.random.default_rng(3)
    found = []
    for n in (4, 7, 1, 5):
        labels, guesses = rng.integers(0, 2, n), rng.integers(0, 2, n)
        if name == "accuracy":
            labels, guesses = rng.integers(0, 3, n), rng.integers(0, 3, n)
        elif name in ("auc", "mean") or "error" in name:
            guesses = rng.uniform(0, 1, n).astype("f4")
            labels = labels if name == "auc" else rng.uniform(0, 1, n).astype("f4")
        found.append((labels, guesses, WEIGHTS[weights](rng, n)))
    return found


def _followed(lib: Any, session: Any, build: Any, batches: list[Any]) -> list[Any]:
    """What is made, and what value and update are after each batch, and once set back."""
    first = batches[0]
    inputs = [None if a is None else lib.placeholder(a.dtype.name, [None] * a.ndim) for a in first]
    value, update = build(*inputs)
    local = lib.local_variables()
    found = [
        value.name, update.name, value.dtype.base_dtype.name, update.dtype.base_dtype.name,
        [v.name for v in local],
        [v.shape.as_list() for v in local], len(lib.global_variables()), len(lib.trainable_variables()),
        [v.name for v in lib.get_collection(lib.GraphKeys.METRIC_VARIABLES)],
        [t.name for t in lib.get_collection("values")], [t.name for t in lib.get_collection("updates")],
    ]  # fmt: skip
    session.run(lib.local_variables_initializer())
    for turn in range(2):
        found.append(session.run(value))
        for batch in batches:
            feed = {x: a for x, a in zip(inputs, batch, strict=True) if x is not None}
            found += [session.run(update, feed), session.run(value), session.run(local)]
        if not turn:
            session.run(lib.local_variables_initializer())
    return found


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", PAIRS)
def test_metrics_of_labels(name: str, weights: str) -> None:
    def build(lib: Any, session: Any) -> Any:
        metric = getattr(lib.metrics, name)
        return _followed(
            lib, session, lambda y, p, w: metric(y, p, w, metrics_collections=["values"],
                                                 updates_collections=["updates"]), _batches(name, weights)
        )  # fmt: skip

    in_both(build, rtol=1e-5)


def test_the_metrics_that_programs_use_most() -> None:
    def build(lib: Any, session: Any) -> Any:
        labels, guesses = lib.constant([1, 2, 3, 4]), lib.constant([1, 2, 0, 4])
        right, take = lib.metrics.accuracy(labels, guesses, name="acc")
        again, _ = lib.metrics.accuracy(labels, guesses, name="acc")
        distance, take_distance = lib.metrics.root_mean_squared_error(labels, guesses)
        with lib.name_scope("test"):
            loss, take_loss = lib.metrics.mean(lib.constant([1.5, 2.5]))
        session.run(lib.local_variables_initializer())
        names = [t.name for t in (right, take, again, distance, loss, take_loss)]
        taken = [session.run([take, take_distance, take_loss]) for _ in range(2)]
        return names, taken, session.run([right, distance, loss]), [v.name for v in lib.local_variables()]

    in_both(build, rtol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_mean(weights: str) -> None:
    def build(lib: Any, session: Any) -> Any:
        return _followed(
            lib, session, lambda _, v, w: lib.metrics.mean(v, w, ["values"], ["updates"], name="m"),
            _batches("mean", weights),
        )  # fmt: skip

    in_both(build, rtol=1e-5)
