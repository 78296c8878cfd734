"""Random numbers from Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

A stream is a 64-bit key; its state is a count of the 128-bit blocks used so far.  Block ``b`` is
Philox of the counter words ``(low(b), high(b), 0, 0)``.  With a counter c, element j of a result comes from

- 32-bit draws (float16, float32, int32): word ``j % 4`` of block ``c + j // 4``;
- 64-bit draws (float64, int64): words ``2 * (j % 2)`` (low half) and ``2 * (j % 2) + 1`` (high half) of
  block ``c + j // 2``.

So an element depends neither on the device nor on how the work is divided.  ``kernels/random.cl`` does the
same operations in the same order, and only such as IEEE 754 rounds exactly (``+ - *``, comparisons,
conversions, bit patterns): no division, no square root, no library function, no fused multiply-add.
Therefore the results are equal bit for bit; who changes a line here changes it there.

Normal numbers are an inverse normal CDF of one draw each: no rejection, so the counter advances by a number
that the shape alone determines.  With ``x = 2 p - 1`` and ``w = -log(1 - x**2)``, the quotient
``sqrt(2) erfinv(x) / x`` is a smooth function of w (Giles 2010), here Chebyshev fits in w up to 5
and in sqrt(w) beyond.  Relative error of the whole: below 1e-6 in float32, below 4e-15 in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphrun.dtypes import as_dtype
from graphrun.errors import DTypeError, InvalidArgumentError, message

Array = npt.NDArray[Any]
Key = tuple[int, int]

_CHUNK_BLOCKS = 1 << 13  # the temporaries of one chunk stay within the second-level cache
_U32, _U64, _F32, _F64 = np.uint32, np.uint64, np.float32, np.float64

# log(1 + f) = f + f**2 * P(f) for 1 + f in [sqrt(1/2), sqrt(2)); lowest power first, as all tables here.
LOG_F32 = (
    -0.49999997, 0.333333313, -0.250007808, 0.200012341, -0.166266456, 0.142048553, -0.13127555,
    0.127226725, -0.0767364129,
)  # fmt: skip
LOG_F64 = (
    -0.5, 0.3333333333333337, -0.24999999999999434, 0.19999999999975535, -0.16666666666809152,
    0.14285714290226392, -0.12499999988229632, 0.1111111072996344, -0.10000000293648051,
    0.09090926519529235, -0.08333341859605121, 0.07691846251495121, -0.07142178144931366,
    0.06673746435165462, -0.06266871141028912, 0.05825070238646302, -0.053492389973253424,
    0.054081381753003616, -0.06207496038793952, 0.05647814073538777, -0.02432617491821441,
)  # fmt: skip
# sqrt(2) * erfinv(x) / x: in (w - 2.5) * 0.4 for w < 5, in a scaled sqrt(w) from there on.
CENTRE_F32 = (
    2.12331343, 0.872005045, -0.0369232856, -0.027681604, 0.0120622134, -0.000686724961, -0.00119599979,
    0.000404075749, 5.03571173e-05, -4.81859242e-05,
)  # fmt: skip
TAIL_F32 = (  # in (sqrt(w) - 3.45) * 0.8
    4.64586926, 1.78018677, 0.00796310883, -0.00637436844, 0.0044192425, -0.0034193811, 0.00278782286,
    -0.00204405794, 0.000662679144, 0.000391220732, -0.000281717104,
)  # fmt: skip
CENTRE_F64 = (
    2.12331346701467, 0.8720050609976361, -0.03692262112602371, -0.02768119551434701, 0.012056737649227937,
    -0.0006899925320309588, -0.0011796459361284011, 0.0004132200302984074, 2.8952338716588987e-05,
    -5.8593800510070225e-05, 1.223694679924114e-05, 4.03285632391513e-06, -2.6222049336981386e-06,
    1.9207730329312594e-07, 2.830045153412e-07, -1.0023872607530786e-07, -1.0461234972467216e-08,
    1.5592240022335258e-08, -2.0863690574211677e-09, -1.370886381664873e-09, 3.264687925720059e-10,
    5.2906655269888195e-11,
)  # fmt: skip
MIDDLE_F64 = (  # in (sqrt(w) - 3.1) * 1.1111111111111112, for sqrt(w) < 4
    4.148216012419827, 1.2770638444677955, 0.008545630510787407, -0.005872976632449699,
    0.00382410610534676, -0.0022657459888040113, 0.0009893945620715685, -0.0002080504939857431,
    -7.417023001148123e-05, 8.26513419111213e-05, -2.9070217381228796e-05, -6.869379311083006e-07,
    5.384514384488605e-06, -2.3467085805384094e-06, 1.8884857654740626e-07, 2.8323922213895107e-07,
    -1.6060267372159518e-07, 2.735728289926359e-08, 1.657967280593011e-08, -1.012871532749628e-08,
    4.58042826685306e-11, 8.277348789916633e-10,
)  # fmt: skip
TAIL_F64 = (  # in (sqrt(w) - 5.0625) * 0.9411764705882353
    6.948101358877555, 1.5180496761253583, -0.0002830673923432701, -0.00033379478224641895,
    0.0001263453137437583, -3.458982927017564e-05, 8.37331130016417e-06, -1.9180145430873613e-06,
    4.4914327791370745e-07, -1.2764598709222032e-07, 5.305924860549301e-08, -2.8540172630073023e-08,
    1.5241338206303172e-08, -7.656921944960627e-09, 3.771814414082583e-09, -1.2884440919727401e-09,
    1.960043902303047e-11, 9.787781398313365e-11,
)  # fmt: skip
ERF_SQRT2 = 0.9544997361036416  # P(|z| < 2)


def draw_bits(dtype: Any) -> int:
    """Return how many random bits one element of `dtype` takes: 32 or 64."""
    name = as_dtype(dtype).name
    if name in ("float16", "float32", "int32"):
        return 32
    if name in ("float64", "int64"):
        return 64
    raise DTypeError(
        message(
            f"no random numbers of dtype {name}",
            expected="float16, float32, float64, int32 or int64",
            fix="draw one of these and cast the result",
        )
    )


def blocks_used(shape: tuple[int, ...], dtype: Any) -> int:
    """Return by how much one draw of `shape` and `dtype` advances the counter.

    Examples
    --------
    >>> blocks_used((5,), "float32"), blocks_used((5,), "float64"), blocks_used((0, 3), "int32")
    (2, 3, 0)
    """
    per_block = 128 // draw_bits(dtype)
    return -(-math.prod(shape) // per_block)


def philox_4x32(counter: Array, key: Key) -> Array:
    """Encrypt counters of four 32-bit words each, ``(..., 4)`` uint32, with ten rounds.

    Examples
    --------
    >>> [f"{w:08x}" for w in philox_4x32(np.zeros((1, 4), np.uint32), (0, 0))[0]]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    words = np.ascontiguousarray(np.moveaxis(counter, -1, 0)).astype(_U64)
    return np.stack([w.astype(_U32) for w in _rounds(words[0], words[1], words[2], words[3], key)], axis=-1)


