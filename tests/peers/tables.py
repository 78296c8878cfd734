"""What is compared with TensorFlow: calls that are the same for both, on arrays drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes
    ----------
    symbol : str
        What is called, as ``nn.top_k``; it labels the row.
    call : callable
        ``call(tf, *tensors)``, with graphrun or ``tensorflow.compat.v1`` as ``tf``.
    inputs : tuple of functions
        Each draws one array.
    gradient, names, shapes, open_batch : bool
        Whether these are compared, and with an unknown first dimension too; where they are not, `why` says
        the reason.
    factor : float
        On the tolerance.
    """

    symbol: str
    call: Callable[..., Any]
    inputs: tuple[Draw, ...]
    gradient: bool = True
    names: bool = True
    shapes: bool = True
    open_batch: bool = True
    factor: float = 1.0
    why: str = ""
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.symbol}-{self.label}" if self.label else self.symbol


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> Draw:
    return lambda rng: rng.uniform(low, high, shape).astype(np.float32)


def ints(*shape: int, low: int = 0, high: int = 5, dtype: str = "int32") -> Draw:
    return lambda rng: rng.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> Draw:
    return lambda rng: rng.random(shape) < 0.5


def fixed(values: Any, dtype: str = "int32") -> Draw:
    return lambda rng: np.array(values, dtype)


