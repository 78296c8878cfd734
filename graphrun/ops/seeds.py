"""Seeds of graphs and of random operations, and the key of each operation's stream."""

from __future__ import annotations

import operator
import os
from typing import Any

from graphrun.errors import DTypeError, message
from graphrun.graph.default import get_default_graph
from graphrun.graph.site import user_site

# Stands for the graph's seed where only the operation has one (TensorFlow's number).
DEFAULT_GRAPH_SEED = 87654321
_MASK = (1 << 64) - 1


def set_random_seed(seed: int | None) -> None:
    """Set the seed of the default graph.

    Operations made after this draw the same numbers in each session and on each device; each its own,
    by their own seed or by their place in the graph.  None takes the seed away again.
    """
    get_default_graph().seed = None if seed is None else _as_int(seed)


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """Return (graph seed, operation seed) for the next operation; (None, None) where neither is set.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     print(gr.get_seed(None), gr.get_seed(7))
    ...     gr.set_random_seed(1)
    ...     print(gr.get_seed(None), gr.get_seed(7))
    (None, None) (87654321, 7)
    (1, 0) (1, 7)
    """
    graph = get_default_graph()
    if op_seed is not None:
        op_seed = _as_int(op_seed)
    if graph.seed is None:
        return (None, None) if op_seed is None else (DEFAULT_GRAPH_SEED, op_seed)
    # The number of operations so far: another operation, another stream; the same program, the same one.
    return graph.seed, len(graph._ops) if op_seed is None else op_seed


def stream_key(op_seed: int | None) -> tuple[int, int]:
    """Return the Philox key, two 32-bit words, of an operation about to be made in the default graph."""
    graph_seed, op_seed = get_seed(op_seed)
    if graph_seed is None or op_seed is None:
        bits = int.from_bytes(os.urandom(8), "little")
    else:
        bits = _mix(_mix(graph_seed & _MASK) ^ (op_seed & _MASK))
    return bits & 0xFFFFFFFF, bits >> 32


def _mix(x: int) -> int:
    """One step of splitmix64 (Steele, Lea and Flood 2014), so that near seeds give unrelated keys."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _as_int(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise DTypeError(
            message(
                f"seed={seed!r} of type {type(seed).__name__}", site=user_site(), expected="an int or None"
            )
        ) from None
