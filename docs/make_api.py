"""Writes docs/api.md: which names of TensorFlow 1 are there, where they run, which arguments differ.

    python docs/make_api.py

What counts is in ``tests/peers/tf1_symbols.csv``: the names that public programs use most (tier 1) and
often (tier 2), each with its arguments in their order.  The rest is read off the package.
"""

from __future__ import annotations

import csv
import dis
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import graphrun as gr  # noqa: E402
from graphrun.absent import advice_for  # noqa: E402
from graphrun.graph.opdef import OpDef, registered_ops  # noqa: E402

SYMBOLS = ROOT / "tests" / "peers" / "tf1_symbols.csv"
PAGE = ROOT / "docs" / "api.md"
# How far a function is followed through the functions that it calls.
_DEPTH = 4
# Made while the graph is built, or for shapes; they say nothing of where the work is done.
_ASIDE = {"const", "shape", "size", "rank", "identity", "stop_gradient", "range", "cast", "placeholder"}

HEAD = """# Names of TensorFlow 1

Which of TensorFlow 1's names graphrun has: those that public programs use most (tier 1), and those that they
use often (tier 2). `tf.` stands for `gr.` where a program says `import graphrun as tf`.

*Runs on*: OpenCL where every operation behind the name has a kernel there; else the operations that the host
computes in its place are named. NumPy runs all. A dash: nothing is computed, or it is a class.
*Arguments*: those of TensorFlow 1 that are missing, and those at another position; for a name that is not
there, what to do instead. Names of other packages
(`tf.contrib`) are not counted here.

This page is made by `python docs/make_api.py`.
"""


def resolve(symbol: str) -> Any:
    """What the name means in graphrun; None where it is not there."""
    found: Any = gr
    for part in symbol.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def operations(function: Any, depth: int = _DEPTH, seen: set[int] | None = None) -> Iterator[OpDef]:
    """The records that a function of ``graphrun.ops`` applies, itself or through others."""
    seen = set() if seen is None else seen
    code = getattr(function, "__code__", None)
    if code is None or id(code) in seen or not function.__module__.startswith("graphrun.ops"):
        return
    seen.add(id(code))
    registered = registered_ops()
    reached: list[Any] = [c.cell_contents for c in function.__closure__ or () if _filled(c)]
    codes = [code]
    while codes:
        inner = codes.pop()
        codes += [c for c in inner.co_consts if isinstance(c, types.CodeType)]
        reached += [function.__globals__.get(name) for name in inner.co_names]
        # Imports within functions.
        module = ""
        for step in dis.get_instructions(inner):
            if step.opname == "IMPORT_NAME":
                module = str(step.argval)
            elif step.opname == "IMPORT_FROM":
                reached.append(getattr(sys.modules.get(module), str(step.argval), None))
        if "apply" in inner.co_names:  # by name
            reached += [registered.get(c) for c in inner.co_consts if isinstance(c, str)]
    for item in reached:
        if isinstance(item, OpDef):
            yield registered[item.pure] if item.pure else registered[item.writes] if item.writes else item
        elif isinstance(item, types.FunctionType) and depth:
            yield from operations(item, depth - 1, seen)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def runs_on(thing: Any) -> str:
    """Where the work behind a name is done."""
    found = {op.name: op for op in operations(thing) if op.name not in _ASIDE and op.numpy is not None}
    if not found:
        return "-"
    host = sorted(name for name, op in found.items() if op.opencl is None and op.expand is None)
    if not host:
        return "OpenCL"
    names = ", ".join(f"`{n}`" for n in host)
    return f"host: {names}" if len(host) == len(found) else f"OpenCL, host for {names}"


def differences(thing: Any, wanted: str) -> str:
    """The arguments that TensorFlow 1 has and this has not, and the first that stands elsewhere."""
    names = [n for n in wanted.split() if not n.startswith("*")]
    if not callable(thing) or not names:
        return ""
    try:
        parameters = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return ""
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        missing = []
    else:
        missing = [n for n in names if n not in parameters]
    text = "missing: " + ", ".join(f"`{n}`" for n in missing) if missing else ""
    for place, (ours, theirs) in enumerate(zip(parameters, names, strict=False)):
        if ours != theirs and theirs not in missing and theirs in parameters:
            text += ("; " if text else "") + f"`{theirs}` is not argument {place + 1}"
            break
    return text


def render() -> str:
    """The text of the page."""
    lines = [HEAD]
    with SYMBOLS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for tier in ("1", "2"):
        own = [r for r in rows if r["tier"] == tier]
        there = [r for r in own if resolve(r["symbol"]) is not None]
        lines += [f"## Tier {tier}", "", f"{len(there)} of {len(own)} are there.", ""]
        lines += ["| name | there | runs on | arguments |", "|---|---|---|---|"]
        for r in sorted(own, key=lambda r: r["symbol"].lower()):
            thing = resolve(r["symbol"])
            if thing is None:
                lines.append(
                    f"| `{r['symbol']}` | no | | {(advice_for(r['symbol']) or '').replace('|', ' or ')} |"
                )
                continue
            where = runs_on(thing) if isinstance(thing, types.FunctionType) else "-"
            lines.append(f"| `{r['symbol']}` | yes | {where} | {differences(thing, r['arguments'])} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} written")
