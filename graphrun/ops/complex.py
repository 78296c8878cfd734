"""Complex numbers, and discrete Fourier transforms.  All run on the host.

Gradients are the conjugates of what calculus has, as in TensorFlow, so that a step against the gradient of a
real loss makes it smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import static_int
from graphrun.ops.compare import equal, select
from graphrun.ops.convert import cast
from graphrun.ops.families import require_same_dtype
from graphrun.ops.fill import shape, zeros_like
from graphrun.ops.indexing import getitem
from graphrun.ops.joining import concat
from graphrun.ops.reduce import reduce_prod
from graphrun.ops.transpose import reverse
from graphrun.shapes import broadcast

_PARTS = {"complex64": dtypes.float32, "complex128": dtypes.float64}
_WHOLE = {"float32": dtypes.complex64, "float64": dtypes.complex128}


def _part_of(dtype: DType, what: str = "x") -> DType:
    """The dtype of the parts of a complex dtype."""
    if dtype.name not in _PARTS:
        raise RuleError(f"{what} has dtype {dtype}", expected="complex64 or complex128", kind=DTypeError)
    return _PARTS[dtype.name]


# -- whole and parts ----------------------------------------------------------------------------------


def _complex_rule(re: Spec, im: Spec) -> tuple[Spec]:
    dtype = require_same_dtype(re, im)
    if dtype.name not in _WHOLE:
        raise RuleError(f"parts of dtype {dtype}", expected="float32 or float64", kind=DTypeError)
    return (Spec(broadcast(re.shape, im.shape), _WHOLE[dtype.name]),)


def _complex_numpy(re: Any, im: Any) -> np.ndarray:
    re, im = np.broadcast_arrays(re, im)
    result = np.empty(re.shape, _WHOLE[re.dtype.name].numpy)
    result.real, result.imag = re, im
    return result


complex_op = register(
    OpDef(
        "complex", _complex_rule, _complex_numpy, None, lambda op, dy: (real(dy), imag(dy)), broadcasts=True,
        node_name="Complex", input_names=("real", "imag"),
    )
)  # fmt: skip


def _unary(name: str, node_name: str, numpy: Any, gradient: Any, whole: bool = False) -> OpDef:
    def infer(x: Spec) -> tuple[Spec]:
        part = _part_of(x.dtype)
        return (x if whole else Spec(x.shape, part),)

    return register(OpDef(name, infer, numpy, None, gradient, node_name=node_name, input_names=("x",)))


real_op = _unary("real", "Real", lambda x: np.real(x).copy(), lambda op, dy: complex_(dy, zeros_like(dy)))
imag_op = _unary("imag", "Imag", lambda x: np.imag(x).copy(), lambda op, dy: complex_(zeros_like(dy), dy))
conj_op = _unary("conj", "Conj", np.conj, lambda op, dy: conj(dy), whole=True)


def _abs_gradient(op: Operation, dy: Tensor) -> Tensor:
    size = op.outputs[0]
    still = equal(size, 0)  # where the derivative counts as 0
    unit = op.inputs[0] / cast(select(still, 1, size), op.inputs[0].dtype)
    return cast(dy, op.inputs[0].dtype) * unit


def _angle_gradient(op: Operation, dy: Tensor) -> Tensor:
    x = op.inputs[0]
    return -cast(dy, x.dtype) / complex_(imag(x), real(x))


complex_abs_op = _unary("complex_abs", "ComplexAbs", np.abs, _abs_gradient)
angle_op = _unary("angle", "Angle", np.angle, _angle_gradient)


def complex_(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """Return complex numbers of their real and imaginary parts, which broadcast.

    Parameters
    ----------
    real, imag : float32 or float64 tensors

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.complex([1.0, 2.0], [3.0, 0.0])))
    [1.+3.j 2.+0.j]
    """
    return apply(complex_op, convert_operands((real, imag)), None, name)


complex_.__name__ = complex_.__qualname__ = "complex"


def real(input: Any, name: str | None = None) -> Tensor:
    """The real parts; a real tensor itself."""
    x = convert_to_tensor(input)
    return apply(real_op, (x,), None, name) if x.dtype.is_complex else x


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary parts; zeros of a real tensor."""
    x = convert_to_tensor(input)
    return apply(imag_op, (x,), None, name) if x.dtype.is_complex else zeros_like(x)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The conjugates; a real tensor itself."""
    t = convert_to_tensor(x)
    return apply(conj_op, (t,), None, name) if t.dtype.is_complex else t


def angle(input: Any, name: str | None = None) -> Tensor:
    """The angles of complex numbers; 0 or pi for real ones."""
    x = convert_to_tensor(input)
    if x.dtype.is_complex:
        return apply(angle_op, (x,), None, name)
    return select(x < 0, np.pi, zeros_like(x))


# -- Fourier transforms ---------------------------------------------------------------------------------


def _fft_rule(x: Spec, *, axes: tuple[int, ...], inverse: bool) -> tuple[Spec]:
    _part_of(x.dtype)
    if x.shape is not None and len(x.shape) < -min(axes):
        raise RuleError(f"x has rank {len(x.shape)}", expected=f"rank {-min(axes)} or more")
    return (x,)


def _fft_numpy(x: np.ndarray, *, axes: tuple[int, ...], inverse: bool) -> np.ndarray:
    if x.size == 0:
        return x.copy()
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes).astype(x.dtype)


def _fft_gradient(op: Operation, dy: Tensor) -> Tensor:
    axes, inverse = op.attrs["axes"], op.attrs["inverse"]
    dims = shape(op.inputs[0])
    count = cast(reduce_prod([dims[a] for a in axes]), dy.dtype)
    back = apply(fft_op, (dy,), {"axes": axes, "inverse": not inverse})
    return back / count if inverse else back * count


fft_op = register(
    OpDef("fft", _fft_rule, _fft_numpy, None, _fft_gradient, node_name="FFT", input_names=("x",))
)


def _transform(axes: tuple[int, ...], inverse: bool, label: str) -> Any:
    def function(input: Any, name: str | None = None) -> Tensor:
        x = convert_to_tensor(input)
        return apply(fft_op, (x,), {"axes": axes, "inverse": inverse}, name or label)

    function.__name__ = function.__qualname__ = label.lower()
    where = "dimension" if len(axes) == 1 else f"{len(axes)} dimensions"
    function.__doc__ = (
        f"The {'inverse ' if inverse else ''}discrete Fourier transform over the last {where} of a complex"
        " tensor.\n"
    )
    return function


fft, ifft = _transform((-1,), False, "FFT"), _transform((-1,), True, "IFFT")
fft2d, ifft2d = _transform((-2, -1), False, "FFT2D"), _transform((-2, -1), True, "IFFT2D")
fft3d, ifft3d = _transform((-3, -2, -1), False, "FFT3D"), _transform((-3, -2, -1), True, "IFFT3D")


def _last(x: Tensor, *bounds: Any) -> Tensor:
    return getitem(x, (Ellipsis, slice(*bounds)))


def _resized(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Cut or filled up with zeros to these lengths of the last dimensions."""
    from graphrun.ops.pad import pad

    rank = len(x._shape)  # type: ignore[arg-type]
    for k, length in enumerate(lengths):
        axis = rank - len(lengths) + k
        key = (slice(None),) * axis + (slice(length),)
        have = x._shape[axis]  # type: ignore[index]
        if have is None:
            raise ShapeError(
                message("fft_length for a dimension of unknown length", where="fft", site=user_site(),
                        fix="state it with set_shape")
            )  # fmt: skip
        if have > length:
            x = getitem(x, key)
        elif have < length:
            x = pad(x, [[0, length - have if j == axis else 0] for j in range(rank)])
    return x


