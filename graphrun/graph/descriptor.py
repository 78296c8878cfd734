"""How an operation runs on OpenCL, as plain data.

``ops/`` states these and imports no device; the compiler reads them.  Five forms:

=========== ==========================================================================
`Expr`      one output element from the inputs' elements at the same place
`View`      an index map: which input element each output element is; moves no data itself
`Index`     one output element from any elements of the inputs, by coordinates
`Reduce`    over axes: map, combine, finish
`Kernel`    a hand-written file of ``kernels/``; `plan` returns its launches
=========== ==========================================================================

An operation without one runs on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from graphrun.dtypes import DType


class Spec(NamedTuple):
    """What is known of a value before it is computed: shape (None for unknown rank) and dtype."""

    shape: tuple[int | None, ...] | None
    dtype: DType

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape, of a spec that is known to be concrete."""
        return self.shape  # type: ignore[return-value]


@dataclass(frozen=True)
class Tuning:
    """What was measured to be quicker on a device than what plans choose by their estimates.

    Parameters
    ----------
    found : tuple of (str, str, str)
        Kernel family, class of shapes and the choice, in the words of the family's plans.

    Examples
    --------
    >>> Tuning((("gemm", "float 256x256x256", "packed 6x4"),)).choice("gemm", "float 256x256x256")
    'packed 6x4'
    """

    found: tuple[tuple[str, str, str], ...] = ()

    def choice(self, family: str, shapes: str) -> str:
        """The choice for a class of shapes; empty where none was measured."""
        return next((choice for f, s, choice in self.found if (f, s) == (family, shapes)), "")


@dataclass(frozen=True)
class Capabilities:
    """What a device can do; the compiler decides by these and never by a device's name."""

    kind: str = "cpu"  # "cpu" or "gpu": which style of loop suits the device
    fp64: bool = True
    max_work_group_size: int = 1024
    compute_units: int = 1
    local_mem_bytes: int = 32768
    global_mem_bytes: int = 1 << 32
    max_alloc_bytes: int = 1 << 30
    vector_width_float: int = 16  # native, in elements
    unified_memory: bool = False  # what the driver says
    # Proven by the probe: a buffer over an array of the host is that array, for both sides, without mapping.
    zero_copy: bool = False
    tuning: Tuning = Tuning()  # by `graphrun tune`

    def supports(self, dtype: DType) -> bool:
        """Whether buffers and arithmetic of `dtype` work on this device."""
        return dtype.storage != "" and (self.fp64 or dtype.name != "float64")


@dataclass(frozen=True)
class Expr:
    """One output element as an OpenCL C expression of the inputs' elements ``a, b, c, d``.

    Attributes of the operation may stand in braces: ``"gr_max(a * {alpha}, a)"``; a literal brace is
    doubled.  A call ``gr_name(`` becomes ``gr_name_<T>(`` where T is the compute type: that of the
    first floating or integer operand, so that helpers of ``kernels/math.cl`` need no overloading.
    ``{T}`` stands for that type and ``{O}`` for the output's.  `code` may be a function
    ``(attrs, in_dtypes, out_dtype) -> str`` instead.  bool operands and results are ``uchar`` 0 or 1.
    """

    code: str | Callable[[Mapping[str, Any], Sequence[DType], DType], str]
    flops: int = 1  # floating-point operations an element, for the cost model


@dataclass(frozen=True)
class AffineMap:
    """Output element at coordinates c is input element ``offset + sum(c[i] * strides[i])``.

    `dims` multiply to the output's size (row-major); they need not be its shape, so that a tile is a
    broadcast over split dimensions.  The input counts as contiguous.
    """

    dims: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True)
class View:
    """`map(in_specs, out_spec, attrs, out_index)` returns the `AffineMap`; all shapes are concrete.

    Only input 0 is viewed; further inputs are value inputs that are gone by then.
    """

    map: Callable[[Sequence[Spec], Spec, Mapping[str, Any], int], AffineMap]


