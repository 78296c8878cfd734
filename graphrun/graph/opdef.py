"""`OpDef`: everything graphrun knows of one operation, in one record; and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrun.errors import NotFoundError, RuleError, format_site
from graphrun.graph.descriptor import Descriptor, Spec
from graphrun.shapes import format_shape

if TYPE_CHECKING:
    from graphrun.graph.node import Operation

MAX_RANK = 64  # of NumPy's arrays
Infer = Callable[..., Sequence[Spec]]
Gradient = Callable[..., Any]


def no_gradient(op: Operation, *output_gradients: Any) -> Sequence[None]:
    """Gradient rule of operations whose result does not change smoothly with any input."""
    return (None,) * (len(op.inputs) - len(op.value_attrs))


class Constant:
    """A read-only array as an attribute: hashable, and equal to another one of the same bits."""

    __slots__ = ("array", "_hash")
    # Hashing a large array costs more than the merge of two equal ones could save.
    HASHED_BYTES = 4096

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.array.flags.writeable = False
        self._hash: int | None = None

    def _same_bits(self) -> tuple[Any, ...]:
        return self.array.dtype, self.array.shape, self.array.tobytes()

    def __hash__(self) -> int:
        if self._hash is None:
            small = self.array.nbytes <= self.HASHED_BYTES
            self._hash = hash(self._same_bits()) if small else id(self.array)
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant):
            return NotImplemented
        if self.array is other.array:
            return True
        if max(self.array.nbytes, other.array.nbytes) > self.HASHED_BYTES:
            return False
        return self._same_bits() == other._same_bits()

    def __repr__(self) -> str:
        if self.array.size > 8:
            return f"<{self.array.dtype} {format_shape(self.array.shape)}>"
        return np.array2string(self.array, separator=", ", threshold=8).replace("\n", "")


@dataclass(frozen=True, eq=False)
class OpDef:
    """One operation.

    Parameters
    ----------
    name : str
        The registered name, as in ``matmul``; also the default name of its nodes.
    infer : callable
        ``infer(*specs, **attrs) -> sequence of Spec``: one per output.  Raises `RuleError`.  An
        attribute that arrives as a tensor is passed as far as its value is known: None, or a tuple in
        which None marks unknown entries.
    numpy : callable or None
        ``numpy(*arrays, **attrs)``: the reference for every device; returns an array, or a tuple for
        several outputs.  It must not change its inputs, and its result has the inferred shape and
        dtype.  None: the compiler replaces the operation before anything runs.
    opencl : descriptor or None
        How it runs on OpenCL; None runs it on the host.  A callable ``(specs, attrs) -> descriptor or
        None`` chooses by case.
    gradient : callable or None
        ``gradient(op, *dys)``: one tensor or None ("no gradient") for each data input (the inputs behind
        them, for `value_attrs`, have none); a single tensor for one input.  `dys` holds one tensor an
        output; for several outputs, None where nothing flows.  No rule: differentiating is an error.
    value_attrs : tuple of str
        Attributes that may arrive as integer tensors; they are then the trailing inputs.
    stateful : bool
        Two nodes of it are never merged, and it is not folded.
    side_effect : bool
        It is kept when fetched or depended on even though nobody reads its value.
    effect : bool
        Its function, on the host, does more than give results, as printing: what is not fetched and not
        waited for is left out, else it runs once in a run, behind those that it waits for.  It is
        `stateful`, has an output at least, and takes an attribute ``waits``: how many of its last inputs
        stand for others that run before it.
    commutative : bool
        ``f(a, b) == f(b, a)``, so that both orders are merged.
    broadcasts : bool
        Inputs broadcast like NumPy's; the gradient driver then sums each gradient to its input's shape.
    partial : callable, optional
        ``partial(op) -> int | tuple | None``: what is known of an integer result's value while the
        graph is built (None entries: unknown).
    expand : callable, optional
        ``expand(build, inputs, specs, attrs) -> value or None``: replaces the operation, once shapes are
        concrete, by others: ``build(op_name, values, attrs) -> value``.  None leaves it as it is.
    pure : str, optional
        For random operations: the operation that the compiler puts in place, which takes the stream's
        counter (an int64 scalar that the session keeps) before the other inputs.
    advance : callable, optional
        Of such a pure operation: ``advance(out_spec) -> int``, the counter blocks that one run uses up.
    writes : str, optional
        Of an operation whose first input is a variable: the operation that computes the variable's new
        value, from its value and the other inputs, with the same attributes.
    rewrite : callable, optional
        Of an operation that changes few elements of its first input:
        ``rewrite(spec of the first input, *other arrays, **attrs) -> write``, where ``write(array)`` turns
        the first input into the result and cannot fail.  It serves a variable on the host whose new value
        nobody else asks for.
    node_name : str
        Default name of its nodes where it is not `name`: TensorFlow's, as in ``MatMul``.
    onnx : str, optional
        Operator name in ONNX.
    input_names : tuple of str
        For messages.
    """

    name: str
    infer: Infer
    numpy: Callable[..., Any] | None
    opencl: Descriptor | Callable[..., Descriptor | None] | None = None
    gradient: Gradient | None = None
    value_attrs: tuple[str, ...] = ()
    stateful: bool = False
    side_effect: bool = False
    effect: bool = False
    commutative: bool = False
    broadcasts: bool = False
    partial: Callable[[Any], Any] | None = None
    expand: Callable[..., Any] | None = None
    pure: str | None = None
    advance: Callable[[Spec], int] | None = None
    writes: str | None = None
    rewrite: Callable[..., Callable[[np.ndarray], None]] | None = None
    node_name: str = ""
    onnx: str | None = None
    input_names: tuple[str, ...] = ("a", "b", "c", "d", "e", "f")

    def descriptor(self, specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Descriptor | None:
        """The OpenCL descriptor for these concrete inputs."""
        if self.opencl is None or isinstance(self.opencl, Descriptor):
            return self.opencl
        return self.opencl(specs, attrs)

    def check(
        self, name: str, site: tuple[str, int] | None, specs: Sequence[Spec], attrs: Mapping[str, Any]
    ) -> Sequence[Spec]:
        """Apply the shape and dtype rule; a fault names the operation, the user's line and the inputs."""
        try:
            found = self.infer(*specs, **attrs)
            for spec in found:
                if spec.shape is not None and len(spec.shape) > MAX_RANK:
                    raise RuleError(
                        f"a result of {len(spec.shape)} dimensions", expected=f"at most {MAX_RANK}"
                    )
            return found
        except RuleError as fault:
            raise self.explain(fault, name, site, specs) from None

    def explain(
        self, fault: RuleError, name: str, site: tuple[str, int] | None, specs: Sequence[Spec]
    ) -> Exception:
        names = self.input_names
        got = "   ".join(
            f"{names[i] if i < len(names) else f'input {i}'}: {format_shape(s.shape)} {s.dtype}"
            for i, s in enumerate(specs)
        )
        line = "      ".join(part for part in (got, format_site(site)) if part)
        lines = [f"{self.name} '{name}': {fault.what}"] + ([line] if line else [])
        if fault.expected:
            lines.append(f"expected {fault.expected}" + (f"; {fault.fix}" if fault.fix else ""))
        elif fault.fix:
            lines.append(fault.fix)
        return fault.kind("\n  ".join(lines))


_REGISTRY: dict[str, OpDef] = {}


def register(op: OpDef) -> OpDef:
    """Add `op` to the registry; its name must be new."""
    if op.name in _REGISTRY:
        raise ValueError(f"an operation named {op.name!r} is registered already")
    _REGISTRY[op.name] = op
    return op


def get_op(name: str) -> OpDef:
    """The registered operation of that name."""
    try:
        return _REGISTRY[name]
    except KeyError:
        raise NotFoundError(f"no operation is registered as {name!r}") from None


def registered_ops() -> dict[str, OpDef]:
    """All operations by name, in a new dictionary."""
    return dict(_REGISTRY)
