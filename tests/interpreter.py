"""A reference interpreter: the value of a tensor by the NumPy functions of the operations alone.

It knows no plan, no pass and no device, so what it computes can be held against the compiler's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import as_dtype
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, get_op
from graphrun.ops import state

_WRITES = {state.assign_op, state.assign_add_op, state.assign_sub_op}


def evaluate(
    fetches: Any,
    feeds: Mapping[Any, Any] | None = None,
    variables: Mapping[Any, Any] | None = None,
) -> Any:
    """Compute `fetches` (a tensor, variable or operation, or a list of them).

    Parameters
    ----------
    feeds : mapping of tensor to value
    variables : mapping of variable to value, optional
        Values before the run; a variable that is not in it has its initial value.

    Returns
    -------
    array or list of arrays
        None for an operation.

    Notes
    -----
    Operations run in the order in which they were made, so a read inside of `control_dependencies` sees
    every write made before it.  Each random stream starts at counter 0.
    """
    single = not isinstance(fetches, list | tuple)
    wanted = [_element(f) for f in ([fetches] if single else fetches)]
    values: dict[Tensor, Any] = {}
    for key, value in (feeds or {}).items():
        t = _element(key)
        array = np.asarray(value, t.dtype.numpy)
        _check(t, array)
        values[t] = array
    given = {_element(k): np.asarray(v) for k, v in (variables or {}).items()}
    current: dict[Tensor, Any] = {}
    with np.errstate(all="ignore"):
        for op in _needed(wanted, values):
            if op.outputs and all(t in values for t in op.outputs):
                continue
            for t, array in zip(op.outputs, _run(op, values, given, current), strict=True):
                if t not in values:
                    _check(t, array)
                    values[t] = array
    results = [values[t] if isinstance(t, Tensor) else None for t in wanted]
    return results[0] if single else results


def _element(item: Any) -> Any:
    return item._as_graph_element() if hasattr(item, "_as_graph_element") else item


def _needed(wanted: Sequence[Any], fed: Mapping[Tensor, Any]) -> list[Operation]:
    """The operations to run, in the order of creation, which is topological."""
    found: set[Operation] = set()
    stack = [w.op if isinstance(w, Tensor) else w for w in wanted if w not in fed]
    while stack:
        op = stack.pop()
        if op in found:
            continue
        found.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed)
        stack.extend(op.control_inputs)
    return sorted(found, key=lambda op: op.id)


def _run(
    op: Operation, values: dict[Tensor, Any], given: Mapping[Any, Any], current: dict[Tensor, Any]
) -> list[Any]:
    opdef = op.opdef
    if opdef is state.placeholder_op:
        raise AssertionError(f"placeholder '{op.name}' is not fed")
    if opdef is state.variable_op:
        return [_before(op.outputs[0], values, given)]
    inputs = [values[t] for t in op.inputs]
    if opdef is state.read_variable_op:
        return [current.get(op.inputs[0], inputs[0])]
    if opdef in _WRITES:
        variable = op.inputs[0]
        old = current.get(variable, inputs[0])
        value = inputs[1]
        if opdef is not state.assign_op:
            value = old + value if opdef is state.assign_add_op else old - value
        current[variable] = np.asarray(value, variable.dtype.numpy)
        return [current[variable]]
    if opdef is state.no_op_op:
        return []
    count = len(inputs) - len(op.value_attrs)
    attrs = dict(op.attrs)
    attrs.update({k: _frozen(v) for k, v in zip(op.value_attrs, inputs[count:], strict=True)})
    data = inputs[:count]
    if opdef.pure is not None:
        opdef, data = get_op(opdef.pure), [np.int64(0), *data]
    return call(opdef, data, attrs)


def call(opdef: OpDef, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Run one operation; inputs must come out unchanged, and results must be as its shape rule says."""
    arrays = [np.asarray(a) for a in inputs]
    specs = [Spec(a.shape, as_dtype(a.dtype)) for a in arrays]
    expected = opdef.infer(*specs, **attrs)
    with np.errstate(all="ignore"):
        if opdef.numpy is None:
            assert opdef.expand is not None, f"{opdef.name} has no NumPy function and does not expand"
            result = opdef.expand(_build, arrays, specs, attrs)
        else:
            result = opdef.numpy(*arrays, **attrs)
    results = list(result) if isinstance(result, list | tuple) else [result]
    results = [np.asarray(r) for r in results]
    assert len(results) == len(expected), f"{opdef.name}: {len(results)} results, rule says {len(expected)}"
    for i, (r, spec) in enumerate(zip(results, expected, strict=True)):
        assert r.dtype == spec.dtype.numpy, f"{opdef.name}: output {i} is {r.dtype}, rule says {spec.dtype}"
        fits = spec.shape is None or (
            len(spec.shape) == r.ndim and all(d is None or d == n for d, n in zip(spec.shape, r.shape))
        )
        assert fits, f"{opdef.name}: output {i} has shape {r.shape}, rule says {spec.shape}"
    return results


def _build(name: str, values: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> Any:
    results = call(get_op(name), values, dict(attrs or {}))
    return results[0] if len(results) == 1 else results


def expand(op_name: str, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any] | None:
    """What `OpDef.expand` makes of an operation, computed on NumPy; None where it does not expand."""
    opdef = get_op(op_name)
    assert opdef.expand is not None
    arrays = [np.asarray(a) for a in inputs]
    specs = [Spec(a.shape, as_dtype(a.dtype)) for a in arrays]
    result = opdef.expand(_build, arrays, specs, dict(attrs))
    return result if isinstance(result, list) or result is None else [result]


def _frozen(array: Any) -> Any:
    def freeze(x: Any) -> Any:
        return tuple(freeze(v) for v in x) if isinstance(x, list) else x

    return freeze(np.asarray(array).tolist())


def _before(variable: Tensor, values: dict[Tensor, Any], given: Mapping[Any, Any]) -> Any:
    """A variable's value before the run."""
    if variable in given:
        return np.asarray(given[variable], variable.dtype.numpy)
    for op in variable.graph.get_operations():
        if op.opdef is state.assign_op and op.inputs[0] is variable:
            return evaluate(op.inputs[1], values, given)
    raise AssertionError(f"variable '{variable.name}' has no initial value")


def _check(t: Tensor, array: Any) -> None:
    shape = t._shape
    fits = shape is None or (
        len(shape) == np.ndim(array) and all(d is None or d == n for d, n in zip(shape, np.shape(array)))
    )
    assert fits, f"'{t.name}' has static shape {shape}, its value {np.shape(array)}"
    assert np.asarray(array).dtype == t.dtype.numpy, (
        f"'{t.name}' is {t.dtype}, its value {np.asarray(array).dtype}"
    )
