"""Training on the digits, as `graphrun bench` does it."""

from __future__ import annotations

import numpy as np
import pytest

from graphrun import cli
from graphrun.cli import bench, digits
from graphrun.cli.digits import Training, load_digits

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def images():
    return load_digits("the test")


def test_split(images):
    assert images.train_x.shape == (1438, 64) and images.test_x.shape == (359, 64)
    assert images.train_x.dtype == np.float32 and images.train_y.dtype == np.int32
    assert 0 <= images.train_x.min() and images.train_x.max() == 1
    assert set(images.test_y) == set(range(10))


def test_a_device_learns(device, images):
    training = Training(images, device)
    for _ in range(digits.EPOCHS):
        training.epoch()
    assert training.test_accuracy() >= digits.REQUIRED_ACCURACY
    assert len(training.losses) == digits.EPOCHS * images.steps_per_epoch == training.timing().repeats + 1
    training.close()


@pytest.mark.opencl
def test_devices_have_the_same_loss_curve(images):
    first, second = Training(images, "cpu:0"), Training(images, "opencl:0")
    for _ in range(3):
        first.epoch()
        second.epoch()
    np.testing.assert_allclose(second.losses, first.losses, rtol=1e-4)


def test_too_little_accuracy_fails(monkeypatch, capsys):
    monkeypatch.setattr(bench, "EPOCHS", 1)
    monkeypatch.setattr(bench, "measure_peak", lambda device: None)
    assert cli.main(["bench", "train", "--devices", "cpu"]) == 1
    captured = capsys.readouterr()
    assert "below the 97% it must reach" in captured.out
    assert "graphrun bench: train on cpu:0: test accuracy" in captured.err
