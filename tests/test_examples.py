"""The examples run, on each device, and do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_layer_net(device, capsys):
    curves = load("two_layer_net").main(["--device", device, "--steps", "20"])
    for losses in curves.values():
        assert len(losses) == 20
        assert losses[-1] < losses[0] / 100
    # The same seeds and the same arithmetic: an optimizer is what stage two writes out.
    np.testing.assert_allclose(curves["an optimizer"], curves["weights in the graph"], rtol=1e-3)
    assert capsys.readouterr().out.count("loss") == 3


def test_train_digits(device, capsys):
    pytest.importorskip("sklearn")
    assert load("train_digits").main(["--device", device]) == 0
    assert "test accuracy 9" in capsys.readouterr().out


def test_read_the_plan(device, capsys):
    load("read_the_plan").main(["--device", device, "--kernels"])
    out = capsys.readouterr().out
    assert "== after prune" in out and "== the plan" in out and "peak  cpu:0" in out
    assert ("__kernel" in out) == (device != "cpu:0")


def test_train_digits_on_a_device_that_is_not_there(capsys):
    pytest.importorskip("sklearn")
    with pytest.raises(SystemExit) as stop:
        load("train_digits").main(["--device", "foo"])
    assert stop.value.code == 2
    assert "error: --device foo: " in capsys.readouterr().err.splitlines()[-1]
