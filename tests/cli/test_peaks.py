"""Measuring what a device can do."""

from __future__ import annotations

from graphrun.cli import peaks


def test_peak_is_plausible_and_the_kernels_are_right(device, monkeypatch):
    # measure_peak itself checks what the kernels wrote; the amounts are cut to what a test may take.
    monkeypatch.setattr(peaks, "_NUMPY_MATMUL_N", 256)
    monkeypatch.setattr(peaks, "_COPY_BYTES", 1 << 20)
    monkeypatch.setattr(peaks, "_LAUNCH_S", 0.001)
    monkeypatch.setattr(peaks, "_REPEATS", 2)
    peak = peaks.measure_peak(device)
    assert 0.01 < peak.gflop_per_s < 1e6
    assert 0.01 < peak.gb_per_s < 1e5
    assert peak.compute_by == ("NumPy's matmul" if device == "cpu:0" else "multiply-add kernel")
