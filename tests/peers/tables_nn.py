"""What of `nn` is compared with TensorFlow, as in ``tables.py``: sampled losses, sequences of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from tables import Row, fixed, floats, ints, row

TRUE = fixed([[1, 4], [0, 0], [7, 2]], "int64")
BATCH = (floats(8, 5), floats(8), floats(3, 5))


def _sample(tf: Any, drawn: tuple[int, ...]) -> Any:
    counts = np.linspace(0.1, 0.7, 6, dtype=np.float32).reshape(3, 2)
    return tf.constant(drawn, tf.int64), tf.constant(counts), tf.constant(counts.reshape(-1)[: len(drawn)])


def _parts(w: Any, strategy: str, parts: int, rows: int) -> list[Any]:
    if strategy == "mod":
        return [w[k::parts] for k in range(parts)]
    bounds = np.cumsum([0, *(rows // parts + (k < rows % parts) for k in range(parts))]).tolist()
    return [w[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def _sampled(symbol: str, label: str, drawn: tuple[int, ...], parts: int = 1, **kwargs: Any) -> Row:
    def call(tf: Any, w: Any, b: Any, x: Any) -> Any:
        strategy = kwargs.get("partition_strategy", "mod")
        weights, biases = (_parts(t, strategy, parts, 8) if parts > 1 else t for t in (w, b))
        labels = tf.constant([[1, 4], [0, 0], [7, 2]], tf.int64)
        values = _sample(tf, drawn)
        return getattr(tf.nn, symbol)(weights, biases, labels, x, len(drawn), 8, 2, values, **kwargs)

    return row(f"nn.{symbol}", *BATCH, call=call, label=label, names=False, open_batch=False,
               why="made of other operations")  # fmt: skip


SAMPLED = [
    *(
        _sampled(symbol, label, drawn, parts, **kwargs)
        for symbol in ("nce_loss", "sampled_softmax_loss")
        for label, drawn, parts, kwargs in (
            ("", (3, 0, 5, 2), 1, {}),
            ("hits", (3, 0, 5, 2), 1, {"remove_accidental_hits": True}),
            ("no hits", (3, 0, 5, 2), 1, {"remove_accidental_hits": False}),
            ("twice", (4, 0, 4, 2, 0), 1, {"remove_accidental_hits": True}),
            ("mod", (3, 0, 5, 2), 3, {"partition_strategy": "mod"}),
            ("div", (3, 0, 5, 2), 4, {"partition_strategy": "div"}),
        )
    ),
    row("nn.compute_accidental_hits", TRUE, fixed([4, 2, 3, 4], "int64"),
        call=lambda tf, t, s: tf.nn.compute_accidental_hits(t, s, 2)),
    row("nn.all_candidate_sampler", TRUE, call=lambda tf, t: tf.nn.all_candidate_sampler(t, 2, 9, True)),
    # What is drawn differs; what is expected of the true classes does not, when drawn with replacement.
    *(row(f"nn.{name}_candidate_sampler", TRUE, call=call)
      for name, call in (
          ("log_uniform", lambda tf, t: tf.nn.log_uniform_candidate_sampler(t, 2, 5, False, 9)[1]),
          ("uniform", lambda tf, t: tf.nn.uniform_candidate_sampler(t, 2, 5, False, 9)[1]),
          ("learned_unigram", lambda tf, t: tf.nn.learned_unigram_candidate_sampler(t, 2, 5, False, 9)[1]),
          ("fixed_unigram", lambda tf, t: tf.nn.fixed_unigram_candidate_sampler(
              t, 2, 5, False, 9, distortion=0.75, num_reserved_ids=2, unigrams=[3.0, 2, 9, 0.5, 1, 4, 2])[1]),
          ("fixed_unigram", lambda tf, t: tf.nn.fixed_unigram_candidate_sampler(
              tf.floordiv(t, 3), 2, 5, False, 3, num_shards=2, shard=1, num_reserved_ids=1,
              unigrams=[3.0, 2, 9, 0.5, 1, 4, 2])[1]),
      )),
    *(row("nn.embedding_lookup", floats(9, 2), ints(3, 2, high=9), names=False, open_batch=False,
          why="made of other operations", label=f"{strategy} {parts}", shapes=False,
          call=lambda tf, w, i, s=strategy, n=parts: tf.nn.embedding_lookup(_parts(w, s, n, 9), i, s))
      for strategy in ("mod", "div") for parts in (1, 2, 3, 4)),
]  # fmt: skip


LOGITS = floats(6, 3, 4)


def _ctc(label: str, rows: list[list[int]], **kwargs: Any) -> Row:
    def call(tf: Any, x: Any) -> Any:
        return tf.nn.ctc_loss(_sparse(tf, rows), x, [6, 4, 3], **kwargs)

    return row("nn.ctc_loss", LOGITS, call=call, label=label)


def _sparse(tf: Any, rows: list[list[int]]) -> Any:
    places = np.array([(b, i) for b, r in enumerate(rows) for i in range(len(r))], np.int64)
    values = np.array([c for r in rows for c in r], np.int32)
    return tf.SparseTensor(places, values, [len(rows), max(map(len, rows))])


def _decoded(found: Any) -> list[Any]:
    paths, scores = found
    return [part for p in paths for part in (p.indices, p.values, p.dense_shape)] + [scores]


CTC = [
    _ctc("", [[0, 1, 2], [2, 2], [1]]),
    _ctc("collapse", [[0, 0, 2], [2, 2, 1], [1]], preprocess_collapse_repeated=True),
    _ctc("unmerged", [[0, 0, 2], [2, 2, 1], [1, 1, 0]], ctc_merge_repeated=False),
    _ctc("collapse unmerged", [[0, 0, 2], [2, 2, 1], [1, 1]], preprocess_collapse_repeated=True,
         ctc_merge_repeated=False),
    _ctc("longer", [[0, 1, 2], [2, 2, 1, 0, 1], [1, 0, 1]], ignore_longer_outputs_than_inputs=True),
    _ctc("ended", [[0, 1, 3], [2, 3, 3], [1]]),
    row("nn.ctc_loss", floats(3, 6, 4), label="batch first", names=False, why="a transpose before",
        call=lambda tf, x: tf.nn.ctc_loss(
            _sparse(tf, [[0, 1], [2], [1]]), sequence_length=[6, 4, 3], time_major=False, logits=x)),
    *(row("nn.ctc_loss_v2", LOGITS, label=f"blank {blank}", names=False, why="made of other operations",
          shapes=False, open_batch=False,
          call=lambda tf, x, b=blank, rows=labels: tf.nn.ctc_loss_v2(
              rows, x, [3, 2, 1], [6, 4, 3], blank_index=b))
      for blank, labels in ((None, [[3, 1, 2], [2, 2, 0], [1, 0, 0]]), (2, [[0, 1, 3], [3, 0, 1], [1, 1, 1]]),
                            (-1, [[0, 1, 2], [2, 2, 0], [1, 0, 0]]))),
    *(row("nn.ctc_loss_v2", LOGITS, label=f"sparse {blank}", names=False, why="made of other operations",
          call=lambda tf, x, b=blank: tf.nn.ctc_loss_v2(
              _sparse(tf, [[0, 3, 1], [1, 1], [3]]), x, None, [6, 4, 3], blank_index=b))
      for blank in (2, -2)),
    *(row("nn.ctc_greedy_decoder", LOGITS, label=str(kwargs), gradient=False,
          call=lambda tf, x, k=kwargs: _decoded(tf.nn.ctc_greedy_decoder(x, [6, 4, 0], **k)))
      for kwargs in ({}, {"merge_repeated": False}, {"blank_index": 0})),
    *(row("nn.ctc_beam_search_decoder", floats(12, 3, 4, low=-1, high=1), label=str(kwargs), gradient=False,
          call=lambda tf, x, k=kwargs: _decoded(tf.nn.ctc_beam_search_decoder(x, [12, 10, 9], **k)))
      for kwargs in ({}, {"merge_repeated": False}, {"beam_width": 2}, {"beam_width": 5, "top_paths": 3},
                     {"beam_width": 8, "top_paths": 8, "merge_repeated": False})),
    row("nn.ctc_beam_search_decoder_v2", floats(12, 3, 4), gradient=False,
        call=lambda tf, x: _decoded(tf.nn.ctc_beam_search_decoder_v2(x, [12, 3, 9], 6, 2))),
]  # fmt: skip

CHANNELS = floats(4, low=0.3, high=2)

NORMALIZATION = [
    row("nn.batch_norm_with_global_normalization", floats(2, 3, 3, 4), *(CHANNELS,) * 4, label=str(scale),
        call=lambda tf, *x, s=scale: tf.nn.batch_norm_with_global_normalization(*x, 1e-3, s))
    for scale in (True, False)
] + [
    row("nn.fused_batch_norm", floats(2, 3, 5, 4), CHANNELS, CHANNELS, label="training", factor=3),
    row("nn.fused_batch_norm", floats(1, 1, 1, 4), CHANNELS, CHANNELS, label="one element", factor=3),
    row("nn.fused_batch_norm", floats(2, 4, 3, 2), *(CHANNELS,) * 4, label="channels first", factor=3,
        call=lambda tf, x, *more: tf.nn.fused_batch_norm(x, *more, 0.01, "NCHW", False, "norm")[0]),
    row("nn.fused_batch_norm", floats(2, 3, 5, 4), *(CHANNELS,) * 4, label="averages", factor=3,
        call=lambda tf, x, *more: tf.nn.fused_batch_norm(x, *more, exponential_avg_factor=0.25)),
    row("nn.fused_batch_norm", floats(2, 3, 5, 4), *(CHANNELS,) * 4, label="inference", factor=3,
        call=lambda tf, x, *more: tf.nn.fused_batch_norm(x, *more, is_training=False)[0]),
    row("nn.fused_batch_norm", floats(2, 3, 2, 3, 4), CHANNELS, CHANNELS, label="volumes", factor=3,
        call=lambda tf, x, *more: tf.nn.fused_batch_norm(x, *more, data_format="NDHWC")),
    row("nn.fused_batch_norm", floats(4, 3, 5, 4), CHANNELS, CHANNELS, label="half", names=False, factor=50,
        gradient=False, why="TensorFlow's kernel rounds the input alone",
        call=lambda tf, x, *more: tf.nn.fused_batch_norm(tf.cast(x, tf.float16), *more)[1:]),
]  # fmt: skip

MORPHOLOGY = [
    *(row(f"nn.{name}", floats(2, 6, 5, 3), floats(2, 3, 3), label=padding,
          call=lambda tf, x, k, n=name, p=padding: getattr(tf.nn, n)(x, k, [1, 2, 1, 1], [1, 1, 2, 1], p))
      for name in ("dilation2d", "erosion2d") for padding in ("SAME", "VALID")),
    row("signal.irfft3d", floats(2, 3, 4), floats(2, 3, 4), factor=10, gradient=False, names=False,
        shapes=False, why="one operation there, which forgets the length",
        call=lambda tf, a, b: tf.signal.irfft3d(tf.complex(a, b))),
    row("signal.rfft3d", floats(2, 3, 4), factor=10, gradient=False, names=False, shapes=False,
        why="one operation there", call=lambda tf, a: tf.abs(tf.signal.rfft3d(a))),
    row("image.sample_distorted_bounding_box", floats(1, 2, 4, low=0, high=1), gradient=False,
        label="the whole image",
        call=lambda tf, b: tf.image.sample_distorted_bounding_box(
            [40, 60, 3], b * 0.0, area_range=[0.9, 0.9001], min_object_covered=1.0)),
]  # fmt: skip

ROWS: list[Row] = [*SAMPLED, *CTC, *NORMALIZATION, *MORPHOLOGY]
