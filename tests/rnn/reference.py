"""Cells of recurrent networks in NumPy, from their published equations, and values for their variables."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphrun as gr


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def basic(x: np.ndarray, h: np.ndarray, v: dict[str, np.ndarray]) -> tuple[Any, Any]:
    h = np.tanh(np.concatenate([x, h], 1) @ v["kernel"] + v["bias"])
    return h, h


def gru(x: np.ndarray, h: np.ndarray, v: dict[str, np.ndarray]) -> tuple[Any, Any]:
    r, u = np.split(sigmoid(np.concatenate([x, h], 1) @ v["gates/kernel"] + v["gates/bias"]), 2, 1)
    c = np.tanh(np.concatenate([x, r * h], 1) @ v["candidate/kernel"] + v["candidate/bias"])
    h = u * h + (1 - u) * c
    return h, h


def lstm(
    x: np.ndarray, state: Any, v: dict[str, np.ndarray], forget: float = 1.0, clip: float = np.inf,
    proj_clip: float = np.inf,
) -> tuple[Any, Any]:  # fmt: skip
    """With peepholes and a projection where `v` has their variables."""
    c, h = state
    i, j, f, o = np.split(np.concatenate([x, h], 1) @ v["kernel"] + v["bias"], 4, 1)
    look_f, look_i, look_o = (v.get(f"w_{gate}_diag", 0.0) for gate in "fio")
    c = sigmoid(f + forget + look_f * c) * c + sigmoid(i + look_i * c) * np.tanh(j)
    c = np.clip(c, -clip, clip)
    h = sigmoid(o + look_o * c) * np.tanh(c)
    if "projection/kernel" in v:
        h = np.clip(h @ v["projection/kernel"], -proj_clip, proj_clip)
    return h, (c, h)


def unrolled(
    cell: Any, x: np.ndarray, state: Any, v: dict[str, np.ndarray], lengths: Any = None, **settings: Any
) -> tuple[np.ndarray, Any]:
    """Outputs ``(batch, time, units)`` and the last state; behind its length an example outputs zeros."""
    outputs = []
    for t in range(x.shape[1]):
        y, new = cell(x[:, t], state, v, **settings)
        if lengths is not None:
            on = (t < np.asarray(lengths))[:, None]
            y = np.where(on, y, 0)
            pair = isinstance(new, tuple)
            held = [
                np.where(on, a, b)
                for a, b in zip(new if pair else [new], state if pair else [state], strict=True)
            ]
            new = tuple(held) if pair else held[0]
        state = new
        outputs.append(y)
    return np.stack(outputs, 1), state


def set_variables(sess: gr.Session, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Give all variables random values; return those by their names within the cell."""
    values = {}
    for v in gr.global_variables():
        value = rng.uniform(-0.7, 0.7, v.shape.as_list()).astype(np.float32)
        sess.run(gr.assign(v, value))
        values[v.op.name.partition("/")[2]] = value
    return values
