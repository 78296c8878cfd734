"""Layers, initializers, random operations and metrics beside TensorFlow: names, shapes, values."""

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
tf.disable_v2_behavior()

IMAGE, ROWS = (2, 6, 5, 3), (3, 4)
Build = Callable[[Any, Any], Any]

LAYERS: dict[str, tuple[tuple[int, ...], Build]] = {
    "dense": (ROWS, lambda lib, x: lib.layers.dense(x, 5, lib.nn.relu)),
    "dense_cube": ((2, 3, 4), lambda lib, x: lib.layers.dense(x, 5, use_bias=False, name="d")),
    "flatten": (IMAGE, lambda lib, x: lib.layers.flatten(x)),
    "flatten_vector": ((7,), lambda lib, x: lib.layers.flatten(x)),
    "flatten_first": (IMAGE, lambda lib, x: lib.layers.flatten(x, data_format="channels_first")),
    "dropout_off": (ROWS, lambda lib, x: lib.layers.dropout(x, 0.4)),
    "dropout_none": (ROWS, lambda lib, x: lib.layers.dropout(x, 0.0, training=True)),
    "conv2d": (IMAGE, lambda lib, x: lib.layers.conv2d(x, 4, 3, 2, "same", activation=lib.nn.tanh)),
    "conv2d_rate": (IMAGE, lambda lib, x: lib.layers.conv2d(x, 4, [2, 3], dilation_rate=2)),
    "conv1d": ((2, 7, 3), lambda lib, x: lib.layers.conv1d(x, 4, 3, padding="same")),
    "conv2d_transpose": (IMAGE, lambda lib, x: lib.layers.conv2d_transpose(x, 4, 3, 2, "same")),
    "separable_conv2d": (IMAGE, lambda lib, x: lib.layers.separable_conv2d(x, 4, 3, depth_multiplier=2)),
    "max_pooling2d": (IMAGE, lambda lib, x: lib.layers.max_pooling2d(x, 2, 2)),
    "average_pooling2d": (IMAGE, lambda lib, x: lib.layers.average_pooling2d(x, [3, 2], 1, "same")),
    "max_pooling1d": ((2, 7, 3), lambda lib, x: lib.layers.max_pooling1d(x, 3, 2)),
    "average_pooling1d": ((2, 7, 3), lambda lib, x: lib.layers.average_pooling1d(x, 2, 2)),
    "batch_normalization": (ROWS, lambda lib, x: lib.layers.batch_normalization(x)),
    "batch_normalization_training": (
        ROWS, lambda lib, x: lib.layers.batch_normalization(x, momentum=0.9, training=True)),
    "net": (
        IMAGE,
        lambda lib, x: lib.layers.dense(
            lib.layers.flatten(lib.layers.max_pooling2d(lib.layers.conv2d(
                lib.layers.conv2d(x, 4, 3, padding="same"), 4, 3, padding="same"), 2, 2)), 3),
    ),
}  # fmt: skip


def _run(lib: Any, build: Build, shape: tuple[int, ...], values: dict[str, Any]) -> dict[str, Any]:
    """What a layer makes, with variables of the same values in both."""
    with lib.Graph().as_default(), lib.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = lib.placeholder("float32", (None, *shape[1:]))
        y = build(lib, x)
        variables = lib.global_variables()
        updates = lib.get_collection(lib.GraphKeys.UPDATE_OPS)
        gradients = lib.gradients(lib.cos(y), [x, *lib.trainable_variables()])
        session.run(lib.global_variables_initializer())
        for v in variables:
            rng = np.random.default_rng(len(values))
            drawn = rng.uniform(0.05, 0.3, v.get_shape().as_list()).astype("f4")
            v.load(values.setdefault(v.name, drawn), session)
        feed = {x: np.random.default_rng(7).standard_normal(shape).astype("f4")}
        found = session.run([y, *[g for g in gradients if g is not None]], feed)
        session.run(updates, feed)
        return {
            "name": y.name, "shape": y.get_shape().as_list(), "variables": [v.name for v in variables],
            "trainable": [v.name for v in lib.trainable_variables()], "updates": len(updates),
            "values": found, "state": session.run(variables),
        }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    shape, build = LAYERS[name]
    values: dict[str, Any] = {}
    theirs, ours = (_run(lib, build, shape, values) for lib in (tf, gr))
    for what in ("name", "shape", "variables", "trainable", "updates"):
        assert ours[what] == theirs[what], what
    for what in ("values", "state"):
        assert len(ours[what]) == len(theirs[what]), what
        for a, b in zip(ours[what], theirs[what], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=what)


