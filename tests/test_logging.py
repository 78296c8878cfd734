"""`gr.logging`, the switches between versions, and what tests ask of the machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import graphrun as gr

L = gr.logging


@pytest.fixture(autouse=True)
def _same_level_afterwards() -> Iterator[None]:
    logger = logging.getLogger("graphrun")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has set up no logging of its own; pytest does so for each test."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_levels(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _alone(monkeypatch)
    assert L.get_verbosity() == L.WARN
    L.info("left out")
    L.warn("one %d", 1)
    L.set_verbosity(L.DEBUG)
    L.debug("two")
    L.info("three %s %s", "a", "b")
    L.warning("four")
    L.error("five")
    L.fatal("six")
    L.log(L.INFO, "seven")
    L.vlog(L.INFO, "eight")
    L.TaskLevelStatusMessage("nine")
    L.set_verbosity("ERROR")
    L.warn("left out")
    L.flush()
    assert capsys.readouterr().err.splitlines() == [
        "WARNING:graphrun:one 1", "DEBUG:graphrun:two", "INFO:graphrun:three a b", "WARNING:graphrun:four",
        "ERROR:graphrun:five", "CRITICAL:graphrun:six", "INFO:graphrun:seven", "INFO:graphrun:eight",
        "ERROR:graphrun:nine",
    ]  # fmt: skip


def test_counts_belong_to_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _alone(monkeypatch)
    L.set_verbosity(L.INFO)
    for i in range(5):
        L.log_every_n(L.INFO, "every %d", 2, i)
        L.log_first_n(L.INFO, "first %d", 2, i)
        L.log_if(L.INFO, "if %d", i == 3, i)
    texts = [line.rpartition(":")[2] for line in capsys.readouterr().err.splitlines()]
    assert texts == ["every 0", "first 0", "first 1", "every 2", "if 3", "every 4"]


def test_handlers_of_the_program_get_it_alone(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "graphrun"):
        L.info("hello")
    assert [(r.message, r.filename) for r in caplog.records] == [("hello", "test_logging.py")]
    assert "hello" not in capsys.readouterr().err


def test_switches() -> None:
    gr.disable_v2_behavior()
    gr.disable_eager_execution()
    assert gr.executing_eagerly() is False


def test_a_gpu_is_told_from_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    class Report:
        working, type = True, "cpu"

    reports: list[Any] = [Report()]
    monkeypatch.setattr("graphrun.test.reports", lambda: reports)
    assert not gr.test.is_gpu_available() and gr.test.gpu_device_name() == ""
    reports[0].type = "gpu"
    assert gr.test.is_gpu_available() and gr.test.gpu_device_name() == "/device:GPU:0"
    assert not gr.test.is_gpu_available(cuda_only=True) and not gr.test.is_built_with_cuda()


def test_op_scope() -> None:
    x = gr.constant(1.0)
    with gr.op_scope([x], None, "default") as scope:
        assert scope == "default/" and gr.constant(1.0).name == "default/Const:0"
    with gr.op_scope([x], "mine", "default") as scope:
        assert scope == "mine/"
