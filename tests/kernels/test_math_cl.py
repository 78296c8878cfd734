"""Every helper of kernels/math.cl against NumPy: values, special values, and the stated error bounds."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from harness import KERNELS, Array, opencl

from graphrun.dtypes import as_dtype

FLOAT_UNARY: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "neg": np.negative, "sign": np.sign, "square": np.square,
    "reciprocal": lambda x: 1 / x, "floor": np.floor, "ceil": np.ceil, "rint": np.rint,
    "round": np.round, "trunc": np.trunc, "exp": np.exp, "expm1": np.expm1, "exp2": np.exp2,
    "log": np.log, "log1p": np.log1p, "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "lgamma": np.vectorize(lambda x: _lgamma(float(x)), otypes=[np.float64]),
    "sigmoid": lambda x: np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x))),
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
}  # fmt: skip
FLOAT_BINARY: dict[str, Callable[..., Any]] = {
    "min": np.minimum, "max": np.maximum, "floordiv": np.floor_divide, "mod": np.remainder,
    "truncdiv": lambda a, b: np.trunc(a / b), "fmod": np.fmod, "pow": np.power, "hypot": np.hypot,
    "atan2": np.arctan2,
}  # fmt: skip
PREDICATES = {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}
INT_UNARY: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "neg": np.negative, "sign": np.sign, "square": np.square, "floor": np.floor,
    "ceil": np.ceil, "rint": lambda x: x, "round": np.round, "trunc": np.trunc,
}  # fmt: skip
INT_BINARY: dict[str, Callable[..., Any]] = {
    "min": np.minimum, "max": np.maximum, "floordiv": np.floor_divide, "mod": np.remainder,
    "fmod": np.fmod, "truncdiv": lambda a, b: _truncdiv(a, b), "ipow": lambda a, b: _ipow(a, b),
}  # fmt: skip
# These depend on the type's own rounding, so the reference is NumPy in the same type.
OWN = {"exp", "tanh", "sigmoid"}  # in float32 not the driver's built-ins
SAME_TYPE = {"floordiv", "mod", "fmod", "truncdiv", "reciprocal", "square"}


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


def _truncdiv(a: Array, b: Array) -> Array:
    quotient = np.floor_divide(a, b)
    inexact = (np.fmod(a, b) != 0) & ((a < 0) != (b < 0)) & (b != 0)
    return quotient + inexact.astype(a.dtype)


def _ipow(a: Array, b: Array) -> Array:
    if (b >= 0).all():
        return np.power(a, b)
    truth = np.where(a == 1, 1, np.where(a == -1, np.where(b & 1, -1, 1), 0)).astype(a.dtype)
    return np.where(b < 0, truth, np.power(a, np.maximum(b, 0)))


@functools.cache
def _float_values(name: str) -> Array:
    """All exponents with several mantissas and both signs, special values, and dense random values."""
    rng = np.random.default_rng(3)
    dtype = np.dtype(name)
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp, 1 if dtype == np.float32 else 3)
    with np.errstate(all="ignore"):
        sweep = np.concatenate([np.ldexp(dtype.type(m), exponents) for m in 1 + rng.random(10)])
    special = [0.0, 1, 2, 0.5, 1.5, 2.5, 3.5, 0.625, 10, 88.7228, 88.8, 103.97, 104.1, 709.7, 709.8, 745.2]
    special += [math.pi * k / 2 for k in range(1, 9)] + [math.inf, info.max, info.tiny, 1 + info.eps]
    dense = [rng.random(2000), 1 + rng.random(500), rng.random(4000) * 10, rng.random(3000) * 110]
    half = np.concatenate([sweep, np.array(special), *dense]).astype(dtype)
    return np.concatenate([half, -half, np.array([np.nan], dtype)])


def _float_pairs(name: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    values = _float_values(name)
    special = [0.0, 1.0, 2.0, 3.0, 0.5, 7.0, math.inf, 1e-40, 1e30, 0.1, 5.5]
    few = np.array(special + [-x for x in special] + [math.nan], values.dtype)
    a, b = (x.ravel() for x in np.meshgrid(few, few))
    near = (rng.random(4000) * 20 - 10).astype(a.dtype)
    mixed = (rng.random(4000) * 20 - 10).astype(a.dtype)
    base = np.exp(rng.standard_normal(4000) * 8).astype(a.dtype)
    power = (rng.standard_normal(4000) * 3).astype(a.dtype)
    whole = rng.integers(-20, 20, 4000).astype(a.dtype)
    return (
        np.concatenate([a, rng.permutation(values), near, base, near]),
        np.concatenate([b, rng.permutation(values), mixed, power, whole]),
    )


def _run(ctype: str, names: list[str], arity: int, result: str, *inputs: Array) -> dict[str, Array]:
    """Return each helper's values; one kernel with a switch, because compiling costs more than running."""
    runner = opencl()
    letters = "abc"[:arity]
    loads = ", ".join(f"{x}[i]" for x in letters)
    cases = "\n".join(
        f"case {k}: for (uint i = 0; i < n; ++i) r[i] = gr_{name}_{ctype}({loads}); break;"
        for k, name in enumerate(names)
    )
    params = "".join(f"__global const {ctype} *{x}, " for x in letters)
    source = f"""#define GR_CHUNKED 1
{(KERNELS / "vectors.cl").read_text()}
{(KERNELS / "math.cl").read_text()}
    __kernel void all_helpers({params}__global {result} *r, uint n, int which) {{
        switch (which) {{ {cases} }}
    }}"""
    cl = runner.cl
    kernel = cl.Kernel(runner.build(source), "all_helpers")
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    buffers = [cl.Buffer(runner.context, flags, hostbuf=x) for x in inputs]
    out = np.empty(inputs[0].shape, {"uchar": np.uint8}.get(result, inputs[0].dtype))
    target = cl.Buffer(runner.context, cl.mem_flags.READ_WRITE, out.nbytes)
    values = {}
    for k, name in enumerate(names):
        kernel.set_args(*buffers, target, np.uint32(out.size), np.int32(k))
        cl.enqueue_nd_range_kernel(runner.queue, kernel, (1,), (1,))
        cl.enqueue_copy(runner.queue, out, target)
        values[name] = out.copy()
    return values


