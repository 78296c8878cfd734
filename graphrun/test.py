"""What tests ask of the machine: TensorFlow 1's ``tf.test``."""

from __future__ import annotations

from typing import Any

from graphrun.runtime.opencl import reports


def gpu_device_name() -> str:
    """The name of the first GPU that works, as ``/device:GPU:0``; empty where there is none."""
    return "/device:GPU:0" if is_gpu_available() else ""


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """Whether an OpenCL device that works is a GPU.

    With `cuda_only` it is always false: graphrun does not use CUDA.  `min_cuda_compute_capability` is
    accepted for TensorFlow's sake.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.test.is_gpu_available() in (True, False)
    True
    """
    return not cuda_only and any(r.working and r.type == "gpu" for r in reports())


def is_built_with_cuda() -> bool:
    """False: graphrun runs on OpenCL and NumPy."""
    return False
