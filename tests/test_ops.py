"""Every row of the operation table, on NumPy, by finite differences, and on every device.

The NumPy function of an operation is the reference of all devices; what stands against it here is its own
shape rule, the row's `expected`, and for gradients the finite differences of the function itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case
from gradcheck import check_gradients
from interpreter import call, evaluate, expand
from op_cases import CASES, by_op
from tolerances import assert_close

import graphrun as gr
from graphrun.dtypes import as_dtype
from graphrun.gradients import gradients
from graphrun.graph.apply import apply
from graphrun.graph.descriptor import Spec
from graphrun.graph.graph import Graph
from graphrun.graph.opdef import OpDef, get_op, no_gradient, registered_ops
from graphrun.ops.state import placeholder
from graphrun.shapes import is_compatible

# Without rows: what has no function to compare.
WITHOUT_ROWS = {"const": "its value is an attribute"}

BY_OP = by_op()


def each(rows: list[Case]) -> Any:
    return pytest.mark.parametrize("case", rows, ids=[c.id for c in rows])


EACH_CASE = each(CASES)


def _as_int_array(value: Any) -> Any:
    array = np.asarray(value) if isinstance(value, int | tuple) else None
    if array is None or array.dtype.kind not in "iu" or isinstance(value, bool):
        # An empty tuple is a shape or a list of no axes.
        return np.zeros((0,), np.int32) if value == () else None
    return array.astype(np.int32)


def _tensor_attributes(case: Case) -> list[str]:
    """The attributes of a row that may arrive as tensors."""
    names = get_op(case.op).value_attrs
    return [n for n in names if _as_int_array(case.attrs.get(n)) is not None]


def _has_gradient(case: Case) -> bool:
    rule = get_op(case.op).gradient
    differentiable = case.gradient and rule is not None and rule is not no_gradient
    return differentiable and any(a.dtype.kind == "f" for a in case.arrays())


def _specs(arrays: list[Any]) -> list[Spec]:
    return [Spec(a.shape, as_dtype(a.dtype)) for a in arrays]


def _reference(case: Case) -> list[Any]:
    return call(get_op(case.op), case.arrays(), case.attrs)


def test_every_operation_has_a_row() -> None:
    missing = []
    for name, op in registered_ops().items():
        if name in BY_OP or name in WITHOUT_ROWS:
            continue
        if op.numpy is None and op.expand is None:
            # The compiler puts another operation in its place, or its value comes from the session.
            if op.pure is None or op.pure in BY_OP:
                continue
        missing.append(name)
    assert not missing, f"add rows to tests/cases/ for: {', '.join(sorted(missing))}"


def test_rows_have_operations() -> None:
    unknown = sorted(set(BY_OP) - set(registered_ops()))
    assert not unknown, f"rows for operations that are not registered: {', '.join(unknown)}"


def test_rows_are_not_repeated() -> None:
    seen: dict[str, int] = {}
    for c in CASES:
        seen[c.id] = seen.get(c.id, 0) + 1
    repeated = [i for i, n in seen.items() if n > 1]
    assert not repeated, f"give one of each a label: {repeated}"


@EACH_CASE
def test_numpy(case: Case) -> None:
    """The function keeps its inputs, agrees with the shape rule, and with the row's expectation."""
    arrays = case.arrays()
    before = [a.tobytes() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    results = call(get_op(case.op), arrays, case.attrs)
    assert [a.tobytes() for a in arrays] == before, "an input was changed"
    if case.expected is not None:
        with np.errstate(all="ignore"):
            expected = case.expected(*arrays)
        expected = list(expected) if isinstance(expected, list | tuple) else [expected]
        for r, e in zip(results, expected, strict=True):
            assert_close(r, np.asarray(e).astype(r.dtype), case.tolerance, case.id)


@EACH_CASE
def test_rule_with_unknown_shapes(case: Case) -> None:
    """Whatever is not known of the inputs, the rule claims nothing that is wrong."""
    op = get_op(case.op)
    specs = _specs(case.arrays())
    exact = op.infer(*specs, **case.attrs)
    actual = [r.shape for r in _reference(case)]
    variants: list[list[Spec]] = [[Spec(None, s.dtype) for s in specs]]
    variants.append([Spec((None,) * len(s.shape), s.dtype) for s in specs])  # type: ignore[arg-type]
    for i, s in enumerate(specs):
        variants.append([*specs[:i], Spec(None, s.dtype), *specs[i + 1 :]])
        for axis in range(len(s.shape or ())):
            shape = tuple(None if k == axis else d for k, d in enumerate(s.shape or ()))
            variants.append([*specs[:i], Spec(shape, s.dtype), *specs[i + 1 :]])
    attr_variants = [dict(case.attrs)]
    for name in op.value_attrs:
        value = case.attrs[name]
        if value is None:
            continue
        if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            attr_variants += [{**case.attrs, name: (None,) * len(value)}]
            attr_variants += [
                {**case.attrs, name: tuple(None if k == i else v for k, v in enumerate(value))}
                for i in range(len(value))
            ]
        elif _takes_none(op, name):
            attr_variants += [{**case.attrs, name: None}]
    for attrs in attr_variants:
        for variant in [specs, *variants]:
            for found, known, shape in zip(op.infer(*variant, **attrs), exact, actual, strict=True):
                assert found.dtype is known.dtype
                assert is_compatible(found.shape, shape), f"{variant} {attrs}: {found.shape} for {shape}"


def _takes_none(op: OpDef, name: str) -> bool:
    """Reductions mean all axes by None; an axis that is one unknown number reaches them as a vector."""
    return not (name == "axis" and op.name in _ALL_AXES)


_ALL_AXES = {"sum", "mean", "prod", "max", "min", "any", "all", "prod_gradient"}


@each([c for c in CASES if _tensor_attributes(c)])
def test_attributes_as_tensors(case: Case) -> None:
    """An attribute that may arrive as a tensor means the same when it does."""
    op = get_op(case.op)
    names = _tensor_attributes(case)
    arrays = case.arrays()
    with Graph().as_default():
        inputs = [placeholder(a.dtype, a.shape) for a in arrays]
        feeds = dict(zip(inputs, arrays, strict=True))
        attrs = dict(case.attrs)
        for n in names:
            value = _as_int_array(case.attrs[n])
            attrs[n] = placeholder(value.dtype, value.shape)
            feeds[attrs[n]] = value
        found = apply(op, inputs, attrs)
        results = evaluate(list(found) if isinstance(found, tuple | list) else [found], feeds)
    for r, e in zip(results, _reference(case), strict=True):
        assert_close(r, e, case.tolerance, case.id)


@each([c for c in CASES if _has_gradient(c)])
def test_gradient(case: Case) -> None:
    op = get_op(case.op)
    arrays = case.arrays("float64")
    check_gradients(lambda *xs: apply(op, xs, dict(case.attrs)), arrays, second_order=case.second_order)


@each([c for c in CASES if get_op(c.op).expand is not None and get_op(c.op).numpy is not None])
def test_expansion(case: Case) -> None:
    """What an operation is made of on devices computes the same."""
    with np.errstate(all="ignore"):
        parts = expand(case.op, case.arrays(), case.attrs)
    if parts is None:
        pytest.skip("it does not expand in this case")
    for r, e in zip(parts, _reference(case), strict=True):
        assert_close(r, e, case.tolerance, case.id)


@pytest.mark.parametrize("op_name", sorted({c.op for c in CASES if c.on_device}))
def test_device(op_name: str, device: str) -> None:
    """All rows of an operation in one run, against NumPy."""
    rows = [c for c in BY_OP[op_name] if c.on_device]
    feeds: dict[Any, Any] = {}
    fetches: list[Any] = []
    with Graph().as_default():
        for c in rows:
            arrays = c.arrays()
            inputs = [placeholder(a.dtype, a.shape) for a in arrays]
            feeds.update(zip(inputs, arrays, strict=True))
            found = apply(op_name, inputs, dict(c.attrs))
            fetches.append(list(found) if isinstance(found, tuple | list) else [found])
        strict = device != "cpu:0" and not any(c.host_ok for c in rows)
        with gr.Session(device=device, strict=strict, verify=True) as session:
            results = session.run(fetches, feeds)
    for c, found in zip(rows, results, strict=True):
        for r, e in zip(found, _reference(c), strict=True):
            assert_close(r, e, c.tolerance, c.id)


def _gradient_rows(op_name: str) -> list[Case]:
    rows = [c for c in BY_OP[op_name] if c.on_device and c.dtype == "float32" and _has_gradient(c)]
    return rows[:2]


@pytest.mark.parametrize("op_name", [n for n in sorted(BY_OP) if _gradient_rows(n)])
def test_gradient_on_device(op_name: str, device: str) -> None:
    """The gradients of rows in float32, against the interpreter."""
    op, rows = get_op(op_name), _gradient_rows(op_name)
    feeds: dict[Any, Any] = {}
    fetches: list[Any] = []
    factors: list[float] = []
    with Graph().as_default():
        for c in rows:
            arrays = c.arrays()
            inputs = [placeholder(a.dtype, a.shape) for a in arrays]
            feeds.update(zip(inputs, arrays, strict=True))
            found = apply(op, inputs, dict(c.attrs))
            ys = [y for y in (found if isinstance(found, tuple | list) else [found]) if y.dtype.is_floating]
            xs = [x for x in inputs if x.dtype.is_floating]
            if ys and xs:
                grads = [g for g in gradients(ys, xs) if g is not None]
                fetches += grads
                # Gradients are sums of many terms; float32 loses a digit on the way.
                factors += [10 * c.tolerance] * len(grads)
        expected = evaluate(fetches, feeds)
        with gr.Session(device=device, verify=True) as session:
            results = session.run(fetches, feeds)
    for r, e, factor in zip(results, expected, factors, strict=True):
        assert_close(r, e, factor, op_name)
