"""A plan as text: what comes in, the steps, what goes out, and memory.

Registers, ``r3``, are arrays on the host; buffers, ``b3``, are memory of a device.  A step stands as an
assignment: what it writes, what it does, what it reads; behind ``#`` the user's operation and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphrun.compiler.steps import (
    BindStep,
    CopyStep,
    DownloadStep,
    HostStep,
    KeepStep,
    LaunchStep,
    Origin,
    Step,
    UploadStep,
)
from graphrun.shapes import format_shape

_INDENT = "    "


def plan_text(plan: Any) -> str:
    """The text of a `Plan`."""
    return "\n".join(_lines(plan))


def _lines(plan: Any) -> list[str]:
    lines = [*_coming_in(plan)]
    width = max([len("cpu:0"), *(len(getattr(s, "device", "")) for s in plan.steps)])
    for i, step in enumerate(plan.steps):
        lines.append(f"{i:4d}  {getattr(step, 'device', 'cpu:0'):<{width}}  {_step(step)}")
        for title, inner in getattr(step, "inner", ()):
            lines.append(f"{_INDENT}  {title}:")
            lines += [f"{_INDENT}{_INDENT}{line}" for line in _lines(inner)]
    lines += _going_out(plan)
    lines += _totals(plan)
    if plan.asks:
        lines.append(f"then  another plan, which depends on {', '.join(plan.asks)}")
        if not plan.followers:
            lines.append("      (run it once, and plan() shows what followed)")
    for found, follower in plan.followers:
        lines.append(f"then  where {found}:" if found else "then:")
        lines += [f"{_INDENT}{line}" for line in _lines(follower)]
    return lines


# -- what comes in and goes out -------------------------------------------------------------------


def _coming_in(plan: Any) -> list[str]:
    found = [f"r{r} = {plan.labels.get(r, 'fed')}  {_spec(spec)}" for r, spec in plan.feeds]
    for r, array in plan.constants:
        found.append(f"r{r} = constant {_value(array)}")
    found += [f"r{r} = {key.label}  {_spec(plan.state_specs.get(key))}" for r, key in plan.host_states]
    for n, info in enumerate(plan.buffers):
        if info.kind == "state":
            found.append(f"b{n} = {info.state.label}  {_spec(plan.state_specs.get(info.state))}")
        elif info.kind == "constant" and info.array is not None:
            found.append(f"b{n} = constant {_value(info.array)}")
    return _headed("in", found)


def _going_out(plan: Any) -> list[str]:
    found = [f"{plan.labels.get(r, 'value')} = r{r}" for r in plan.fetches if r is not None]
    found += [f"{key.label} <- r{r}" for key, r in plan.host_updates]
    numbers = {(i.state, i.device): n for n, i in enumerate(plan.buffers) if i.kind == "state"}
    found += [f"{key.label} <- b{numbers[key, device]}" for key, device in plan.device_updates]
    return _headed("out", found)


def _headed(head: str, entries: Iterable[str]) -> list[str]:
    return [f"{head if k == 0 else '':<4}  {entry}" for k, entry in enumerate(entries)]


def _totals(plan: Any) -> list[str]:
    devices = {"cpu:0": 0} | {d: plan.peak_bytes(d) for d in _devices(plan)}
    lines = [f"peak  {d}: {plan.peak_bytes(d):,} bytes" for d in devices]
    for device in plan.sources:
        launches = [s for s in plan.launches if s.device == device]
        count = f"{len(launches)} launch{'es' * (len(launches) != 1)}"
        kernels = len({s.kernel for s in launches})
        read, written = sum(s.read_bytes for s in launches), sum(s.written_bytes for s in launches)
        flops = sum(s.flops for s in launches)
        lines.append(
            f"sum   {device}: {count} of {kernels} kernel{'s' * (kernels != 1)}, {read:,} bytes read,"
            f" {written:,} written, {flops:,} operations"
        )
    return lines


def _devices(plan: Any) -> list[str]:
    return sorted({*plan.devices, *(d for _, inner in plan.inner for d in _devices(inner))})


# -- steps ----------------------------------------------------------------------------------------


def _step(step: Step) -> str:
    if isinstance(step, HostStep):
        inputs = [*(f"r{r}" for r in step.inputs), *_attributes(step.attrs)]
        outputs = ", ".join(f"r{r} {_spec(s)}" for r, s in zip(step.outputs, step.specs, strict=True))
        note = f"  (on the host: {step.note})" if step.note else ""
        return f"{outputs} = {step.origin.op}({', '.join(inputs)})  # {_origin(step.origin)}{note}"
    if isinstance(step, UploadStep):
        return f"b{step.place.buffer} = r{step.register}, {step.place.size_bytes:,} bytes up"
    if isinstance(step, DownloadStep):
        return f"r{step.register} = b{step.place.buffer}, {step.place.size_bytes:,} bytes down"
    if isinstance(step, BindStep):
        return f"b{step.place.buffer} = r{step.register}, which is on the device"
    if isinstance(step, KeepStep):
        return f"r{step.register} = b{step.place.buffer}, which stays on the device"
    if isinstance(step, CopyStep):
        return f"b{step.target.buffer} = b{step.source.buffer}, a copy of {step.source.size_bytes:,} bytes"
    return _launch(step)


def _launch(step: LaunchStep) -> str:
    roles = step.roles or ("in",) * len(step.args)
    places: dict[str, list[Any]] = {"in": [], "out": [], "scratch": [], "pack": []}
    for (kind, value), role in zip(step.args, roles, strict=True):
        if kind == "buffer":
            for r in ("in", "out") if role == "inout" else (role,):
                places[r].append(value)
    outs = ", ".join(f"b{p.buffer} {_spec(p.spec)}" for p in places["out"])
    ins = ", ".join(dict.fromkeys(f"b{p.buffer}" for p in places["in"]))
    others = sorted({p.buffer for role in ("scratch", "pack") for p in places[role]})
    using = f" using {', '.join(f'b{n}' for n in others)}" if others else ""
    once = ", once" if step.once is not None else ""
    size = " x ".join(str(n) for n in step.global_size)
    target = outs or ", ".join(f"b{p.buffer}" for p in (*places["pack"], *places["scratch"]))
    moved = f"{step.read_bytes + step.written_bytes:,} bytes"
    what = f"{step.label}({ins}){using if outs else ''} over {size}{once}, {moved}"
    return f"{target} = {what}  # {_origin(step.origin)}"


def _attributes(attrs: Mapping[str, Any]) -> list[str]:
    """Attributes that say something: neither false nor None."""
    return [f"{k}={_short(v)}" for k, v in attrs.items() if v is not None and v is not False]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _origin(origin: Origin) -> str:
    if origin.site is None:
        return f"{origin.op} '{origin.name}'"
    path, line = origin.site
    return f"{origin.op} '{origin.name}' {_near(path)}:{line}"


def _near(path: str) -> str:
    """A path from here, where it is below."""
    try:
        here = os.path.relpath(path)
    except (ValueError, OSError):  # another drive; a folder that is gone
        return path
    return path if here.startswith("..") else here


def _value(array: Any) -> str:
    if array.size == 1:
        return f"{array.reshape(())!s}  {format_shape(array.shape)} {array.dtype}"
    return f"{format_shape(array.shape)} {array.dtype}"


def _spec(spec: Any) -> str:
    return "" if spec is None else f"{format_shape(spec.shape)} {spec.dtype}"


def described(values: Sequence[tuple[str, Any]]) -> str:
    """What was found, in words: names and their values or shapes."""
    return ", ".join(
        f"{name} is {_short(value.tolist())}" if hasattr(value, "tolist") else f"{name} is {value}"
        for name, value in values
    )
