"""Operations that users add from Python: a NumPy function, and OpenCL C beside it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import DType, as_dtype
from graphrun.errors import ExecutionError, GraphError, RuleError, counted, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Capabilities, Expr, Kernel, KernelPlan, Launch, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, registered_ops
from graphrun.graph.site import user_site
from graphrun.ops.families import require_same_dtype
from graphrun.ops.kernel_text import Signature, parse_kernel
from graphrun.shapes import Shape, as_shape, broadcast, format_shape, is_compatible, is_static, num_elements

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_LETTERS = "abcdef"
_taken: set[str] = set()
_lock = threading.Lock()


class OpenCLKernel:
    """A kernel of your own for `custom_op`, where an expression for one element will not do.

    Parameters
    ----------
    source : str
        OpenCL C with one ``__kernel`` function.  Its arguments are a pointer for each input, one for each
        output, and then numbers.  ``T`` is the element type of the first input, ``O`` that of the first
        output; a pointer to another type, as ``float``, limits the kernel to that type, and the host takes
        the others.
    global_size : function or tuple of int
        How many work-items run, in one to three dimensions; a function gets the inputs' shapes and the
        operation's attributes as keywords.
    scalars : function, optional
        The numbers that the kernel gets, from the same arguments.
    local_size : function or tuple of int, optional
        Work-items of a group; the driver chooses unless it is given.

    Examples
    --------
    >>> import graphrun as gr
    >>> kernel = gr.OpenCLKernel(
    ...     '''__kernel void spread(__global const T *x, __global O *y, const int columns) {
    ...            const size_t row = get_global_id(0);
    ...            T low = x[row * columns], high = low;
    ...            for (int j = 1; j < columns; ++j) {
    ...                low = min(low, x[row * columns + j]);
    ...                high = max(high, x[row * columns + j]);
    ...            }
    ...            y[row] = high - low;
    ...        }''',
    ...     global_size=lambda x: (x[0],),
    ...     scalars=lambda x: (x[1],),
    ... )
    """

    __slots__ = ("signature", "global_size", "scalars", "local_size")

    def __init__(
        self, source: str, global_size: Any, scalars: Callable[..., Any] | None = None, local_size: Any = None
    ) -> None:
        self.signature: Signature = parse_kernel(source)
        self.global_size = global_size
        self.scalars = scalars
        self.local_size = local_size

    def plan(
        self, name: str, ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any],
        device: Capabilities,
    ) -> KernelPlan | None:  # fmt: skip
        """The launch for these shapes; None where the kernel is for other dtypes."""
        signature = self.signature
        specs = [*ins, *outs]
        if len(signature.pointers) != len(specs):
            raise GraphError(
                message(
                    f"its kernel {signature.entry} has {counted(len(signature.pointers), 'pointer')}",
                    where=f"custom_op '{name}'",
                    expected=f"{len(specs)}: one for each of {len(ins)} inputs and {len(outs)} outputs",
                )
            )
        own = {"T": specs[0].dtype.storage, "O": outs[0].dtype.storage}
        for kind, spec in zip(signature.pointers, specs, strict=True):
            if own.get(kind, kind) != spec.dtype.storage or spec.dtype.storage in ("", "half"):
                return None
        if not any(num_elements(s.shape) for s in outs):
            return KernelPlan(())
        shapes = [s.dims for s in ins]
        scalars = () if self.scalars is None else self.scalars(*shapes, **attrs)
        scalars = tuple(scalars) if isinstance(scalars, tuple | list) else (scalars,)
        if len(scalars) != len(signature.numbers):
            raise GraphError(
                message(
                    f"its kernel {signature.entry} takes {counted(len(signature.numbers), 'number')}",
                    where=f"custom_op '{name}'",
                    got=f"{len(scalars)} scalars",
                    expected="as many as scalars= returns",
                )
            )
        buffers = [("in", k) for k in range(len(ins))] + [("out", k) for k in range(len(outs))]
        numbers = [(own.get(kind, kind), v) for kind, v in zip(signature.numbers, scalars, strict=True)]
        global_size = self._sizes(self.global_size, "global_size", name, shapes, attrs)
        local_size = self._sizes(self.local_size, "local_size", name, shapes, attrs)
        # What a compiler says of the text is said of the user's lines.
        text = f'#line 1 "custom_op {name}"\n{signature.text}\n#line 1 "graphrun"\n'
        launch = Launch(
            "", signature.entry, tuple(own.items()), (*buffers, *numbers), global_size or (1,), local_size,
            text,
        )  # fmt: skip
        return KernelPlan((launch,))

    @staticmethod
    def _sizes(
        value: Any, what: str, name: str, shapes: Sequence[Any], attrs: Mapping[str, Any]
    ) -> tuple[int, ...] | None:
        found = value(*shapes, **attrs) if callable(value) else value
        if found is None:
            return None
        sizes = tuple(found) if isinstance(found, tuple | list) else (found,)
        good = 1 <= len(sizes) <= 3 and all(isinstance(s, int | np.integer) and s > 0 for s in sizes)
        if not good:
            raise GraphError(
                message(
                    f"its {what} is {found!r}",
                    where=f"custom_op '{name}'",
                    expected="one to three ints above 0",
                )
            )  # fmt: skip
        return tuple(int(s) for s in sizes)


class CustomOp:
    """What `custom_op` returns: a function of tensors that adds the operation to the graph.

    Attributes
    ----------
    opdef : OpDef
        Its record.
    defaults : dict
        Its attributes, with the values that they have unless given.
    """

    def __init__(self, opdef: OpDef, label: str, defaults: Mapping[str, Any], same: bool) -> None:
        self.opdef = opdef
        self.defaults = dict(defaults)
        self.__name__ = label
        self._same = same

    def __call__(self, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
        return apply(self.opdef, self.tensors(inputs), self.attributes(attrs), name)

    def tensors(self, inputs: Sequence[Any]) -> list[Tensor]:
        """The inputs as tensors."""
        return convert_operands(inputs) if self._same else [convert_to_tensor(x) for x in inputs]

    def attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes, with defaults for those that are not given."""
        unknown = sorted(set(given) - set(self.defaults))
        if unknown:
            raise GraphError(
                message(
                    f"it has no attribute {unknown[0]!r}",
                    where=f"custom_op '{self.__name__}'",
                    site=user_site(),
                    expected=f"one of {', '.join(self.defaults) or '(it has none)'}",
                )
            )
        return {k: _frozen(v) for k, v in {**self.defaults, **given}.items()}

    def __repr__(self) -> str:
        return f"<gr.custom_op '{self.__name__}'>"


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


