"""The how-to pages, followed word for word in a copy of the repository.

What a page tells its reader to do is recognised by how it says it; the code block that follows is meant::

    Append to `path`:
    Create `path`:
    In `path`, put after `a line of it`:
    Run:                                    (sh or Python)
    It prints:                              (what the program before printed)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("add-an-op.md", "add-a-pass.md", "add-a-kernel.md", "your-own-op.md")

_DIRECTIVES = {
    "append": re.compile(r"Append to `([^`]+)`:$"),
    "create": re.compile(r"Create `([^`]+)`:$"),
    "insert": re.compile(r"In `([^`]+)`, put after `([^`]+)`:$"),
    "run": re.compile(r"\bRun:$"),
    "prints": re.compile(r"It prints:$"),
}


class Step(NamedTuple):
    kind: str
    arguments: tuple[str, ...]
    language: str
    block: str
    line: int


def steps(page: Path) -> list[Step]:
    """The steps of a page; a code block of sh, Python or C that belongs to none is a fault of the page."""
    found: list[Step] = []
    paragraph: list[str] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if not line.startswith("```"):
            # A directive stays in force over the empty line between it and its block.
            paragraph = [*paragraph, line] if line else [" ".join(paragraph), ""][: bool(paragraph)]
            continue
        language, block = line.strip("`"), []
        for _, inner in lines:
            if inner == "```":
                break
            block.append(inner)
        said = " ".join(paragraph).strip()
        paragraph = []
        for kind, pattern in _DIRECTIVES.items():
            if match := pattern.search(said):
                found.append(Step(kind, match.groups(), language, "\n".join(block) + "\n", number))
                break
        else:
            assert language not in ("sh", "python", "c"), (
                f"{page.name}:{number}: what is to be done with this?"
            )
    return found


class Follower:
    """Somebody who does what a page says, in a checkout of their own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.printed = ""

    def follow(self, step: Step) -> None:
        getattr(self, "_" + step.kind)(step)

    def _file(self, step: Step) -> Path:
        return self.checkout / step.arguments[0]

    def _append(self, step: Step) -> None:
        file = self._file(step)
        file.write_text(file.read_text(encoding="utf-8") + step.block, encoding="utf-8")

    def _create(self, step: Step) -> None:
        assert not self._file(step).exists(), f"line {step.line}: {step.arguments[0]} is there already"
        self._file(step).write_text(step.block, encoding="utf-8")

    def _insert(self, step: Step) -> None:
        lines = self._file(step).read_text(encoding="utf-8").splitlines(keepends=True)
        places = [i for i, line in enumerate(lines) if line.strip() == step.arguments[1]]
        assert len(places) == 1, f"line {step.line}: {step.arguments[1]!r} stands {len(places)} times there"
        lines.insert(places[0] + 1, step.block)
        self._file(step).write_text("".join(lines), encoding="utf-8")

    def _run(self, step: Step) -> None:
        command = ["sh", "-ec", step.block] if step.language == "sh" else [sys.executable, "-c", step.block]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment["PYTHONPATH"] = str(self.checkout)
        done = subprocess.run(
            command, cwd=self.checkout, env=environment, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"line {step.line}:\n{done.stdout}"
        self.printed = done.stdout

    def _prints(self, step: Step) -> None:
        assert self.printed == step.block, f"line {step.line}: it prints\n{self.printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_reader_who_does_what_the_page_says_succeeds(page: str, tmp_path: Path) -> None:
    checkout = tmp_path / "graphrun"
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT, checkout, ignore=unwanted)
    follower = Follower(checkout)
    found = steps(checkout / "docs" / page)
    assert {"run"} < {s.kind for s in found}
    for step in found:
        follower.follow(step)
