"""Session options with TensorFlow 1's names, so that programs that pass them work.

Options that have no meaning here are accepted and kept; each class says which ones count.
"""

from __future__ import annotations

from typing import Any

from graphrun.device_names import parse_device
from graphrun.errors import DeviceError, GraphError, message
from graphrun.graph.graph import Graph


class _Options:
    """Attributes by keyword, nested options made when they are first touched."""

    _fields: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            try:
                setattr(self, name, value)
            except AttributeError as fault:
                raise ValueError(str(fault)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise self._unknown(name)
        super().__setattr__(name, value)

    def _unknown(self, name: str) -> AttributeError:
        known = ", ".join(sorted(self._fields))
        return AttributeError(f"{type(self).__name__} has no option {name!r}; it has {known}")

    def __getattr__(self, name: str) -> Any:
        try:
            default = type(self)._fields[name]
        except KeyError:
            raise self._unknown(name) from None
        value = default() if callable(default) else default
        setattr(self, name, value)
        return value

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({given})"


class GPUOptions(_Options):
    """Accepted; OpenCL drivers manage memory themselves."""

    _fields = {
        "per_process_gpu_memory_fraction": 0.0, "allow_growth": False, "visible_device_list": "",
        "allocator_type": "", "force_gpu_compatible": False,
    }  # fmt: skip


class OptimizerOptions(_Options):
    """Accepted; graphrun's passes always run."""

    L0, L1 = -1, 0
    OFF, ON_1, ON_2 = -1, 1, 2
    _fields = {"opt_level": 0, "global_jit_level": 0, "do_common_subexpression_elimination": True,
               "do_constant_folding": True, "do_function_inlining": True}  # fmt: skip


class GraphOptions(_Options):
    """Accepted."""

    _fields = {"optimizer_options": OptimizerOptions, "rewrite_options": None, "infer_shapes": True,
               "enable_recv_scheduling": False, "build_cost_model": 0}  # fmt: skip


class ConfigProto(_Options):
    """Options of a session.

    `allow_soft_placement` runs operations for a device that does not exist on NumPy, instead of raising;
    `log_device_placement` prints where each operation of a new plan runs.  The others are accepted.
    """

    _fields = {
        "allow_soft_placement": False, "log_device_placement": False, "gpu_options": GPUOptions,
        "graph_options": GraphOptions, "intra_op_parallelism_threads": 0, "inter_op_parallelism_threads": 0,
        "device_count": dict, "use_per_session_threads": False, "operation_timeout_in_ms": 0,
        "device_filters": list, "isolate_session_state": False,
    }  # fmt: skip


def session_graph(target: Any, graph: Any) -> Graph | None:
    """The graph among a session's first two arguments; raises for an address of a server."""
    if isinstance(target, Graph):
        if graph is not None:
            raise GraphError(
                message(
                    f"gr.Session of a graph and {graph!r}", expected="one graph",
                    fix="name what follows it: gr.Session(graph, device=...)",
                )
            )  # fmt: skip
        return target
    if target is not None and not isinstance(target, str):
        raise GraphError(message(f"gr.Session of {target!r}", expected="a gr.Graph, as graph=..."))
    if target and target != "local":
        try:
            parse_device(target)
        except DeviceError:
            pass
        else:
            raise GraphError(
                message(f"gr.Session of target {target!r}, which is a device",
                        fix=f"name it: gr.Session(device={target!r})")
            )  # fmt: skip
        raise GraphError(
            message(
                f"gr.Session of target {target!r}: graphrun runs in this process, and knows no servers",
                expected="no target, or ''", fix="gr.Session(graph=...), with device='opencl:0' for a device",
            )
        )  # fmt: skip
    if graph is not None and not isinstance(graph, Graph):
        raise GraphError(message(f"gr.Session of {graph!r}", expected="a gr.Graph, as graph=..."))
    return graph
