"""Counting what a session compiles."""

from __future__ import annotations

import pytest

import graphrun.session as module


def count_compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an entry for each plan that is compiled from now on."""
    compiled: list[int] = []
    real = module.compile_plan
    monkeypatch.setattr(module, "compile_plan", lambda *a, **k: (compiled.append(1), real(*a, **k))[1])
    return compiled
