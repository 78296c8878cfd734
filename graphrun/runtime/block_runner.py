"""Runs a `BlockGroup` on the host: block by block, and on all cores where there is enough to do."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from graphrun.compiler.blocks import BlockGroup

# Elements of a block: a few of its values fit into the second-level cache side by side.
BLOCK_ELEMENTS = 16384
# Elements times operations below which another thread costs more than it gains.
MIN_THREADED = 1 << 20


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """Threads, made when they are first wanted; a fork makes its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def get(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(max(1, _cores() - 1), "graphrun-blocks")
                self._process = os.getpid()
            return self._pool


_pool = _Pool()
if hasattr(os, "register_at_fork"):  # the lock may be held by a thread that the child does not have
    os.register_at_fork(after_in_child=_pool.__init__)  # type: ignore[misc]


class BlockRunner:
    """The function of a step: arrays in, one array for each result out.

    Parameters
    ----------
    group : BlockGroup
    threads : int, optional
        How many threads work, the caller's among them; as many as there are cores by default.
    """

    def __init__(self, group: BlockGroup, threads: int | None = None) -> None:
        self._group = group
        self._threads = _cores() if threads is None else threads
        self._body, self._scratch = _compiled(group)

    def __call__(self, *inputs: Any) -> Any:
        group = self._group
        arrays = [np.asarray(a) for a in inputs]
        outs = [np.empty(group.shape, group.calls[r].spec.dtype.numpy) for r in group.results]
        sources, targets, row = _laid_out(group.shape, arrays, outs)
        rows = targets[0].shape[0]
        step = max(1, BLOCK_ELEMENTS // row)
        count = -(-rows // step)
        workers = min(self._threads, count)
        if row * rows * len(group.calls) < MIN_THREADED:
            workers = 1
        share = -(-count // workers) * step
        parts = [(b, min(b + share, rows)) for b in range(0, rows, share)]

        def work(begin: int, end: int) -> None:
            scratch = [np.empty((step, *targets[0].shape[1:]), dtype) for dtype in self._scratch]
            with np.errstate(all="ignore"):
                for i in range(begin, end, step):
                    j = min(i + step, end)
                    self._body(
                        [s if s.ndim == 0 else s[i:j] for s in sources], [t[i:j] for t in targets],
                        [s[: j - i] for s in scratch],
                    )  # fmt: skip

        others = [_pool.get().submit(work, *part) for part in parts[1:]]
        try:
            work(*parts[0])
        finally:
            for other in others:
                other.exception()  # nobody may write the results any more, whatever happened here
        for other in others:
            other.result()
        return tuple(outs) if len(outs) > 1 else outs[0]


def _laid_out(
    shape: tuple[int, ...], arrays: Sequence[np.ndarray], outs: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Inputs and outputs as rows of blocks: flat where all lie in order, else along the outermost axis."""
    whole = [a.shape == shape for a in arrays]
    flat = all(a.size == 1 or (w and a.flags.c_contiguous) for a, w in zip(arrays, whole, strict=True))
    if flat:
        return (
            [a.reshape(()) if a.size == 1 else a.reshape(-1) for a in arrays],
            [o.reshape(-1) for o in outs],
            1,
        )
    lead = next(k for k, d in enumerate(shape) if d > 1)
    cut = shape[lead:]
    sources = []
    for a in arrays:
        if a.size == 1:
            sources.append(a.reshape(()))
        else:
            sources.append(np.broadcast_to(a, shape).reshape(cut) if lead else np.broadcast_to(a, shape))
    return sources, [o.reshape(cut) for o in outs], math.prod(cut[1:])


def _compiled(group: BlockGroup) -> tuple[Callable[..., None], list[Any]]:
    """A function of a block's inputs, outputs and scratch, and the dtypes of the scratch arrays."""
    last: dict[int, int] = {}
    for n, call in enumerate(group.calls):
        for kind, what in call.operands:
            if kind == "t":
                last[what] = n
    names: dict[str, Any] = {}
    scratch: list[Any] = []
    free: dict[Any, list[int]] = {}
    place: dict[int, str] = {r: f"o[{k}]" for k, r in enumerate(group.results)}
    held: dict[int, int] = {}
    lines = []
    for n, call in enumerate(group.calls):
        args = []
        for k, (kind, what) in enumerate(call.operands):
            if kind == "lit":
                names[f"c{n}_{k}"] = what
                args.append(f"c{n}_{k}")
            else:
                args.append(f"x[{what}]" if kind == "in" else place[what])
        names[f"f{n}"] = call.function
        dtype = call.spec.dtype.numpy
        direct = isinstance(call.function, np.ufunc) and not call.attrs
        if direct and n not in place:
            slots = free.setdefault(dtype, [])
            slot = slots.pop() if slots else len(scratch)
            if slot == len(scratch):
                scratch.append(dtype)
            held[n] = slot
            place[n] = f"s[{slot}]"
        if direct:
            lines.append(f"f{n}({', '.join(args)}, out={place[n]})")
        else:
            args += [f"**a{n}"] if call.attrs else []
            names[f"a{n}"] = dict(call.attrs)
            made = f"f{n}({', '.join(args)})"
            if n in place:
                lines.append(f"{place[n]}[...] = {made}")
            else:
                place[n] = f"v{n}"
                lines.append(f"v{n} = {made}")
        # What was read for the last time makes room, but not for the result of the same call.
        for _, what in {o for o in call.operands if o[0] == "t"}:
            if last[what] == n and what in held:
                free.setdefault(scratch[held[what]], []).append(held.pop(what))
    source = "\n".join(["def body(x, o, s):", *(f"    {line}" for line in lines)])
    exec(compile(source, "<graphrun blocks>", "exec"), names)
    body: Callable[..., None] = names.pop("body")
    return body, scratch
