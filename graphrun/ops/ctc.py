"""Connectionist temporal classification: sequences of labels from longer sequences of logits.

The host computes it; ``ops/host/ctc.py`` holds the recursions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.dtypes import int32, int64
from graphrun.errors import GradientError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import static_int
from graphrun.ops.compare import less, select
from graphrun.ops.families import require_kind
from graphrun.ops.host import ctc as host
from graphrun.ops.joining import concat
from graphrun.ops.reshape import expand_dims
from graphrun.ops.sparse_tensor import SparseTensor, SparseTensorValue, as_sparse
from graphrun.ops.transpose import transpose
from graphrun.shapes import format_shape, is_compatible


def _frames(logits: Spec, lengths: Spec, what: str = "sequence_length") -> tuple[Any, Any, Any]:
    """Time, batch and classes, as far as they are known."""
    require_kind(logits, "floating", "logits")
    require_kind(lengths, "integer", what)
    if not is_compatible(logits.shape, (None, None, None)):
        raise RuleError(f"logits have shape {format_shape(logits.shape)}", expected="(time, batch, classes)")
    time, batch, classes = logits.shape or (None, None, None)
    if not is_compatible(lengths.shape, (batch,)):
        raise RuleError(
            f"{what} has shape {format_shape(lengths.shape)}",
            expected=f"shape {format_shape((batch,))}: a length for each sequence",
        )
    if batch is None and lengths.shape:
        batch = lengths.shape[0]
    return time, batch, classes


# -- loss ---------------------------------------------------------------------------------------------


def _loss_rule(logits: Spec, places: Spec, values: Spec, lengths: Spec, **_: Any) -> tuple[Spec, Spec]:
    time, batch, classes = _frames(logits, lengths)
    require_kind(values, "integer", "labels")
    if not is_compatible(places.shape, (None, 2)):
        raise RuleError(
            f"the labels' indices have shape {format_shape(places.shape)}", expected="(n, 2): a sparse matrix"
        )
    return Spec((batch,), logits.dtype), Spec((time, batch, classes), logits.dtype)


def _loss_numpy(
    logits: np.ndarray, places: np.ndarray, values: np.ndarray, lengths: np.ndarray,
    *, collapse: bool, merge: bool, ignore_longer: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    time, batch, classes = logits.shape
    host.require_lengths(lengths, time)
    rows = host.ragged(places, values, batch)
    labels, ignored = host.targets(rows, lengths, classes, collapse, ignore_longer)
    labels = [[] if out else row for row, out in zip(labels, ignored, strict=True)]
    loss, gradient = host.loss_and_gradient(logits, labels, lengths, classes - 1, merge)
    loss[ignored] = 0
    gradient[:, ignored] = 0
    return loss.astype(logits.dtype), gradient.astype(logits.dtype)


def _loss_gradient(op: Operation, dy: Tensor | None, d_gradient: Tensor | None) -> tuple[Any, ...]:
    if d_gradient is not None:
        raise GradientError(
            message("there is no second derivative", where=op.label, site=op.site,
                    fix="use gr.stop_gradient on what is differentiated twice")
        )  # fmt: skip
    if dy is None:
        return (None,) * len(op.inputs)
    return (expand_dims(expand_dims(dy, 0), 2) * op.outputs[1], *(None,) * (len(op.inputs) - 1))


loss_op = register(
    OpDef(
        "ctc_loss", _loss_rule, _loss_numpy, None, _loss_gradient, node_name="CTCLoss",
        input_names=("logits", "labels' indices", "labels' values", "sequence_length"),
    )
)  # fmt: skip


def _time_first(logits: Any, time_major: bool) -> Tensor:
    x = convert_to_tensor(logits)
    return x if time_major else transpose(x, [1, 0, 2])


def ctc_loss(
    labels: Any, inputs: Any = None, sequence_length: Any = None, preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True, ignore_longer_outputs_than_inputs: bool = False,
    time_major: bool = True, logits: Any = None,
) -> Tensor:  # fmt: skip
    """Return the negative log-probability of each label sequence, whatever its alignment in time.

    Parameters
    ----------
    labels : SparseTensor of int32, of shape (batch, longest label)
        The last class is the blank: labels are below ``classes - 1``.  One that is not ends its sequence.
    inputs : floating tensor of shape (time, batch, classes)
        Logits; the softmax is applied here.
    sequence_length : int32 tensor of shape (batch,)
        How many steps of each example count.
    preprocess_collapse_repeated : bool
        Whether repeated labels become one before anything else.
    ctc_merge_repeated : bool
        Whether repetitions of a class without a blank between mean one label; else each is a label.
    ignore_longer_outputs_than_inputs : bool
        Whether examples with more labels than steps give a loss and a gradient of 0, and not an error.
    time_major : bool
        False for logits of shape (batch, time, classes).
    logits
        Another name of `inputs`.

    Returns
    -------
    Tensor of shape (batch,)
        Infinite where repeated labels, which want blanks between, do not fit into the steps.

    Raises
    ------
    InvalidArgumentError
        In a run: an example without labels, or with more labels than steps, or a length beyond the last step.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     labels = gr.SparseTensor([[0, 0]], [0], [1, 1])
    ...     loss = gr.nn.ctc_loss(labels, gr.zeros([2, 1, 2]), [2])
    ...     print(sess.run(loss))  # three of four paths give the label: -log(3 / 4)
    [0.2876821]
    """
    sparse = as_sparse(labels, "ctc_loss")
    if (inputs is None) == (logits is None) or sequence_length is None:
        raise ShapeError(
            message("ctc_loss wants logits and their lengths", where="ctc_loss", site=user_site(),
                    expected="one of inputs and logits, and sequence_length")
        )  # fmt: skip
    x = _time_first(logits if inputs is None else inputs, time_major)
    attrs = {
        "collapse": bool(preprocess_collapse_repeated), "merge": bool(ctc_merge_repeated),
        "ignore_longer": bool(ignore_longer_outputs_than_inputs),
    }  # fmt: skip
    lengths = _lengths(sequence_length)
    loss: Tensor = apply(loss_op, (x, sparse.indices, sparse.values, lengths), attrs)[0]
    return loss


def _lengths(value: Any) -> Tensor:
    return convert_to_tensor(value, None if isinstance(value, Tensor) else int32)


# -- dense labels -------------------------------------------------------------------------------------


def _dense_rule(
    logits: Spec, labels: Spec, label_lengths: Spec, lengths: Spec, *, blank: int
) -> tuple[Spec, Spec]:
    time, batch, classes = _frames(logits, lengths, "logit_length")
    require_kind(labels, "integer", "labels")
    for spec, shape, what in ((labels, (batch, None), "labels"), (label_lengths, (batch,), "label_length")):
        if not is_compatible(spec.shape, shape):
            raise RuleError(f"{what} has shape {format_shape(spec.shape)}", expected=format_shape(shape))
    if classes is not None and not 0 <= blank + (classes if blank < 0 else 0) < classes:
        raise RuleError(f"blank_index is {blank}", expected=f"one of the {classes} classes")
    return Spec((batch,), logits.dtype), Spec((time, batch, classes), logits.dtype)


def _dense_numpy(
    logits: np.ndarray, labels: np.ndarray, label_lengths: np.ndarray, lengths: np.ndarray, *, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    time, _, classes = logits.shape
    host.require_lengths(lengths, time)
    blank = blank + classes if blank < 0 else blank
    rows = [row[:n].tolist() for row, n in zip(labels, label_lengths, strict=True)]
    for b, row in enumerate(rows):
        for label in row:
            if not 0 <= label < classes or label == blank:
                raise RuleError(
                    f"a label of row {b} is {label}",
                    expected=f"0 <= label < {classes}, and not the blank, {blank}",
                )
    loss, gradient = host.loss_and_gradient(logits, rows, lengths, blank, True)
    return loss.astype(logits.dtype), gradient.astype(logits.dtype)


dense_loss_op = register(
    OpDef(
        "ctc_loss_dense", _dense_rule, _dense_numpy, None, _loss_gradient, node_name="ctc_loss_dense",
        input_names=("logits", "labels", "label_length", "logit_length"),
    )
)  # fmt: skip


def ctc_loss_v2(
    labels: Any, logits: Any, label_length: Any, logit_length: Any, logits_time_major: bool = True,
    unique: Any = None, blank_index: int | None = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return the negative log-probability of each label sequence; as `ctc_loss`, for dense labels too.

    Parameters
    ----------
    labels : integer tensor of shape (batch, longest label), or SparseTensor
    logits : floating tensor of shape (time, batch, classes)
    label_length : integer tensor of shape (batch,)
        How many of the labels count; None for sparse ones.
    logit_length : integer tensor of shape (batch,)
    logits_time_major : bool
        False for logits of shape (batch, time, classes).
    unique
        Accepted for TensorFlow's sake.
    blank_index : int
        The blank, 0 by default; negative ones count from the end.  It has to be given for sparse labels.
    name : str, optional

    Returns
    -------
    Tensor of shape (batch,)
        Infinite where the labels do not fit into the steps.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.nn.ctc_loss_v2([[1, 0]], gr.zeros([2, 1, 2]), [1], [2])))
    [0.2876821]
    """
    sparse = isinstance(labels, SparseTensor | SparseTensorValue)
    if sparse and blank_index is None:
        raise ShapeError(
            message("sparse labels without blank_index", where="ctc_loss_v2", site=user_site(),
                    fix="pass blank_index=-1 for the last class, as in gr.nn.ctc_loss")
        )  # fmt: skip
    blank = 0 if blank_index is None else static_int(blank_index, "ctc_loss_v2", "blank_index")
    x = convert_to_tensor(logits)
    with x.graph.as_default(), x.graph.name_scope(name or ("ctc_loss" if sparse else "ctc_loss_dense")):
        x = _time_first(x, logits_time_major)
        if not sparse:
            parts = [_lengths(v) for v in (labels, label_length, logit_length)]
            loss: Tensor = apply(dense_loss_op, (x, *parts), {"blank": blank})[0]
            return loss
        given = as_sparse(labels, "ctc_loss_v2")
        classes = x._shape[-1] if x._shape else None
        if blank < 0:
            if classes is None:
                raise ShapeError(
                    message("a negative blank_index with an unknown number of classes", where="ctc_loss_v2",
                            site=user_site(), fix="state the number of classes with set_shape")
                )  # fmt: skip
            blank += classes
        if blank != (None if classes is None else classes - 1):
            x = concat([x[..., :blank], x[..., blank + 1 :], x[..., blank : blank + 1]], 2)
            values = given.values
            given = given._with_values(select(less(values, blank), values, values - 1))
        return ctc_loss(given, x, logit_length)


