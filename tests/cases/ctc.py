"""Rows of ``graphrun/ops/ctc.py``; what they are compared with enumerates every path.

The losses have their derivatives as second results, which the rows compare with finite differences; they
have no second derivatives.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cases import Case, case, fixed, floats

_LABELS = fixed([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1], [2, 2]], "int64")


def _collapsed(path: tuple[int, ...], blank: int, merge: bool) -> list[int]:
    return [
        c for i, c in enumerate(path) if c != blank and not (merge and i and c == path[i - 1])
    ]  # fmt: skip


def _loss(logits: Any, rows: Any, lengths: Any, blank: int, merge: bool = True) -> np.ndarray:
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    found = []
    for b, row in enumerate(rows):
        total = 0.0
        for path in itertools.product(range(p.shape[-1]), repeat=int(lengths[b])):
            if _collapsed(path, blank, merge) == list(row):
                total += np.prod([p[t, b, c] for t, c in enumerate(path)])
        found.append(-np.log(total))
    return np.array(found)


def _case(values: list[int], rows: list[list[int]], merge: bool = True, **attrs: Any) -> Case:
    settings = {"collapse": False, "merge": merge, "ignore_longer": False, **attrs}

    def expected(logits: Any, places: Any, labels: Any, lengths: Any) -> Any:
        loss = _loss(logits, rows, lengths, 3, merge)
        step = 1e-5
        gradient = np.zeros(logits.shape)
        for at in np.ndindex(logits.shape):
            moved = logits.astype(np.float64)
            moved[at] += step
            up = _loss(moved, rows, lengths, 3, merge)
            moved[at] -= 2 * step
            gradient[at] = (up - _loss(moved, rows, lengths, 3, merge))[at[1]] / (2 * step)
        return loss, gradient

    return case(
        "ctc_loss", [floats((5, 3, 4)), _LABELS, fixed(values, "int32"), fixed([4, 2, 5], "int32")], settings,
        expected=expected, gradient=False, host_ok=True, label=f"{values} {merge} {attrs}", tolerance=10,
    )  # fmt: skip


def _best(logits: Any, lengths: Any) -> list[tuple[list[int], float]]:
    """The most probable labels of each sequence, and their log-probability."""
    blank = logits.shape[-1] - 1
    found = []
    for b, n in enumerate(lengths):
        log_p = logits[:, b].astype(np.float64)
        log_p = log_p - np.log(np.exp(log_p).sum(-1, keepdims=True))
        sums: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(blank + 1), repeat=int(n)):
            key = tuple(_collapsed(path, blank, True))
            sums[key] = sums.get(key, 0.0) + np.exp(sum(log_p[t, c] for t, c in enumerate(path)))
        key = max(sums, key=lambda k: sums[k])
        found.append((list(key), float(np.log(sums[key]))))
    return found


def _sparse(paths: list[list[int]]) -> tuple[Any, ...]:
    places = [(b, i) for b, p in enumerate(paths) for i in range(len(p))]
    return places, [c for p in paths for c in p], [len(paths), max(map(len, paths))]


def _beam(logits: Any, lengths: Any) -> tuple[Any, ...]:
    found = _best(logits, lengths)
    return *_sparse([p for p, _ in found]), [[s] for _, s in found]


def _greedy(logits: Any, lengths: Any) -> tuple[Any, ...]:
    best = logits.argmax(-1)
    paths = [_collapsed(tuple(best[:n, b]), 2, True) for b, n in enumerate(lengths)]
    return *_sparse(paths), [[-logits[:n, b].max(-1).sum()] for b, n in enumerate(lengths)]


_FRAMES = [floats((6, 3, 3)), fixed([6, 3, 5], "int32")]

CASES: list[Case] = [
    _case([0, 1, 2, 2, 2, 0], [[0, 1], [2], [2, 2, 0]]),
    _case([0, 1, 2, 2, 2, 0], [[0, 1], [2], [2, 0]], collapse=True),
    _case([1, 1, 0, 2, 2, 0], [[1, 1], [0], [2, 2, 0]], merge=False),
    _case([1, 3, 0, 2, 1, 7], [[1], [0], [2, 1]]),
    case(
        "ctc_loss",
        [floats((2, 3, 4)), _LABELS, fixed([0, 1, 2, 2, 2, 0], "int32"), fixed([2, 1, 2], "int32")],
        {"collapse": False, "merge": True, "ignore_longer": True}, gradient=False, host_ok=True,
        label="longer",
    ),
    case(
        "ctc_loss_dense",
        [floats((5, 3, 4)), fixed([[0, 3, 0], [3, 1, 1], [1, 0, 0]], "int32"), fixed([2, 0, 1], "int32"),
         fixed([4, 3, 1], "int32")],
        {"blank": 2}, gradient=False, host_ok=True, tolerance=10,
    ),
    case("ctc_greedy_decoder", _FRAMES, {"merge": True, "blank": -1}, expected=_greedy, host_ok=True),
    case("ctc_greedy_decoder", _FRAMES, {"merge": False, "blank": 0}, host_ok=True),
    case("ctc_beam_search_decoder", _FRAMES, {"width": 200, "paths": 1, "merge": False}, expected=_beam,
         host_ok=True),
    case("ctc_beam_search_decoder", _FRAMES, {"width": 3, "paths": 2, "merge": True}, host_ok=True),
]  # fmt: skip
