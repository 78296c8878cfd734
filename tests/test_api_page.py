"""docs/api.md is what docs/make_api.py makes of the package as it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def make_api() -> Any:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(make_api: Any) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == make_api.render(), "run python docs/make_api.py"


def test_what_the_page_says_of_some_names(make_api: Any) -> None:
    from graphrun.ops.inverses import matrix_inverse
    from graphrun.ops.math import add

    assert make_api.runs_on(add) == "OpenCL"
    assert make_api.runs_on(matrix_inverse) == "host: `matrix_inverse`"
    assert make_api.differences(lambda a, c: None, "a b c") == "missing: `b`"
    assert make_api.differences(lambda b, a: None, "a b") == "`a` is not argument 1"
    assert make_api.differences(lambda a, **more: None, "a b") == ""
    assert make_api.resolve("nn.relu") is not None and make_api.resolve("nn.no_such") is None