def positive(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> Any:
        a = rng.uniform(-1, 1, (n, n))
        return (a @ a.T + np.eye(n)).astype(np.float32)

    return draw


def row(symbol: str, *inputs: Draw, call: Callable[..., Any] | None = None, **more: Any) -> Row:
    """A row; without `call`, the symbol is called with the inputs."""

    def plain(tf: Any, *tensors: Any) -> Any:
        return resolve(tf, symbol)(*tensors)

    return Row(symbol, call or plain, inputs, **more)


def rows(symbols: str, *inputs: Draw, **more: Any) -> list[Row]:
    return [row(s, *inputs, **more) for s in symbols.split()]


def resolve(tf: Any, symbol: str) -> Any:
    for part in symbol.split("."):
        tf = getattr(tf, part)
    return tf


def attrs(symbol: str, *inputs: Draw, label: str = "", **kwargs: Any) -> Row:
    """A row whose call has keyword arguments as well."""
    settings = {
        k: kwargs.pop(k)
        for k in ("gradient", "names", "shapes", "open_batch", "factor", "why")
        if k in kwargs
    }
    text = label or ",".join(f"{k}={v}" for k, v in kwargs.items())

    def call(tf: Any, *tensors: Any) -> Any:
        return resolve(tf, symbol)(*tensors, **kwargs)

    return Row(symbol, call, inputs, label=text, **settings)


MATRIX, VECTOR, CUBE = floats(3, 4), floats(5), floats(2, 3, 4)
IDS = fixed([0, 0, 1, 3, 3])

ELEMENTWISE = [
    *rows("abs negative sign square exp expm1 sin cos tan sinh cosh tanh atan asinh sigmoid erf erfc",
          MATRIX),
    *rows("floor ceil round rint", floats(3, 4, low=-9, high=9), gradient=False),
    *rows("log log1p sqrt rsqrt reciprocal lgamma digamma", floats(3, 4, low=0.2, high=3)),
    *rows("asin acos atanh", floats(3, 4, low=-0.9, high=0.9)),
    row("acosh", floats(3, 4, low=1.1, high=3)),
    *rows("nn.relu nn.relu6 nn.elu nn.selu nn.softplus nn.softsign nn.crelu nn.leaky_relu nn.softmax"
          " nn.log_softmax nn.l2_loss nn.zero_fraction", MATRIX),
    *rows("add subtract multiply divide maximum minimum squared_difference", MATRIX, floats(4)),
    *rows("floordiv floormod mod truediv realdiv", MATRIX, floats(3, 4, low=0.5, high=3), gradient=False),
    *rows("equal not_equal less less_equal greater greater_equal", ints(3, 4), ints(3, 4)),
    *rows("logical_and logical_or logical_xor", bools(3, 4), bools(3, 4)),
    *rows("is_nan is_inf is_finite", MATRIX),
    row("pow", floats(3, 4, low=0.5, high=2), MATRIX),
    row("div", MATRIX, floats(4, low=0.5, high=2)),
    row("div", ints(3, 4, low=-9, high=9), ints(4, low=1), label="ints", names=False,
        why="named as floordiv there"),
    row("atan2", MATRIX, floats(3, 4)),
    row("logical_not", bools(3, 4)),
    row("clip_by_value", MATRIX, call=lambda tf, x: tf.clip_by_value(x, -0.5, 0.5)),
    row("add_n", MATRIX, floats(3, 4), call=lambda tf, a, b: tf.add_n([a, b, a])),
    row("where", bools(3, 4), MATRIX, floats(3, 4)),
    row("where", bools(3, 4), label="indices"),
    row("cast", floats(3, 4, low=-9, high=9), call=lambda tf, x: tf.cast(x, tf.int32)),
    *rows("to_float to_int32 to_int64", ints(3, 4)),
    *rows("igamma igammac", floats(3, 4, low=0.3, high=6), floats(3, 4, low=0.1, high=8), factor=10),
    row("betainc", floats(3, 4, low=0.3, high=5), floats(3, 4, low=0.3, high=5),
        floats(3, 4, low=0.05, high=0.95), factor=10),
    row("zeta", floats(3, 4, low=1.3, high=6), floats(3, 4, low=0.2, high=6), gradient=False),
    row("polygamma", fixed([[1, 2, 3, 1]], "float32"), floats(3, 4, low=0.5, high=6), gradient=False,
        factor=10),
]  # fmt: skip

REDUCTIONS = [
    *(attrs(f"reduce_{name}", CUBE, axis=axis, keepdims=keep)
      for name in ("sum", "mean", "max", "min", "prod", "logsumexp")
      for axis, keep in ((None, False), (1, True), ([0, 2], False))),
    *(attrs(f"reduce_{name}", bools(2, 3), axis=1) for name in ("any", "all")),
    *(attrs(name, MATRIX, axis=axis) for name in ("argmax", "argmin") for axis in (0, 1)),
    *(attrs(f"cum{name}", MATRIX, axis=1, exclusive=e, reverse=r)
      for name in ("sum", "prod") for e in (False, True) for r in (False, True)),
    row("count_nonzero", ints(3, 4), names=False, why="TensorFlow's is a sum of casts"),
    attrs("nn.top_k", MATRIX, k=2),
    row("nn.in_top_k", floats(5, 4), ints(5, high=4), call=lambda tf, p, t: tf.nn.in_top_k(p, t, 2)),
    attrs("sort", MATRIX, axis=0, names=False, why="sorted by top_k there"),
    attrs("sort", MATRIX, direction="DESCENDING", names=False, why="sorted by top_k there"),
    attrs("argsort", MATRIX, axis=-1, names=False, why="sorted by top_k there"),
    *(attrs("norm", MATRIX, axis=axis, names=False, why="made of other operations")
      for axis in (None, 0, [0, 1])),
    attrs("norm", MATRIX, ord=1, axis=1, names=False, why="made of other operations"),
]  # fmt: skip

ARRAYS = [
    row("zeros", call=lambda tf: [tf.zeros([2, 3]), tf.zeros((2,), tf.int32), tf.zeros([], tf.bool, "z")]),
    row("zeros", CUBE, call=lambda tf, x: tf.zeros(tf.shape(x)[:2]), names=False, label="tensor",
        why="filled by an operation there"),
    row("ones", call=lambda tf: [tf.ones([2, 3]), tf.ones((2,), tf.int32), tf.ones([], tf.float64, "o")]),
    row("constant", call=lambda tf: [
        tf.constant(2.5), tf.constant([[1, 2]]), tf.constant(7, tf.int64, [2, 2]), tf.constant("text"),
        tf.constant(np.ones((2, 3))), tf.constant(True, name="flag"),
        tf.constant([1, 2], tf.float32, [2, 2])]),
    row("convert_to_tensor", MATRIX, call=lambda tf, x: [
        tf.convert_to_tensor(x), tf.convert_to_tensor([1, 2.5]), tf.convert_to_tensor(3, tf.int64, "n"),
        tf.convert_to_tensor([x, x * 2.0], name="joined")]),
    row("convert_to_tensor", MATRIX, call=lambda tf, x: [
        tf.convert_to_tensor([[tf.shape(x)[0], 7], [tf.size(x, out_type=tf.int64), 1]], tf.int64, "cast"),
        tf.convert_to_tensor([tf.shape(x)[1], x[0, 0], 0.5], tf.float64, "floats")]),
    row("placeholder", MATRIX, call=lambda tf, x: [
        tf.placeholder_with_default(tf.placeholder(k, s, n).shape.as_list(), [2])
        for k, s, n in ((tf.float32, [2, 3], None), (tf.int32, (4, 5), "named"))]),
    row("shape", CUBE), row("size", CUBE), row("rank", CUBE), row("identity", CUBE),
    row("zeros_like", CUBE, gradient=False), row("ones_like", CUBE, gradient=False),
    row("reshape", MATRIX, call=lambda tf, x: tf.reshape(x, [2, -1])),
    row("transpose", CUBE), attrs("transpose", CUBE, perm=[1, 0, 2]), row("matrix_transpose", CUBE),
    attrs("expand_dims", MATRIX, axis=1), attrs("expand_dims", MATRIX, axis=[-1]),
    attrs("squeeze", floats(3, 1, 2), axis=[1]),
    row("concat", MATRIX, floats(3, 2), call=lambda tf, a, b: tf.concat([a, b], 1)),
    row("stack", MATRIX, floats(3, 4), call=lambda tf, a, b: tf.stack([a, b], 1)),
    row("unstack", MATRIX, call=lambda tf, a: tf.unstack(a, axis=1)),
    row("split", MATRIX, call=lambda tf, a: tf.split(a, 2, 1)),
    row("slice", MATRIX, call=lambda tf, a: tf.slice(a, [1, 0], [2, 3])),
    row("strided_slice", MATRIX, call=lambda tf, a: tf.strided_slice(a, [0, 1], [3, 4], [2, 1])),
    row("getitem", CUBE, call=lambda tf, a: a[1:, ..., ::2], label="slices"),
    row("tile", MATRIX, call=lambda tf, a: tf.tile(a, [1, 2])),
    row("pad", MATRIX, call=lambda tf, a: tf.pad(a, [[1, 0], [0, 2]])),
    row("gather", MATRIX, ints(2, 2, high=3)),
    row("gather_nd", MATRIX, fixed([[0, 1], [2, 3], [0, 1]])),
    row("gather_nd", MATRIX, fixed([[0], [2]]), label="rows"),
    row("scatter_nd", fixed([[1], [0], [1]]), MATRIX, call=lambda tf, i, u: tf.scatter_nd(i, u, [3, 4])),
    row("one_hot", ints(4), call=lambda tf, i: tf.one_hot(i, 5)),
    row("sequence_mask", ints(4), call=lambda tf, n: tf.sequence_mask(n, 5), names=False,
        why="made of other operations"),
    row("boolean_mask", MATRIX, fixed([True, False, True], "bool"), shapes=False,
        why="a constant mask is evaluated there while the graph is built"),
    row("reverse", MATRIX, call=lambda tf, x: tf.reverse(x, [1])),
    row("reverse_sequence", MATRIX, fixed([2, 4, 0]),
        call=lambda tf, x, n: tf.reverse_sequence(x, n, seq_axis=1)),
    row("roll", MATRIX, call=lambda tf, x: tf.roll(x, [1, -1], [0, 1])),
    row("repeat", MATRIX, call=lambda tf, x: tf.repeat(x, 2, 1), names=False, why="other operations"),
    row("repeat", MATRIX, fixed([1, 0, 2]), call=lambda tf, x, n: tf.repeat(x, n, 0), names=False,
        label="each", why="other operations"),
    row("invert_permutation", fixed([2, 0, 1])),
    row("unique", fixed([3, 1, 3, 2])), row("unique_with_counts", fixed([3, 1, 3, 2])),
    row("setdiff1d", fixed([3, 1, 3, 2]), fixed([3, 5])),
    row("dynamic_partition", MATRIX, fixed([1, 0, 1]), call=lambda tf, x, p: tf.dynamic_partition(x, p, 2)),
    row("dynamic_stitch", fixed([2, 0]), fixed([1, 3]), floats(2, 3), floats(2, 3), names=False, shapes=False,
        why="made of other operations", call=lambda tf, i, j, a, b: tf.dynamic_stitch([i, j], [a, b])),
    row("meshgrid", VECTOR, floats(3), names=False, why="made of other operations"),
    row("linspace", call=lambda tf: tf.linspace(1.0, 3.0, 5), names=False,
        why="one operation in TensorFlow 1"),
    row("range", call=lambda tf: tf.range(2, 9, 3)),
    row("eye", call=lambda tf: tf.eye(3, 4), names=False, why="made of other operations"),
    row("fill", call=lambda tf: tf.fill([2, 3], 4.0)),
    row("broadcast_to", VECTOR, call=lambda tf, x: tf.broadcast_to(x, [2, 5])),
    *rows("segment_sum segment_mean segment_prod segment_max segment_min", floats(5, 2), IDS, names=False,
          shapes=False, why="made of unsorted segments"),
    *(row(f"unsorted_segment_{m}", floats(5, 2), fixed([2, 0, 2, -1, 0]), names=m not in ("mean", "sqrt_n"),
          call=lambda tf, x, i, m=m: resolve(tf, f"unsorted_segment_{m}")(x, i, 3),
          why="made of other operations", gradient=m not in ("max", "min"))
      for m in ("sum", "mean", "sqrt_n", "prod", "max", "min")),
    row("bincount", ints(9), names=False, shapes=False, why="other operations"),
    row("confusion_matrix", ints(9), ints(9), names=False, shapes=False, why="made of other operations"),
    row("histogram_fixed_width", floats(20), call=lambda tf, x: tf.histogram_fixed_width(x, [-1.0, 1.0], 5),
        names=False, shapes=False, why="made of other operations"),
    row("searchsorted", fixed([[1, 3, 3, 5]]), fixed([[0, 3, 6]]), names=False, why="other operations"),
]  # fmt: skip

LINEAR = [
    row("matmul", MATRIX, floats(4, 2)), attrs("matmul", MATRIX, floats(3, 2), transpose_a=True),
    row("matmul", floats(2, 3, 4), floats(2, 4, 5), label="batch"),
    row("tensordot", CUBE, floats(4, 3, 2), call=lambda tf, a, b: tf.tensordot(a, b, [[1, 2], [1, 0]]),
        names=False, why="made of other operations"),
    *(row("einsum", *inputs, call=lambda tf, *x, f=formula: tf.einsum(f, *x), label=formula, names=False,
          why="made of other operations")
      for formula, inputs in (
          ("ij,jk->ik", (MATRIX, floats(4, 2))), ("ij,jk", (MATRIX, floats(4, 2))), ("ij->ji", (MATRIX,)),
          ("ij->", (MATRIX,)), ("ii->i", (floats(3, 3),)), ("bij,bjk->bik", (CUBE, floats(2, 4, 5))),
          ("bij,bkj->bik", (CUBE, floats(2, 5, 4))), ("i,j->ij", (VECTOR, floats(3))),
          ("bhqd,bhkd->bhqk", (floats(2, 2, 3, 4), floats(2, 2, 5, 4))),
          ("...ij,jk->...ik", (CUBE, floats(4, 2))),
          ("ij,jk,kl->il", (MATRIX, floats(4, 2), floats(2, 3))), ("ij,ij->i", (MATRIX, floats(3, 4))),
          ("abc,cd->abd", (CUBE, floats(4, 2))), ("ab,cd->acbd", (MATRIX, floats(2, 2))),
          ("...i,...i->...", (CUBE, floats(2, 3, 4))),
      )),
    row("matrix_inverse", positive(3)), row("matrix_determinant", positive(3)),
    row("matrix_solve", positive(3), floats(3, 2)),
    row("matrix_triangular_solve", positive(3), floats(3, 2), names=False,
        why="one operation in TensorFlow 1"),
    row("cholesky", positive(3)),
    row("self_adjoint_eig", positive(3), gradient=False,
        call=lambda tf, x: tf.abs(tf.self_adjoint_eig(x)[1])),
    row("self_adjoint_eigvals", positive(3), names=False, why="its name there is that of the pair"),
    row("svd", floats(4, 3), call=lambda tf, x: tf.svd(x, compute_uv=False)),
    row("qr", floats(4, 3), call=lambda tf, x: tf.abs(tf.qr(x)[1]), gradient=False),
    row("matrix_band_part", floats(4, 4), call=lambda tf, x: tf.matrix_band_part(x, 1, 0)),
    row("diag", VECTOR), row("diag_part", floats(3, 3)), row("matrix_diag", MATRIX),
    row("matrix_diag_part", floats(3, 4)), row("matrix_set_diag", floats(3, 4), floats(3)),
    row("trace", floats(3, 3)), row("cross", floats(4, 3), floats(4, 3), names=False, why="other operations"),
    row("matrix_solve_ls", floats(4, 3), floats(4, 2), names=False, open_batch=False,
        why="made of other operations, which depend on whether there are more rows than columns", factor=50),
]  # fmt: skip

WORDS = fixed(["Graph run", "", "a,b;c", " x "], "object")
COMPLEX = (floats(3, 4), floats(3, 4))


def whole(tf: Any, a: Any, b: Any) -> Any:
    return tf.complex(a, b)


def both(tf: Any, z: Any) -> Any:
    return [tf.real(z), tf.imag(z)]


STRINGS = [
    row("string_split", WORDS, call=lambda tf, x: list(_parts(tf.string_split(x))), shapes=False, names=False,
        why="the rank of the indices; later versions make a scope"),
    row("string_split", WORDS, call=lambda tf, x: list(_parts(tf.string_split(x, ",;", False))), shapes=False,
        names=False, label="delimiters", why="the rank of the indices; later versions make a scope"),
    row("strings.split", WORDS, call=lambda tf, x: list(_parts(tf.strings.split(x, sep=","))), names=False,
        shapes=False, why="an operation of its own there"),
    row("string_to_number", fixed(["1", "-2.5", "1e3"], "object")),
    row("string_to_number", fixed(["1", "-25"], "object"), label="int64",
        call=lambda tf, x: tf.string_to_number(x, out_type=tf.int64)),
    row("string_join", WORDS, call=lambda tf, x: tf.string_join([x, "-"], "+")),
    row("reduce_join", fixed([["a", "b"], ["c", "d"]], "object"), names=False, why="other operations there",
        call=lambda tf, x: tf.reduce_join(x, 1, separator=".")),
    row("as_string", ints(5, low=-9, high=9)), row("as_string", floats(5), label="floats"),
    *(attrs("as_string", floats(5), **more)
      for more in ({"precision": 2}, {"scientific": True}, {"shortest": True}, {"width": 9, "fill": "0"})),
    row("substr", fixed(["hello", "world"], "object"), call=lambda tf, x: tf.substr(x, [1, -3], [2, 2])),
    row("encode_base64", WORDS), attrs("encode_base64", WORDS, pad=True),
    row("decode_base64", fixed(["YQ", "Pz4_"], "object")),
    row("decode_raw", fixed(["abcd", "efgh"], "object"), call=lambda tf, x: tf.decode_raw(x, tf.int16)),
    row("strings.length", WORDS), row("strings.lower", WORDS), row("strings.upper", WORDS),
    row("strings.strip", WORDS),
    row("strings.regex_replace", WORDS, call=lambda tf, x: tf.strings.regex_replace(x, "([a-c])", r"<\\1>")),
    row("strings.regex_full_match", WORDS, call=lambda tf, x: tf.strings.regex_full_match(x, ".*[a-c].*")),
]  # fmt: skip

COMPLEXES = [
    row("complex", *COMPLEX),
    *(row(name, *COMPLEX, call=lambda tf, a, b, n=name: getattr(tf, n)(whole(tf, a, b)))
      for name in ("real", "imag", "conj", "abs", "angle")),
    *(row(name, *COMPLEX, names=False, why="the name is that of a part", label="complex",
          call=lambda tf, a, b, n=name: both(tf, getattr(tf, n)(whole(tf, a, b))))
      for name in ("square", "exp", "log", "sqrt", "reciprocal", "negative", "reduce_sum", "reduce_mean")),
    *(row(name, *COMPLEX, names=False, why="the name is that of a part", label="complex",
          call=lambda tf, a, b, n=name: both(tf, getattr(tf, n)(whole(tf, a, b), whole(tf, b, a) + 1.0)))
      for name in ("add", "subtract", "multiply", "divide")),
    row("matmul", *COMPLEX, names=False, label="complex", why="the name is that of a part", factor=10,
        call=lambda tf, a, b: both(tf, tf.matmul(whole(tf, a, b), whole(tf, b, a), adjoint_b=True))),
    *(row(f"signal.{name}", *COMPLEX, factor=10,
          call=lambda tf, a, b, n=name: getattr(tf.signal, n)(whole(tf, a, b)))
      for name in ("fft", "ifft", "fft2d", "ifft2d")),
    *(row(f"signal.{name}", MATRIX, factor=10, names=False, shapes=name == "rfft",
          why="one operation there, which forgets the length") for name in ("rfft", "rfft2d")),
    row("signal.irfft", *COMPLEX, factor=10, names=False, why="one operation there",
        call=lambda tf, a, b: tf.signal.irfft(whole(tf, a, b))),
]  # fmt: skip


def _parts(x: Any) -> tuple[Any, ...]:
    return x.indices, x.values, x.dense_shape


PLACES = fixed([[0, 1], [1, 0], [2, 3]], "int64")


def sparse(tf: Any, values: Any) -> Any:
    return tf.SparseTensor([[0, 1], [1, 0], [2, 3]], values, [3, 4])


SPARSE = [
    row("sparse_to_dense", PLACES, floats(3), names=False, why="made of other operations",
        call=lambda tf, i, v: tf.sparse_to_dense(i, [3, 4], v, -1.0), open_batch=False),
    *(row(f"sparse.{name}", floats(3), names=False, shapes=False, open_batch=False, label=label, call=call,
          gradient=name != "concat", why="made of other operations")
      for name, label, call in (
          ("to_dense", "", lambda tf, v: tf.sparse_tensor_to_dense(sparse(tf, v))),
          ("reduce_sum", "1", lambda tf, v: tf.sparse_reduce_sum(sparse(tf, v), 1)),
          ("reduce_sum", "keep", lambda tf, v: tf.sparse_reduce_sum(sparse(tf, v), 0, True)),
          ("add", "", lambda tf, v: list(_parts(tf.sparse_add(sparse(tf, v), sparse(tf, 2.0 * v))))),
          ("transpose", "", lambda tf, v: list(_parts(tf.sparse_transpose(sparse(tf, v))))),
          ("reshape", "", lambda tf, v: list(_parts(tf.sparse_reshape(sparse(tf, v), [2, -1])))),
          ("concat", "", lambda tf, v: list(_parts(tf.sparse_concat(1, [sparse(tf, v), sparse(tf, v)])))),
          ("slice", "", lambda tf, v: list(_parts(tf.sparse_slice(sparse(tf, v), [0, 1], [2, 9])))),
      )),
    *(row("sparse_tensor_dense_matmul", floats(3), b, names=False, shapes=False,
          why="made of other operations", open_batch=False, label=label,
          call=lambda tf, v, d, k=kwargs: tf.sparse_tensor_dense_matmul(sparse(tf, v), d, **k))
      for label, b, kwargs in (("", floats(4, 2), {}), ("adjoint", floats(3, 2), {"adjoint_a": True}),
                               ("adjoint b", floats(2, 4), {"adjoint_b": True}))),
    row("edit_distance", ints(3, dtype="int64"), ints(3, dtype="int64"), shapes=False, open_batch=False,
        why="what is known of the shape",
        call=lambda tf, a, b: tf.edit_distance(sparse(tf, a), sparse(tf, b))),
]  # fmt: skip

ROWS = [*ELEMENTWISE, *REDUCTIONS, *ARRAYS, *LINEAR, *STRINGS, *COMPLEXES, *SPARSE]
