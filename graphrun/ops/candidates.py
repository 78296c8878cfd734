"""Candidate samplers: a few classes drawn from many, and how often each was to be expected among them.

The host draws, from the key and the counter of each sampler's stream; so the same seeds give the same
classes on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphrun.dtypes import float32, int32, int64
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import Constant, OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import static_int
from graphrun.ops.families import require_kind
from graphrun.ops.fill import ones, ones_like
from graphrun.ops.host import samplers as host
from graphrun.ops.reshape import reshape
from graphrun.ops.scatter import scatter_rows_op
from graphrun.ops.seeds import stream_key
from graphrun.ops.state import Variable, assign
from graphrun.shapes import format_shape, is_compatible


class Sampled(NamedTuple):
    """What a candidate sampler returns."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def _true_rule(true: Spec, num_true: int) -> None:
    if true.dtype is not int64:
        raise RuleError(
            f"true_classes has dtype {true.dtype}", expected="int64",
            fix="convert it with gr.cast(labels, gr.int64)", kind=DTypeError,
        )  # fmt: skip
    if not is_compatible(true.shape, (None, num_true)):
        raise RuleError(
            f"true_classes has shape {format_shape(true.shape)}",
            expected=f"shape (batch, num_true), with num_true={num_true}",
        )


def _rule(
    true: Spec, *weights: Spec, num_true: int, num_sampled: int, unique: bool, range_max: int, **_: Any
) -> tuple[Spec, ...]:
    for what, number in (("num_true", num_true), ("num_sampled", num_sampled), ("range_max", range_max)):
        if number < 1:
            raise RuleError(f"{what} is {number}", expected="1 or more")
    _true_rule(true, num_true)
    if unique and num_sampled > range_max:
        raise RuleError(
            f"{num_sampled} distinct classes of {range_max}",
            expected="num_sampled of at most range_max",
            fix="unique=False draws with replacement",
        )
    if weights and not is_compatible(weights[0].shape, (range_max,)):
        raise RuleError(f"weights of shape {format_shape(weights[0].shape)} for {range_max} classes")
    batch = None if true.shape is None else true.shape[0]
    return Spec((num_sampled,), int64), Spec((batch, num_true), float32), Spec((num_sampled,), float32)


def _register(name: str, node_name: str, source: Callable[..., Any], *names: str) -> OpDef:
    """Register the sampler and the pure operation that the compiler puts in its place."""

    def numpy(counter: Any, true: np.ndarray, *weights: np.ndarray, key: Any, **attrs: Any) -> Any:
        host.require_classes(true, attrs["range_max"])
        bits = np.random.Philox(key=int(key[0]) | int(key[1]) << 32, counter=int(counter) << 64)
        draw, probability = source(np.random.Generator(bits), *weights, **attrs)
        return host.sample(draw, probability, true, attrs["num_sampled"], attrs["unique"])

    register(
        OpDef(
            f"philox_{name}", lambda counter, *inputs, **attrs: _rule(*inputs, **attrs), numpy, None,
            no_gradient, advance=lambda out: 1, input_names=("counter", "true_classes", *names),
        )
    )  # fmt: skip
    return register(
        OpDef(
            name, _rule, None, None, no_gradient, stateful=True, pure=f"philox_{name}", node_name=node_name,
            input_names=("true_classes", *names),
        )
    )  # fmt: skip


log_uniform_op = _register(
    "log_uniform_candidate_sampler", "LogUniformCandidateSampler",
    lambda rng, *, range_max, **_: host.log_uniform(rng, range_max),
)  # fmt: skip
uniform_op = _register(
    "uniform_candidate_sampler", "UniformCandidateSampler",
    lambda rng, *, range_max, **_: host.uniform(rng, range_max),
)  # fmt: skip
learned_unigram_op = _register(
    "learned_unigram_candidate_sampler", "LearnedUnigramCandidateSampler",
    lambda rng, weights, **_: host.weighted(rng, weights), "weights",
)  # fmt: skip
fixed_unigram_op = _register(
    "fixed_unigram_candidate_sampler", "FixedUnigramCandidateSampler",
    lambda rng, *, weights, **_: host.weighted(rng, weights.array),
)  # fmt: skip


