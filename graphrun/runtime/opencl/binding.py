"""pyopencl, imported after the settings that it and the drivers read at their start."""

from __future__ import annotations

from graphrun.runtime.opencl.loader import prepare_environment

prepare_environment()

import pyopencl as cl  # noqa: E402

__all__ = ["cl"]
