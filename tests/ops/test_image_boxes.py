"""Random crops around boxes: bounds, what they cover, seeds and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr

BOX = np.array([[[0.25, 0.25, 0.75, 0.75]]], np.float32)


def _crops(count: int, **kwargs: Any) -> np.ndarray:
    drawn = gr.image.sample_distorted_bounding_box([40, 60, 3], BOX, seed=1, **kwargs)
    assert [t.shape.as_list() for t in drawn] == [[3], [3], [1, 1, 4]]
    assert drawn[0].name.endswith("sample_distorted_bounding_box/SampleDistortedBoundingBoxV2:0")
    with gr.Session() as session:
        rows = []
        for _ in range(count):
            begin, size, box = session.run(drawn)
            top, left, bottom, right = np.round(box[0, 0] * [40, 60, 40, 60]).astype(int)
            assert begin.tolist() == [top, left, 0] and size.tolist() == [bottom - top, right - left, -1]
            rows.append((top, left, bottom, right))
    return np.array(rows)


def test_crops_keep_their_bounds() -> None:
    found = _crops(300, min_object_covered=0.5, aspect_ratio_range=[0.8, 1.2], area_range=[0.2, 0.6])
    top, left, bottom, right = found.T
    assert top.min() >= 0 and left.min() >= 0 and bottom.max() <= 40 and right.max() <= 60
    height, width = bottom - top, right - left
    assert (height * width / 2400).min() > 0.19 and (height * width / 2400).max() < 0.61
    assert (width / height).min() > 0.75 and (width / height).max() < 1.25
    rows = np.minimum(bottom, 30) - np.maximum(top, 10)
    columns = np.minimum(right, 45) - np.maximum(left, 15)
    assert (rows * columns / 600).min() >= 0.5
    assert len({tuple(f) for f in found.tolist()}) > 200


def test_means_are_tensorflows() -> None:
    # The means and deviations of 4,000 draws of TensorFlow with these arguments.
    top, left, bottom, right = _crops(1500, min_object_covered=0.5).T
    for values, mean, deviation in (
        (top, 3.92, 3.9), (left, 13.45, 7.92), (bottom - top, 31.36, 5.7), (right - left, 33.07, 7.5),
    ):  # fmt: skip
        assert abs(values.mean() - mean) < 5 * deviation / np.sqrt(1000)
        assert abs(values.std() - deviation) < 0.1 * deviation


def test_what_cannot_be_is_the_whole_image() -> None:
    found = _crops(3, min_object_covered=1.0, area_range=[0.05, 0.1])
    assert found.tolist() == [[0, 0, 40, 60]] * 3


def test_same_seeds_on_devices(device: str) -> None:
    boxes = gr.placeholder(gr.float32, (1, None, 4))
    drawn = gr.image.sample_distorted_bounding_box([40, 60, 3], boxes, seed=3)
    with gr.Session(device=device) as session, gr.Session() as host:
        for _ in range(2):
            a, b = (s.run(drawn, {boxes: BOX}) for s in (session, host))
            assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_without_boxes() -> None:
    none = np.zeros((1, 0, 4), np.float32)
    with gr.Session() as session:
        drawn = gr.image.sample_distorted_bounding_box([40, 60, 3], none)
        with pytest.raises(
            gr.errors.InvalidArgumentError, match="there is no bounding box(.|\n)*use_image_if"
        ):
            session.run(drawn[0])
        allowed = gr.image.sample_distorted_bounding_box(
            [40, 60, 3], none, use_image_if_no_bounding_boxes=True
        )
        assert session.run(allowed[1])[2] == -1


def test_messages() -> None:
    make = gr.image.sample_distorted_bounding_box
    with pytest.raises(gr.errors.ShapeError, match=r"area_range is \(0.5, 2.0\)\n(.|\n)*up to 1"):
        make([40, 60, 3], BOX, area_range=[0.5, 2.0])
    with pytest.raises(gr.errors.ShapeError, match=r"aspect_ratio_range is \(0.0, 1.0\)"):
        make([40, 60, 3], BOX, aspect_ratio_range=[0.0, 1.0])
    with pytest.raises(gr.errors.ShapeError, match=r"bounding_boxes has shape \(1, 4\)"):
        make([40, 60, 3], BOX[0])
    with gr.Session() as session:
        with pytest.raises(gr.errors.InvalidArgumentError, match="a bounding box leaves the image"):
            session.run(make([40, 60, 3], BOX * 2)[0])