# -- decoders -----------------------------------------------------------------------------------------


def _paths_rule(logits: Spec, lengths: Spec, *, paths: int, **_: Any) -> tuple[Spec, ...]:
    _, batch, classes = _frames(logits, lengths)
    sparse = Spec((None, 2), int64), Spec((None,), int64), Spec((2,), int64)
    parts = [s for s in sparse for _ in range(paths)]
    return (*parts, Spec((batch, paths), logits.dtype))


def _greedy_rule(logits: Spec, lengths: Spec, *, merge: bool, blank: int) -> tuple[Spec, ...]:
    return _paths_rule(logits, lengths, paths=1)


def _greedy_numpy(
    logits: np.ndarray, lengths: np.ndarray, *, merge: bool, blank: int
) -> tuple[np.ndarray, ...]:
    time, _, classes = logits.shape
    host.require_lengths(lengths, time)
    paths, sums = host.greedy(logits, lengths, blank + classes if blank < 0 else blank, merge)
    return *host.sparse_paths(paths), sums.astype(logits.dtype)


greedy_op = register(
    OpDef(
        "ctc_greedy_decoder", _greedy_rule, _greedy_numpy, None, no_gradient, node_name="CTCGreedyDecoder",
        input_names=("inputs", "sequence_length"),
    )
)  # fmt: skip