def _ulps(got: Array, truth: Array, zero_signs: bool, least: Array) -> npt.NDArray[np.float64]:
    """Errors in units in the last place of the true value; NaN and infinity must agree."""
    dtype = got.dtype
    with np.errstate(all="ignore"):
        rounded = truth.astype(dtype)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        if zero_signs:
            same &= (rounded != 0) | (got != 0) | (np.signbit(got) == np.signbit(rounded))
        finite = np.isfinite(got) & np.isfinite(rounded)
        spacing = np.spacing(np.maximum(np.abs(rounded), least)).astype(truth.dtype)
        errors = np.where(finite, np.abs(got.astype(truth.dtype) - truth) / spacing, np.inf)
        # One side of the overflow threshold: infinity counts as the next number after the largest.
        limit = np.finfo(dtype).max
        edge = (np.isinf(got) & (np.abs(rounded) > limit * (1 - 1e-6))) | (
            np.isinf(rounded) & (np.abs(got) > limit * (1 - 1e-6))
        )
        edge &= np.sign(got) == np.sign(rounded)
        errors = np.where(same, np.where(finite, errors, 0), np.where(edge, 1, errors))
        errors = np.where((got == 0) & (rounded == 0) & ~same, np.inf, errors)
    return errors.astype(np.float64)


def bounds() -> dict[str, tuple[float, float]]:
    """Return the header's table: helper -> (float, double) errors in units in the last place."""
    rows = re.findall(r"^//   (\w+) +([\d.]+) +([\d.]+)$", (KERNELS / "math.cl").read_text(), re.M)
    return {name: (float(single), float(double)) for name, single, double in rows}