def custom_op(
    name: str,
    opencl: str | OpenCLKernel | None = None,
    numpy: Callable[..., Any] | None = None,
    shape: Callable[..., Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    *,
    dtype: Any = None,
    attrs: Mapping[str, Any] | None = None,
) -> CustomOp:
    """Make an operation from a NumPy function, and from OpenCL C for devices.

    Parameters
    ----------
    name : str
        A word that no operation of graphrun has; nodes are called so.
    opencl : str or OpenCLKernel, optional
        An expression for one element of the result, of the inputs' elements ``a, b, c, ...`` at the same
        place: inputs broadcast, and the expression is put into one kernel with the operations around it.
        Attributes stand in braces, as ``{alpha}``, and ``{T}`` is the type that is computed in.  Or a kernel.
        Without it the operation runs on the host.
    numpy : function
        Of the inputs' arrays, and the attributes as keywords; returns an array, or a tuple for several
        results.  It is the reference for every device, and must not change its inputs.
    shape : function, optional
        The result's shape from the inputs' shapes (tuples; None is an unknown dimension) and the attributes;
        for several results a list of shapes.  Unless it is given, the inputs broadcast.
    gradient : function, optional
        ``gradient(op, *dys)``: one tensor for each input, or None where nothing flows, made of operations.
    dtype : dtype, list of dtypes, or function of the inputs' dtypes, optional
        Of the result; a list for several.  Unless it is given, the inputs have one dtype, and it is that.
    attrs : dict, optional
        Names of attributes and their defaults.

    Returns
    -------
    function
        ``function(*tensors, name=None, **attrs)``.

    Examples
    --------
    >>> import numpy as np
    >>> import graphrun as gr
    >>> softsign = gr.custom_op(
    ...     "scaled_softsign",
    ...     opencl="a / (({T})1 + {alpha} * gr_abs(a))",
    ...     numpy=lambda x, alpha: x / (1 + np.asarray(alpha, x.dtype) * np.abs(x)),
    ...     gradient=lambda op, dy: dy / (1.0 + op.attrs["alpha"] * gr.abs(op.inputs[0])) ** 2,
    ...     attrs={"alpha": 1.0},
    ... )
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant([1.0, -3.0])
    ...     print(sess.run([softsign(x), gr.gradients(softsign(x, alpha=3.0), x)[0]]))
    [array([ 0.5 , -0.75], dtype=float32), array([0.0625, 0.01  ], dtype=float32)]
    """
    where = f"custom_op {name!r}"
    if not isinstance(name, str) or not _NAME.match(name) or name in registered_ops():
        taken = "it is an operation of graphrun's" if name in registered_ops() else "it is no name"
        raise GraphError(
            message(
                taken,
                where=where,
                site=user_site(),
                expected="another name: letters, digits and _, as 'my_relu'",
            )
        )
    if not callable(numpy):
        raise GraphError(
            message(
                "it has no NumPy function",
                where=where,
                site=user_site(),
                expected="numpy=, a function of arrays: devices are held against it",
            )  # fmt: skip
        )
    if opencl is not None and not isinstance(opencl, str | OpenCLKernel):
        raise GraphError(
            message(f"opencl is of type {type(opencl).__name__}", where=where, site=user_site(),
                    expected="an expression, or a gr.OpenCLKernel")
        )  # fmt: skip
    if isinstance(opencl, str) and re.search(r"\bkernel\b|__kernel", opencl):
        raise GraphError(
            message("opencl is the text of a kernel", where=where, site=user_site(),
                    fix="pass gr.OpenCLKernel(source, global_size=...)")
        )  # fmt: skip
    if isinstance(opencl, str) and shape is not None:
        raise GraphError(
            message(
                "it has an expression for each element, and a shape",
                where=where,
                site=user_site(),
                fix="leave out shape: the result has that of the inputs, which broadcast; or pass a kernel",
            )
        )
    rules = _Rules(name, numpy, shape, gradient, dtype, opencl)
    descriptor: Any = None
    if isinstance(opencl, str):
        descriptor = Expr(opencl, flops=4)
    elif opencl is not None:
        kernel = opencl

        def plan(ins: Any, outs: Any, attrs: Any, device: Capabilities) -> KernelPlan | None:
            return kernel.plan(name, ins, outs, attrs, device)

        # Sizes and scalars come from functions of the user, which may look at anything.
        descriptor = Kernel(f"custom {name}", plan, repeatable=False)
    opdef = OpDef(
        _unique(name), rules.infer, rules.compute, descriptor, None if gradient is None else rules.backward,
        broadcasts=shape is None, node_name=name, input_names=tuple(_LETTERS),
    )  # fmt: skip
    return CustomOp(opdef, name, attrs or {}, dtype is None)


def _unique(name: str) -> str:
    """The record's name: the compiler takes operations of one name for the same."""
    with _lock:
        found, number = name, 1
        while found in _taken:
            number += 1
            found = f"{name}_{number}"
        _taken.add(found)
    return found


class _Rules:
    """The functions of a custom operation's record, around those that the user has given."""

    def __init__(
        self, name: str, numpy: Callable[..., Any], shape: Any, gradient: Any, dtype: Any, opencl: Any
    ) -> None:
        self.name = name
        self.numpy = numpy
        self.shape = shape
        self.gradient = gradient
        self.dtype = dtype
        # The inputs that an expression names: there must be so many.
        found = re.findall(r"\b([a-f])\b(?!\()", opencl) if isinstance(opencl, str) else []
        self.letters = max((_LETTERS.index(c) + 1 for c in found), default=0)

    def infer(self, *specs: Spec, **attrs: Any) -> tuple[Spec, ...]:
        if len(specs) < self.letters or len(specs) > len(_LETTERS) and self.letters:
            raise RuleError(
                f"{len(specs)} inputs", expected=f"{self.letters}, as its expression names them",
                kind=GraphError,
            )  # fmt: skip
        dtypes = self._dtypes(specs)
        shapes = self._shapes(specs, attrs, len(dtypes))
        if len(dtypes) != len(shapes):
            raise RuleError(f"{len(shapes)} shapes and {len(dtypes)} dtypes", expected="as many of each")
        return tuple(Spec(s, d) for s, d in zip(shapes, dtypes, strict=True))

    def _shapes(self, specs: Sequence[Spec], attrs: Mapping[str, Any], count: int) -> list[Shape]:
        if self.shape is None:
            result: Shape = ()
            for s in specs:
                result = broadcast(result, s.shape)
            return [result]
        try:
            found = self.shape(*[s.shape for s in specs], **attrs)
        except ValueError as fault:
            raise RuleError(str(fault)) from None
        except (TypeError, IndexError):
            # It calculates with what is not known yet.
            if all(is_static(s.shape) for s in specs):
                raise
            return [None] * count
        several = isinstance(found, list) and (count > 1 or any(isinstance(d, list | tuple) for d in found))
        return [as_shape(s) for s in (found if several else [found])]

    def _dtypes(self, specs: Sequence[Spec]) -> list[DType]:
        if self.dtype is None:
            if not specs:
                raise RuleError("it has no inputs", fix="pass dtype= to custom_op")
            return [require_same_dtype(*specs)]
        found = self.dtype
        if callable(found) and not isinstance(found, DType | type):
            found = found(*[s.dtype for s in specs])
        return [as_dtype(d) for d in (found if isinstance(found, list | tuple) else [found])]

    def compute(self, *arrays: Any, **attrs: Any) -> Any:
        inputs = [np.asarray(a) for a in arrays]
        specs = self.infer(*[Spec(a.shape, as_dtype(a.dtype)) for a in inputs], **attrs)
        try:
            returned = self.numpy(*inputs, **attrs)
        except Exception as fault:
            raise RuleError(
                f"its NumPy function raised {type(fault).__name__}: {fault}", kind=ExecutionError
            ) from fault
        results = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(results) != len(specs):
            raise RuleError(
                f"its NumPy function returned {len(results)} results", expected=str(len(specs)),
                kind=ExecutionError,
            )  # fmt: skip
        checked = [self._checked(r, s) for r, s in zip(results, specs, strict=True)]
        return tuple(checked) if len(checked) > 1 else checked[0]

    @staticmethod
    def _checked(value: Any, spec: Spec) -> np.ndarray:
        array = np.asarray(value)
        if array.dtype != spec.dtype.numpy or not is_compatible(array.shape, spec.shape):
            raise RuleError(
                f"its NumPy function returned {format_shape(array.shape)} {array.dtype}",
                expected=f"{format_shape(spec.shape)} {spec.dtype}, as its shape and dtype say",
                fix=f"return it as x.astype(np.{spec.dtype})" if array.dtype != spec.dtype.numpy else "",
                kind=ExecutionError,
            )
        return array

    def backward(self, op: Operation, *dys: Any) -> list[Tensor | None]:
        found = self.gradient(op, *dys)
        found = list(found) if isinstance(found, list | tuple) else [found]
        return [None if g is None else convert_to_tensor(g) for g in found]
