"""What candidate samplers draw from, on the host, and how often a class is expected among what they draw.

Expected counts are those of TensorFlow 1, in the same precision: with replacement ``p * n``, without it
``1 - (1 - p) ** tries``, where `tries` is how many draws it took until n distinct classes were found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphrun.errors import InvalidArgumentError, RuleError

Array = npt.NDArray[Any]
Draw = Callable[[int], Array]
Probability = Callable[[Array], Array]

_MAX_TRIES = 2**31 - 1
_CHUNK = 1 << 20


def log_uniform(rng: np.random.Generator, range_max: int) -> tuple[Draw, Probability]:
    """Classes k with probability ``log((k + 2) / (k + 1)) / log(range_max + 1)``."""
    log_range = math.log1p(range_max)

    def draw(n: int) -> Array:
        return (np.exp(rng.random(n) * log_range).astype(np.int64) - 1) % range_max

    def probability(k: Array) -> Array:
        return (np.log((k + 2.0) / (k + 1.0)) / log_range).astype(np.float32)

    return draw, probability


def uniform(rng: np.random.Generator, range_max: int) -> tuple[Draw, Probability]:
    """Every class with the same probability."""
    each = np.float32(1.0 / range_max)
    return (
        lambda n: rng.integers(0, range_max, n, np.int64),
        lambda k: np.full(np.shape(k), each),
    )


def weighted(rng: np.random.Generator, weights: Array) -> tuple[Draw, Probability]:
    """Classes in proportion to their weights; what is no class has probability 0."""
    total = np.float32(weights.astype(np.float64).sum())
    sums = np.cumsum(weights, dtype=np.float64)
    last = int(np.flatnonzero(weights)[-1]) if weights.any() else 0

    def draw(n: int) -> Array:
        # Rounding may put a draw at the total itself, which is behind the last class that has a weight.
        return np.minimum(np.searchsorted(sums, rng.random(n) * sums[-1], side="right"), last)

    def probability(k: Array) -> Array:
        inside = (k >= 0) & (k < weights.size)
        found = weights[np.where(inside, k, 0)].astype(np.float32) / total
        return np.where(inside, found, np.float32(0))

    return draw, probability


def distinct(draw: Draw, count: int) -> tuple[Array, int]:
    """The first `count` distinct classes that are drawn, in their order, and how many draws it took."""
    found, tries = np.zeros(0, np.int64), 0
    while found.size < count:
        chunk = min(max(2 * (count - found.size), tries, 64), _CHUNK)
        both = np.concatenate([found, draw(chunk)])
        first = np.sort(np.unique(both, return_index=True)[1])
        if first.size >= count:
            first = first[:count]
            tries += int(first[-1]) + 1 - found.size if count else 0
            return both[first], tries
        found, tries = both[first], tries + chunk
        if tries > _MAX_TRIES:
            raise RuleError(
                f"{_MAX_TRIES} draws gave {found.size} distinct classes, not {count}",
                expected="num_sampled well below the number of classes that are not rare",
                fix="use unique=False, or fewer samples",
                kind=InvalidArgumentError,
            )
    return found, tries


def expected_count(p: Array, count: int, tries: int) -> Array:
    """How often a class of probability `p` is expected in a sample of `count`."""
    if tries == count:
        return p * np.float32(count)
    with np.errstate(divide="ignore"):
        return -np.expm1(np.float32(tries) * np.log1p(-p))


def sample(
    draw: Draw, probability: Probability, true_classes: Array, num_sampled: int, unique: bool
) -> tuple[Array, Array, Array]:
    """Sampled classes, and the expected counts of the true and of the sampled ones."""
    if unique:
        sampled, tries = distinct(draw, num_sampled)
    else:
        sampled, tries = draw(num_sampled), num_sampled
    true_count, sampled_count = (
        expected_count(probability(k), num_sampled, tries).astype(np.float32) for k in (true_classes, sampled)
    )
    return np.asarray(sampled, np.int64), true_count, sampled_count


def require_classes(true_classes: Array, range_max: int) -> None:
    """Raise unless all are numbers of classes."""
    wrong = (true_classes < 0) | (true_classes >= range_max)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise RuleError(
            f"true_classes[{row}, {column}] is {true_classes[row, column]}, of {range_max} classes",
            expected=f"0 <= class < {range_max}",
            kind=InvalidArgumentError,
        )


def read_weights(lines: Any, distortion: float, reserved: int, shards: int, shard: int) -> Array:
    """The weights of classes, one for each of `lines` (numbers, or lines of comma-separated values).

    The first `reserved` classes have weight 0; of `shards` parts that take classes in turn, part `shard`.
    """
    weights = [0.0] * len(range(shard, reserved, shards))
    number_of_class = len(weights)  # TensorFlow's numbering: reserved classes of other shards are not counted
    for number, line in enumerate(lines, start=1):
        if isinstance(line, str):
            field = line.strip().split(",")[-1]
            if not line.strip():
                continue
            try:
                line = float(field)
            except ValueError:
                raise RuleError(
                    f"line {number} of the vocabulary ends in {field!r}",
                    expected="lines whose last comma-separated field is a number",
                ) from None
        if number_of_class % shards == shard:
            weights.append(float(np.float32(line) ** np.float32(distortion)))
        number_of_class += 1
    return np.array(weights, np.float32)