def _wide(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    if name in SAME_TYPE:
        return dtype
    return np.dtype(np.float64 if dtype == np.float32 else np.longdouble)


def measure(dtype_name: str) -> dict[str, tuple[float, Any]]:
    """Return each float helper's largest error, and the argument where it is met."""
    dtype = as_dtype(dtype_name)
    if dtype_name == "float64" and not opencl().fp64:
        pytest.skip("the OpenCL device has no double precision")
    a, b = _float_pairs(dtype_name)
    unary = (_float_values(dtype_name),)
    worst: dict[str, tuple[float, Any]] = {}
    for functions, inputs in ((FLOAT_UNARY, unary), (FLOAT_BINARY, (a, b))):
        results = _run(dtype.compute, list(functions), len(inputs), dtype.compute, *inputs)
        for name, function in functions.items():
            wide = _wide(name, dtype.numpy)
            with np.errstate(all="ignore"):
                truth = np.asarray(function(*(x.astype(wide) for x in inputs)))
            # Near its roots lgamma has cancelled, in the reference too: errors there count against 1.
            least = 1 if name == "lgamma" else 0
            errors = _ulps(results[name], truth, name not in ("min", "max"), np.array(least, dtype.numpy))
            k = int(np.argmax(errors))
            worst[name] = (float(errors[k]), [(x[k]) for x in inputs] + [results[name][k], truth[k]])
    return worst


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_float_helpers_meet_the_stated_bounds(dtype_name: str) -> None:
    table = bounds()
    assert len(table) > 20
    pocl = "Portable" in opencl().device.platform.name
    for name, (error, where) in measure(dtype_name).items():
        bound = table[name][dtype_name == "float64"] if name in table else 0.5 + 1e-6  # correctly rounded
        if dtype_name == "float64" and np.finfo(np.longdouble).eps == np.finfo(np.float64).eps:
            bound += 1  # the reference is no more precise than the result
        if not pocl and name in table and name not in OWN:
            bound = max(bound, 16)  # OpenCL allows up to this (pow), and other vendors use some of it
        assert error <= bound, f"gr_{name}: {error:.3g} ulp > {bound} at {where}"


def _int_pairs(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    info = np.iinfo(dtype)
    few = [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min, info.min + 1]
    few += [] if dtype.kind == "u" else [-1, -2, -3, -7, -100]
    a, b = (x.ravel() for x in np.meshgrid(np.array(few, dtype), np.array(few, dtype)))
    wide = rng.integers(info.min, info.max, (2, 2000), dtype, endpoint=True)
    low = 0 if dtype.kind == "u" else -12
    narrow = rng.integers(low, 12, (2, 1000)).astype(dtype)
    return (
        np.concatenate([a, wide[0], narrow[0], wide[0]]),
        np.concatenate([b, wide[1], narrow[1], wide[1] % 13]),
    )


@pytest.mark.parametrize("dtype_name", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integer_helpers_are_numpy(dtype_name: str) -> None:
    dtype = as_dtype(dtype_name)
    a, b = _int_pairs(dtype.numpy)
    with np.errstate(all="ignore"):
        for functions, inputs in ((INT_UNARY, (a,)), (INT_BINARY, (a, b))):
            results = _run(dtype.compute, list(functions), len(inputs), dtype.compute, *inputs)
            for name, function in functions.items():
                np.testing.assert_array_equal(results[name], function(*inputs), err_msg=f"gr_{name}")


@pytest.mark.parametrize("dtype_name", ["float32", "int32"])
def test_predicates_where_and_clip(dtype_name: str) -> None:
    dtype = as_dtype(dtype_name)
    a, b = _float_pairs(dtype_name) if dtype.is_floating else _int_pairs(dtype.numpy)
    c = np.random.default_rng(6).permutation(b)
    for name, values in _run(dtype.compute, list(PREDICATES), 1, "uchar", a).items():
        np.testing.assert_array_equal(values, PREDICATES[name](a), err_msg=name)
    clipped = _run(dtype.compute, ["clip"], 3, dtype.compute, a, b, c)["clip"]
    np.testing.assert_array_equal(clipped, np.clip(a, b, c))
    chosen = _run(dtype.compute, ["where"], 3, dtype.compute, (a > 0).astype(a.dtype), b, c)["where"]
    np.testing.assert_array_equal(chosen, np.where(a > 0, b, c))


def test_float_integer_powers() -> None:
    a = np.array([2, -3, 0.5, 0, -0.0, np.inf, np.nan, 1.5], np.float32)[:, None]
    n = np.array([0, 1, 2, 3, 7, -1, -2, -3], np.float32)[None, :]
    a, n = (np.ascontiguousarray(x).ravel() for x in np.broadcast_arrays(a, n))
    got = _run("float", ["ipow"], 2, "float", a, n)["ipow"]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, np.power(a, n), rtol=1e-6)


def test_the_text_leaves_no_macro_behind() -> None:
    text = (KERNELS / "math.cl").read_text()
    defined = set(re.findall(r"^#define (\w+)", text, re.M))
    assert defined == set(re.findall(r"^#undef (\w+)", text, re.M))
