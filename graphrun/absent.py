"""What is said where a program uses a name that graphrun does not have.

A program of TensorFlow 1 that meets a gap learns at its own line that the name is known and missing, and
what to do instead; a slip of the pen gets the names that are near.  The tables, in `absent_names`, are read
at the first such line and cost nothing before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NoReturn

from graphrun.errors import message

# Namespaces of TensorFlow 1.  A module of graphrun that is none of them is not public.
NAMESPACES = (
    "app", "audio", "autograph", "bitwise", "compat", "data", "debugging", "distributions", "dtypes",
    "errors", "feature_column", "flags", "gfile", "graph_util", "image", "initializers", "io", "layers",
    "linalg", "logging", "lookup", "losses", "manip", "math", "metrics", "nest", "nn", "nn.rnn_cell",
    "python_io", "queue", "ragged", "random", "saved_model", "sets", "signal", "sparse", "spectral",
    "strings", "summary", "sysconfig", "test", "train",
)  # fmt: skip
PAGE = "docs/api.md says which names of TensorFlow 1 are there"


def advice_for(symbol: str) -> str | None:
    """What to do instead of ``tf.<symbol>``; empty where nothing is known, None for no name of TensorFlow."""
    from graphrun.absent_names import ADVICE, KNOWN, PREFIXES

    if symbol in ADVICE:
        return ADVICE[symbol]
    inside = [p for p in PREFIXES if symbol == p or symbol.startswith(p + ".")]
    if inside:
        return PREFIXES[max(inside, key=len)]
    return "" if symbol in KNOWN else None


def _is_listed(symbol: str) -> bool:
    from graphrun.absent_names import ADVICE, KNOWN

    return symbol in ADVICE or symbol in KNOWN


def explain(package: ModuleType, namespace: str, name: str) -> str:
    """The message for ``tf.<namespace>.<name>``, which the module of that namespace does not have."""
    from graphrun.absent_names import ELSEWHERE

    symbol = f"{namespace}.{name}" if namespace else name
    advice = advice_for(symbol)
    if advice is not None:
        return message(f"graphrun has no tf.{symbol} yet", got=advice, fix=PAGE)
    near = _near(package, namespace, name)
    elsewhere = next((n for n in NAMESPACES if _is_listed(f"{n}.{name}")), "")
    if elsewhere and not near.startswith("gr."):  # as `Saver`, which is `train.Saver`
        return explain(package, elsewhere, name)
    where = f"module 'graphrun.{namespace}'" if namespace else "graphrun"
    if symbol in ELSEWHERE:
        return message(f"{where} has no '{name}'", fix=f"here it is {ELSEWHERE[symbol]}")
    return message(f"{where} has no '{name}'", fix=f"did you mean '{near}'?" if near else PAGE)


def _near(package: ModuleType, namespace: str, name: str) -> str:
    """What may have been meant: the same word elsewhere, in another case, or one nearly spelled so."""
    for other in ("", *NAMESPACES):
        if name in vars(_module(package, other) or ModuleType("")):
            return f"gr.{other}.{name}" if other else f"gr.{name}"
    public = [n for n in vars(_module(package, namespace)) if not n.startswith("_")]
    same = [n for n in public if n.lower() == name.lower()]
    return (same or get_close_matches(name, public, n=1, cutoff=0.75) or [""])[0]


def _module(package: ModuleType, namespace: str) -> ModuleType | None:
    module: Any = package
    for part in namespace.split(".") if namespace else ():
        module = vars(module).get(part)
        if not isinstance(module, ModuleType):
            return None
    return module


def install(package: ModuleType) -> None:
    """Let the public modules of graphrun explain the names that they do not have."""
    for namespace in ("", *NAMESPACES):
        module = _module(package, namespace)
        if module is not None:
            # Set here and not written in each module: so type checkers still know which names there are.
            module.__dict__["__getattr__"] = _getter(package, module, namespace)


def _getter(package: ModuleType, module: ModuleType, namespace: str) -> Callable[[str], NoReturn]:
    def __getattr__(name: str) -> NoReturn:
        if name.startswith("_"):
            # What Python and its tools ask for, many times.
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        text = explain(package, namespace, name)
        frame = sys._getframe(1)
        if _imports(frame.f_code.co_code, frame.f_lasti):
            # Python would say no more than "cannot import name".
            raise ImportError(text, name=module.__name__)
        # An `obj` that is given keeps Python from adding a guess of its own to the message.
        raise AttributeError(text, name=name, obj=None)

    return __getattr__


def _imports(code: bytes, at: int) -> bool:
    """Whether a frame is in ``from module import name``."""
    from opcode import opmap

    return 0 <= at < len(code) and code[at] == opmap["IMPORT_FROM"]
