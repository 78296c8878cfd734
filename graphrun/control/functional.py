"""`map_fn`, `scan`, `foldl`, `foldr`: functions over the rows of tensors, as loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphrun.control.loops import while_loop
from graphrun.control.structure import describe, flatten, pack_like, same_structure
from graphrun.control.tensor_array import TensorArray
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, GraphError, ShapeError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.default import get_default_graph
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import shape
from graphrun.ops.state import constant
from graphrun.shapes import format_shape


def _rows(elems: Any, what: str) -> tuple[list[Tensor], Any, int | None]:
    """The tensors of `elems`, how many rows they have, and that number where it is known."""
    tensors = [convert_to_tensor(e) for e in flatten(elems)]
    if not tensors:
        raise GraphError(
            message("elems is empty", where=what, site=user_site(), expected="one tensor or more")
        )
    known: int | None = None
    for t in tensors:
        if t._shape == ():
            raise ShapeError(
                message(f"'{t.name}' is a scalar", where=what, site=user_site(), expected="rank 1 or more")
            )
        if t._shape and t._shape[0] is not None:
            if known not in (None, t._shape[0]):
                raise ShapeError(
                    message("elems have different numbers of rows", where=what, site=user_site(),
                            got=", ".join(f"{x.name}: {format_shape(x._shape)}" for x in tensors))
                )  # fmt: skip
            known = t._shape[0]
    return tensors, known if known is not None else shape(tensors[0])[0], known


def _arrays(tensors: list[Tensor], n: Any) -> list[TensorArray]:
    return [TensorArray(t.dtype, n, infer_shape=True).unstack(t) for t in tensors]


def _stacked(array: TensorArray, n: int | None) -> Tensor:
    result = array.stack()
    if n is not None and result._shape is not None:
        result.set_shape((n, *result._shape[1:]))
    return result


def _dtypes(stated: Any, like: Any, what: str) -> list[DType]:
    if stated is None:
        return [t.dtype for t in flatten(like)]
    return [as_dtype(d) for d in flatten(stated)]


def _check_result(result: list[Tensor], dtypes: list[DType], what: str, argument: str) -> None:
    for t, dtype in zip(result, dtypes, strict=True):
        if t.dtype is not dtype:
            raise DTypeError(
                message(f"fn returns dtype {t.dtype}", where=what, site=t.op.site, expected=f"{dtype}",
                        fix=f"{argument}=gr.{t.dtype} says what it returns" if argument else "use gr.cast")
            )  # fmt: skip


def map_fn(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """Apply `fn` to each row of `elems`, and stack what it returns.

    Parameters
    ----------
    fn : function
        Of a row, or of a structure of rows like `elems`.
    elems : tensor or structure of tensors
        With the same first dimension.
    dtype : dtype or structure of dtypes, optional
        What `fn` returns, where that differs from `elems`.
    parallel_iterations, swap_memory, infer_shape
        Accepted for TensorFlow's sake.
    back_prop : bool
        Whether gradients may flow back.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     x = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    ...     print(sess.run(gr.map_fn(lambda row: gr.reduce_sum(row), x)))
    [3. 7.]
    """
    _check_function(fn, "map_fn")
    with get_default_graph().name_scope(name or "map"):
        tensors, n, known = _rows(elems, "map_fn")
        inputs = _arrays(tensors, n)
        form = elems if dtype is None else dtype
        dtypes = _dtypes(dtype, pack_like(elems, tensors), "map_fn")
        outputs = [TensorArray(d, n) for d in dtypes]

        def body(i: Tensor, arrays: list[TensorArray]) -> Any:
            rows = pack_like(elems, [a.read(i) for a in inputs])
            result = [convert_to_tensor(r) for r in _flat_like(fn(rows), form, "map_fn")]
            _check_result(result, dtypes, "map_fn", "dtype")
            return i + 1, [a.write(i, r) for a, r in zip(arrays, result, strict=True)]

        _, outputs = while_loop(
            lambda i, _: i < n, body, (constant(0), outputs), back_prop=back_prop,
            maximum_iterations=n if isinstance(n, int) else None,
        )  # fmt: skip
        return pack_like(form, [_stacked(a, known) for a in outputs])


def _check_function(fn: Any, what: str) -> None:
    if not callable(fn):
        raise DTypeError(message(f"{what}: fn is {fn!r}", site=user_site(), expected="a function"))


def _flat_like(result: Any, form: Any, what: str) -> list[Any]:
    if not same_structure(form, result):
        raise GraphError(
            message(f"fn returns {describe(result)}", where=what, site=user_site(),
                    expected=f"the structure {describe(form)}",
                    fix="dtype=... with the structure that fn returns" if what == "map_fn" else "")
        )  # fmt: skip
    return flatten(result)


def scan(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """Fold `fn` over the rows of `elems`, and stack all that it returned on the way.

    Parameters
    ----------
    fn : function
        Of what it returned for the row before, and a row; returns the next such value.
    elems : tensor or structure of tensors
    initializer : tensor or structure of tensors, optional
        The value before the first row; without it the first row is the first result.
    reverse : bool
        Begin with the last row.
    parallel_iterations, swap_memory, infer_shape
        Accepted for TensorFlow's sake.

    Returns
    -------
    tensor or structure of tensors
        Like the initializer, with the number of rows as first dimension.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.scan(lambda total, x: total + x, gr.constant([1, 2, 3, 4]))))
    [ 1  3  6 10]
    """
    _check_function(fn, "scan")
    with get_default_graph().name_scope(name or "scan"):
        tensors, n, known = _rows(elems, "scan")
        inputs = _arrays(tensors, n)
        if initializer is None:
            form = elems
            start = [a.read(n - 1 if reverse else 0) for a in inputs]
            first = 1
        else:
            form = initializer
            start = [convert_to_tensor(t) for t in flatten(initializer)]
            first = 0
        outputs = [TensorArray(t.dtype, n, element_shape=t._shape) for t in start]
        if first:
            outputs = [a.write(n - 1 if reverse else 0, t) for a, t in zip(outputs, start, strict=True)]

        def body(i: Tensor, state: list[Tensor], arrays: list[TensorArray]) -> Any:
            at = n - 1 - i if reverse else i
            rows = pack_like(elems, [a.read(at) for a in inputs])
            result = fn(pack_like(form, state), rows)
            new = _next(result, form, state, "scan")
            return i + 1, new, [a.write(at, r) for a, r in zip(arrays, new, strict=True)]

        _, _, outputs = while_loop(
            lambda i, *_: i < n, body, (constant(first), start, outputs), back_prop=back_prop
        )
        return pack_like(form, [_stacked(a, known) for a in outputs])


def _next(result: Any, form: Any, state: list[Tensor], what: str) -> list[Tensor]:
    new = [
        convert_to_tensor(r, t.dtype if isinstance(r, int | float) else None)
        for r, t in zip(_flat_like(result, form, what), state, strict=True)
    ]
    _check_result(new, [t.dtype for t in state], what, "")
    return new


def _fold(fn: Any, elems: Any, initializer: Any, back_prop: bool, reverse: bool, name: str, what: str) -> Any:
    _check_function(fn, what)
    with get_default_graph().name_scope(name):
        tensors, n, _ = _rows(elems, what)
        inputs = _arrays(tensors, n)
        last = n - 1
        if initializer is None:
            form, first = elems, 1
            start = [a.read(last if reverse else 0) for a in inputs]
        else:
            form, first = initializer, 0
            start = [convert_to_tensor(t) for t in flatten(initializer)]

        def body(i: Tensor, state: list[Tensor]) -> Any:
            rows = pack_like(elems, [a.read(last - i if reverse else i) for a in inputs])
            return i + 1, _next(fn(pack_like(form, state), rows), form, state, what)

        _, result = while_loop(lambda i, _: i < n, body, (constant(first), start), back_prop=back_prop)
        return pack_like(form, result)


def foldl(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """Fold `fn` over the rows of `elems` from the first to the last: ``fn(fn(initializer, e[0]), e[1])``...

    Parameters are those of `scan`; the last value is returned.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.foldl(lambda a, x: a * 10 + x, gr.constant([1, 2, 3]))))
    123
    """
    return _fold(fn, elems, initializer, back_prop, False, name or "foldl", "foldl")


def foldr(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """Fold `fn` over the rows of `elems` from the last to the first.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.foldr(lambda a, x: a * 10 + x, gr.constant([1, 2, 3]))))
    321
    """
    return _fold(fn, elems, initializer, back_prop, True, name or "foldr", "foldr")
