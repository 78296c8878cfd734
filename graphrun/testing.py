"""Checks for operations that you add: the same that graphrun's own operations pass.

>>> import numpy as np
>>> import graphrun as gr
>>> from graphrun.testing import check_op
>>> cube = gr.custom_op("testing_cube", opencl="a * a * a", numpy=lambda x: x * x * x,
...                     gradient=lambda op, dy: dy * 3.0 * op.inputs[0] ** 2)
>>> check_op(cube, [np.float32([1.0, -2.0])], devices=["cpu:0"])
['cpu:0']
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.device_names import NUMPY
from graphrun.dtypes import as_dtype
from graphrun.errors import RuleError
from graphrun.gradients import gradients
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.graph import Graph
from graphrun.graph.node import Tensor
from graphrun.graph.opdef import OpDef, get_op, no_gradient
from graphrun.ops.custom import CustomOp
from graphrun.ops.state import constant, placeholder
from graphrun.runtime.devices import list_devices
from graphrun.session import Session
from graphrun.shapes import format_shape, is_compatible, is_static

# abs(found - expected) <= factor * (atol + rtol * abs(expected)); other dtypes agree exactly.
TOLERANCES = {
    "float16": (2e-3, 1e-3), "float32": (1e-5, 1e-6), "float64": (1e-12, 1e-14),
    "complex64": (1e-5, 1e-6), "complex128": (1e-12, 1e-14),
}  # fmt: skip
# Derivatives in float64 against finite differences, of first and second order.
_DERIVATIVES = ((1e-6, 1e-8), (1e-5, 1e-7))
_STEP = 1e-3  # with the five-point formula: truncation about 1e-12, rounding about 1e-13


def check_op(
    op: CustomOp | OpDef | str,
    inputs: Sequence[Any],
    attrs: Mapping[str, Any] | None = None,
    *,
    devices: Sequence[str] | None = None,
    gradient: bool = True,
    second_order: bool = True,
    strict: bool = True,
    tolerance: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """Check an operation at some inputs: its NumPy function, shape rule, gradient, and all devices.

    Parameters
    ----------
    op : what `custom_op` returned, or the name of an operation
    inputs : list of arrays
        Away from kinks, where the gradient is checked.
    attrs : dict, optional
        Attributes.
    devices : list of str, optional
        All devices of this machine that work, unless given.
    gradient, second_order : bool
        Compare gradients, and gradients of gradients, with finite differences in float64, where the
        operation has a gradient.
    strict : bool
        Make it an error where it has OpenCL code and still runs on the host.
    tolerance : float
        Factor on what results of a device may differ from NumPy's.
    seed : int
        Of the directions along which derivatives are taken.

    Returns
    -------
    list of str
        The devices on which it was checked.

    Raises
    ------
    AssertionError
        That says which check failed, and how.
    """
    check = _Check(op, inputs, attrs or {}, seed)
    expected = check.numpy()
    check.unknown_shapes(expected)
    with_gradient = gradient and check.has_gradient
    if with_gradient:
        check.derivatives(second_order)
    names = list(devices) if devices is not None else list_devices()
    on_numpy = None
    for name in [NUMPY, *(n for n in names if n != NUMPY)]:
        found = check.on_device(name, strict, with_gradient)
        check.compare(f"value on {name}", found[: len(expected)], expected, tolerance)
        if on_numpy is None:
            on_numpy = found
        # Gradients are sums of several terms, which lose a digit on the way.
        check.compare(f"on {name}", found[len(expected) :], on_numpy[len(expected) :], 10 * tolerance)
    return names


class _Check:
    def __init__(self, op: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], seed: int) -> None:
        if isinstance(op, CustomOp):
            self.opdef, self.attrs = op.opdef, op.attributes(attrs)
        else:
            self.opdef, self.attrs = (get_op(op) if isinstance(op, str) else op), dict(attrs)
        self.arrays = [np.asarray(a) for a in inputs]
        self.seed = seed
        self.rng = np.random.default_rng(seed)

    @property
    def has_gradient(self) -> bool:
        rule = self.opdef.gradient
        differentiable = rule is not None and rule is not no_gradient
        return differentiable and any(a.dtype.kind == "f" for a in self.arrays)

    def fail(self, what: str) -> None:
        raise AssertionError(f"{self.opdef.name}: {what}")

    def compare(self, what: str, found: Sequence[Any], expected: Sequence[Any], factor: float) -> None:
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            f, e = np.asarray(f), np.asarray(e)
            label = f"{what}, result {i}" if len(expected) > 1 else what
            if f.dtype != e.dtype or f.shape != e.shape:
                self.fail(f"{label}: {format_shape(f.shape)} {f.dtype}, expected"
                          f" {format_shape(e.shape)} {e.dtype}")  # fmt: skip
            rtol, atol = TOLERANCES.get(e.dtype.name, (0.0, 0.0))
            np.testing.assert_allclose(
                f, e, rtol=rtol * factor, atol=atol * factor, err_msg=f"{self.opdef.name}: {label}"
            )

    # -- the record ---------------------------------------------------------------------------

    def numpy(self) -> list[np.ndarray]:
        """What the function returns, which is as the shape rule says; the inputs stay as they are."""
        before = [a.tobytes() for a in self.arrays]
        given = [a.copy() for a in self.arrays]
        with np.errstate(all="ignore"):
            try:
                returned = self.opdef.numpy(*given, **self.attrs)  # type: ignore[misc]
            except RuleError as fault:
                raise AssertionError(f"{self.opdef.name}: {fault}, expected {fault.expected}") from fault
        if [a.tobytes() for a in given] != before:
            self.fail("its NumPy function changes its inputs")
        results = [np.asarray(r) for r in (returned if isinstance(returned, tuple | list) else [returned])]
        specs = self.opdef.infer(*self._specs(), **self.attrs)
        if len(specs) != len(results):
            self.fail(f"its NumPy function returns {len(results)} results, its shape rule says {len(specs)}")
        for i, (r, s) in enumerate(zip(results, specs, strict=True)):
            if r.dtype != s.dtype.numpy or not is_compatible(r.shape, s.shape):
                self.fail(f"result {i} is {format_shape(r.shape)} {r.dtype}, its shape rule says"
                          f" {format_shape(s.shape)} {s.dtype}")  # fmt: skip
        return results

    def _specs(self) -> list[Spec]:
        return [Spec(a.shape, as_dtype(a.dtype)) for a in self.arrays]

    def unknown_shapes(self, results: Sequence[np.ndarray]) -> None:
        """Whatever is not known of the inputs, the rule claims nothing that is wrong."""
        specs = self._specs()
        variants = [[Spec(None, s.dtype) for s in specs]]
        for i, s in enumerate(specs):
            axes = range(len(s.dims))
            for missing in itertools.chain(([a] for a in axes), [list(axes)]):
                dims = tuple(None if a in missing else d for a, d in enumerate(s.dims))
                variants.append([*specs[:i], Spec(dims, s.dtype), *specs[i + 1 :]])
        for variant in variants:
            for found, r in zip(self.opdef.infer(*variant, **self.attrs), results, strict=True):
                if not is_compatible(found.shape, r.shape):
                    known = ", ".join(format_shape(s.shape) for s in variant)
                    claimed = format_shape(found.shape)
                    self.fail(f"for inputs of shape {known} its shape rule says {claimed}, the result is"
                              f" {format_shape(r.shape)}")  # fmt: skip

    # -- derivatives --------------------------------------------------------------------------

    def derivatives(self, second_order: bool) -> None:
        """Along a random direction that has a part in every element of every input."""
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in self.arrays]
        with Graph().as_default(), Session() as session:
            inputs = [placeholder(a.dtype, a.shape) for a in wide]
            xs = [x for x in inputs if x.dtype.is_floating]
            loss = self._loss(inputs)
            if loss is None:
                return
            direction = [self._direction(x._shape) for x in xs]  # type: ignore[arg-type]
            other = [self._direction(x._shape) for x in xs]  # type: ignore[arg-type]
            grads = _gradients(loss, xs)
            first = self._along(grads, direction)
            none = [str(inputs.index(x)) for x, g in zip(xs, grads, strict=True) if g is None]
            self._note = ""
            if none:
                self._note = f"; for input {' and '.join(none)} its gradient rule gives None, a 0 here"
            self._hold(
                "gradient", session, inputs, wide, direction,
                lambda feeds: float(session.run(loss, feeds)), first, _DERIVATIVES[0],
            )  # fmt: skip
            if not second_order or first is None:
                return
            second = self._along(_gradients(first, xs), other)
            self._hold(
                "second derivative", session, inputs, wide, other,
                lambda feeds: float(session.run(first, feeds)), second, _DERIVATIVES[1],
            )  # fmt: skip

    def _loss(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """The sum of the floating results with random weights; None where there are none."""
        ys = [y for y in self._apply(inputs) if y.dtype.is_floating]
        parts = [apply("sum", (apply("multiply", (y, self._weights(y))),), {"axis": None, "keepdims": False})
                 for y in ys]  # fmt: skip
        return _total(parts)

    def _weights(self, y: Tensor) -> Tensor:
        # One weight for all where the shape depends on data.
        shape: Any = y._shape if is_static(y._shape) else ()
        return constant(self._direction(shape).astype(y.dtype.numpy))

    def _direction(self, shape: Sequence[int]) -> np.ndarray:
        size = tuple(shape)
        return self.rng.uniform(0.5, 1.5, size) * self.rng.choice([-1.0, 1.0], size)

    def _along(self, grads: Sequence[Tensor | None], direction: Sequence[np.ndarray]) -> Tensor | None:
        parts = [
            apply("sum", (apply("multiply", (g, self._constant(d, g))),), {"axis": None, "keepdims": False})
            for g, d in zip(grads, direction, strict=True)
            if g is not None
        ]
        return _total(parts)

    @staticmethod
    def _constant(value: np.ndarray, like: Tensor) -> Tensor:
        return constant(value.astype(like.dtype.numpy))

    def _hold(
        self, what: str, session: Session, inputs: Sequence[Tensor], arrays: Sequence[np.ndarray],
        direction: Sequence[np.ndarray], function: Callable[[Any], float], found: Tensor | None,
        limits: tuple[float, float],
    ) -> None:  # fmt: skip
        """Compare the derivative of `function` along `direction` with `found`."""

        def moved(t: float) -> dict[Tensor, Any]:
            steps = iter(direction)
            return {
                x: a + t * next(steps) if x.dtype.is_floating else a
                for x, a in zip(inputs, arrays, strict=True)
            }

        value = 0.0 if found is None else float(session.run(found, moved(0.0)))
        h = _STEP
        f = [function(moved(k * h)) for k in (-2, -1, 1, 2)]
        slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        rtol, atol = limits
        if not abs(value - slope) <= atol + rtol * max(1.0, abs(value), abs(slope)):
            self.fail(f"{what}: {value}, finite difference {slope}{self._note}")

    # -- devices ------------------------------------------------------------------------------

    def _apply(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        found = apply(self.opdef, list(inputs), dict(self.attrs))
        return list(found) if isinstance(found, tuple | list) else [found]

    def on_device(self, device: str, strict: bool, with_gradient: bool) -> list[Any]:
        """Results; then results between other operations, as fusion meets them, and gradients."""
        self.rng = np.random.default_rng(self.seed)  # the same weights on each device
        with Graph().as_default():
            inputs = [placeholder(a.dtype, a.shape) for a in self.arrays]
            feeds = dict(zip(inputs, self.arrays, strict=True))
            fetches = self._apply(inputs)
            between = [_neutral(y) for y in self._apply([_neutral(x) for x in inputs])]
            on_host = not strict or device == NUMPY or self._on_host(device)
            with Session(device=device, strict=not on_host, verify=True) as session:
                results = list(session.run(fetches, feeds)) + list(session.run(between, feeds))
            if with_gradient:
                xs = [x for x in inputs if x.dtype.is_floating]
                loss = self._loss(inputs)
                grads = [] if loss is None else [g for g in _gradients(loss, xs) if g is not None]
                with Session(device=device, verify=True) as session:
                    results += list(session.run(grads, feeds))
        return results

    def _on_host(self, device: str) -> bool:
        """Whether it is right that it runs on the host there."""
        if self.opdef.opencl is None and self.opdef.expand is None:
            return True
        from graphrun.runtime.devices import get_device

        capabilities = get_device(device).capabilities
        return not all(capabilities.supports(as_dtype(a.dtype)) for a in self.arrays)


def _gradients(y: Tensor, xs: Sequence[Tensor]) -> list[Tensor | None]:
    """As tensors, also where only rows are gathered."""
    return [None if g is None else convert_to_tensor(g) for g in gradients(y, xs)]


def _total(parts: Sequence[Tensor]) -> Tensor | None:
    return functools.reduce(lambda a, b: apply("add", (a, b)), parts) if parts else None


def _neutral(x: Tensor) -> Tensor:
    """An operation that changes no value and is not taken out."""
    if x.dtype.is_bool:
        return apply("logical_not", (x,))
    if x.dtype.kind in "fiu":
        return apply("maximum", (x, constant(np.array(_lowest(x), x.dtype.numpy))))
    return x


def _lowest(x: Tensor) -> Any:
    return -np.inf if x.dtype.is_floating else x.dtype.min
