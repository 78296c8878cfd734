"""The same function of graphrun and of TensorFlow: values, gradients, static shapes and names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphrun as gr

tf = pytest.importorskip("tensorflow.compat.v1")

Build = Callable[..., Any]


def _run(lib: Any, build: Build, arrays: Sequence[np.ndarray], unknown: bool) -> tuple[Any, Any, Any]:
    """Names with static shapes, values, and gradients of a weighted sum of the results.

    `unknown` leaves the first dimension of the first input open.
    """
    with lib.Graph().as_default(), lib.Session() as session:
        inputs: list[Any] = []
        for a in arrays:
            dims: list[Any] = list(a.shape)
            if unknown and not inputs:
                dims[0] = None
            inputs.append(lib.placeholder(str(a.dtype), dims))
        found = build(lib, *inputs)
        results = list(found) if isinstance(found, tuple | list) else [found]
        named = [(y.name, y.get_shape().as_list()) for y in results]
        feed = dict(zip(inputs, arrays, strict=True))
        values = session.run(results, feed)
        xs = [x for x in inputs if x.dtype in (lib.float32, lib.float64)]
        ys = [y for y in results if y.dtype in (lib.float32, lib.float64)]
        gradients = []
        if xs and ys:
            weights = [np.cos(np.arange(v.size, dtype=v.dtype)).reshape(v.shape) for v in values]
            total = [lib.reduce_sum(y * w) for y, w in zip(results, weights, strict=True) if y in ys]
            gradients = session.run([g for g in lib.gradients(total, xs) if g is not None], feed)
        return named, values, gradients


def same(
    build: Build, *arrays: np.ndarray, names: bool = True, unknown: Sequence[bool] = (False, True)
) -> None:
    for flag in unknown if arrays else [False]:
        ours, theirs = (_run(lib, build, arrays, flag) for lib in (gr, tf))
        for (our_name, our_shape), (name, shape) in zip(ours[0], theirs[0], strict=True):
            assert our_name == name or not names
            # What TensorFlow does not know may be known here.
            known = [d if e is not None else None for d, e in zip(our_shape, shape, strict=True)]
            assert known == shape
        for kind in (1, 2):
            assert len(ours[kind]) == len(theirs[kind])
            for a, b in zip(ours[kind], theirs[kind], strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def in_both(build: Callable[[Any, Any], Any], rtol: float = 0.0) -> None:
    """`build(lib, session)` gives the same in both libraries: numbers within `rtol`, all else equal.

    Variables are TensorFlow 1's own, in the session's graph, which is the default one.
    """
    found = []
    for lib in (gr, tf):
        with lib.Graph().as_default(), lib.Session() as session:
            if lib is tf:
                tf.disable_resource_variables()
            found.append(build(lib, session))
    _alike(*found, rtol, "result")


def _alike(ours: Any, theirs: Any, rtol: float, where: str) -> None:
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), (where, ours, theirs)
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            _alike(a, b, rtol, f"{where}[{k}]")
    elif isinstance(theirs, np.ndarray | np.generic | int | float) and not isinstance(theirs, bool):
        a, b = np.asarray(ours), np.asarray(theirs)
        if isinstance(theirs, np.ndarray | np.generic):
            assert a.dtype == b.dtype, where
        if b.dtype.kind in "fc":
            np.testing.assert_allclose(a, b, rtol=rtol, err_msg=where)
        else:
            np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        assert ours == theirs, (where, ours, theirs)
