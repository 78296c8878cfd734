"""Initial values of variables, for `gr.get_variable` and the layers.

>>> import graphrun as gr
>>> with gr.Graph().as_default(), gr.Session() as sess:
...     print(sess.run(gr.initializers.constant(2.0)((2,))))
[2. 2.]
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType, as_dtype, float32
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops import state as _state
from graphrun.ops.decompositions import qr
from graphrun.ops.elementwise import sign
from graphrun.ops.fill import ones as _ones
from graphrun.ops.fill import zeros as _zeros
from graphrun.ops.matrices import matrix_diag_part
from graphrun.ops.random import random_normal as _normal
from graphrun.ops.random import random_uniform as _uniform
from graphrun.ops.random import truncated_normal as _truncated
from graphrun.ops.reshape import reshape
from graphrun.ops.state import constant as _constant
from graphrun.ops.state import tables_initializer as tables_initializer
from graphrun.ops.transpose import transpose
from graphrun.shapes import as_shape

global_variables = _state.global_variables_initializer
local_variables = _state.local_variables_initializer
variables = _state.variables_initializer


class Initializer:
    """Base: called with a shape and a dtype, an initializer returns a tensor.

    `get_config` gives the arguments, of which `from_config` makes an equal one.
    """

    _arguments: tuple[str, ...] = ()

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def get_config(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)

    def _dtype(self, dtype: Any) -> DType:
        return as_dtype(getattr(self, "dtype", float32) if dtype is None else dtype)


class zeros(Initializer):  # noqa: N801  TensorFlow's name
    """Zeros."""

    _arguments = ("dtype",)

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return _zeros(shape, self._dtype(dtype))


class ones(Initializer):  # noqa: N801
    """Ones."""

    _arguments = ("dtype",)

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return _ones(shape, self._dtype(dtype))


class constant(Initializer):  # noqa: N801
    """A value: a number, or a list or array of as many values as the shape holds.

    Parameters
    ----------
    value : number, list or array
        A shorter list is filled up with its last value, unless `verify_shape`.
    dtype : dtype
    verify_shape : bool
    """

    _arguments = ("value", "dtype")

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> None:
        self.value, self.dtype, self._verify = value, as_dtype(dtype), verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: bool | None = None
    ) -> Tensor:
        verify = self._verify if verify_shape is None else verify_shape
        return _constant(self.value, self._dtype(dtype), shape, verify_shape=verify)


class random_uniform(Initializer):  # noqa: N801
    """Uniform in [minval, maxval); `maxval` is 1 unless given, and has to be given for integers."""

    _arguments = ("minval", "maxval", "seed", "dtype")

    def __init__(
        self, minval: Any = 0, maxval: Any = None, seed: int | None = None, dtype: Any = float32
    ) -> None:
        self.minval, self.maxval, self.seed, self.dtype = minval, maxval, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return _uniform(shape, self.minval, self.maxval, self._dtype(dtype), seed=self.seed)


class random_normal(Initializer):  # noqa: N801
    """Normal."""

    _arguments = ("mean", "stddev", "seed", "dtype")

    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = float32
    ) -> None:
        self.mean, self.stddev, self.seed, self.dtype = mean, stddev, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return _normal(shape, self.mean, self.stddev, self._dtype(dtype), seed=self.seed)


class truncated_normal(random_normal):
    """Normal, drawn again beyond two standard deviations."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return _truncated(shape, self.mean, self.stddev, self._dtype(dtype), seed=self.seed)


# The standard deviation of a normal distribution cut off at two, by which that of the rest is made one.
_CUT_STDDEV = 0.87962566103423978


