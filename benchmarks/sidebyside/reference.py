"""The networks in plain NumPy, with their gradients by hand: the reference, and plain NumPy's own entry.

They compute in the dtype of what they are given.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Arrays = dict[str, np.ndarray]


class Rows(NamedTuple):
    """A gradient that is 0 but in few rows; what comes several times adds up."""

    indices: np.ndarray
    values: np.ndarray


LAYER_NORM_EPSILON = 1e-5
GELU_SCALE, GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e


def _patches(x: np.ndarray) -> np.ndarray:
    """The 3 x 3 surroundings of each pixel, as rows."""
    n, h, w, c = x.shape
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, 9 * c)


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """3 x 3, stride 1, same size, channels last."""
    return (_patches(x) @ w.reshape(-1, w.shape[-1])).reshape(*x.shape[:3], w.shape[-1])


def conv_input_gradient(w: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return conv(dy, np.ascontiguousarray(w[::-1, ::-1].transpose(0, 1, 3, 2)))


def conv_filter_gradient(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return (_patches(x).T @ dy.reshape(-1, dy.shape[-1])).reshape(3, 3, x.shape[-1], dy.shape[-1])


def max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of each 2 x 2, and a mask of the first place where it stands."""
    n, h, w, c = x.shape
    cells = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
    first = np.arange(4) == cells.argmax(-1)[..., None]
    return cells.max(-1), first


