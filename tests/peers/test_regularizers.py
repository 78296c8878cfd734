"""Penalties of variables, scopes and layers beside TensorFlow: which there are, their names and values."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # where TensorFlow 2 keeps the layers
tf = pytest.importorskip("tensorflow.compat.v1")
pytest.importorskip("tf_keras")


def penalty(lib: Any, scale: float, name: str = "penalty") -> Callable[[Any], Any]:
    return lambda w: lib.multiply(scale, lib.nn.l2_loss(w), name=name)


def scopes(lib: Any) -> None:
    one = lib.ones_initializer()
    with lib.variable_scope("a", regularizer=penalty(lib, 0.5)):
        lib.get_variable("w", [2, 3], initializer=one)
        lib.get_variable("b", [3], initializer=one, regularizer=penalty(lib, 1.0, "own"))
        with lib.variable_scope("inner"):
            lib.get_variable("c", [4], initializer=one)
        lib.get_variable("free", [3], initializer=one, regularizer=lambda v: None)
    with lib.variable_scope("a", reuse=True, regularizer=penalty(lib, 0.5)):
        lib.get_variable("w", [2, 3])
    with lib.variable_scope("n"), lib.name_scope("scope"):
        lib.get_variable("q", [2], initializer=one, regularizer=penalty(lib, 2.0))


def layers(lib: Any) -> None:
    one = lib.ones_initializer()
    x = lib.ones([2, 3])
    regular = {"kernel_regularizer": penalty(lib, 0.5), "bias_regularizer": penalty(lib, 0.25),
               "activity_regularizer": penalty(lib, 0.1), "kernel_initializer": one,
               "bias_initializer": one}  # fmt: skip
    y = lib.layers.dense(x, 4, name="d", **regular)
    lib.layers.dense(y, 4, kernel_initializer=one, kernel_regularizer=penalty(lib, 0.5))
    z = lib.layers.conv2d(lib.ones([2, 4, 4, 2]), 3, 2, **regular)
    z = lib.layers.batch_normalization(
        z, gamma_regularizer=penalty(lib, 0.5), beta_regularizer=penalty(lib, 0.5)
    )
    z = lib.layers.separable_conv2d(
        z, 3, 2, depthwise_initializer=one, depthwise_regularizer=penalty(lib, 0.5),
        pointwise_initializer=one, pointwise_regularizer=penalty(lib, 0.25),
    )  # fmt: skip
    lib.layers.conv2d_transpose(z, 3, 2, **regular)
    lib.layers.dense(x, 4, kernel_regularizer=penalty(lib, 0.5), name="d", reuse=True)


def layers_in_a_scope(lib: Any) -> None:
    one = lib.ones_initializer()
    x = lib.ones([2, 3])
    with lib.variable_scope("s", regularizer=penalty(lib, 0.3)):
        lib.layers.dense(x, 4, kernel_initializer=one)
        lib.layers.dense(x, 4, kernel_initializer=one, kernel_regularizer=penalty(lib, 0.7))


def layer_called_twice(lib: Any) -> None:
    layer = lib.layers.Dense(
        3, kernel_regularizer=penalty(lib, 0.5), activity_regularizer=penalty(lib, 0.1),
        kernel_initializer=lib.ones_initializer(),
    )  # fmt: skip
    layer(lib.ones([2, 3]))
    layer(lib.ones([4, 3]) * 2.0)
    assert len(layer.losses) == 3


def cells(lib: Any) -> None:
    cell = lib.nn.rnn_cell.LSTMCell(3)
    with lib.variable_scope("r", regularizer=penalty(lib, 0.3), initializer=lib.ones_initializer()):
        # Not dynamic_rnn: TensorFlow makes the penalties within its loop, where no session finds them.
        lib.nn.static_rnn(cell, [lib.ones([2, 4])] * 2, dtype=lib.float32)


def keras(lib: Any) -> None:
    from tf_keras import regularizers as theirs

    kinds = gr.regularizers if lib is gr else theirs
    for i, make in enumerate((kinds.l1, kinds.l2, kinds.l1_l2, lambda: kinds.l1(0.3), lambda: kinds.l2(0.2))):
        lib.get_variable(f"w{i}", initializer=np.array([1.5, -2.0, 0.5], "f4"), regularizer=make())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [scopes, layers, layers_in_a_scope, layer_called_twice, cells, keras])
def test_same_penalties(build: Callable[[Any], None]) -> None:
    found = []
    for lib in (gr, tf):
        with lib.Graph().as_default(), lib.Session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(lib)
            losses = lib.get_collection(lib.GraphKeys.REGULARIZATION_LOSSES)
            total = [lib.losses.get_regularization_loss(), lib.losses.get_total_loss()]
            session.run(lib.global_variables_initializer())
            # Operations of Keras's own regularizers have names of their own.
            names = [t.name.rpartition("/")[0 if "egularizer/" in t.name else 2] for t in losses]
            found.append((names, len(losses), [t.name for t in total], session.run([*losses, *total])))
    (names, count, totals, values), (their_names, their_count, their_totals, their_values) = found
    assert count == their_count > 0
    assert names == their_names
    assert totals == their_totals
    np.testing.assert_allclose(values, their_values, rtol=1e-5)