def _attrs(where: str, num_true: Any, num_sampled: Any, unique: Any, range_max: Any) -> dict[str, Any]:
    numbers = {"num_true": num_true, "num_sampled": num_sampled, "range_max": range_max}
    return {
        **{what: static_int(number, where, what) for what, number in numbers.items()},
        "unique": bool(unique),
    }


def _classes(value: Any) -> Tensor:
    """Lists and arrays become int64, as class numbers are; a tensor is what it is."""
    return convert_to_tensor(value, None if isinstance(value, Tensor) else int64)


def _sample(opdef: OpDef, true_classes: Any, attrs: dict[str, Any], seed: Any, name: str | None) -> Sampled:
    true = _classes(true_classes)
    with true.graph.as_default():
        return Sampled(*apply(opdef, (true,), {**attrs, "key": stream_key(seed)}, name))


def log_uniform_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
    seed: int | None = None, name: str | None = None,
) -> Sampled:  # fmt: skip
    """Draw classes of a log-uniform distribution, anew in each run: the lower its number, the more often.

    Class k has probability ``log((k + 2) / (k + 1)) / log(range_max + 1)``: about what words have that are
    numbered from the most frequent one.

    Parameters
    ----------
    true_classes : int64 tensor of shape (batch, num_true)
        For which the expected counts are wanted; they do not change what is drawn.
    num_true, num_sampled : int
    unique : bool
        Whether all drawn classes differ.
    range_max : int
        The number of classes.
    seed : int, optional
        See `set_random_seed`.

    Returns
    -------
    sampled_candidates : int64 Tensor of shape (num_sampled,)
    true_expected_count : float32 Tensor of shape (batch, num_true)
        How often each true class is expected among those drawn: ``p * num_sampled``, or for distinct ones
        ``1 - (1 - p) ** tries``, by the number of draws that it took.
    sampled_expected_count : float32 Tensor of shape (num_sampled,)

    Raises
    ------
    ShapeError
        If more distinct classes are wanted than there are, or the shape of `true_classes` does not fit.
    InvalidArgumentError
        In a run, if a true class is not among the `range_max` classes.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     drawn = gr.nn.log_uniform_candidate_sampler([[0], [5]], 1, 10, True, 10, seed=1)
    ...     print(sorted(sess.run(drawn.sampled_candidates).tolist()))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    attrs = _attrs("log_uniform_candidate_sampler", num_true, num_sampled, unique, range_max)
    return _sample(log_uniform_op, true_classes, attrs, seed, name)


def uniform_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
    seed: int | None = None, name: str | None = None,
) -> Sampled:  # fmt: skip
    """Draw classes that are all equally likely; parameters and results of `log_uniform_candidate_sampler`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     drawn = gr.nn.uniform_candidate_sampler([[3]], 1, 2, False, 8)
    ...     print(sess.run(drawn.true_expected_count))
    [[0.25]]
    """
    attrs = _attrs("uniform_candidate_sampler", num_true, num_sampled, unique, range_max)
    return _sample(uniform_op, true_classes, attrs, seed, name)


def learned_unigram_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
    seed: int | None = None, name: str | None = None,
) -> Sampled:  # fmt: skip
    """Draw classes as often as they were true classes before, each one counted once from the beginning.

    Parameters and results are those of `log_uniform_candidate_sampler`.  The counts belong to the session,
    start anew in each, and are no variable of the graph; each run counts its true classes after it has drawn.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     drawn = gr.nn.learned_unigram_candidate_sampler([[1], [1]], 1, 4, False, 4)
    ...     for _ in range(2):
    ...         print(sess.run(drawn.true_expected_count).tolist())
    [[1.0], [1.0]]
    [[2.0], [2.0]]
    """
    where = "learned_unigram_candidate_sampler"
    attrs = _attrs(where, num_true, num_sampled, unique, range_max)
    true = _classes(true_classes)
    learned_unigram_op.check(name or where, user_site(), (true.spec, Spec(None, int32)), attrs)
    graph = true.graph
    with graph.as_default(), graph.name_scope(name or learned_unigram_op.node_name) as scope:
        counts = Variable(
            lambda: ones([attrs["range_max"]], int32), trainable=False, collections=[], name="counts"
        )
        # Without an initializer that users would have to run: what was never written is read as its start.
        before = counts.initialized_value()
        flat = reshape(true, [-1])
        once = ones_like(flat, int32)
        after = apply(scatter_rows_op, (before, flat, once), {"mode": "add", "nd": False})
        with graph.control_dependencies([assign(counts, after)]):
            found = apply(learned_unigram_op, (true, before), {**attrs, "key": stream_key(seed)}, scope)
        return Sampled(*found)


def fixed_unigram_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
    vocab_file: str = "", distortion: float = 1.0, num_reserved_ids: int = 0, num_shards: int = 1,
    shard: int = 0, unigrams: Iterable[float] = (), seed: int | None = None, name: str | None = None,
) -> Sampled:  # fmt: skip
    """Draw classes in proportion to weights, from a file or from a list.

    Parameters
    ----------
    true_classes, num_true, num_sampled, unique, range_max, seed
        See `log_uniform_candidate_sampler`.
    vocab_file : str, optional
        A line for each class, whose last comma-separated field is its weight; read while the graph is built.
    distortion : float
        The power that each weight is raised to.
    num_reserved_ids : int
        So many classes before the given ones are never drawn.
    num_shards, shard : int
        Of the classes, only those whose number modulo `num_shards` is `shard` count; they are numbered anew.
    unigrams : list of floats
        The weights, where there is no file.

    Returns
    -------
    As `log_uniform_candidate_sampler`.

    Raises
    ------
    ShapeError
        If there are not `range_max` weights, or fewer with a weight than distinct classes are wanted.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     drawn = gr.nn.fixed_unigram_candidate_sampler([[2]], 1, 2, True, 4, unigrams=[0, 3, 1, 0])
    ...     print(sorted(sess.run(drawn.sampled_candidates).tolist()))
    [1, 2]
    """
    where = "fixed_unigram_candidate_sampler"
    attrs = _attrs(where, num_true, num_sampled, unique, range_max)
    given = list(unigrams)
    if bool(vocab_file) == bool(given):
        raise ShapeError(
            message(f"{'both' if given else 'neither'} of vocab_file and unigrams", where=where,
                    site=user_site(), expected="the weights of the classes from one of them")
        )  # fmt: skip
    if not 0 <= shard < num_shards:
        raise ShapeError(
            message(f"shard {shard} of {num_shards}", where=where, site=user_site(),
                    expected="0 <= shard < num_shards")
        )  # fmt: skip
    lines: Any = Path(vocab_file).read_text(encoding="utf-8").splitlines() if vocab_file else given
    try:
        weights = host.read_weights(lines, distortion, num_reserved_ids, num_shards, shard)
    except RuleError as fault:
        raise ShapeError(
            message(fault.what, where=where, site=user_site(), expected=fault.expected)
        ) from None
    wrong = "" if np.all(weights >= 0) and np.isfinite(weights).all() else "a weight is negative or no number"
    if weights.size != attrs["range_max"]:
        wrong = f"{weights.size} weights for range_max={range_max} classes"
    elif not wrong and np.count_nonzero(weights) < (num_sampled if unique else 1):
        wrong = f"{np.count_nonzero(weights)} classes have a weight other than 0, {num_sampled} are wanted"
    if wrong:
        raise ShapeError(
            message(wrong, where=where, site=user_site(),
                    expected="range_max weights of 0 or more, enough of them not 0")
        )  # fmt: skip
    return _sample(fixed_unigram_op, true_classes, {**attrs, "weights": Constant(weights)}, seed, name)


# -- all classes --------------------------------------------------------------------------------------


def _all_rule(true: Spec, *, num_true: int, num_sampled: int) -> tuple[Spec, ...]:
    return _rule(true, num_true=num_true, num_sampled=num_sampled, unique=True, range_max=num_sampled)


def _all_numpy(true: np.ndarray, *, num_true: int, num_sampled: int) -> tuple[np.ndarray, ...]:
    host.require_classes(true, num_sampled)
    ones_ = [np.ones(shape, np.float32) for shape in (true.shape, (num_sampled,))]
    return np.arange(num_sampled, dtype=np.int64), *ones_


all_candidates_op = register(
    OpDef(
        "all_candidate_sampler", _all_rule, _all_numpy, None, no_gradient, node_name="AllCandidateSampler",
        input_names=("true_classes",),
    )
)  # fmt: skip


def all_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, seed: int | None = None,
    name: str | None = None,
) -> Sampled:  # fmt: skip
    """Return all of `num_sampled` classes, each expected once: for comparisons with samplers that draw.

    Parameters and results are those of `log_uniform_candidate_sampler`; `unique` and `seed` change nothing.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.nn.all_candidate_sampler([[1]], 1, 3, True).sampled_candidates))
    [0 1 2]
    """
    where = "all_candidate_sampler"
    attrs = {"num_true": static_int(num_true, where, "num_true"),
             "num_sampled": static_int(num_sampled, where, "num_sampled")}  # fmt: skip
    true = _classes(true_classes)
    return Sampled(*apply(all_candidates_op, (true,), attrs, name))


# -- accidental hits ----------------------------------------------------------------------------------


def _hits_rule(true: Spec, sampled: Spec, *, num_true: int) -> tuple[Spec, ...]:
    _true_rule(true, num_true)
    if not is_compatible(sampled.shape, (None,)):
        raise RuleError(f"sampled_candidates has shape {format_shape(sampled.shape)}", expected="a vector")
    if sampled.dtype is not int64:
        raise RuleError(f"sampled_candidates has dtype {sampled.dtype}", expected="int64", kind=DTypeError)
    return Spec((None,), int32), Spec((None,), int64), Spec((None,), float32)


def last_places(sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers of a vector in rising order, and where each stands last."""
    values, first = np.unique(sampled[::-1], return_index=True)
    return values, sampled.size - 1 - first


