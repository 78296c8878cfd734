"""Reading the command line's lists and files."""

from __future__ import annotations

import pytest

from graphrun.cli import usage
from graphrun.cli.usage import UsageError, device_list, output_file, size_list


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
    monkeypatch.setattr(usage, "list_devices", lambda: ["cpu:0", "opencl:0", "opencl:1"])


def test_devices():
    assert device_list(None) == ("cpu:0", "opencl:0", "opencl:1")
    assert device_list("opencl:1, cpu") == ("opencl:1", "cpu:0")
    assert device_list("/gpu:0,opencl:0") == ("opencl:0",)


@pytest.mark.parametrize("name", ["cuda:0", "opencl:7", "null:0"])
def test_device_that_is_not_there(name):
    with pytest.raises(UsageError) as caught:
        device_list(f"cpu,{name}")
    assert str(caught.value) == (
        f"--devices: there is no device '{name}' here, only cpu:0, opencl:0, opencl:1;"
        " `graphrun doctor` says why"
    )


def test_sizes():
    assert size_list("1024, 256,256") == (256, 1024)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("256,big", "--sizes: 'big' is not a whole number; write them as 256,1024"),
        ("2.5", "--sizes: '2.5' is not a whole number"),
        ("0", "--sizes: 0 is not between 1 and 65536"),
        ("-4", "--sizes: -4 is not between"),
        ("100000", "--sizes: 100000 is not between"),
        ("", "--sizes: '' is not a list such as 256,1024"),
        ("1,,2", "--sizes: '1,,2' is not a list"),
    ],
)
def test_sizes_that_are_none(text, complaint):
    with pytest.raises(UsageError) as caught:
        size_list(text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_output_file(tmp_path):
    assert output_file(str(tmp_path / "a.json"), "--json") == tmp_path / "a.json"
    with pytest.raises(UsageError, match="--json: there is no folder '.*nowhere'"):
        output_file(str(tmp_path / "nowhere" / "a.json"), "--json")
    with pytest.raises(UsageError, match="is a folder"):
        output_file(str(tmp_path), "--json")
    with pytest.raises(UsageError, match=r"--plot: '.*' does not end in \.png, \.svg"):
        output_file(str(tmp_path / "a.bmp"), "--plot", (".png", ".svg"))
