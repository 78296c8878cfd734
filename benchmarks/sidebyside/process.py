"""Measuring in a process of its own, with caches of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidebyside.choose import PEERS
from sidebyside.models import steps
from sidebyside.numpy_system import NumpySystem
from sidebyside.system import System
from sidebyside.work import Step


class ChildError(Exception):
    """The other process failed; the message is the end of what it said."""


def cache_environment(folder: Path) -> dict[str, str]:
    """Return environment variables that move the caches of graphrun, pyopencl and drivers to a folder."""
    names = {
        "GRAPHRUN_CACHE_DIR": "graphrun", "XDG_CACHE_HOME": "xdg", "POCL_CACHE_DIR": "pocl",
        "CUDA_CACHE_PATH": "cuda", "cl_cache_dir": "intel",
    }  # fmt: skip
    for name in names.values():
        (folder / name).mkdir(exist_ok=True)
    return {variable: str(folder / name) for variable, name in names.items()}


def in_new_process(module: str, arguments: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a module as a program; return the JSON object that is its last line.

    Raises
    ------
    ChildError
        If it fails.
    """
    # What this process can import, that one can.
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=os.environ | environment | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = " | ".join(done.stderr.strip().splitlines()[-3:]) or f"exit status {done.returncode}"
        raise ChildError(said)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def find_step(name: str, quick: bool) -> Step:
    """Return a step by the beginning of its name, with inputs that are made already."""
    step = next(s for s in steps(quick) if s.name.startswith(name))
    arrays = step.inputs()
    return replace(step, inputs=lambda: {k: a.copy() for k, a in arrays.items()})


def opener(key: str) -> Callable[[], System]:
    """Return what imports a library, or opens one of graphrun's devices, and makes the system of it."""
    if key in PEERS:
        return lambda: PEERS[key](False)
    if key == "numpy":
        return NumpySystem
    from sidebyside.graphs import graphrun_system

    def open_graphrun() -> System:
        from graphrun.device_names import runs_kernels
        from graphrun.runtime.devices import get_device

        if runs_kernels(key):
            get_device(key)
        return graphrun_system(None if key == "default" else key)

    return open_graphrun


def installed(key: str) -> bool:
    """Whether the library of a system can be imported; without importing it."""
    from importlib.util import find_spec

    library = {"tf1": "tensorflow", "xla": "tensorflow", "jax": "jax", "torch": "torch"}.get(key)
    return library is None or find_spec(library) is not None
