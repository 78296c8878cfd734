"""Connectionist temporal classification on the host: the loss with its gradient, and two decoders.

The recursions of the loss (Graves et al. 2006) run over time, for the whole batch at once, in logarithms and
in float64.  The beam search (Hannun et al. 2014) takes all extensions of all prefixes in one step at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphrun.errors import InvalidArgumentError, RuleError

Array = npt.NDArray[Any]
Paths = tuple[list[list[int]], list[float]]


def _fault(what: str, expected: str, fix: str = "") -> RuleError:
    return RuleError(what, expected=expected, fix=fix, kind=InvalidArgumentError)


def log_softmax(x: Array) -> Array:
    """Along the last axis, in float64."""
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        wide = wide - wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))


def require_lengths(lengths: Array, time: int) -> None:
    """Raise unless each sequence fits into `time` steps."""
    wrong = np.flatnonzero((lengths < 0) | (lengths > time))
    if wrong.size:
        b = int(wrong[0])
        raise _fault(f"sequence_length[{b}] is {lengths[b]}, of {time} steps", f"0 <= length <= {time}")


def ragged(places: Array, values: Array, batch: int) -> list[list[int]]:
    """The rows of a sparse matrix of labels, as lists."""
    rows: list[list[int]] = [[] for _ in range(batch)]
    for (b, _), value in zip(places.tolist(), values.tolist(), strict=True):
        if not 0 <= b < batch:
            raise _fault(f"a label stands in row {b} of a batch of {batch}", f"0 <= row < {batch}")
        rows[b].append(value)
    return rows


def targets(
    labels: Sequence[Sequence[int]], lengths: Array, classes: int, collapse: bool, ignore_longer: bool
) -> tuple[list[list[int]], Array]:
    """Labels as they are to be emitted, and which sequences are left out because they are too short.

    The last class is the blank.  It, and numbers above it, end a label.
    """
    found = []
    ignored = np.zeros(len(labels), np.bool_)
    for b, given in enumerate(labels):
        if not given:
            raise _fault(f"row {b} has no labels", "at least one label for each sequence")
        wanted: list[int] = []
        ended = False
        for i, label in enumerate(given):
            if collapse and i and label == given[i - 1]:
                continue
            if label < 0:
                raise _fault(f"a label of row {b} is {label}", f"0 <= label < {classes - 1}")
            if label >= classes - 1:
                ended = True
            elif ended:
                raise _fault(
                    f"row {b} has label {label} behind one of {classes - 1} or more, which ends it",
                    f"labels below {classes - 1}: the last of the {classes} classes is the blank",
                )
            else:
                wanted.append(label)
        if not ignore_longer and len(given) > lengths[b]:
            raise _fault(
                f"row {b} has {len(given)} labels for {lengths[b]} steps", "as many steps as labels at least",
                "ignore_longer_outputs_than_inputs=True leaves such rows out",
            )  # fmt: skip
        ignored[b] = len(wanted) > lengths[b]
        found.append(wanted)
    return found, ignored


def loss_and_gradient(
    logits: Array, labels: Sequence[Sequence[int]], lengths: Array, blank: int, merge: bool
) -> tuple[Array, Array]:
    """Return the losses, (batch,), and their derivatives by the logits, (time, batch, classes).

    Where no path gives the labels, the loss is infinite and the derivative that of the softmax alone, as in
    TensorFlow.
    """
    time, batch, _ = logits.shape
    log_y = log_softmax(logits)
    longest = max((len(row) for row in labels), default=0)
    width = 2 * longest + 1
    # Blank, label, blank, label, ..., blank; rows are filled up with blanks that nothing reaches.
    symbols = np.full((batch, width), blank)
    for b, row in enumerate(labels):
        symbols[b, 1 : 2 * len(row) : 2] = row
    sizes = np.array([2 * len(row) + 1 for row in labels], np.int64)
    emitted = np.take_along_axis(log_y, np.broadcast_to(symbols, (time, batch, width)), 2)
    inside = np.arange(width) < sizes[:, None]
    emitted[:, ~inside] = -np.inf
    is_blank = symbols == blank
    stays = np.where(is_blank | merge, 0.0, -np.inf)
    skips = np.full((batch, width), -np.inf)
    differ = (symbols[:, 2:] != symbols[:, :-2]) | (not merge)
    skips[:, 2:] = np.where(~is_blank[:, 2:] & differ, 0.0, -np.inf)

    alpha = np.full((time, batch, width), -np.inf)
    if time:
        alpha[0, :, :2] = emitted[0, :, :2]
    for t in range(1, time):
        reached = alpha[t - 1] + stays
        reached[:, 1:] = np.logaddexp(reached[:, 1:], alpha[t - 1, :, :-1])
        reached[:, 2:] = np.logaddexp(reached[:, 2:], alpha[t - 1, :, :-2] + skips[:, 2:])
        alpha[t] = reached + emitted[t]
    beta = np.full((time, batch, width), -np.inf)
    ends = np.where(inside & (np.arange(width) >= sizes[:, None] - 2), 0.0, -np.inf)
    following = np.full((batch, width), -np.inf)
    for t in range(time - 1, -1, -1):
        if t + 1 < time:
            after = beta[t + 1] + emitted[t + 1]
            following = after + stays
            following[:, :-1] = np.logaddexp(following[:, :-1], after[:, 1:])
            following[:, :-2] = np.logaddexp(following[:, :-2], after[:, 2:] + skips[:, 2:])
        beta[t] = np.where((lengths - 1 == t)[:, None], ends, following)
    both = alpha + beta
    log_p = np.logaddexp.reduce(both[0], -1) if time else np.full(batch, -np.inf)
    # Without a step there is one path, the empty one, to no label.
    log_p = np.where((lengths == 0) & (sizes == 1), 0.0, log_p)

    gradient = np.exp(log_y)
    possible = np.isfinite(log_p)
    share = np.exp(both - np.where(possible, log_p, np.inf)[:, None])
    # One symbol after another, since a label may occur twice in a row.
    rows = np.arange(batch)
    gradient[:, :, blank] -= share[:, :, ::2].sum(-1)
    for u in range(1, width, 2):
        gradient[:, rows, symbols[:, u]] -= share[:, :, u]
    gradient *= (np.arange(time)[:, None] < lengths)[:, :, None]
    return -log_p, gradient


# -- decoders -----------------------------------------------------------------------------------------


def collapsed(path: Sequence[int]) -> list[int]:
    """A path without repetitions of its last label."""
    return [label for i, label in enumerate(path) if i == 0 or label != path[i - 1]]


def greedy(logits: Array, lengths: Array, blank: int, merge: bool) -> tuple[list[list[int]], Array]:
    """The best class of each step, without blanks; and the negative sums of their logits, (batch, 1)."""
    time = logits.shape[0]
    best = logits.argmax(-1)
    keep = (best != blank) & (np.arange(time)[:, None] < lengths)
    if merge:
        keep[1:] &= best[1:] != best[:-1]
    highest = np.where(np.arange(time)[:, None] < lengths, logits.max(-1), 0)
    paths = [best[keep[:, b], b].tolist() for b in range(logits.shape[1])]
    return paths, -highest.sum(0, dtype=np.float64)[:, None]


def beam_search(logits: Array, width: int, paths: int) -> Paths:
    """The most probable label sequences of one example, (time, classes), and their log-probabilities."""
    log_y = log_softmax(logits)
    blank = logits.shape[-1] - 1
    # A prefix is a number: its parent, its last label, and its extensions by label.
    parents, lasts = [-1], [-1]
    children: list[dict[int, int]] = [{}]
    beam = np.array([0])
    ends_blank, ends_label = np.zeros(1), np.full(1, -np.inf)
    for frame in log_y:
        count = beam.size
        total = np.logaddexp(ends_blank, ends_label)
        last = np.array([lasts[n] for n in beam])
        place = {int(n): k for k, n in enumerate(beam)}
        parent = np.array([place.get(parents[n], -1) for n in beam])
        extended = total[:, None] + frame[:blank]
        # Doubling a label takes a blank between.
        again = np.flatnonzero(last >= 0)
        extended[again, last[again]] = ends_blank[again] + frame[last[again]]
        # What stays: the same label again, a blank, or what its parent in the beam is extended to.
        own = np.flatnonzero(parent >= 0)
        label = np.where(last >= 0, ends_label + frame[last], -np.inf)
        label[own] = np.logaddexp(label[own], extended[parent[own], last[own]])
        extended[parent[own], last[own]] = -np.inf
        staying = total + frame[blank]
        totals = np.concatenate([np.logaddexp(staying, label), extended.reshape(-1)])
        order = np.argsort(-totals, kind="stable")[:width]
        order = order[totals[order] > -np.inf]
        numbers = np.empty(order.size, np.int64)
        next_blank, next_label = np.full(order.size, -np.inf), np.empty(order.size)
        for k, at in enumerate(order.tolist()):
            if at < count:
                numbers[k], next_blank[k], next_label[k] = beam[at], staying[at], label[at]
                continue
            row, new = divmod(at - count, blank)
            node = int(beam[row])
            if new not in children[node]:
                children[node][new] = len(parents)
                parents.append(node)
                lasts.append(new)
                children.append({})
            numbers[k], next_label[k] = children[node][new], totals[at]
        beam, ends_blank, ends_label = numbers, next_blank, next_label
    totals = np.logaddexp(ends_blank, ends_label)
    order = np.argsort(-totals, kind="stable")[:paths]
    if order.size < paths:
        raise RuleError(
            f"{order.size} label sequences have been found, {paths} are wanted",
            expected="top_paths of at most as many as there are",
            fix="use a smaller top_paths, or longer sequences",
            kind=InvalidArgumentError,
        )
    found = []
    for node in beam[order].tolist():
        path: list[int] = []
        while parents[node] >= 0:
            path.append(lasts[node])
            node = parents[node]
        found.append(path[::-1])
    return found, totals[order].tolist()


def sparse_paths(paths: Sequence[Sequence[int]]) -> tuple[Array, Array, Array]:
    """Sequences as the parts of a sparse int64 matrix."""
    places = [(b, i) for b, path in enumerate(paths) for i in range(len(path))]
    values = [label for path in paths for label in path]
    shape = [len(paths), max(map(len, paths), default=0)]
    return np.array(places, np.int64).reshape(-1, 2), np.array(values, np.int64), np.array(shape, np.int64)
