"""Branches, loops, losses and what else of the front end is compared with TensorFlow, as in ``tables.py``."""

from __future__ import annotations

from typing import Any

from tables import CUBE, MATRIX, VECTOR, Row, attrs, bools, fixed, floats, ints, row, rows

LOOSE = {"names": False, "why": "merges and exits of frames are nodes there"}


def _loop(tf: Any, x: Any, **kwargs: Any) -> Any:
    """x * 2 ** 3, and how often the body ran."""
    return tf.while_loop(lambda i, y: i < 3, lambda i, y: [i + 1, y * 2.0], [tf.constant(0), x], **kwargs)


def _until(tf: Any, x: Any) -> Any:
    """The number of iterations depends on data."""
    return tf.while_loop(lambda y: tf.reduce_sum(tf.abs(y)) < 50.0, lambda y: y * 1.5 + tf.sin(y), [x])


def _growing(tf: Any, x: Any) -> Any:
    return tf.while_loop(
        lambda i, y: i < 3, lambda i, y: [i + 1, tf.concat([y, y[:1] * 2.0], 0)], [tf.constant(0), x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 4])],
    )  # fmt: skip


def _nested(tf: Any, x: Any) -> Any:
    def body(i: Any, y: Any) -> Any:
        inner = tf.while_loop(lambda j, z: j < i, lambda j, z: [j + 1, z * 1.1], [tf.constant(0), y])
        return [i + 1, tf.cond(tf.equal(i % 2, 0), lambda: inner[1], lambda: inner[1] + tf.reduce_sum(y))]

    return tf.while_loop(lambda i, y: i < 4, body, [tf.constant(0), x])


def _array(tf: Any, x: Any) -> Any:
    array = tf.TensorArray(tf.float32, size=5, element_shape=[4], clear_after_read=False)
    found = tf.while_loop(
        lambda i, a: i < 5,
        lambda i, a: [i + 1, a.write(i, tf.sin(x[i % 3]) * tf.cast(i, tf.float32))],
        [tf.constant(0), array],
    )[1]
    return [found.stack(), found.read(2), found.gather([0, 4]), found.concat(), found.size()]


def _cases(tf: Any, x: Any) -> Any:
    first = tf.reduce_sum(x)
    pairs = [(first > 100.0, lambda: x * 2.0), (first > -100.0, lambda: tf.sin(x))]
    return tf.case(pairs, default=lambda: x, exclusive=False)


