"""Smaller names beside TensorFlow's: `nest`, `compat`, `image.psnr`, metrics by classes, initializers."""

from __future__ import annotations

import os
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from beside import in_both, tf

tf.disable_v2_behavior()

Pair = namedtuple("Pair", "x y")
NESTED = OrderedDict(b=[1, (2, 3)], a=Pair(4, {"d": 5, "c": 6}))


def _or_fault(call: Callable[[], Any]) -> Any:
    """What it returns, or which of the two errors it raises."""
    try:
        return call()
    except ValueError:
        return "ValueError"
    except TypeError:
        return "TypeError"


def test_nest() -> None:
    def build(lib: Any, session: Any) -> Any:
        nest = lib.nest
        structures = [NESTED, 3, None, [], "text", [[], ()], Pair([1], 2), {"b": 1, "a": (2,)}]
        pairs = [
            ([1, [2]], [3, [4]]), ([1, [2]], [1, 2]), ([1], (1,)), ([1], [1, 2]), (1, 2), (1, [2]),
            ({"a": 1}, {"b": 1}),
            ({"a": 1}, OrderedDict(a=2)), (Pair(1, 2), Pair(3, 4)), (Pair(1, 2), (3, 4)),
            (Pair(1, 2), namedtuple("Pair", "x y")(3, 4)), (Pair(1, 2), namedtuple("Other", "x y")(3, 4)),
            ({"a": 1}, [1]),
        ]  # fmt: skip
        found: list[Any] = [nest.flatten(s) for s in structures]
        found += [nest.is_nested(s) for s in structures]
        for s in structures:
            parts = nest.flatten(s)
            packed = nest.pack_sequence_as(s, [10 * i for i in range(len(parts))])
            found += [repr(packed), _or_fault(lambda s=s, p=parts: nest.pack_sequence_as(s, [*p, 1]))]
        for a, b in pairs:
            for types in (True, False):
                found.append(_or_fault(partial(nest.assert_same_structure, a, b, check_types=types)))
            found.append(_or_fault(partial(nest.map_structure, lambda x, y: x - y, a, b)))
        found += [
            _or_fault(lambda: nest.pack_sequence_as([1], 5)), _or_fault(lambda: nest.map_structure(3, [1])),
            _or_fault(lambda: nest.map_structure(str)),
            _or_fault(lambda: nest.map_structure(str, [1], odd=2)),
        ]  # fmt: skip
        x = lib.constant(2.0)
        found.append(session.run(nest.map_structure(lambda t: t * 2, {"x": x, "y": [x, x]})["y"]))
        return found

    in_both(build)


def test_texts() -> None:
    def build(lib: Any, session: Any) -> Any:
        values = ("é", b"\xc3\xa9", bytearray(b"ab"), 3, None)
        functions = (lib.compat.as_bytes, lib.compat.as_text, lib.compat.as_str, lib.compat.as_str_any)
        latin = [lib.compat.as_bytes("é", "latin-1"), lib.compat.as_text(b"\xe9", encoding="latin-1")]
        kinds = [
            lib.compat.bytes_or_text_types, lib.compat.integral_types, lib.compat.real_types,
            lib.compat.complex_types,
        ]  # fmt: skip
        found = [_or_fault(lambda f=f, v=v: f(v)) for f in functions for v in values]
        return [*found, *latin, [set(k) for k in kinds]]

    in_both(build)