def max_pool_gradient(first: np.ndarray, dy: np.ndarray) -> np.ndarray:
    n, h, w, c, _ = first.shape
    cells = (first * dy[..., None]).reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(n, 2 * h, 2 * w, c)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the mean loss and the gradient of the logits."""
    rows = np.arange(len(labels))
    p = softmax(logits)
    loss = -np.mean(np.log(p[rows, labels]))
    p[rows, labels] -= 1
    p /= len(labels)
    return loss, p


def two_layer(p: Arrays, d: Arrays) -> tuple[Any, Arrays]:
    h = d["x"] @ p["w1"]
    active = relu(h)
    off = active @ p["w2"] - d["t"]
    dy = 2 / len(off) * off
    dh = (dy @ p["w2"].T) * (h > 0)
    return np.mean(np.sum(off**2, 1)), {"w2": active.T @ dy, "w1": d["x"].T @ dh}


def embedding(p: Arrays, d: Arrays) -> tuple[Any, dict[str, Rows]]:
    off = p["table"][d["ids"]] - d["t"]
    return np.mean(off**2), {"table": Rows(d["ids"], 2 / off.size * off)}


def dense_stack(x: np.ndarray, labels: np.ndarray, p: Arrays, layers: int) -> tuple[Any, Arrays, np.ndarray]:
    """Dense layers with relu between them, cross entropy behind: loss, gradients, gradient of x."""
    inputs = [x]
    for k in range(1, layers):
        inputs.append(relu(inputs[-1] @ p[f"w{k}"] + p[f"b{k}"]))
    loss, dy = cross_entropy(inputs[-1] @ p[f"w{layers}"] + p[f"b{layers}"], labels)
    gradients = {}
    for k in range(layers, 0, -1):
        gradients[f"w{k}"], gradients[f"b{k}"] = inputs[k - 1].T @ dy, dy.sum(0)
        dy = dy @ p[f"w{k}"].T
        if k > 1:
            dy *= inputs[k - 1] > 0
    return loss, gradients, dy


def mlp(p: Arrays, d: Arrays) -> tuple[Any, Arrays]:
    loss, gradients, _ = dense_stack(d["x"], d["labels"], p, 3)
    return loss, gradients


def cnn(p: Arrays, d: Arrays) -> tuple[Any, Arrays]:
    active1 = relu(conv(d["x"], p["f1"]) + p["c1"])
    pooled1, first1 = max_pool(active1)
    active2 = relu(conv(pooled1, p["f2"]) + p["c2"])
    pooled2, first2 = max_pool(active2)
    flat = pooled2.reshape(len(pooled2), -1)
    loss, gradients, dflat = dense_stack(flat, d["labels"], p, 2)
    dy2 = max_pool_gradient(first2, dflat.reshape(pooled2.shape)) * (active2 > 0)
    gradients |= {"f2": conv_filter_gradient(pooled1, dy2), "c2": dy2.sum((0, 1, 2))}
    dy1 = max_pool_gradient(first1, conv_input_gradient(p["f2"], dy2)) * (active1 > 0)
    gradients |= {"f1": conv_filter_gradient(d["x"], dy1), "c1": dy1.sum((0, 1, 2))}
    return loss, gradients


def lstm(p: Arrays, d: Arrays) -> tuple[Any, Arrays]:
    x, w, b = d["x"], p["w"], p["b"]
    size = len(b) // 4
    h = c = np.zeros((x.shape[1], size), x.dtype)
    tape = []
    for x_now in x:
        joined = np.concatenate([x_now, h], 1)
        i, f, g, o = np.split(joined @ w + b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before, c = c, f * c + i * g
        squashed = np.tanh(c)
        h = o * squashed
        tape.append((joined, i, f, g, o, before, squashed))
    off = h - d["t"]
    dh, dc = 2 / off.size * off, np.zeros_like(c)
    dw, db = np.zeros_like(w), np.zeros_like(b)
    for joined, i, f, g, o, before, squashed in reversed(tape):
        dc = dc + dh * o * (1 - squashed**2)
        parts = [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2)]
        dz = np.concatenate([*parts, dh * squashed * o * (1 - o)], 1)
        dw += joined.T @ dz
        db += dz.sum(0)
        dh, dc = (dz @ w.T)[:, x.shape[2] :], dc * f
    return np.mean(off**2), {"w": dw, "b": db}


def lstm_of_two(p: Arrays, d: Arrays) -> tuple[Any, Arrays]:
    """The same with the weights of inputs and of states apart."""
    loss, g = lstm({"w": np.concatenate([p["wx"], p["wh"]]), "b": p["b"]}, d)
    size = len(p["wx"])
    return loss, {"wx": g["w"][:size], "wh": g["w"][size:], "b": g["b"]}


def _layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> tuple[Any, Any, Any]:
    centred = x - x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
    unit = centred * inverse
    return unit * scale + shift, unit, inverse


def _layer_norm_gradient(dy: Any, scale: Any, unit: Any, inverse: Any) -> tuple[Any, Any, Any]:
    d = dy * scale
    dx = inverse * (d - d.mean(-1, keepdims=True) - unit * (d * unit).mean(-1, keepdims=True))
    return dx, (dy * unit).sum(0), dy.sum(0)


def _gelu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the approximation by tanh, and its derivative."""
    t = np.tanh(GELU_SCALE * (x + GELU_CUBIC * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBIC * x * x)
    return 0.5 * x * (1 + t), slope


def attention(p: Arrays, d: Arrays, batch: int, heads: int) -> tuple[Any, Arrays]:
    x = d["x"]
    tokens, width = x.shape
    scale = 1 / math.sqrt(width // heads)

    def to_heads(a: np.ndarray) -> np.ndarray:
        return a.reshape(batch, tokens // batch, heads, width // heads).transpose(0, 2, 1, 3)

    def from_heads(a: np.ndarray) -> np.ndarray:
        return a.transpose(0, 2, 1, 3).reshape(tokens, width)

    n1, unit1, inverse1 = _layer_norm(x, p["s1"], p["h1"])
    q, k, v = (to_heads(a) for a in np.split(n1 @ p["wqkv"] + p["bqkv"], 3, axis=1))
    weights = softmax((q @ k.swapaxes(2, 3)) * scale)
    mixed = from_heads(weights @ v)
    x1 = x + mixed @ p["wo"] + p["bo"]
    n2, unit2, inverse2 = _layer_norm(x1, p["s2"], p["h2"])
    active, slope = _gelu(n2 @ p["w1"] + p["b1"])
    off = x1 + active @ p["w2"] + p["b2"] - d["t"]

    g: Arrays = {}
    dy = 2 / off.size * off
    g["w2"], g["b2"] = active.T @ dy, dy.sum(0)
    da = (dy @ p["w2"].T) * slope
    g["w1"], g["b1"] = n2.T @ da, da.sum(0)
    dx1, g["s2"], g["h2"] = _layer_norm_gradient(da @ p["w1"].T, p["s2"], unit2, inverse2)
    dx1 += dy
    g["wo"], g["bo"] = mixed.T @ dx1, dx1.sum(0)
    dmixed = to_heads(dx1 @ p["wo"].T)
    dv = weights.swapaxes(2, 3) @ dmixed
    dweights = dmixed @ v.swapaxes(2, 3)
    dscores = weights * (dweights - (dweights * weights).sum(-1, keepdims=True)) * scale
    dqkv = np.concatenate([from_heads(a) for a in (dscores @ k, dscores.swapaxes(2, 3) @ q, dv)], 1)
    g["wqkv"], g["bqkv"] = n1.T @ dqkv, dqkv.sum(0)
    _, g["s1"], g["h1"] = _layer_norm_gradient(dqkv @ p["wqkv"].T, p["s1"], unit1, inverse1)
    return np.mean(off**2), g