FLOW = [
    *(row("cond", MATRIX, label=f"{sign} {kind}", **LOOSE, call=call)
      for sign, limit in (("true", -1e3), ("false", 1e3))
      for kind, call in (
          ("one", lambda tf, x, n=limit: tf.cond(tf.reduce_sum(x) > n, lambda: tf.exp(x), lambda: x * x)),
          ("two", lambda tf, x, n=limit: tf.cond(tf.reduce_sum(x) > n, lambda: [x, x + 1.0],
                                                 lambda: [x * 3.0, x * x])),
          ("shapes", lambda tf, x, n=limit: tf.cond(tf.reduce_sum(x) > n, lambda: x[:1], lambda: x)),
          ("untouched", lambda tf, x, n=limit: tf.cond(tf.reduce_sum(x) > n, lambda: x, lambda: x * 0.5)),
      )),
    row("case", MATRIX, call=_cases, **LOOSE),
    row("case", MATRIX, label="dictionary", **LOOSE, call=lambda tf, x: tf.case(
        {x[0, 0] > 100.0: lambda: x * 2.0, x[0, 0] < 100.0: lambda: x + 1.0}, exclusive=True)),
    row("while_loop", MATRIX, call=_loop, **LOOSE),
    row("while_loop", MATRIX, label="maximum", **LOOSE,
        call=lambda tf, x: _loop(tf, x, maximum_iterations=2)),
    row("while_loop", MATRIX, label="settings", **LOOSE,
        call=lambda tf, x: _loop(tf, x, parallel_iterations=1, back_prop=True, swap_memory=True)),
    row("while_loop", MATRIX, label="same structure", **LOOSE, open_batch=False,
        call=lambda tf, x: tf.while_loop(lambda y: y[0, 0] < -5.0, lambda y: (y + 1.0,), (x,),
                                         return_same_structure=True)),
    row("while_loop", MATRIX, label="until", call=_until, factor=20, **LOOSE),
    row("while_loop", MATRIX, label="growing", call=_growing, **LOOSE),
    row("while_loop", MATRIX, label="nested", call=_nested, factor=5, **LOOSE),
    row("TensorArray", MATRIX, call=_array, **LOOSE),
    row("TensorArray", MATRIX, label="unstack", **LOOSE,
        call=lambda tf, x: tf.TensorArray(tf.float32, 3).unstack(x).read(1)),
    row("TensorArray", MATRIX, label="split", **LOOSE, open_batch=False, shapes=False,
        call=lambda tf, x: tf.TensorArray(tf.float32, 3).split(x, [1, 1, 1]).concat()),
    row("scan", MATRIX, **LOOSE, call=lambda tf, x: tf.scan(lambda a, t: a * 0.5 + tf.sin(t), x)),
    row("scan", MATRIX, label="start", **LOOSE,
        call=lambda tf, x: tf.scan(lambda a, t: a + t, x, initializer=tf.zeros([4]))),
    row("scan", MATRIX, label="reverse", **LOOSE,
        call=lambda tf, x: tf.scan(lambda a, t: a * t, x, reverse=True)),
    row("scan", MATRIX, floats(3, 2), label="several", **LOOSE, open_batch=False,
        call=lambda tf, x, y: tf.scan(lambda a, t: (a[0] + t[0], a[1] * t[1]), (x, y))),
    row("map_fn", MATRIX, **LOOSE, call=lambda tf, x: tf.map_fn(lambda t: tf.reduce_sum(t * t), x)),
    row("map_fn", MATRIX, label="dtype", gradient=False, **LOOSE,
        call=lambda tf, x: tf.map_fn(lambda t: tf.argmax(t, 0), x, dtype=tf.int64)),
    row("map_fn", MATRIX, floats(3, 4), label="several", **LOOSE, open_batch=False,
        call=lambda tf, x, y: tf.map_fn(lambda t: (t[0] * t[1], t[0] - t[1]), (x, y),
                                        dtype=(tf.float32, tf.float32))),
    row("foldl", MATRIX, **LOOSE, call=lambda tf, x: tf.foldl(lambda a, t: a * 0.5 + t * t, x)),
    row("foldl", MATRIX, label="start", **LOOSE,
        call=lambda tf, x: tf.foldl(lambda a, t: a + tf.reduce_sum(t), x, initializer=1.0)),
    row("foldr", MATRIX, **LOOSE, call=lambda tf, x: tf.foldr(lambda a, t: a * 0.5 + t * t, x)),
]  # fmt: skip

CLASSES, ONE_HOT = ints(3, high=4), fixed([[0, 1, 0, 0], [0.2, 0.3, 0.5, 0], [0, 0, 0, 1]], "float32")


def _entropy(symbol: str, labels: Any, **kwargs: Any) -> Row:
    def call(tf: Any, x: Any, y: Any) -> Any:
        found: Any = tf
        for part in symbol.split("."):
            found = getattr(found, part)
        return found(labels=y, logits=x, **kwargs)

    label = ",".join(f"{k}={v}" for k, v in kwargs.items())
    # TensorFlow has reshapes around the softmax, in any case.
    return row(symbol, MATRIX, labels, call=call, label=label, names="_v2" not in symbol)


def _loss(symbol: str, *inputs: Any, **kwargs: Any) -> Row:
    def call(tf: Any, *tensors: Any) -> Any:
        return [getattr(tf.losses, symbol)(*tensors, **kwargs), tf.losses.get_total_loss()]

    label = ",".join(f"{k}={v}" for k, v in kwargs.items())
    return row(f"losses.{symbol}", *inputs, call=call, label=label, open_batch=False, shapes=False,
               names="pairwise" not in symbol, why="made of other operations")  # fmt: skip