class variance_scaling(Initializer):  # noqa: N801
    """A variance of ``scale / n``, n being the fan of `mode`.

    Parameters
    ----------
    scale : float
        Positive.
    mode : str
        ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``.
    distribution : str
        ``"truncated_normal"`` (also called ``"normal"``), ``"untruncated_normal"`` or ``"uniform"``.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    _arguments: tuple[str, ...] = ("scale", "mode", "distribution", "seed", "dtype")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        for value, allowed, what in (
            (mode, ("fan_in", "fan_out", "fan_avg"), "mode"),
            (distribution, ("truncated_normal", "normal", "untruncated_normal", "uniform"), "distribution"),
        ):
            if value not in allowed:
                raise ShapeError(
                    message(
                        f"{what}={value!r}", where=type(self).__name__, site=user_site(),
                        expected=" or ".join(allowed),
                    )
                )  # fmt: skip
        if not scale > 0:
            raise ShapeError(
                message(f"scale={scale!r}", where=type(self).__name__, site=user_site(), expected="above 0")
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.seed, self.dtype = seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        fan_in, fan_out = fans(as_shape(shape) or ())
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        kind = self._dtype(dtype)
        if not kind.is_floating:
            raise DTypeError(
                message(
                    f"numbers of dtype {kind} cannot be scaled", where=type(self).__name__, site=user_site(),
                    expected="a floating-point dtype",
                )
            )  # fmt: skip
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return _uniform(shape, -limit, limit, kind, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return _normal(shape, 0.0, math.sqrt(variance), kind, seed=self.seed)
        return _truncated(shape, 0.0, math.sqrt(variance) / _CUT_STDDEV, kind, seed=self.seed)


def fans(shape: Sequence[int | None]) -> tuple[float, float]:
    """How many inputs and outputs a unit of a layer with weights of `shape` has."""
    sizes = [float(d or 1) for d in shape]
    if len(sizes) < 2:
        n = sizes[0] if sizes else 1.0
        return n, n
    field = math.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field


class _Scaled(variance_scaling):
    """`variance_scaling` with all but the seed chosen."""

    _arguments = ("seed", "dtype")
    _scaling: tuple[float, str, str]

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(*self._scaling, seed, dtype)


class glorot_uniform(_Scaled):  # noqa: N801
    """Glorot and Bengio, 'Understanding the difficulty of training deep networks', AISTATS 2010."""

    _scaling = (1.0, "fan_avg", "uniform")


class glorot_normal(_Scaled):  # noqa: N801
    """Glorot and Bengio, 'Understanding the difficulty of training deep networks', AISTATS 2010."""

    _scaling = (1.0, "fan_avg", "truncated_normal")


class he_normal(_Scaled):  # noqa: N801
    """He, Zhang, Ren and Sun, 'Delving deep into rectifiers', ICCV 2015."""

    _scaling = (2.0, "fan_in", "truncated_normal")


class he_uniform(_Scaled):  # noqa: N801
    """He, Zhang, Ren and Sun, 'Delving deep into rectifiers', ICCV 2015."""

    _scaling = (2.0, "fan_in", "uniform")


class lecun_normal(_Scaled):  # noqa: N801
    """LeCun, Bottou, Orr and Mueller, 'Efficient BackProp', 1998."""

    _scaling = (1.0, "fan_in", "truncated_normal")


class lecun_uniform(_Scaled):  # noqa: N801
    """LeCun, Bottou, Orr and Mueller, 'Efficient BackProp', 1998."""

    _scaling = (1.0, "fan_in", "uniform")


class uniform_unit_scaling(Initializer):  # noqa: N801
    """Uniform, so that a layer keeps the scale of its input: below ``sqrt(3 / rows) * factor``.

    Rows are all entries but those of the last axis.

    Parameters
    ----------
    factor : float
        For the function behind: 1 for none, about 1.15 for tanh and 1.43 for relu.
    seed : int, optional
    dtype : dtype

    References
    ----------
    Sussillo and Abbott, "Random walk initialization for training very deep feedforward networks", 2014.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as session:
    ...     w = session.run(gr.uniform_unit_scaling_initializer()((300, 40)))
    ...     print(bool(abs(w).max() <= 0.1), bool(abs(w).max() > 0.099))
    True True
    """

    _arguments = ("factor", "seed", "dtype")

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = float32) -> None:
        self.factor, self.seed, self.dtype = factor, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        rows = math.prod(d or 1 for d in (as_shape(shape) or ())[:-1])
        limit = math.sqrt(3 / rows) * self.factor
        return _uniform(shape, -limit, limit, self._dtype(dtype), seed=self.seed)


class orthogonal(Initializer):  # noqa: N801
    """An orthogonal matrix times `gain`; the last axis has the columns, all others the rows.

    References
    ----------
    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", ICLR 2014.
    """

    _arguments = ("gain", "seed", "dtype")

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = float32) -> None:
        self.gain, self.seed, self.dtype = gain, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = as_shape(shape) or ()
        if len(sizes) < 2:
            raise ShapeError(
                message(
                    f"shape {tuple(sizes)}", where="orthogonal", site=user_site(), expected="rank 2 or more"
                )
            )
        rows, columns = math.prod(d or 1 for d in sizes[:-1]), sizes[-1] or 1
        q, r = qr(_normal((max(rows, columns), min(rows, columns)), dtype=self._dtype(dtype), seed=self.seed))
        q = q * sign(matrix_diag_part(r))
        return self.gain * reshape(transpose(q) if rows < columns else q, sizes)


class identity(Initializer):  # noqa: N801
    """The identity matrix times `gain`."""

    _arguments = ("gain", "dtype")

    def __init__(self, gain: float = 1.0, dtype: Any = float32) -> None:
        self.gain, self.dtype = gain, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = as_shape(shape) or ()
        if len(sizes) != 2:
            raise ShapeError(
                message(f"shape {tuple(sizes)}", where="identity", site=user_site(), expected="a matrix")
            )
        kind = self._dtype(dtype)
        return _constant(self.gain * np.eye(sizes[0] or 0, sizes[1] or 0, dtype=kind.numpy), kind)


# By name, as `kernel_initializer="he_normal"`: with Keras's spreads, which are not those of the classes.
_NAMED: dict[str, Callable[[], Any]] = {
    "constant": constant, "glorot_normal": glorot_normal, "glorot_uniform": glorot_uniform,
    "he_normal": he_normal, "he_uniform": he_uniform, "identity": identity, "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform, "normal": lambda: random_normal(stddev=0.05), "ones": ones,
    "orthogonal": orthogonal, "random_normal": lambda: random_normal(stddev=0.05),
    "random_uniform": lambda: random_uniform(-0.05, 0.05),
    "truncated_normal": lambda: truncated_normal(stddev=0.05),
    "uniform": lambda: random_uniform(-0.05, 0.05), "variance_scaling": variance_scaling, "zeros": zeros,
}  # fmt: skip
_CLASS_NAMES = {"".join(part.title() for part in name.split("_")): name for name in _NAMED}


def initializer_named(name: str, where: str) -> Any:
    """Return the initializer of Keras's name, as ``"glorot_uniform"`` or ``"GlorotUniform"``.

    Parameters
    ----------
    name : str
    where : str
        Who asks, for the message.

    Raises
    ------
    GraphError
        If no initializer has that name.

    Examples
    --------
    >>> from graphrun.initializers import initializer_named
    >>> initializer_named("random_normal", "my layer").stddev
    0.05
    """
    made = _NAMED.get(_CLASS_NAMES.get(name, name))
    if made is not None:
        return made()
    if "xavier" in name.lower():
        close = ["glorot_normal" if "normal" in name.lower() else "glorot_uniform"]
    else:
        close = difflib.get_close_matches(name.lower().removesuffix("_initializer"), _NAMED, 1)
    raise GraphError(
        message(
            f"no initializer is named {name!r}", where=where, site=user_site(),
            expected=f"an initializer, or one of {', '.join(_NAMED)}",
            fix=f"did you mean '{close[0]}'?" if close else "",
        )
    )  # fmt: skip