def ctc_greedy_decoder(
    inputs: Any, sequence_length: Any, merge_repeated: bool = True, blank_index: int | None = None
) -> tuple[list[SparseTensor], Tensor]:
    """Take the best class of each step, and leave out repetitions and blanks.

    Parameters
    ----------
    inputs : floating tensor of shape (time, batch, classes)
        Logits.
    sequence_length : int32 tensor of shape (batch,)
    merge_repeated : bool
        Whether the same class in steps that follow each other is one label.
    blank_index : int
        The last class by default.

    Returns
    -------
    decoded : list of one SparseTensor
        int64 labels, of shape (batch, longest).
    neg_sum_logits : Tensor of shape (batch, 1)
        The negative sum of the highest logits.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     steps = gr.one_hot([[1], [1], [2], [1], [0]], 3)  # 2 is the blank
    ...     (decoded,), _ = gr.nn.ctc_greedy_decoder(steps, [5])
    ...     print(sess.run(decoded).values)
    [1 1 0]
    """
    blank = -1 if blank_index is None else static_int(blank_index, "ctc_greedy_decoder", "blank_index")
    x, lengths = convert_to_tensor(inputs), _lengths(sequence_length)
    *parts, sums = apply(greedy_op, (x, lengths), {"merge": bool(merge_repeated), "blank": blank})
    return [SparseTensor(*parts)], sums


