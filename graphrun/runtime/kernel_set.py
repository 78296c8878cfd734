"""The kernels of a plan on one device: found in programs that were built before, or built.

Plans of one graph for several shapes share most of their kernels: a last batch that is smaller than the
others must not wait for all of them to be compiled again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from graphrun.compiler.launch import program_source
from graphrun.compiler.plan import Plan
from graphrun.compiler.steps import LaunchStep
from graphrun.errors import KernelBuildError
from graphrun.runtime.plan_function import SCALAR_TYPES

# With less in common a plan gets a program of its own, which later processes find on disk whatever plans
# they have made before.
MIN_SHARED = 0.5
# PoCL compiles a kernel for each local size, and another one for global sizes beyond this.
_SMALL_GRID = 65535
_MOST_KNOWN = 4096

Variant = tuple[Any, bool]


@dataclass
class Known:
    """A kernel that a device has: its text, its program, and how it has been launched."""

    text: str
    program: ref[Any]
    variants: set[Variant] = field(default_factory=set)


class KernelSet:
    """What a plan launches on one device.

    Parameters
    ----------
    plan : Plan
    name : str
        Of the device.
    device
        From `get_device`; one with an attribute ``known_kernels``, a dict, remembers kernels there.
    """

    def __init__(self, plan: Plan, name: str, device: Any) -> None:
        texts = plan.kernels[name]
        wanted = _variants(plan, name)
        known: dict[str, Known] | None = getattr(device, "known_kernels", None)
        shared: dict[str, Any] = {}
        for kernel, text in texts.items() if known else ():
            found = known.get(kernel)  # type: ignore[union-attr]
            program = found.program() if found is not None and found.text == text else None
            if program is not None and wanted[kernel] <= found.variants:  # type: ignore[union-attr]
                shared[kernel] = program
        if len(shared) < MIN_SHARED * len(texts):
            shared = {}
        missing = {kernel: text for kernel, text in texts.items() if kernel not in shared}
        self._program_of = shared
        if missing:
            source = plan.sources[name]
            if shared:
                source = program_source(list(missing.values()), device.capabilities)
            is_cold = getattr(device, "is_cold", None)
            if is_cold is not None and is_cold(source):  # others begin while this process builds
                device.compile_ahead(source, *launches_of(plan, name, missing))
            try:
                program = device.build(source)
            except KernelBuildError as fault:
                raise _blamed(fault, plan, name, missing, device) from None
            self._program_of = shared | dict.fromkeys(missing, program)
            if known is not None:
                self._remember(
                    known, {k: Known(text, ref(program), wanted[k]) for k, text in missing.items()}
                )

    @staticmethod
    def _remember(known: dict[str, Known], more: dict[str, Known]) -> None:
        known.update(more)
        if len(known) > _MOST_KNOWN:
            # The oldest ones, and those whose programs are gone.
            for kernel, found in list(known.items()):
                if len(known) <= _MOST_KNOWN // 2:
                    break
                if found.program() is None or len(known) > _MOST_KNOWN:
                    known.pop(kernel, None)

    @property
    def cold(self) -> dict[Any, list[str]]:
        """Programs whose kernels the driver has not compiled, with the kernels of them that are launched."""
        found: dict[Any, list[str]] = {}
        for kernel, program in self._program_of.items():
            if getattr(program, "cold", False):
                found.setdefault(program, []).append(kernel)
        return found

    def kernel(self, name: str) -> Any:
        """A kernel whose arguments nobody else sets."""
        return self._program_of[name].kernel(name)


def _blamed(
    fault: KernelBuildError, plan: Plan, name: str, texts: Mapping[str, str], device: Any
) -> KernelBuildError:
    """The fault of a program with the operation whose kernel does not compile, and the user's line."""
    for kernel, text in texts.items():
        try:
            if len(texts) > 1:
                device.build(program_source([text], device.capabilities))
                continue
        except KernelBuildError as alone:
            fault = alone
        found = [step for step in launches_on(plan, name) if step.kernel == kernel]
        if not found:
            break
        step = found[0]
        return KernelBuildError(f"{fault}\n  it is the kernel {step.label} of {step.origin}")
    return fault


def _variants(plan: Plan, device: str) -> dict[str, set[Variant]]:
    found: dict[str, set[Variant]] = {}
    for step in launches_on(plan, device):
        small = max(step.global_size, default=0) < _SMALL_GRID
        found.setdefault(step.kernel, set()).add((step.local_size, small))
    return found


def launches_on(plan: Plan, device: str) -> Iterator[LaunchStep]:
    """The launches of a plan on one device."""
    return (s for s in plan.launches if s.device == device)


def launches_of(plan: Plan, device: str, kernels: Collection[str]) -> tuple[dict[int, int], list[Any]]:
    """What other processes compile ahead: see `CompileAhead.compile`.

    The sizes of a device's buffers, and its launches of these kernels with buffers by their number.
    """
    launches = []
    for step in launches_on(plan, device):
        if step.kernel not in kernels:
            continue
        args: list[tuple[str, Any]] = []
        for kind, value in step.args:
            if kind == "buffer":
                args += [("buffer", value.buffer), ("uint64", value.offset)]
            else:
                scalar: Any = SCALAR_TYPES[kind](value)
                args.append((scalar.dtype.name, scalar.item()))
        launches.append((step.kernel, args, step.global_size, step.local_size))
    sizes = {n: info.size_bytes for n, info in enumerate(plan.buffers) if info.device == device}
    return sizes, launches