def _lengths(fft_length: Any, count: int, where: str) -> list[int] | None:
    if fft_length is None:
        return None
    items = list(np.reshape(fft_length, -1)) if not isinstance(fft_length, Tensor) else list(fft_length)
    if len(items) != count:
        raise ShapeError(
            message(f"fft_length has {len(items)} entries", where=where, site=user_site(),
                    expected=f"{count}")
        )  # fmt: skip
    return [static_int(n, where, "fft_length") for n in items]


def _real_transform(count: int, label: str) -> Any:
    axes = tuple(range(-count, 0))

    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
        x = convert_to_tensor(input_tensor)
        with x.graph.name_scope(name or label.lower()):
            lengths = _lengths(fft_length, count, label.lower())
            if lengths is not None:
                x = _resized(x, lengths)
            whole = cast(x, _WHOLE.get(x.dtype.name, dtypes.complex64))
            transformed = apply(fft_op, (whole,), {"axes": axes, "inverse": False})
            n = None if x._shape is None else x._shape[-1]
            half = shape(x)[-1] // 2 + 1 if n is None else n // 2 + 1
            return _last(transformed, half)

    function.__name__ = function.__qualname__ = label.lower()
    function.__doc__ = (
        f"The discrete Fourier transform over the last {count} dimension(s) of a real tensor.\n\n"
        "    Of the last one the first ``n // 2 + 1`` entries, which say all.  `fft_length` cuts or fills\n"
        "    up the dimensions first.\n"
    )
    return function


def _inverse_real_transform(count: int, label: str) -> Any:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
        x = convert_to_tensor(input_tensor)
        with x.graph.name_scope(name or label.lower()):
            lengths = _lengths(fft_length, count, label.lower())
            if lengths is not None:
                n: Any = lengths[-1]
                x = _resized(x, [*lengths[:-1], n // 2 + 1])
            else:
                have = None if x._shape is None else x._shape[-1]
                n = 2 * (shape(x)[-1] - 1) if have is None else 2 * (have - 1)
            if count > 1:
                x = apply(fft_op, (x,), {"axes": tuple(range(-count, -1)), "inverse": True})
            # The other half is the conjugate of the first, from behind.
            behind = conj(reverse(_last(x, 1, (n + 1) // 2), [-1]))
            whole = concat([x, behind], -1)
            return real(apply(fft_op, (whole,), {"axes": (-1,), "inverse": True}))

    function.__name__ = function.__qualname__ = label.lower()
    function.__doc__ = (
        f"The inverse of ``{label[1:].lower()}``, a real tensor.\n\n"
        "    The last dimension has ``fft_length[-1]`` entries, ``2 * (m - 1)`` by default.\n"
    )
    return function


rfft, irfft = _real_transform(1, "RFFT"), _inverse_real_transform(1, "IRFFT")
rfft2d, irfft2d = _real_transform(2, "RFFT2D"), _inverse_real_transform(2, "IRFFT2D")
rfft3d, irfft3d = _real_transform(3, "RFFT3D"), _inverse_real_transform(3, "IRFFT3D")
