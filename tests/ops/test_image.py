"""Images: what their functions mean, random forms, sizes from the graph, messages, devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr
from graphrun.errors import ShapeError


@pytest.fixture(autouse=True)
def graph() -> Any:
    g = gr.Graph()
    with g.as_default():
        yield g


def _pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype("float32")


def _run(fetches: Any, feeds: Any = None) -> Any:
    with gr.Session() as session:
        return session.run(fetches, feeds)


@pytest.mark.parametrize("corners", [False, True])
def test_bilinear_by_hand(corners: bool) -> None:
    x = np.array([[0.0, 4.0], [8.0, 12.0]], np.float32).reshape(1, 2, 2, 1)
    y = evaluate(gr.image.resize_bilinear(x, [3, 4], align_corners=corners))[0, :, :, 0]
    rows = [0, 4, 8] if corners else [0, 16 / 3, 8]
    columns = [0, 4 / 3, 8 / 3, 4] if corners else [0, 2, 4, 4]
    np.testing.assert_allclose(y, np.add.outer(rows, columns), rtol=1e-6)


def test_sizes_from_the_graph() -> None:
    x = gr.placeholder(gr.float32, (None, None, None, 3))
    size = gr.placeholder(gr.int32, (2,))
    value = _pixels(2, 5, 6, 3)
    for method in range(4):
        y = gr.image.resize_images(x, size, method, align_corners=method < 3)
        assert y._shape == (None, None, None, 3)
        for wanted in ([7, 4], [1, 1]):
            fixed = gr.image.resize_images(value, wanted, method, align_corners=method < 3)
            assert fixed._shape == (2, *wanted, 3)
            found = _run(y, {x: value, size: np.array(wanted, np.int32)})
            np.testing.assert_allclose(found, evaluate(fixed), rtol=1e-5, atol=1e-5)
    known = gr.image.resize_images(gr.zeros([4, 4, 3]), gr.shape(gr.zeros([9, 8])))
    assert known._shape == (9, 8, 3)


def test_whole_factors_of_the_area_are_means() -> None:
    x = _pixels(1, 6, 8, 2)
    y = evaluate(gr.image.resize_area(x, [3, 2]))
    np.testing.assert_allclose(y, x.reshape(1, 3, 2, 2, 4, 2).mean((2, 4)), rtol=1e-5)


def test_gradients() -> None:
    """Resizing computes in float32, so its gradients are compared with what linearity says."""
    x = gr.placeholder(gr.float32, (1, 4, 5, 2))
    for method in ("bilinear", "nearest_neighbor", "bicubic", "area"):
        y = getattr(gr.image, f"resize_{method}")(x, [7, 3])
        w, v = _pixels(1, 7, 3, 2), _pixels(1, 4, 5, 2, seed=1)
        (dx,) = gr.gradients(y, x, w)
        moved, gradient = _run([y, dx], {x: v})
        np.testing.assert_allclose((moved * w).sum(), (gradient * v).sum(), rtol=1e-5)
    colours = 0.1 + 0.8 * _pixels(2, 2, 3).astype("float64")
    check_gradients(lambda x: gr.image.hsv_to_rgb(gr.image.rgb_to_hsv(_of_rank(x, 3)) * 0.9), [colours])
    grey = gr.constant(np.ones((2, 2, 3), np.float32))
    assert np.isfinite(_run(gr.gradients(gr.image.rgb_to_hsv(grey), grey)[0])).all()
    flat = gr.zeros([4, 4, 1])
    assert not _run(gr.image.per_image_standardization(flat)).any()


def _of_rank(x: Any, rank: int) -> Any:
    y = gr.identity(x)
    y.set_shape([None] * (rank - 1) + [3])
    return y


def test_random_forms_stay_in_their_range_and_follow_their_seed() -> None:
    x = np.full((3, 4, 4, 3), (0.2, 0.5, 0.4), np.float32)
    p = gr.placeholder(gr.float32, (3, 4, 4, 3))
    made = {
        "brightness": gr.image.random_brightness(p, max_delta=0.1, seed=1),
        "contrast": gr.image.random_contrast(p, lower=0.5, upper=1.5, seed=2),
        "hue": gr.image.random_hue(p, max_delta=0.2, seed=3),
        "saturation": gr.image.random_saturation(p, lower=0.5, upper=1.5, seed=4),
    }
    with gr.Session() as session:
        runs = [session.run(made, {p: x}) for _ in range(4)]
    with gr.Session() as session:
        again = [session.run(made, {p: x}) for _ in range(4)]
    assert all((a[k] == b[k]).all() for a, b in zip(runs, again) for k in made)
    moved = np.array([run["brightness"][0, 0, 0] - x[0, 0, 0] for run in runs])
    assert np.abs(moved).max() <= 0.1 and moved.std(0).min() > 0
    assert all(np.allclose(run["contrast"], x, atol=1e-6) for run in runs)  # one colour has no contrast
    assert all(np.allclose(run["hue"].max(-1), 0.5) for run in runs)
    shares = np.array([run["saturation"][0, 0, 0].min() for run in runs])
    assert (shares >= 0.5 - 0.45 - 1e-6).all() and (shares <= 0.35 + 1e-6).all()


def test_random_flips_take_each_image_by_itself() -> None:
    x = np.arange(64 * 4, dtype=np.float32).reshape(64, 1, 4, 1)
    y = _run(gr.image.random_flip_left_right(x, seed=5))
    flipped = (y == x[:, :, ::-1]).all((1, 2, 3))
    assert (flipped | (y == x).all((1, 2, 3))).all() and 16 < flipped.sum() < 48
    one = gr.image.random_flip_up_down(np.arange(4.0).reshape(4, 1, 1), seed=6)
    with gr.Session() as session:
        found = {tuple(session.run(one).ravel()) for _ in range(12)}
    assert found == {(0, 1, 2, 3), (3, 2, 1, 0)}


def test_random_crops_lie_anywhere_and_need_one_plan() -> None:
    x = gr.constant(np.arange(6 * 5).reshape(6, 5, 1))
    y = gr.random_crop(x, [4, 3, 1], seed=7, name="cut")
    assert y.name == "cut:0" and y._shape == (4, 3, 1)
    with gr.Session() as session:
        runs = [session.run(y) for _ in range(60)]
    corners = {int(run[0, 0, 0]) for run in runs}
    assert corners == {5 * i + j for i in range(3) for j in range(3)}
    for run in runs:
        np.testing.assert_array_equal(run - run[0, 0, 0], np.add.outer(range(0, 20, 5), range(3))[..., None])


def test_offsets_from_the_graph() -> None:
    x = _pixels(6, 7, 3)
    top, left = gr.placeholder(gr.int32, ()), gr.placeholder(gr.int32, ())
    part = gr.image.crop_to_bounding_box(x, top, left, 3, 2)
    assert part._shape == (3, 2, 3)
    np.testing.assert_array_equal(_run(part, {top: 2, left: 4}), x[2:5, 4:6])
    image = gr.placeholder(gr.float32, (None, None, 3))
    for height, width in ((4, 9), (8, 5)):
        fixed = gr.image.resize_image_with_crop_or_pad(x, height, width)
        found = _run(gr.image.resize_image_with_crop_or_pad(image, height, width), {image: x})
        np.testing.assert_array_equal(found, evaluate(fixed))
        fixed = gr.image.resize_image_with_pad(x, height, width)
        found = _run(gr.image.resize_image_with_pad(image, height, width), {image: x})
        np.testing.assert_allclose(found, evaluate(fixed), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        _run(gr.image.central_crop(image, 0.4), {image: x}), evaluate(gr.image.central_crop(x, 0.4))
    )


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x: gr.image.resize_images(x, [4]), "resize_images: size has 1 entries"),
        (lambda x: gr.image.resize_images(x, [4, 0]), "resize_images: size=[4, 0]"),
        (lambda x: gr.image.resize_images(x, [4, 4], method=7), "resize_images: method=7"),
        (lambda x: gr.image.resize_images(x[0], [4, 4]), "resize_images: images has shape (7, 3)"),
        (lambda x: gr.image.resize_bilinear(x, [4, 4]), "resize_bilinear: images has rank 3"),
        (lambda x: gr.image.crop_to_bounding_box(x, 3, 0, 4, 4), "4 pixels from 3 on, of a height of 6"),
        (lambda x: gr.image.crop_to_bounding_box(x, 0, -1, 4, 4), "offset_width=-1"),
        (lambda x: gr.image.pad_to_bounding_box(x, 0, 1, 6, 7), "a width of 7 from 1 on, in one of 7"),
        (lambda x: gr.image.central_crop(x, 1.5), "central_fraction=1.5"),
        (lambda x: gr.image.flip_left_right(x[0]), "flip_left_right: the image's rank is 2"),
        (lambda x: gr.image.rgb_to_grayscale(x[..., :2]), "rgb_to_grayscale: 2 channels"),
        (lambda x: gr.image.grayscale_to_rgb(x), "grayscale_to_rgb: 3 channels"),
        (lambda x: gr.image.random_hue(x, 0.6), "random_hue: max_delta=0.6"),
        (lambda x: gr.image.random_contrast(x, 1.0, 0.5), "random_contrast: lower=1.0, upper=0.5"),
        (lambda x: gr.image.random_brightness(x, -1), "random_brightness: max_delta=-1"),
        (lambda x: gr.random_crop(x, [7, 7, 3]), "random_crop: size 7 along axis 0 of length 6"),
        (lambda x: gr.random_crop(x, [7, 7]), "random_crop: size has 2 entries"),
        (lambda x: gr.image.draw_bounding_boxes(x, [[[0, 0, 1, 1]]]), "images has shape (6, 7, 3)"),
    ],
)
def test_messages(build: Any, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        build(gr.zeros([6, 7, 3]))
    assert text in str(caught.value) and "test_image.py:" in str(caught.value)


def test_on_devices(device: str) -> None:
    """Made of other operations, all of which run there."""
    x = _pixels(2, 6, 7, 3)
    p = gr.placeholder(gr.float32, x.shape)
    image = gr.image
    made = [
        *[image.resize_images(p, [9, 4], method) for method in range(4)],
        image.rot90(p),
        image.central_crop(p, 0.5),
        image.resize_image_with_crop_or_pad(p, 8, 5),
        image.adjust_contrast(p, 0.7),
        image.adjust_hue(p, 0.3),
        image.adjust_saturation(p, 1.4),
        image.rgb_to_grayscale(p),
        image.per_image_standardization(p),
    ]
    random = [
        image.random_flip_left_right(p),
        gr.random_crop(p, [2, 4, 4, 3]),
        image.random_brightness(p, 0.2),
    ]
    fetches = [*made, *gr.gradients(made, p)]
    with gr.Session(device=device, strict=device != "cpu:0", verify=True) as session:
        for found, y in zip(session.run(fetches, {p: x}), fetches, strict=True):
            np.testing.assert_allclose(found, evaluate(y, {p: x}), rtol=1e-4, atol=1e-4)
        assert all(np.isfinite(r).all() for r in session.run(random, {p: x}))