POSITIVE, ZERO_ONE = floats(3, 4, low=0.05, high=0.95), fixed([[0, 1, 1, 0]] * 3, "float32")
LOSSES = [
    _entropy("nn.softmax_cross_entropy_with_logits_v2", ONE_HOT),
    row("nn.softmax_cross_entropy_with_logits", MATRIX, ONE_HOT, names=False, why="reshapes around it there",
        call=lambda tf, x, y: tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=x)),
    _entropy("nn.sigmoid_cross_entropy_with_logits", POSITIVE),
    _entropy("nn.sparse_softmax_cross_entropy_with_logits", CLASSES),
    row("nn.weighted_cross_entropy_with_logits", POSITIVE, MATRIX, names=False, why="other operations",
        call=lambda tf, y, x: tf.nn.weighted_cross_entropy_with_logits(y, x, 0.7)),
    *(_loss(name, y, p, **kwargs)
      for name, y, p in (
          ("mean_squared_error", MATRIX, floats(3, 4)), ("absolute_difference", MATRIX, floats(3, 4)),
          ("log_loss", ZERO_ONE, POSITIVE), ("huber_loss", MATRIX, floats(3, 4)),
          ("hinge_loss", ZERO_ONE, MATRIX), ("sigmoid_cross_entropy", ZERO_ONE, MATRIX),
          ("mean_pairwise_squared_error", MATRIX, floats(3, 4)))
      for kwargs in ({}, {"weights": 0.3})),
    *(_loss("mean_squared_error", MATRIX, floats(3, 4), reduction=r)
      for r in ("weighted_sum", "weighted_mean", "weighted_sum_over_batch_size")),
    _loss("softmax_cross_entropy", ONE_HOT, MATRIX), _loss("softmax_cross_entropy", ONE_HOT, MATRIX,
                                                           label_smoothing=0.1),
    _loss("sparse_softmax_cross_entropy", CLASSES, MATRIX),
    row("losses.add_loss", VECTOR, call=lambda tf, x: [tf.losses.add_loss(tf.reduce_sum(x)),
                                                       tf.losses.get_total_loss()][1:]),
]  # fmt: skip