def test_names_of_what_was_there() -> None:
    def build(lib: Any, session: Any) -> Any:
        x = lib.constant([[1.0, 2.0], [3.0, 4.0]])
        stacked = lib.parallel_stack([x, x + 1.0])
        checked = lib.verify_tensor_all_finite(x, "not finite")
        named = lib.debugging.assert_all_finite(x=x, message="not finite", name="v")
        wrong = lib.verify_tensor_all_finite(lib.log(-x), "the logarithm")
        with pytest.raises(lib.errors.InvalidArgumentError, match="the logarithm"):
            session.run(wrong)
        method = lib.AggregationMethod
        gradient = lib.gradients(x * x, x, aggregation_method=method.EXPERIMENTAL_TREE)
        turned = lib.reverse_v2(x, axis=[1])
        return [
            lib.half is lib.float16, lib.double is lib.float64, lib.VERSION == lib.__version__,
            [t.name for t in (stacked, checked, named, turned)], stacked.shape.as_list(),
            session.run([stacked, checked, named, turned, gradient[0]]),
            method.ADD_N, method.DEFAULT, method.EXPERIMENTAL_TREE, method.EXPERIMENTAL_ACCUMULATE_N,
        ]  # fmt: skip

    in_both(build)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_psnr(dtype: str) -> None:
    def build(lib: Any, session: Any) -> Any:
        rng = np.random.default_rng(0)
        a, b = (rng.integers(0, 256, (2, 3, 6, 5, 3)) for _ in range(2))
        whole = dtype == "uint8"
        images = [v.astype(dtype) if whole else (v / 255).astype(dtype) for v in (a, b)]
        x, y = (lib.placeholder(dtype, [None, 3, None, None, 3]) for _ in range(2))
        found = lib.image.psnr(x, y, 255 if whole else 1.0)
        many = session.run(found, {x: images[0], y: images[1]})
        same = session.run(found, {x: images[0], y: images[0]})
        return [found.dtype.name, many, same]

    in_both(build, rtol=1e-5)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("name", ["mean_iou", "mean_per_class_accuracy"])
def test_metrics_by_classes(name: str, weights: bool) -> None:
    def build(lib: Any, session: Any) -> Any:
        labels, guesses, w = (lib.placeholder(d, [None, 3]) for d in ("int32", "int64", "float32"))
        value, update = getattr(lib.metrics, name)(
            labels, guesses, 5, w if weights else None, metrics_collections=["values"],
            updates_collections=["updates"],
        )  # fmt: skip
        local = lib.local_variables()
        session.run(lib.local_variables_initializer())
        found: list[Any] = [
            [v.name for v in local], [v.shape.as_list() for v in local],
            [v.dtype.base_dtype.name for v in local], lib.get_collection("values") == [value],
            lib.get_collection("updates") == [update], value.dtype.name, session.run(value),
        ]  # fmt: skip
        rng = np.random.default_rng(0)
        for n in (2, 4, 1):
            feed = {labels: rng.integers(0, 4, (n, 3)), guesses: rng.integers(0, 4, (n, 3)),
                    w: rng.integers(0, 3, (n, 3))}  # fmt: skip
            found += [session.run(update, feed), session.run(value), session.run(local)]
        return found

    in_both(build, rtol=1e-6)


def test_uniform_unit_scaling() -> None:
    def build(lib: Any, session: Any) -> Any:
        made = [
            lib.uniform_unit_scaling_initializer(1.43, seed=3), lib.initializers.uniform_unit_scaling(),
            lib.initializers.uniform_unit_scaling(0.5),
        ]  # fmt: skip
        largest = [
            [float(np.abs(session.run(m(shape))).max()) for shape in ((300, 50), (3, 3, 20, 80), (4000,))]
            for m in made
        ]
        other = "orthogonal global_variables local_variables variables tables_initializer".split()
        names = [n for n in other if hasattr(lib.initializers, n)]
        return np.array(largest), names, made[0].get_config()["factor"], made[0].get_config()["seed"]

    in_both(build, rtol=2e-3)


def test_messages() -> None:
    with pytest.raises(TypeError, match=r"differ: a list and a tuple\n(.*\n)*.*check_types=False"):
        gr.nest.assert_same_structure([1], (1,))
    with pytest.raises(ValueError, match=r"the structure has 2 parts, the list 1\n(.*\n)*.*\(\*, \*\)"):
        gr.nest.pack_sequence_as((1, 2), [3])
    with pytest.raises(TypeError, match=r"3 is no text\n(.*\n)*.*as_str_any"):
        gr.compat.as_bytes(3)
    with pytest.raises(gr.errors.ShapeError, match=r"no two images of one size\n(.*\n)*.*a: \(4, 4\)"):
        gr.image.psnr(gr.zeros([4, 4]), gr.zeros([4, 4]), 1.0)
