"""Which works and which systems: the command line of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graphrun.cli.peaks import Peak, measure_peak
from graphrun.cli.usage import UsageError
from graphrun.device_names import NUMPY, parse_device
from graphrun.errors import DeviceError
from graphrun.runtime.devices import capabilities, list_devices
from sidebyside.graphs import graphrun_system
from sidebyside.jax_system import JaxSystem
from sidebyside.kernels import kernels
from sidebyside.models import steps
from sidebyside.numpy_system import NumpySystem
from sidebyside.system import System, Unavailable
from sidebyside.tensorflow_systems import XlaSystem, graph_system
from sidebyside.torch_system import TorchSystem
from sidebyside.work import Kernel, Work

PEERS: dict[str, Callable[[bool], System]] = {
    "tf1": graph_system,
    "xla": XlaSystem,
    "jax": JaxSystem,
    "torch": TorchSystem,
}

PEAK_TRIES = 3


def all_works(quick: bool) -> list[Work]:
    return [*kernels(quick), *steps(quick)]


def choose_works(only: str | None, quick: bool) -> list[Work]:
    """Return the works whose names begin with one of the words of ``gemm,cnn``; kernels, steps are words too.

    Raises
    ------
    UsageError
        If a word fits none.
    """
    works = all_works(quick)
    if only is None:
        return works
    chosen: list[Work] = []
    for word in (w.strip() for w in only.split(",")):
        if word in ("kernels", "steps"):
            fits = [w for w in works if isinstance(w, Kernel) == (word == "kernels")]
        else:
            fits = [w for w in works if word and w.name.startswith(word)]
        if not fits:
            names = ", ".join(w.name for w in works)
            raise UsageError(f"--only: nothing begins with {word!r}; there are kernels, steps, {names}")
        chosen += fits
    return [w for w in works if w in chosen]


@dataclass
class Chosen:
    """Who takes part.

    Attributes
    ----------
    systems : list of System
        graphrun's devices first.
    peaks : dict
        What each of graphrun's devices reaches at best; the one that limits are taken from is the last.
    missing : list of str
        A line for each peer that cannot take part.
    """

    systems: list[System]
    peaks: dict[str, Peak]
    missing: list[str]


def choose_systems(names: str | None, peers_on: str | None = None) -> Chosen:
    """Return the systems that can take part.

    Parameters
    ----------
    names : str or None
        As ``opencl:0,torch``; all for None.
    peers_on : {"cpu", "gpu"} or None
        Where peers compute; by default where graphrun's first OpenCL device is.

    Raises
    ------
    UsageError
        If graphrun has no such device, or nobody knows the name.
    """
    devices = list_devices()
    own: list[str] = [*devices, "default"]
    others = [*PEERS, "numpy"]
    wanted = [*own, *others]
    if names is not None:
        wanted = [_canonical(name.strip(), wanted) for name in names.split(",")]
    used = [d for d in devices if d in wanted]
    # Before any peer is imported, and that is more than taste: TensorFlow brings an LLVM of its own, and a
    # driver that builds its first kernel afterwards calls into that one instead of its own, and fails.
    needed = used if "default" not in wanted else devices
    peaks = {d: _peak(d) for d in sorted(needed, key=lambda d: d == NUMPY)}
    kernel_devices = [d for d in used if d != NUMPY]
    if peers_on is None:
        on_gpu = kernel_devices and capabilities(kernel_devices[0]).kind == "gpu"
        peers_on = "gpu" if on_gpu else "cpu"
    chosen = Chosen([], {d: peaks[d] for d in sorted(used, key=lambda d: d != NUMPY)}, [])
    for name in dict.fromkeys(sorted(wanted, key=[*own, *others].index)):
        if name in own:
            chosen.systems.append(graphrun_system(None if name == "default" else name))
        elif name == "numpy":
            chosen.systems.append(NumpySystem())
        else:
            try:
                chosen.systems.append(PEERS[name](peers_on == "gpu"))
            except Unavailable as reason:
                chosen.missing.append(f"{name} takes no part: {reason}")
    return chosen


def _peak(device: str) -> Peak:
    """Return the best arithmetic of several measurements, and their median copy, which caches can flatter."""
    found = [measure_peak(device) for _ in range(PEAK_TRIES)]
    compute = max(found, key=lambda p: p.gflop_per_s)
    copy = sorted(found, key=lambda p: p.gb_per_s)[PEAK_TRIES // 2]
    return replace(compute, gb_per_s=copy.gb_per_s, copy_by=copy.copy_by)


def _canonical(name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    try:
        device = parse_device(name)
    except DeviceError:
        device = ""
    if device not in known:
        raise UsageError(f"--systems: {name!r} is none of {', '.join(known)}")
    return device