RANDOM: dict[str, Callable[[Any], Any]] = {
    "random_normal": lambda lib: lib.random_normal([2, 3], 1.0, 2.0),
    "random_normal_plain": lambda lib: lib.random_normal([2, 3]),
    "random_uniform": lambda lib: lib.random_uniform([2, 3], -1.0, 1.0),
    "random_uniform_int": lambda lib: lib.random_uniform([2, 3], 0, 9, lib.int32),
    "truncated_normal": lambda lib: lib.truncated_normal([2, 3], 0.0, 0.1),
    "random_shuffle": lambda lib: lib.random_shuffle(lib.zeros([4, 2])),
    "random_gamma": lambda lib: lib.random_gamma([5], [0.5, 1.5]),
    "multinomial": lambda lib: lib.multinomial(lib.zeros([2, 3]), 4),
    "random_crop": lambda lib: lib.random_crop(lib.zeros([6, 5, 3]), [2, 2, 3]),
    "dropout": lambda lib: lib.nn.dropout(lib.zeros([3, 4]), 0.5),
    "flip_left_right": lambda lib: lib.image.random_flip_left_right(lib.zeros([6, 5, 3])),
    "brightness": lambda lib: lib.image.random_brightness(lib.zeros([6, 5, 3]), 0.2),
    "contrast": lambda lib: lib.image.random_contrast(lib.zeros([6, 5, 3]), 0.2, 0.5),
    "hue": lambda lib: lib.image.random_hue(lib.zeros([6, 5, 3]), 0.2),
    "saturation": lambda lib: lib.image.random_saturation(lib.zeros([6, 5, 3]), 0.2, 0.5),
    **{
        name: lambda lib, m=make: lib.get_variable("v", [40, 30], initializer=m(lib))
        for name, make in (
            ("constant_initializer", lambda lib: lib.constant_initializer(2.5)),
            ("zeros_initializer", lambda lib: lib.zeros_initializer()),
            ("ones_initializer", lambda lib: lib.ones_initializer()),
            ("random_normal_initializer", lambda lib: lib.random_normal_initializer(1.0, 0.5)),
            ("random_uniform_initializer", lambda lib: lib.random_uniform_initializer(-0.5, 2.0)),
            ("random_uniform_defaults", lambda lib: lib.random_uniform_initializer()),
            ("random_uniform_minval", lambda lib: lib.random_uniform_initializer(-3)),
            ("truncated_normal_initializer", lambda lib: lib.truncated_normal_initializer(stddev=0.3)),
            ("glorot_uniform_initializer", lambda lib: lib.glorot_uniform_initializer()),
            ("glorot_normal_initializer", lambda lib: lib.glorot_normal_initializer()),
            ("variance_scaling_initializer", lambda lib: lib.variance_scaling_initializer(mode="fan_out")),
            ("orthogonal_initializer", lambda lib: lib.orthogonal_initializer()),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_shapes_and_spread_of_what_is_drawn(name: str) -> None:
    found = []
    for lib in (gr, tf):
        with lib.Graph().as_default(), lib.Session() as session:
            lib.set_random_seed(5)
            y = RANDOM[name](lib)
            session.run(lib.global_variables_initializer())
            drawn = session.run(y).astype("f8")
            found.append((y.get_shape().as_list(), y.dtype.base_dtype.name, drawn.shape, y.name, drawn))
    ours, theirs = found
    assert ours[:3] == theirs[:3]
    if name not in ("dropout", "flip_left_right"):  # other operations there, of frames and of later versions
        assert ours[3] == theirs[3]
    if ours[4].size > 1000:  # enough of them to compare their distributions
        for measure in (np.mean, np.std, np.max, np.min):
            assert abs(measure(ours[4]) - measure(theirs[4])) < 0.25 * (theirs[4].std() + 1e-6) + 0.1 * abs(
                measure(theirs[4])
            )


NAMES = """
constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform normal ones
orthogonal random_normal random_uniform truncated_normal uniform variance_scaling zeros GlorotUniform
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_initializers_by_name(name: str) -> None:
    found = []
    for lib in (gr, tf):
        with lib.Graph().as_default(), lib.Session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lib.layers.dense(lib.ones([1, 100]), 100, kernel_initializer=name)
            kernel = lib.global_variables()[0]
            session.run(kernel.initializer)
            values = session.run(kernel)
        found.append((values.std(), abs(values).max()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0.06)  # the spread of 10,000 numbers
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0.35)
