"""The training steps that are measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sidebyside import reference
from sidebyside.work import Arrays, Step

Tensors = Mapping[str, Any]

# How far changes by three steps may be off.  Adam divides a gradient by its own size, so where a gradient
# is nearly nothing, its rounding error becomes a whole step of the other sign.
_SGD_TOLERANCE, _ADAM_TOLERANCE = 2e-3, 2e-2
# What an update must read and write of each parameter: itself, and Adam's two moments.
_SGD_BYTES, _ADAM_BYTES = 8, 24


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """He's initialisation; the last axis is that of the outputs."""
    return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / math.prod(shape[:-1])))


def _biases(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.standard_normal(size, np.float32) * np.float32(0.1)


def _traffic_bytes(make: Any, parameters: tuple[str, ...], of_each: int) -> float:
    arrays = make()
    return float(sum(a.size * of_each if k in parameters else a.nbytes for k, a in arrays.items()))


def two_layer(n: int, d: int, h: int) -> Step:
    def inputs() -> Arrays:
        rng = np.random.default_rng(11)
        return {
            "w1": _weights(rng, d, h), "w2": _weights(rng, h, d),
            "x": rng.standard_normal((n, d), np.float32), "t": rng.standard_normal((n, d), np.float32),
        }  # fmt: skip

    def loss(ops: Any, p: Tensors, t: Tensors) -> Any:
        off = ops.matmul(ops.relu(ops.matmul(t["x"], p["w1"])), p["w2"]) - t["t"]
        return ops.mean(ops.sum(ops.square(off), 1))

    parameters = ("w1", "w2")
    return Step(
        f"two-layer-{n}x{d}x{h}", f"dense {d}-{h}-{d}, relu, squares, batch {n}, SGD", inputs,
        flops=2 * n * d * h * 5, traffic_bytes=_traffic_bytes(inputs, parameters, _SGD_BYTES), aim=0.8,
        parameters=parameters, loss=loss, gradients=reference.two_layer, optimizer="sgd", rate=1e-4,
        tolerance=_SGD_TOLERANCE,
    )  # fmt: skip


def _dense_parameters(rng: np.random.Generator, sizes: tuple[int, ...]) -> Arrays:
    arrays: Arrays = {}
    for k, (i, o) in enumerate(zip(sizes, sizes[1:]), 1):
        arrays[f"w{k}"], arrays[f"b{k}"] = _weights(rng, i, o), _biases(rng, o)
    return arrays


def _dense_loss(ops: Any, x: Any, labels: Any, p: Tensors, layers: int) -> Any:
    for k in range(1, layers):
        x = ops.relu(ops.dense(x, p[f"w{k}"], p[f"b{k}"]))
    return ops.cross_entropy(ops.dense(x, p[f"w{layers}"], p[f"b{layers}"]), labels)


def mlp(batch: int, sizes: tuple[int, ...]) -> Step:
    def inputs() -> Arrays:
        rng = np.random.default_rng(12)
        return _dense_parameters(rng, sizes) | {
            "x": rng.standard_normal((batch, sizes[0]), np.float32),
            "labels": rng.integers(0, sizes[-1], batch, np.int32),
        }

    products = [i * o for i, o in zip(sizes, sizes[1:])]
    parameters = tuple(f"{k}{i}" for i in range(1, len(sizes)) for k in "wb")
    return Step(
        f"mlp-{batch}x{'-'.join(map(str, sizes))}", "dense layers, relu, cross entropy, Adam", inputs,
        # Three products a layer; the first has no gradient of its input.
        flops=2 * batch * (3 * sum(products) - products[0]),
        traffic_bytes=_traffic_bytes(inputs, parameters, _ADAM_BYTES), aim=0.75,
        parameters=parameters, loss=lambda ops, p, t: _dense_loss(ops, t["x"], t["labels"], p, 3),
        gradients=reference.mlp, optimizer="adam", rate=2e-5, tolerance=_ADAM_TOLERANCE,
    )  # fmt: skip


def cnn(batch: int, size: int, channels: tuple[int, int], hidden: int, classes: int = 10) -> Step:
    c1, c2 = channels
    flat = (size // 4) ** 2 * c2

    def inputs() -> Arrays:
        rng = np.random.default_rng(13)
        return _dense_parameters(rng, (flat, hidden, classes)) | {
            "f1": _weights(rng, 3, 3, 3, c1), "c1": _biases(rng, c1),
            "f2": _weights(rng, 3, 3, c1, c2), "c2": _biases(rng, c2),
            "x": rng.standard_normal((batch, size, size, 3), np.float32),
            "labels": rng.integers(0, classes, batch, np.int32),
        }  # fmt: skip

    def loss(ops: Any, p: Tensors, t: Tensors) -> Any:
        x = ops.max_pool(ops.relu(ops.conv_bias(t["x"], p["f1"], p["c1"])))
        x = ops.max_pool(ops.relu(ops.conv_bias(x, p["f2"], p["c2"])))
        return _dense_loss(ops, ops.reshape(x, (batch, flat)), t["labels"], p, 2)

    conv1, conv2 = size**2 * 9 * 3 * c1, (size // 2) ** 2 * 9 * c1 * c2
    dense = flat * hidden + hidden * classes
    parameters = ("f1", "c1", "f2", "c2", "w1", "b1", "w2", "b2")
    return Step(
        f"cnn-{batch}x{size}x{size}x3", f"conv {c1}, pool, conv {c2}, pool, dense {hidden}, Adam", inputs,
        flops=2 * batch * (2 * conv1 + 3 * conv2 + 3 * dense),
        traffic_bytes=_traffic_bytes(inputs, parameters, _ADAM_BYTES), aim=0.65,
        filters=frozenset({"f1", "f2"}),
        parameters=parameters, loss=loss, gradients=reference.cnn, optimizer="adam", rate=2e-5,
        tolerance=_ADAM_TOLERANCE,
    )  # fmt: skip


def lstm(steps: int, batch: int, size: int, hidden: int, native: bool = False) -> Step:
    """An LSTM whose last output is compared: unrolled, or `native`, as each system's users write it."""

    def inputs() -> Arrays:
        rng = np.random.default_rng(14)
        w = rng.standard_normal((size + hidden, 4 * hidden), np.float32)
        w *= np.float32(1 / math.sqrt(size + hidden))
        return ({"wx": w[:size], "wh": w[size:]} if native else {"w": w}) | {
            "b": _biases(rng, 4 * hidden),
            "x": rng.standard_normal((steps, batch, size), np.float32),
            "t": rng.standard_normal((batch, hidden), np.float32),
        }

    def loss(ops: Any, p: Tensors, t: Tensors) -> Any:
        if native:
            h = ops.lstm_native(t["x"], p["wx"], p["wh"], p["b"], (batch, hidden))
        else:
            h = ops.lstm(t["x"], p["w"], p["b"], (batch, hidden))
        return ops.mean(ops.square(h - t["t"]))

    parameters = ("wx", "wh", "b") if native else ("w", "b")
    name = "lstm-native" if native else "lstm"
    how = "as its users write it" if native else f"unrolled {steps} steps"
    product = 2 * batch * 4 * hidden
    return Step(
        f"{name}-{steps}x{batch}x{size}+{hidden}", f"LSTM {how}, squares, SGD", inputs,
        # Gradients of the inputs are not needed, those of the states are.
        flops=steps * product * (2 * (size + hidden) + hidden),
        traffic_bytes=_traffic_bytes(inputs, parameters, _SGD_BYTES), aim=0.8 if native else 0.5,
        transposed=frozenset({"wx", "wh"}), parameters=parameters, loss=loss,
        gradients=reference.lstm_of_two if native else reference.lstm, optimizer="sgd", rate=0.1,
        tolerance=_SGD_TOLERANCE,
    )  # fmt: skip


def attention(batch: int, length: int, width: int, heads: int) -> Step:
    tokens = batch * length

    def inputs() -> Arrays:
        rng = np.random.default_rng(15)
        return {
            "s1": 1 + _biases(rng, width), "h1": _biases(rng, width),
            "wqkv": _weights(rng, width, 3 * width), "bqkv": _biases(rng, 3 * width),
            "wo": _weights(rng, width, width), "bo": _biases(rng, width),
            "s2": 1 + _biases(rng, width), "h2": _biases(rng, width),
            "w1": _weights(rng, width, 4 * width), "b1": _biases(rng, 4 * width),
            "w2": _weights(rng, 4 * width, width), "b2": _biases(rng, width),
            "x": rng.standard_normal((tokens, width), np.float32),
            "t": rng.standard_normal((tokens, width), np.float32),
        }  # fmt: skip

    def loss(ops: Any, p: Tensors, t: Tensors) -> Any:
        x = t["x"]
        qkv = ops.dense(ops.layer_norm(x, p["s1"], p["h1"]), p["wqkv"], p["bqkv"])
        q, k, v = (
            ops.transpose(ops.reshape(a, (batch, length, heads, width // heads)), (0, 2, 1, 3))
            for a in ops.split(qkv, 3)
        )
        mixed = ops.transpose(ops.attention(q, k, v), (0, 2, 1, 3))
        x = x + ops.dense(ops.reshape(mixed, (tokens, width)), p["wo"], p["bo"])
        inner = ops.gelu(ops.dense(ops.layer_norm(x, p["s2"], p["h2"]), p["w1"], p["b1"]))
        return ops.mean(ops.square(x + ops.dense(inner, p["w2"], p["b2"]) - t["t"]))

    parameters = ("s1", "h1", "wqkv", "bqkv", "wo", "bo", "s2", "h2", "w1", "b1", "w2", "b2")
    forward = 2 * tokens * width * 12 * width + 4 * tokens * length * width
    return Step(
        f"attention-{batch}x{length}x{width}", f"norm, {heads} heads, norm, dense 4x gelu, squares, SGD",
        inputs, flops=3 * forward, traffic_bytes=_traffic_bytes(inputs, parameters, _SGD_BYTES), aim=0.8,
        parameters=parameters, loss=loss,
        gradients=functools.partial(reference.attention, batch=batch, heads=heads),
        optimizer="sgd", rate=1e-2, tolerance=_SGD_TOLERANCE,
    )  # fmt: skip


def embedding(words: int, width: int, batch: int) -> Step:
    """Rows of a table that is far larger than they are."""

    def inputs() -> Arrays:
        rng = np.random.default_rng(16)
        return {
            "table": rng.standard_normal((words, width), np.float32),
            "ids": rng.integers(0, words, batch, np.int32),
            "t": rng.standard_normal((batch, width), np.float32),
        }

    def loss(ops: Any, p: Tensors, t: Tensors) -> Any:
        return ops.mean(ops.square(ops.lookup(p["table"], t["ids"]) - t["t"]))

    rows_bytes = 4 * batch * width
    return Step(
        f"embedding-{words}x{width}x{batch}", f"{batch} rows of a table of {words:,} x {width}, squares, SGD",
        # The rows are read and written, and the targets read.
        inputs, flops=5 * batch * width, traffic_bytes=3 * rows_bytes + 4 * batch, aim=0.5,
        parameters=("table",), loss=loss, gradients=reference.embedding, optimizer="sgd", rate=1.0,
        tolerance=_SGD_TOLERANCE,
    )  # fmt: skip


@functools.cache
def steps(quick: bool) -> tuple[Step, ...]:
    """Return the training steps, at full size or as small as makes sense."""
    if quick:
        return (
            two_layer(6, 20, 5), mlp(8, (12, 9, 7, 10)), cnn(4, 8, (4, 5), 6),
            lstm(3, 4, 5, 6), lstm(3, 4, 5, 6, native=True), attention(2, 6, 8, 2),
            embedding(40, 6, 8),
        )  # fmt: skip
    return (
        two_layer(64, 1000, 100), mlp(128, (784, 512, 512, 10)), cnn(64, 32, (32, 64), 256),
        lstm(32, 32, 128, 256), lstm(32, 32, 128, 256, native=True), attention(8, 128, 256, 8),
        embedding(1_000_000, 64, 512),
    )  # fmt: skip