def _beam_rule(logits: Spec, lengths: Spec, *, width: int, paths: int, merge: bool) -> tuple[Spec, ...]:
    if not 1 <= paths <= width:
        raise RuleError(f"top_paths is {paths}", expected=f"1 <= top_paths <= beam_width, {width}")
    return _paths_rule(logits, lengths, paths=paths)


def _beam_numpy(
    logits: np.ndarray, lengths: np.ndarray, *, width: int, paths: int, merge: bool
) -> tuple[np.ndarray, ...]:
    host.require_lengths(lengths, logits.shape[0])
    found = [host.beam_search(logits[:n, b], width, paths) for b, n in enumerate(lengths.tolist())]
    scores = np.array([s for _, s in found], logits.dtype).reshape(-1, paths)
    sparse = []
    for k in range(paths):
        ranked = [sequences[k] for sequences, _ in found]
        sparse.append(host.sparse_paths([host.collapsed(p) for p in ranked] if merge else ranked))
    return *(part for parts in zip(*sparse, strict=True) for part in parts), scores


beam_op = register(
    OpDef(
        "ctc_beam_search_decoder", _beam_rule, _beam_numpy, None, no_gradient,
        node_name="CTCBeamSearchDecoder", input_names=("inputs", "sequence_length"),
    )
)  # fmt: skip


def ctc_beam_search_decoder(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1, merge_repeated: bool = True
) -> tuple[list[SparseTensor], Tensor]:
    """Find the most probable label sequences, each the sum over its alignments, by beam search.

    Parameters
    ----------
    inputs : floating tensor of shape (time, batch, classes)
        Logits; the last class is the blank.
    sequence_length : int32 tensor of shape (batch,)
    beam_width : int
        How many sequences are followed from step to step.
    top_paths : int
        How many are returned.
    merge_repeated : bool
        Whether labels that follow each other and are the same become one, even where a blank told them
        apart.  That is seldom wanted; `ctc_beam_search_decoder_v2` does not.

    Returns
    -------
    decoded : list of `top_paths` SparseTensors
        int64 labels, of shape (batch, longest); the most probable first.
    log_probability : Tensor of shape (batch, top_paths)

    Raises
    ------
    InvalidArgumentError
        In a run, if there are fewer sequences than `top_paths`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     steps = gr.log([[[0.4, 0.6]], [[0.4, 0.6]]])  # 1 is the blank
    ...     (decoded,), score = gr.nn.ctc_beam_search_decoder(steps, [2])
    ...     # Label 0 in one step or in both, 0.64, is more likely than twice the blank, 0.36.
    ...     print(sess.run(decoded).values, sess.run(gr.exp(score)).round(2))
    [0] [[0.64]]
    """
    where = "ctc_beam_search_decoder"
    attrs = {
        "width": static_int(beam_width, where, "beam_width"),
        "paths": static_int(top_paths, where, "top_paths"), "merge": bool(merge_repeated),
    }  # fmt: skip
    n = attrs["paths"]
    x, lengths = convert_to_tensor(inputs), _lengths(sequence_length)
    parts = apply(beam_op, (x, lengths), attrs)
    return [SparseTensor(parts[k], parts[n + k], parts[2 * n + k]) for k in range(n)], parts[3 * n]


def ctc_beam_search_decoder_v2(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[SparseTensor], Tensor]:
    """As `ctc_beam_search_decoder` with ``merge_repeated=False``."""
    return ctc_beam_search_decoder(inputs, sequence_length, beam_width, top_paths, False)
