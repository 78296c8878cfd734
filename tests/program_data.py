"""What the programs of `tests/programs` train on, and how their loss curves are compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest


class Digits(NamedTuple):
    """Handwritten digits, 8 by 8, as rows of 64 numbers from 0 to 1; labels one-hot."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@functools.cache
def digits() -> Digits:
    """The digits of scikit-learn, shuffled; the test is skipped where that is not installed."""
    found: Any = pytest.importorskip("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.data[order] / 16).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[found.target[order]]
    return Digits(images[:1400], labels[:1400], images[1400:], labels[1400:])


def batches(
    arrays: Sequence[np.ndarray], size: int, epochs: int, seed: int = 0
) -> Iterator[tuple[np.ndarray, ...]]:
    """Whole batches of rows, in another order each epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(arrays[0]))
        for first in range(0, len(order) - size + 1, size):
            chosen = order[first : first + size]
            yield tuple(a[chosen] for a in arrays)


def sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Sentences of a small language, as lists of words: subject, verb and object agree as in English."""
    rng = np.random.default_rng(seed)
    nouns = {"cat": "cats", "dog": "dogs", "bird": "birds", "king": "kings"}
    verbs = {"sees": "see", "hears": "hear", "feeds": "feed"}
    adjectives = ["old", "small", "happy"]

    def phrase(plural: bool) -> list[str]:
        noun = str(rng.choice([*nouns]))
        some = [str(rng.choice(adjectives))] if rng.random() < 0.4 else []
        return (["many"] if plural else ["the"]) + some + [nouns[noun] if plural else noun]

    made = []
    for _ in range(count):
        many, verb = rng.random() < 0.5, str(rng.choice([*verbs]))
        made.append([*phrase(many), verbs[verb] if many else verb, *phrase(rng.random() < 0.5), "."])
    return made


def assert_same_curve(
    losses: Sequence[float], expected: Sequence[float], *, first: int, early: float, late: float
) -> None:
    """Two devices must see the same losses.

    Rounding differs from device to device, and training makes such differences grow.  So the `first` losses
    must agree within the relative tolerance `early`, all within `late` of the largest.
    """
    np.testing.assert_allclose(losses[:first], expected[:first], rtol=early)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=late * float(np.max(np.abs(expected))))
