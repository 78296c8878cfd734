"""The code of the pages for users runs and prints what it says, and every page names what exists.

The how-to pages change a repository, so they are followed in a copy: see ``test_howto.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import graphrun as gr

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "kernels" / "README.md"])
PAGES = [page for page in PAGES if page.is_file()]
# Their Python blocks follow each other, like the cells of a notebook.
NOTEBOOKS = [page for page in PAGES if page in (ROOT / "docs" / "guide.md", ROOT / "README.md")]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SITE = re.compile(r"[^\s]+\.(?:py|md):\d+")


def named(pages: list[Path]) -> Any:
    return pytest.mark.parametrize("page", pages, ids=[str(p.relative_to(ROOT)) for p in pages])


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


@named(NOTEBOOKS)
def test_code_runs_and_prints_what_the_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in _BLOCK.finditer(text):
        language, code = block.groups()
        line = _line(text, block.start(2))
        if language == "python":
            # Empty lines in front, so that a traceback names the line of the page.
            compiled = compile("\n" * (line - 1) + code, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compiled, namespace)
            printed = out.getvalue()
        elif text[: block.start()].rstrip().endswith("It prints:"):
            assert _SITE.sub("FILE:LINE", printed) == _SITE.sub("FILE:LINE", code), f"{page.name}:{line}"


# What a page names without its existing: things that the reader makes.
_CREATED = re.compile(r"^(?:.*\b)?Create `([^`]+)`:$", re.MULTILINE)
_PATH = re.compile(r"(?<![\w/.*{-])((?:graphrun|tests|docs|kernels|benchmarks|examples|\.ci)/[\w./-]*\w/?)")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
# `gr.x` in a page is a public name; `graphrun.x` may also be a module, or a command as in `graphrun doctor`.
_NAME = re.compile(r"(?<![\w./'])(?:graphrun|gr)((?:\.[A-Za-z_]\w*)+)")


def _existing_pages() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def _is_created(name: str) -> bool:
    return name in _CREATED.findall(_existing_pages())


@named(PAGES)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for match in _PATH.finditer(text):
        if not (ROOT / match[1]).exists() and not _is_created(match[1]):
            missing.append(f"{page.name}:{_line(text, match.start())}: {match[1]}")
    for match in _LINK.finditer(text):
        if not (page.parent / match[1]).exists():
            missing.append(f"{page.name}:{_line(text, match.start())}: link to {match[1]}")
    assert not missing, "\n".join(missing)


def resolves(dotted: str) -> bool:
    """Whether ``.x.y`` is a module, or an attribute at the end of a path of modules and attributes."""
    found: Any = gr
    path = "graphrun"
    for part in dotted.strip(".").split("."):
        path = f"{path}.{part}"
        if hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            found = importlib.import_module(path)
        except ImportError:
            return (ROOT / path.replace(".", "/")).is_dir() or path == "graphrun.kernels"
    return True


def _made_by(page_text: str) -> set[str]:
    """Names that a how-to page adds: public ones, and the modules that it creates."""
    added = set(re.findall(r"^from graphrun\.[\w.]+ import \w+ as (\w+)$", page_text, re.MULTILINE))
    modules = {name[:-3].replace("/", ".") for name in _CREATED.findall(page_text) if name.endswith(".py")}
    return added | {m.removeprefix("graphrun.") for m in modules if m.startswith("graphrun.")}


@named(PAGES)
def test_names_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made = _made_by(text)
    missing = []
    for match in _NAME.finditer(text):
        dotted = match[1].strip(".")
        if not resolves(dotted) and not any(dotted == m or dotted.startswith(f"{m}.") for m in made):
            missing.append(f"{page.name}:{_line(text, match.start())}: {match[0]}")
    assert not missing, "\n".join(missing)


def test_what_does_not_exist_is_noticed() -> None:
    assert resolves("nn.relu") and resolves("graph.opdef.OpDef") and resolves("ops.plans")
    assert not resolves("nn.relu7") and not resolves("graph.surprise")
    assert _PATH.findall("see `graphrun/graph/none.py`, tests/x/ and a/docs/y.md") == [
        "graphrun/graph/none.py",
        "tests/x/",
    ]
    assert _NAME.findall("`gr.nope(x)` and graphrun.compiler.ir, not graphrun/a.py or `program.gr.x`") == [
        ".nope",
        ".compiler.ir",
    ]
