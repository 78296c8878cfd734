"""Environment variables that hold something that means nothing."""

from __future__ import annotations

import warnings

import pytest

from graphrun import environment


@pytest.mark.parametrize(
    ("text", "on"), [(None, True), ("", True), ("1", True), ("ON", True), ("0", False), (" Off ", False)]
)
def test_flags(monkeypatch: pytest.MonkeyPatch, text: str | None, on: bool) -> None:
    if text is None:
        monkeypatch.delenv("GRAPHRUN_CACHE", raising=False)
    else:
        monkeypatch.setenv("GRAPHRUN_CACHE", text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert environment.flag("GRAPHRUN_CACHE") is on


def test_a_flag_that_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHRUN_OPENCL", "abc")
    with pytest.warns(RuntimeWarning, match="GRAPHRUN_OPENCL is 'abc'; expected 0 or 1; 1 is used"):
        assert environment.flag("GRAPHRUN_OPENCL")