def _rounds(x0: Array, x1: Array, x2: Array, x3: Array, key: Key) -> tuple[Array, Array, Array, Array]:
    # uint64 arrays that hold 32-bit words: the products need 64 bits anyway
    low, shift = _U64(0xFFFFFFFF), _U64(32)
    key0, key1 = int(key[0]) & 0xFFFFFFFF, int(key[1]) & 0xFFFFFFFF
    for _ in range(10):
        product0 = x0 * _U64(0xD2511F53)
        product1 = x2 * _U64(0xCD9E8D57)
        x0 = (product1 >> shift) ^ x1 ^ _U64(key0)
        x1 = product1 & low
        x2 = (product0 >> shift) ^ x3 ^ _U64(key1)
        x3 = product0 & low
        key0 = (key0 + 0x9E3779B9) & 0xFFFFFFFF
        key1 = (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0, x1, x2, x3


def _blocks(first: int, count: int, key: Key) -> Array:
    """Blocks ``first`` to ``first + count`` of a stream as uint64 words, (count, 4)."""
    number = np.arange(count, dtype=_U64) + _U64(first & 0xFFFFFFFFFFFFFFFF)
    zero = np.zeros_like(number)
    out = np.empty((count, 4), _U64)
    words = _rounds(number & _U64(0xFFFFFFFF), number >> _U64(32), zero, zero, key)
    for lane, word in enumerate(words):
        out[:, lane] = word
    return out


def _fill(
    counter: Any, key: Key, shape: tuple[int, ...], dtype: Any, convert: Callable[[Array], Array]
) -> Array:
    """Return an array of `convert` of the draws: uint32 or uint64, a chunk at a time."""
    dtype = as_dtype(dtype)
    bits = draw_bits(dtype)
    out = np.empty(math.prod(shape), dtype.numpy)
    step = _CHUNK_BLOCKS * (128 // bits)
    first = int(counter)
    for start in range(0, out.size, step):
        stop = min(start + step, out.size)
        words = _blocks(first, -(-(stop - start) * bits // 128), key)
        if bits == 32:
            draws = words.ravel().astype(_U32)
        else:
            draws = (words[:, 0::2] | (words[:, 1::2] << _U64(32))).ravel()
        out[start:stop] = convert(draws[: stop - start])
        first += _CHUNK_BLOCKS
    return out.reshape(shape)


def philox_uniform(counter: Any, *, key: Key, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    """Draw floats of [0, 1), equally spaced: 2**24 values in float32, 2**53 in float64, 2**11 in float16.

    Each is exact in its dtype, so none rounds up to 1.

    Examples
    --------
    >>> philox_uniform(np.int64(0), key=(1, 2), shape=(3,))
    array([0.02186382, 0.596962  , 0.15258116], dtype=float32)
    """
    name = as_dtype(dtype).name
    if name == "float32":
        return _fill(counter, key, shape, dtype, lambda u: (u >> _U32(8)).astype(_F32) * _F32(2.0**-24))
    if name == "float64":
        return _fill(counter, key, shape, dtype, lambda u: (u >> _U64(11)).astype(_F64) * _F64(2.0**-53))
    if name == "float16":
        return _fill(counter, key, shape, dtype, lambda u: (u >> _U32(21)).astype(_F32) * _F32(2.0**-11))
    raise _not_floating("philox_uniform", name)


def philox_uniform_int(
    counter: Any, lo: Any, hi: Any, *, key: Key, shape: tuple[int, ...], dtype: Any = "int32"
) -> Array:
    """Draw integers of [lo, hi) as ``lo + high half of (draw * (hi - lo))``.

    Bias: with a range of r values, each has a probability within 2**-32 (int32) or 2**-64 (int64) of 1/r,
    so it is off by r * 2**-32 or r * 2**-64 of itself at most; none where r is a power of two.

    Raises
    ------
    InvalidArgumentError
        If the range is empty.
    """
    name = as_dtype(dtype).name
    low, high = int(lo), int(hi)
    if high <= low:
        raise InvalidArgumentError(
            message(
                "the range of random integers is empty",
                where="philox_uniform_int",
                got=f"minval={low}, maxval={high}",
                expected="minval < maxval; maxval itself is never drawn",
            )
        )
    width = high - low
    if name == "int32":
        span, base = _U64(width), _U32(low & 0xFFFFFFFF)

        def convert(u: Array) -> Array:
            return (((u.astype(_U64) * span) >> _U64(32)).astype(_U32) + base).view(np.int32)
    elif name == "int64":
        base64 = _U64(low & 0xFFFFFFFFFFFFFFFF)

        def convert(u: Array) -> Array:
            return (_multiply_high(u, width) + base64).view(np.int64)
    else:
        raise DTypeError(
            message(
                f"no random integers of dtype {name}",
                where="philox_uniform_int",
                expected="int32 or int64",
            )
        )
    return _fill(counter, key, shape, dtype, convert)


def _multiply_high(a: Array, b: int) -> Array:
    """Upper 64 bits of the product of uint64 values and one 64-bit number."""
    mask, shift = _U64(0xFFFFFFFF), _U64(32)
    a0, a1 = a & mask, a >> shift
    b0, b1 = _U64(b & 0xFFFFFFFF), _U64(b >> 32)
    middle = a1 * b0 + ((a0 * b0) >> shift)
    return a1 * b1 + (middle >> shift) + ((a0 * b1 + (middle & mask)) >> shift)


def philox_normal(counter: Any, *, key: Key, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    """Draw standard normal numbers; |z| goes up to 6.3 in float32 and 8.2 in float64."""
    name = as_dtype(dtype).name
    if name in ("float16", "float32"):
        return _fill(counter, key, shape, dtype, _normal_f32)
    if name == "float64":
        return _fill(counter, key, shape, dtype, _normal_f64)
    raise _not_floating("philox_normal", name)


def philox_truncated_normal(
    counter: Any, *, key: Key, shape: tuple[int, ...], dtype: Any = "float32"
) -> Array:
    """Draw standard normal numbers on condition that |z| < 2: the inverse CDF of that interval."""
    name = as_dtype(dtype).name
    if name == "float32":
        return _fill(counter, key, shape, dtype, lambda u: _truncated_f32(u, _F32(1.99999988)))
    if name == "float16":  # the largest float16 below 2, or rounding would reach 2
        return _fill(counter, key, shape, dtype, lambda u: _truncated_f32(u, _F32(1.99902344)))
    if name == "float64":
        return _fill(counter, key, shape, dtype, _truncated_f64)
    raise _not_floating("philox_truncated_normal", name)


def _not_floating(where: str, name: str) -> DTypeError:
    return DTypeError(message(f"no such numbers of dtype {name}", where=where, expected="a floating dtype"))


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    kind = t.dtype.type
    r = t * kind(coefficients[-1])
    for c in coefficients[-2:0:-1]:
        r += kind(c)
        r *= t
    r += kind(coefficients[0])
    return r


def _minus_log_f32(y: Array) -> Array:
    bits = y.view(_U32) + _U32(0x3F800000 - 0x3F3504F3)
    exponent = ((bits >> _U32(23)).astype(np.int32) - np.int32(127)).astype(_F32)
    f = ((bits & _U32(0x7FFFFF)) + _U32(0x3F3504F3)).view(_F32) - _F32(1)
    log_mantissa = f + (f * f) * _polynomial(LOG_F32, f)
    return -(exponent * _F32(0.693145751953125) + (log_mantissa + exponent * _F32(1.42860677e-06)))


def _minus_log_f64(y: Array) -> Array:
    bits = y.view(_U64) + _U64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    exponent = ((bits >> _U64(52)).astype(np.int32) - np.int32(1023)).astype(_F64)
    f = ((bits & _U64(0xFFFFFFFFFFFFF)) + _U64(0x3FE6A09E667F3BCD)).view(_F64) - _F64(1)
    log_mantissa = f + (f * f) * _polynomial(LOG_F64, f)
    return -(
        exponent * _F64(0.693147180601954460144) + (log_mantissa + exponent * _F64(-4.20091507268107e-11))
    )


def _sqrt_f32(w: Array) -> Array:
    y = (_U32(0x5F3759DF) - (w.view(_U32) >> _U32(1))).view(_F32)
    half = w * _F32(0.5)
    for _ in range(3):
        y = y * (_F32(1.5) - (half * y) * y)
    return w * y


def _sqrt_f64(w: Array) -> Array:
    y = (_U64(0x5FE6EB50C7B537A9) - (w.view(_U64) >> _U64(1))).view(_F64)
    half = w * _F64(0.5)
    for _ in range(4):
        y = y * (_F64(1.5) - (half * y) * y)
    return w * y


def _quotient_f32(w: Array) -> Array:
    """sqrt(2) erfinv(x) / x as a function of w = -log(1 - x**2)."""
    r = _polynomial(CENTRE_F32, (w - _F32(2.5)) * _F32(0.4))
    far = np.flatnonzero(w >= _F32(5))
    if far.size:
        r[far] = _polynomial(TAIL_F32, (_sqrt_f32(w[far]) - _F32(3.45)) * _F32(0.8))
    return r


def _quotient_f64(w: Array) -> Array:
    r = _polynomial(CENTRE_F64, (w - _F64(2.5)) * _F64(0.4))
    far = np.flatnonzero(w >= _F64(5))
    if far.size:
        s = _sqrt_f64(w[far])
        middle = _polynomial(MIDDLE_F64, (s - _F64(3.1)) * _F64(1.1111111111111112))
        tail = _polynomial(TAIL_F64, (s - _F64(5.0625)) * _F64(0.9411764705882353))
        r[far] = np.where(s < _F64(4), middle, tail)
    return r


def _split_f32(u: Array) -> tuple[Array, Array, Array]:
    """From a draw: the sign, |x| = |2 p - 1| and the distance of p from the nearer end, 2**-33 at least."""
    magnitude = u & _U32(0x7FFFFFFF)
    x = ((_U32(0x7FFFFFFF) - magnitude) * _U32(2) + _U32(1)).astype(_F32) * _F32(2.0**-32)
    q = (magnitude * _U32(2) + _U32(1)).astype(_F32) * _F32(2.0**-33)
    return u & _U32(0x80000000), x, q


def _split_f64(u: Array) -> tuple[Array, Array, Array]:
    # 52 bits of magnitude, so that every conversion is exact
    magnitude = (u >> _U64(11)) & _U64(0xFFFFFFFFFFFFF)
    x = ((_U64(0xFFFFFFFFFFFFF) - magnitude) * _U64(2) + _U64(1)).astype(_F64) * _F64(2.0**-53)
    q = (magnitude * _U64(2) + _U64(1)).astype(_F64) * _F64(2.0**-54)
    return u & _U64(0x8000000000000000), x, q


def _with_sign_f32(z: Array, sign: Array) -> Array:
    return (z.view(_U32) | sign).view(_F32)


def _with_sign_f64(z: Array, sign: Array) -> Array:
    return (z.view(_U64) | sign).view(_F64)


def _normal_f32(u: Array) -> Array:
    sign, x, q = _split_f32(u)
    w = _minus_log_f32((q * _F32(4)) * (_F32(1) - q))
    return _with_sign_f32(x * _quotient_f32(w), sign)


def _normal_f64(u: Array) -> Array:
    sign, x, q = _split_f64(u)
    w = _minus_log_f64((q * _F64(4)) * (_F64(1) - q))
    return _with_sign_f64(x * _quotient_f64(w), sign)


def _truncated_f32(u: Array, largest: Any) -> Array:
    sign, x, _ = _split_f32(u)
    x = x * _F32(ERF_SQRT2)
    w = _minus_log_f32((_F32(1) - x) * (_F32(1) + x))
    return _with_sign_f32(np.minimum(x * _quotient_f32(w), largest), sign)


def _truncated_f64(u: Array) -> Array:
    sign, x, _ = _split_f64(u)
    x = x * _F64(ERF_SQRT2)
    w = _minus_log_f64((_F64(1) - x) * (_F64(1) + x))
    return _with_sign_f64(np.minimum(x * _quotient_f64(w), _F64(1.9999999999999998)), sign)


def shuffle(counter: Any, x: Any, *, key: Key) -> Array:
    """Permute `x` along its first axis: sort by one 64-bit draw a row, equal draws in the order of the rows.

    It uses ``blocks_used(x.shape[:1], "int64")`` blocks.

    Examples
    --------
    >>> shuffle(np.int64(0), np.arange(6), key=(1, 2))
    array([4, 5, 0, 3, 2, 1])
    """
    x = np.asarray(x)
    if x.ndim == 0:
        return x.copy()
    rows = x.shape[0]
    words = _blocks(int(counter), blocks_used((rows,), "int64"), key)
    draws = (words[:, 0::2] | (words[:, 1::2] << _U64(32))).ravel()[:rows]
    return x[np.argsort(draws, kind="stable")]
