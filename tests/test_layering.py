"""The house plan, enforced: every import under graphrun/ is parsed and compared with the table below.

An import counts wherever it stands: at module level, inside a function, under ``TYPE_CHECKING`` and as
``importlib.import_module("...")`` with a literal name.  A type that is only named is still something
that a room knows of, and a late import is the usual way to hide an arrow that points up.  Where a lower
room needs a higher one at run time (``Tensor.eval`` needs the session), the higher one installs a hook.

Only one rule looks at the place: optional libraries must not be imported at module level, because
``import graphrun`` has to work without them; under ``TYPE_CHECKING`` they may be.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "graphrun"
MAX_LINES = 600

# Module or package (longest match wins) -> room.  A new top-level module needs a row here.
ROOMS = {
    "graphrun": "public names",
    "graphrun._version": "base",
    "graphrun.compat": "base",
    "graphrun.absent": "base",
    "graphrun.absent_names": "base",
    "graphrun.collector": "base",
    "graphrun.device_names": "base",
    "graphrun.dtypes": "base",
    "graphrun.environment": "base",
    "graphrun.errors": "base",
    "graphrun.kernel_files": "base",
    "graphrun.kernels": "base",
    "graphrun.shapes": "base",
    "graphrun.app": "base",
    "graphrun.flag_values": "base",
    "graphrun.flags": "base",
    "graphrun.gfile": "base",
    "graphrun.io": "base",
    "graphrun.logging": "base",
    "graphrun.modes": "base",
    "graphrun.test": "session",
    "graphrun.graph": "graph",
    # The part of graph/ that a device may import: descriptors and operation records, no Graph, no Tensor.
    "graphrun.graph.descriptor": "records",
    "graphrun.graph.opdef": "records",
    "graphrun.ops": "ops",
    "graphrun.custom_gradients": "gradients",
    "graphrun.gradients": "gradients",
    "graphrun.linalg": "gradients",
    "graphrun.image": "gradients",
    "graphrun.math": "gradients",
    "graphrun.random": "gradients",
    "graphrun.signal": "gradients",
    "graphrun.sparse": "gradients",
    "graphrun.strings": "gradients",
    "graphrun.control": "front",
    "graphrun.data": "front",
    "graphrun.debugging": "gradients",
    "graphrun.initializers": "front",
    "graphrun.layers": "front",
    "graphrun.templates": "front",
    "graphrun.variable_scope": "front",
    "graphrun.losses": "front",
    "graphrun.nest": "front",
    "graphrun.nn": "front",
    "graphrun.regularizers": "front",
    "graphrun.rnn": "front",
    "graphrun.metrics": "front",
    "graphrun.summary": "front",
    "graphrun.train": "front",
    "graphrun.compiler": "compiler",
    "graphrun.runtime": "runtime",
    "graphrun.session": "session",
    "graphrun.callables": "callables",
    "graphrun.config": "session",
    "graphrun.moving": "session",
    "graphrun.interactive": "session",
    "graphrun.feeds": "session",
    "graphrun.fetches": "session",
    "graphrun.__main__": "tools",
    "graphrun.bench": "tools",
    "graphrun.cli": "tools",
    "graphrun.testing": "tools",
    "graphrun.tools": "tools",
}

# Room -> the other rooms that it may import.  Every room may import itself.
ARROWS = {
    "base": set(),
    "records": {"base", "graph"},
    "graph": {"base", "records"},
    "ops": {"base", "records", "graph"},
    "gradients": {"base", "records", "graph", "ops"},
    "front": {"base", "records", "graph", "ops", "gradients"},
    "compiler": {"base", "records", "graph"},
    "runtime": {"base", "records", "compiler"},
    "session": {"base", "records", "graph", "compiler", "runtime"},
    # What builds graphs and runs them.
    "callables": {"base", "records", "graph", "ops", "gradients", "front", "compiler", "runtime", "session"},
    "public names": set(ROOMS.values()) - {"tools"},
    "tools": set(ROOMS.values()),
}

# Library -> the only places, as module prefixes, that may import it.
CONFINED = {"pyopencl": "graphrun.runtime.opencl", "networkx": "graphrun.graph.traverse"}
OPTIONAL = {"matplotlib", "sklearn", "tqdm"}


class Import(NamedTuple):
    target: str
    line: int
    at_module_level: bool
    for_typing: bool


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a file, as ``graphrun.graph.traverse``; a package has its own name."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_typing_guard(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


class ImportFinder(ast.NodeVisitor):
    """Collects the imports of one module; ``from x import y`` gives ``x.y`` where that is a module."""

    def __init__(self, module: str, is_package: bool, modules: set[str]) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.modules = modules
        self.found: list[Import] = []
        self._function_depth = 0
        self._typing_depth = 0

    def add(self, target: str, line: int) -> None:
        self.found.append(Import(target, line, self._function_depth == 0, self._typing_depth > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            ancestors = self.package.split(".")
            base = ".".join([*ancestors[: len(ancestors) - node.level + 1], *filter(None, [base])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            self.add(submodule if submodule in self.modules else base, node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        function = ast.unparse(node.func)
        if function in ("importlib.import_module", "import_module", "__import__") and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                self.add(argument.value, node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        guarded = is_typing_guard(node)
        self._typing_depth += guarded
        for child in node.body:
            self.visit(child)
        self._typing_depth -= guarded
        self.visit(node.test)
        for child in node.orelse:
            self.visit(child)

    def _visit_function(self, node: ast.AST) -> None:
        self._function_depth += 1
        self.generic_visit(node)
        self._function_depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function


def room_of(module: str) -> str | None:
    """Return the room of a module of graphrun, or None when no row of the table covers it."""
    if module == "graphrun":
        return ROOMS[module]
    name = module
    while name != "graphrun":
        if name in ROOMS:
            return ROOMS[name]
        name = name.rpartition(".")[0]
    return None


def inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def violations(root: Path) -> Iterator[str]:
    """Yield one line for each import under ``root/graphrun`` that the plan forbids."""
    paths = sorted((root / "graphrun").rglob("*.py"))
    names = {path: module_name(path, root) for path in paths}
    modules = set(names.values())
    for path, module in names.items():
        room = room_of(module)
        if room is None:
            yield f"{module}: in no room; add it to ROOMS in {Path(__file__).name}"
            continue
        finder = ImportFinder(module, path.name == "__init__.py", modules)
        finder.visit(ast.parse(path.read_text(encoding="utf-8")))
        for found in finder.found:
            place = f"{path.relative_to(root)}:{found.line}"
            library = found.target.partition(".")[0]
            if library in CONFINED and not inside(module, CONFINED[library]):
                yield f"{place}: {library} may be imported under {CONFINED[library]} only"
            if library in OPTIONAL and found.at_module_level and not found.for_typing:
                yield f"{place}: {library} is optional: import it in the function that uses it"
            if library == "kernels":
                yield f"{place}: the folder kernels/ is the package graphrun.kernels once installed"
            if library == "graphrun":
                target_room = room_of(found.target)
                if target_room is not None and target_room not in ARROWS[room] | {room}:
                    yield f"{place}: {module} ({room}) imports {found.target} ({target_room})"


def test_imports_follow_the_house_plan() -> None:
    assert "\n".join(violations(ROOT)) == ""


def test_every_room_has_its_arrows() -> None:
    assert set(ARROWS) == set(ROOMS.values())


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("ops/math.py", "import graphrun.runtime.plan", "imports graphrun.runtime.plan (runtime)"),
        ("ops/math.py", "from graphrun import session", "imports graphrun.session (session)"),
        ("ops/math.py", "from graphrun import constant", "imports graphrun (public names)"),
        ("ops/math.py", "def f():\n    from .. import session", "math.py:2: graphrun.ops.math (ops) imports"),
        ("ops/__init__.py", "from ..compiler import fuse", "imports graphrun.compiler (compiler)"),
        ("compiler/fuse.py", "from graphrun.ops.math import exp", "imports graphrun.ops.math (ops)"),
        ("compiler/fuse.py", "from graphrun.runtime import cpu", "imports graphrun.runtime (runtime)"),
        ("runtime/cpu.py", "from graphrun.graph.node import Graph", "imports graphrun.graph.node (graph)"),
        (
            "graph/node.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graphrun.session import Session",
            "node.py:3: graphrun.graph.node (graph) imports graphrun.session (session)",
        ),
        ("graph/node.py", "import importlib\nimportlib.import_module('graphrun.ops')", "(ops)"),
        ("runtime/cpu.py", "import pyopencl.array", "pyopencl may be imported under graphrun.runtime.opencl"),
        ("compiler/fuse.py", "def f():\n    import networkx as nx", "networkx may be imported under"),
        ("train/loop.py", "from tqdm import tqdm", "tqdm is optional"),
        ("train/loop.py", "try:\n    import matplotlib.pyplot\nexcept ImportError:\n    pass", "is optional"),
        ("errors.py", "import graphrun.dtypes, graphrun.graph.node", "errors.py:1: graphrun.errors (base)"),
        ("surprise.py", "", "graphrun.surprise: in no room"),
        ("runtime/cpu.py", "import kernels", "is the package graphrun.kernels"),
        ("session.py", "from graphrun import cli", "imports graphrun.cli (tools)"),
    ],
)
def test_planted_violation_is_found(tmp_path: Path, path: str, source: str, complaint: str) -> None:
    for name in ("session.py", "cli.py", "ops/math.py", "graph/node.py", path):
        file = tmp_path / "graphrun" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (tmp_path / "graphrun" / path).write_text(source)
    assert any(complaint in line for line in violations(tmp_path)), list(violations(tmp_path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ops/math.py", "from graphrun.graph.node import Tensor\nfrom graphrun.errors import ShapeError"),
        ("ops/math.py", "from .array import reshape\nfrom ..graph import node"),
        ("runtime/opencl/device.py", "import pyopencl as cl\nfrom graphrun.graph.descriptor import Launch"),
        ("graph/traverse.py", "import networkx"),
        ("train/loop.py", "def fit():\n    from tqdm import tqdm"),
        (
            "train/loop.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from matplotlib.axes import Axes",
        ),
        ("cli/__init__.py", "import graphrun as gr\nfrom graphrun.session import Session"),
        ("__init__.py", "from graphrun.session import Session\nfrom graphrun.ops.math import exp"),
    ],
)
def test_permitted_import_is_not_reported(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / "graphrun" / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert list(violations(tmp_path)) == []


def test_no_file_is_two_rooms() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    too_long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > MAX_LINES]
    assert not too_long, f"split these; a file has one subject and at most {MAX_LINES} lines: {too_long}"


# Put together here, so that this file does not contain what it looks for.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("npmjs", "org"), ("crates", "io"),
        ("golang", "org"), ("ghcr", "io"), ("docker", "io"), ("rubygems", "org"), ("maven", "org"),
    )
]  # fmt: skip


def forbidden_text(folders: list[Path]) -> re.Pattern[str]:
    """Return a pattern for package registries' hosts and for absolute paths into `folders`."""
    paths = [re.escape(str(folder)) for folder in folders if len(folder.parts) > 1]
    patterns = [re.escape(host) for host in REGISTRY_HOSTS]
    patterns += [rf"(?<![\w.~-]){path}/" for path in paths]
    if len(ROOT.parts) > 2:  # a checkout at /src: too short a name to stand for this one alone
        patterns.append(rf"(?<![\w.~-]){re.escape(str(ROOT))}(?![\w-])")
    return re.compile("|".join(patterns))


def repository_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed: which files belong to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the repository is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_path_of_this_machine() -> None:
    pattern = forbidden_text([ROOT, Path.home()])
    found = []
    for path in repository_files():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not found, found


def test_forbidden_text_is_recognised() -> None:
    pattern = forbidden_text([Path("/home/someone"), Path("/")])
    assert pattern.search("see https://" + REGISTRY_HOSTS[0] + "/project/x")
    assert pattern.search("open('/home/someone/data.npy')")
    assert pattern.search(f"cd {ROOT}") or len(ROOT.parts) <= 2
    assert not pattern.search("/usr/home/someone/x, /etc/OpenCL/vendors, docs/home/someone")