def _hits_numpy(true: np.ndarray, sampled: np.ndarray, *, num_true: int) -> tuple[np.ndarray, ...]:
    values, places = last_places(sampled)
    flat = true.reshape(-1)
    at = np.searchsorted(values, flat)
    hit = np.zeros(flat.size, np.bool_)
    inside = at < values.size
    hit[inside] = values[at[inside]] == flat[inside]
    found = np.flatnonzero(hit)
    weights = np.full(found.size, np.finfo(np.float32).min, np.float32)
    return (found // num_true).astype(np.int32), places[at[found]].astype(np.int64), weights


accidental_hits_op = register(
    OpDef(
        "compute_accidental_hits", _hits_rule, _hits_numpy, None, no_gradient,
        node_name="ComputeAccidentalHits", input_names=("true_classes", "sampled_candidates"),
    )
)  # fmt: skip


def compute_accidental_hits(
    true_classes: Any, sampled_candidates: Any, num_true: int, seed: int | None = None,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return where sampled classes are true ones by accident.

    Parameters
    ----------
    true_classes : int64 tensor of shape (batch, num_true)
    sampled_candidates : int64 tensor of shape (num_sampled,)
    num_true : int
    seed
        Accepted for TensorFlow's sake.

    Returns
    -------
    indices : int32 Tensor of shape (hits,)
        The row of each true class that was sampled too.
    ids : int64 Tensor of shape (hits,)
        Where it stands among the sampled ones; the last place of several.
    weights : float32 Tensor of shape (hits,)
        The lowest finite number, which takes the class out when it is added to its logit.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     rows, places, _ = sess.run(gr.nn.compute_accidental_hits([[7], [2]], [5, 2, 9], 1))
    ...     print(rows, places)
    [1] [1]
    """
    true, sampled = (
        convert_to_tensor(v, None if isinstance(v, Tensor) else int64)
        for v in (true_classes, sampled_candidates)
    )
    attrs = {"num_true": static_int(num_true, "compute_accidental_hits", "num_true")}
    return apply(accidental_hits_op, (true, sampled), attrs, name)


# -- a sample in which nothing is twice ---------------------------------------------------------------


def _once_rule(sampled: Spec) -> tuple[Spec]:
    require_kind(sampled, "integer", "sampled")
    return (sampled,)


def _once_numpy(sampled: np.ndarray) -> np.ndarray:
    found = np.full_like(sampled, -1)
    values, places = last_places(sampled)
    found[places] = values
    return found


# What is sampled twice counts once, at its last place; -1, which is no class, stands at the others.
once_op = register(
    OpDef("last_of_equals", _once_rule, _once_numpy, None, no_gradient, input_names=("sampled",))
)
