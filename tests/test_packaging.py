"""What an installed graphrun contains: the kernels, the type marker, every package, the command.

The wheel and the editable install are built from a copy of the sources, so that nothing is left in the
checkout and parallel workers do not meet; they are unpacked and not installed, so no network is needed.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import graphrun
from graphrun.errors import NotFoundError
from graphrun.kernel_files import kernel_folder, kernel_names, kernel_source

ROOT = Path(__file__).resolve().parents[1]
KERNELS = sorted(path.name for path in (ROOT / "kernels").glob("*.cl"))
SOURCES = ("graphrun", "kernels", "setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md")
OLDEST_SETUPTOOLS = 71  # the first ones without need for the package 'wheel'

# Prints what the package finds at run time; runs outside the checkout, in a process of its own.
REPORT = """
import importlib.resources
import graphrun
from graphrun.kernel_files import kernel_folder, kernel_names
package = importlib.resources.files("graphrun.kernels")
print(graphrun.__file__)
print(*sorted(entry.name for entry in package.iterdir() if entry.name.endswith(".cl")))
print(*kernel_names())
print(kernel_folder().resolve())
print(importlib.resources.files("graphrun").joinpath("py.typed").is_file())
"""


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


@pytest.fixture
def source_copy(tmp_path: Path) -> Path:
    """A copy of what a build reads."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, copy / name)
    return copy


@pytest.fixture
def build_tools() -> None:
    """Skips where what a build needs is not installed, because a test downloads nothing."""
    if importlib.util.find_spec("build") is None:
        pytest.skip("the package 'build' is not installed: pip install 'graphrun[test]'")
    found = metadata_version("setuptools")
    if int(found.partition(".")[0]) < OLDEST_SETUPTOOLS:
        pytest.skip(f"setuptools {found} cannot build wheels by itself, {OLDEST_SETUPTOOLS} can")


def metadata_version(distribution: str) -> str:
    """Return the version of an installed distribution, "0" where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "0"


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run `command` and return what it printed; a failure shows both streams."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def unpack(folder: Path) -> Path:
    """Unpack the one wheel in `folder` and return the place."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def metadata(site: Path, file: str = "METADATA") -> str:
    return (site / f"graphrun-{graphrun.__version__}.dist-info" / file).read_text(encoding="utf-8")


@pytest.mark.usefixtures("build_tools")
def test_wheel_is_complete_and_works(source_copy: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), ".",
        cwd=source_copy,
    )  # fmt: skip
    site = unpack(dist)

    assert KERNELS == sorted(path.name for path in (site / "graphrun" / "kernels").glob("*.cl"))
    assert (site / "graphrun" / "py.typed").is_file()
    modules = {path.relative_to(ROOT) for path in (ROOT / "graphrun").rglob("*.py")}
    assert modules == {
        path.relative_to(site)
        for path in (site / "graphrun").rglob("*.py")
        if path.parent != site / "graphrun" / "kernels"
    }
    top_level = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top_level == {"graphrun"}, "the wheel would install more than the package graphrun"
    assert "graphrun = graphrun.cli:main" in metadata(site, "entry_points.txt")
    assert "Requires-Python: >=3.10" in metadata(site)

    printed = run(sys.executable, "-c", REPORT, cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert Path(printed[0]) == site / "graphrun" / "__init__.py"
    assert printed[1].split() == printed[2].split() == KERNELS
    assert Path(printed[3]) == (site / "graphrun" / "kernels").resolve()
    assert printed[4] == "True"


@pytest.mark.usefixtures("build_tools")
@pytest.mark.parametrize("mode", ["lenient", "strict"])
def test_editable_install_finds_the_kernels(source_copy: Path, tmp_path: Path, mode: str) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    build = (
        "import sys; from setuptools import build_meta; "
        f"build_meta.build_editable(sys.argv[1], {{'editable_mode': {mode!r}}})"
    )
    run(sys.executable, "-c", build, str(dist), cwd=source_copy)
    site = unpack(dist)

    # An install of graphrun that this environment may have already, editable or not, would answer instead.
    activate = (
        "import site, sys\n"
        "before = list(sys.path)\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "for name in [n for n in sys.modules if n.startswith('__editable__')]: del sys.modules[name]\n"
        f"sys.path.insert(0, {str(site)!r})\n"
        f"site.addsitedir({str(site)!r})\n"
        "sys.path[:] = [p for p in sys.path if p not in before] + before\n"
        "sys.meta_path.sort(key=lambda finder: 'editable' not in repr(finder).lower())\n"
    )
    printed = run(sys.executable, "-c", activate + REPORT, cwd=tmp_path).splitlines()
    assert source_copy in Path(printed[0]).parents
    assert printed[1].split() == printed[2].split() == KERNELS
    assert printed[4] == "True"


def test_checkout_works_without_an_install(source_copy: Path, tmp_path: Path) -> None:
    code = "from graphrun.kernel_files import *; print(*kernel_names()); print(kernel_folder())"
    printed = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(source_copy)).splitlines()
    assert printed[0].split() == KERNELS
    assert Path(printed[1]) == (source_copy / "kernels").resolve()


def test_every_package_is_listed() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    folders = {path.parent for path in (ROOT / "graphrun").rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders} | {"graphrun.kernels"}
    assert sorted(listed) == sorted(packages), "write each package into [options] packages of setup.cfg"
    without_init = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()]
    assert not without_init, f"these folders have no __init__.py: {without_init}"


def test_kernels_have_one_place() -> None:
    assert not (ROOT / "graphrun" / "kernels").exists(), "kernels belong to the top-level folder kernels/"
    assert not list((ROOT / "graphrun").rglob("*.cl"))


def test_version_is_one_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", graphrun.__version__)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{graphrun.__version__}]" in changelog


def test_optional_libraries_are_extras_only() -> None:
    required = re.findall(r"^(\w+)", setup_cfg()["options"]["install_requires"].strip(), re.MULTILINE)
    assert required == ["numpy", "pyopencl", "networkx"]


def test_kernel_source_is_read_by_name() -> None:
    assert kernel_names() == KERNELS
    for name in KERNELS:
        assert kernel_source(name) == (kernel_folder() / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["nothing.cl", "../setup.cfg", "__init__.py", ""])
def test_unknown_kernel_file_is_an_error(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"no kernel file '.*'\n  expected one of "):
        kernel_source(name)