@dataclass(frozen=True)
class Index:
    """One output element from any input elements.

    `code(in_specs, out_spec, attrs)` returns OpenCL C statements that set ``r`` (declared as the
    output's compute type).  In scope: ``i`` (``ulong``, flat output index), ``c0, c1, ...`` (``long``,
    output coordinates), and ``LOAD0(k), LOAD1(k), ...``: element k (flat, row-major) of each input in
    its compute type.  All shapes are concrete; the code must not read out of bounds.
    """

    code: Callable[[Sequence[Spec], Spec, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Reduce:
    """Reduce input 0 over the axes in ``attrs["axis"]`` (a sorted tuple; ``keepdims`` may be set).

    `neutral` starts each accumulator, ``map`` is an expression of the element ``a``, `combine` of two
    accumulators ``x`` and ``y``, `finish` of the final ``x``; ``{count}`` is the number of elements
    reduced.  ``gr_name(`` and ``{T}`` work as in `Expr`.  With ``arg=True`` the result is the index of
    the first element that `combine` (then an expression that is true when y beats x) prefers.
    """

    neutral: str | Callable[[DType], str]
    map: str = "a"
    combine: str = "x + y"
    finish: str = "x"
    arg: bool = False


@dataclass(frozen=True)
class Launch:
    """One launch of a hand-written kernel.

    Parameters
    ----------
    file, entry : str
        ``"gemm.cl"`` and the kernel function in it.  The file is compiled once per distinct
        `defines`; ``GR_NAME`` is defined as the unique name that its entry must use.
    defines : tuple of (str, value)
        Tunables and types, as ``("REAL", "float")``.
    args : tuple
        In the kernel's order: ``("in", k)``, ``("out", k)``, ``("scratch", k)`` and ``("pack", k)`` pass a
        pointer and then its ``ulong`` offset in elements; ``(ctype, number)``, as ``("int", 7)``, a scalar.
    global_size, local_size : tuple of int
        `local_size` None leaves the choice to the driver.
    source : str
        The kernel's text, of one that is in no file; `file` is empty then.
    """

    file: str
    entry: str
    defines: tuple[tuple[str, Any], ...]
    args: tuple[tuple[str, Any], ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None = None
    source: str = ""


# Of an input whose values stay from one run to the next: a pack of it costs next to nothing.
READERS_FOREVER = 1 << 30


@dataclass(frozen=True)
class Pack:
    """A rearranged copy of one input, which several operations can share.

    Parameters
    ----------
    source : tuple of (str, int)
        ``("in", k)``, which its launches read; they write ``("pack", j)``, j being the pack's place in
        `KernelPlan.packs`.  No launch of the plan itself writes there.
    launches : tuple of Launch
    size_bytes : int
    key : hashable
        All that decides the copy, given the values of the source: two packs of one source with equal keys
        are one.
    """

    source: tuple[str, int]
    launches: tuple[Launch, ...]
    size_bytes: int
    key: Hashable


@dataclass(frozen=True)
class KernelPlan:
    """The launches of one operation, in order, with the scratch buffers that they share."""

    launches: tuple[Launch, ...]
    scratch_bytes: tuple[int, ...] = ()
    flops: int = 0
    # Which launches store the results, and take an epilogue; None: the last one.
    epilogue_launches: tuple[int, ...] | None = None
    packs: tuple[Pack, ...] = ()
    # Before the last results stand in output 0, sums that are not whole stand there: it must not lie where an
    # input of the epilogue does.
    partial: bool = False

    @property
    def storing(self) -> tuple[int, ...]:
        """The launches that store results, by their number."""
        if self.epilogue_launches is not None:
            return self.epilogue_launches
        return (len(self.launches) - 1,) if self.launches else ()

    def alone(self) -> KernelPlan:
        """The same with nothing to share: packs lie in scratch, and their launches come first."""
        number = {("pack", j): ("scratch", len(self.scratch_bytes) + j) for j in range(len(self.packs))}
        ahead = [launch for pack in self.packs for launch in pack.launches]
        launches = tuple(
            replace(launch, args=tuple(number.get(a, a) for a in launch.args))
            for launch in (*ahead, *self.launches)
        )
        return replace(
            self, launches=launches, packs=(),
            scratch_bytes=(*self.scratch_bytes, *(p.size_bytes for p in self.packs)),
            epilogue_launches=tuple(i + len(ahead) for i in self.storing),
        )  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """Hand-written kernels.

    `plan(in_specs, out_specs, attrs, capabilities)` returns a `KernelPlan`, or None where the kernels
    cannot take this case (the operation then runs on the host and the plan says so).

    A family with `epilogue` stores output 0 through the macros that ``codegen.epilogue_text`` writes, with
    the ``W`` of the launch's defines as lanes (1 where there is none).  Its `plan` then takes a fifth
    argument ``epilogue``, False by default; when it is True, ``out_specs[0]`` is what the epilogue stores
    first, in any dtype, and None says that this case takes no epilogue.

    A family with `packs` takes ``readers`` too, for each input how many operations like this one read it,
    `READERS_FOREVER` where its values stay from run to run, by which it decides whether a copy pays.

    `overwrites` names an input whose values output 0 starts with: the compiler puts them there before the
    launches, by letting both lie in one place where nobody needs the input any more.  The launches then
    write what changes, and do not read the input.

    A `plan` that follows from its arguments alone is `repeatable`, and asked once in a process.
    """

    family: str  # one self-test each: "gemm", "conv", "pool", ...
    plan: Callable[..., KernelPlan | None]
    files: tuple[str, ...] = field(default=())
    epilogue: bool = False
    packs: bool = False
    overwrites: int | None = None
    repeatable: bool = True


Descriptor = Expr | View | Index | Reduce | Kernel