PIXELS = floats(2, 6, 5, 3, low=0, high=1)
LAYERS = [
    row("nn.bias_add", MATRIX, floats(4)),
    row("nn.bias_add", floats(2, 3, 4, 4), floats(3), label="NCHW", gradient=False,
        call=lambda tf, x, b: tf.nn.bias_add(x, b, data_format="NCHW") if tf.__name__ == "graphrun"
        else tf.transpose(tf.nn.bias_add(tf.transpose(x, [0, 2, 3, 1]), b), [0, 3, 1, 2]),
        names=False, why="TensorFlow's processors want the channels last"),
    row("nn.xw_plus_b", MATRIX, floats(4, 2), floats(2)),
    row("nn.relu_layer", MATRIX, floats(4, 2), floats(2)),
    row("nn.dropout", MATRIX, call=lambda tf, x: tf.nn.dropout(x, keep_prob=1.0), names=False,
        why="TensorFlow returns the tensor itself"),
    *(attrs("nn.moments", CUBE, axes=axes, keep_dims=keep, names=keep, why="other operations at the end")
      for axes, keep in (([0], False), ([0, 1], True), ([0, 1, 2], False))),
    *(attrs("nn.l2_normalize", MATRIX, axis=axis) for axis in (0, 1, [0, 1])),
    row("nn.batch_normalization", MATRIX, floats(4), floats(4, low=0.2, high=2), floats(4), floats(4),
        call=lambda tf, *x: tf.nn.batch_normalization(*x, variance_epsilon=1e-3)),
    *(attrs(name, PIXELS, ksize=2, strides=2, padding="SAME") for name in ("nn.max_pool2d", "nn.avg_pool2d")),
    row("nn.swish", MATRIX, names=False, why="a function of its own there"),
    row("nn.log_softmax", CUBE, label="axis", call=lambda tf, x: tf.nn.log_softmax(x, axis=1), names=False,
        why="moved to the end and back there"),
    row("clip_by_norm", MATRIX, call=lambda tf, x: tf.clip_by_norm(x, 1.5)),
    row("clip_by_norm", MATRIX, label="axes", call=lambda tf, x: tf.clip_by_norm(x, 1.5, axes=[1])),
    row("clip_by_average_norm", MATRIX, call=lambda tf, x: tf.clip_by_average_norm(x, 0.3), names=False,
        why="other operations"),
    row("clip_by_global_norm", MATRIX, floats(5), call=lambda tf, a, b: [
        *tf.clip_by_global_norm([a, b], 2.0)[0], tf.clip_by_global_norm([a, b], 2.0)[1]], names=False,
        why="other operations"),
    row("global_norm", MATRIX, floats(5), call=lambda tf, a, b: tf.global_norm([a, b])),
    *(row(f"image.{name}", PIXELS, names=False, why="other operations", shapes=False,
          gradient=name != "resize_area", call=lambda tf, x, n=name: getattr(tf.image, n)(x, [9, 4]))
      for name in ("resize_bilinear", "resize_nearest_neighbor", "resize_bicubic", "resize_area")),
    row("placeholder_with_default", MATRIX, gradient=False, open_batch=False,
        call=lambda tf, x: tf.placeholder_with_default(tf.ones([3, 4]), [None, 4]) + x),
    row("group", MATRIX, call=lambda tf, x: _after(tf, x, tf.group(x, tf.no_op()))),
    row("control_dependencies", MATRIX, call=lambda tf, x: _after(tf, x, x)),
    row("assign_add", VECTOR, gradient=False, call=lambda tf, x: _assigned(tf, x), open_batch=False),
    row("Assert", VECTOR, call=lambda tf, x: _after(tf, x, tf.Assert(tf.reduce_all(x < 9.0), [x]))),
    *(row(f"assert_{name}", VECTOR, names=False, why="a scope of its own there",
          call=lambda tf, x, n=name, m=more: _after(tf, x, getattr(tf, f"assert_{n}")(tf.abs(x) + 1.0, *m)))
      for name, more in (("positive", ()), ("rank", (1,)), ("greater", (0.5,)), ("less_equal", (9.0,)))),
    row("Print", VECTOR, call=lambda tf, x: tf.Print(x, [x], summarize=0)),
    row("multinomial", fixed([[0.0, -500.0, -500.0]], "float32"), gradient=False, names=False,
        why="one operation there", open_batch=False, call=lambda tf, x: tf.multinomial(x, 4)),
    row("custom_gradient", MATRIX, names=False, why="identities of its own there", call=lambda tf, x:
        tf.custom_gradient(lambda t: (tf.exp(t), lambda dy: dy * 3.0))(x)),
    row("stop_gradient", MATRIX, call=lambda tf, x: tf.stop_gradient(x) * x),
    *rows("floor_div", ints(3, 4, low=-9, high=9), ints(3, 4, low=1, high=4)),
    row("where", bools(3), MATRIX, floats(3, 4), label="rows", call=lambda tf, c, a, b: tf.where(c, a, b)),
]  # fmt: skip


def _after(tf: Any, x: Any, *waits: Any) -> Any:
    with tf.control_dependencies([w for w in waits if w is not None]):
        return tf.identity(x) * 2.0


def _assigned(tf: Any, x: Any) -> Any:
    v = tf.Variable([1.0, 2.0, 3.0, 4.0, 5.0], name="v")
    with tf.control_dependencies([v.initializer]):
        return tf.assign_add(v, x)


ROWS: list[Row] = [*FLOW, *LOSSES, *LAYERS]
