"""Device arrays: fed, fetched and passed on without a trip through the host."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.steps import BindStep, DownloadStep, HostStep, KeepStep, UploadStep
from graphrun.device_names import runs_kernels
from graphrun.errors import DTypeError, FeedError, GraphrunError, ShapeError
from graphrun.runtime.device_array import DeviceArray


def entry_plan(sess, fetches, feeds):
    """The plan that `fetch_to_device` uses."""
    sess.fetch_to_device(fetches, feeds)
    return next(reversed(sess._plans.values())).bound.plan


def test_a_value_goes_to_the_device_and_comes_back(device):
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        a = sess.device_array(values)
        values[:] = -1  # it has been copied
        assert (a.shape, a.dtype, a.device) == ((2, 3), gr.float64, device)
        assert a.size_bytes == 48 and len(a) == 2
        np.testing.assert_array_equal(a.numpy(), np.arange(6.0).reshape(2, 3))
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.arange(6.0).reshape(2, 3))
        assert sess.device_array(a) is a
        assert repr(a) == f"<DeviceArray (2, 3) float64 on {device}>"


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (300, 7)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint8", "float16"])
def test_shapes_and_dtypes(device, shape, dtype):
    rng = np.random.default_rng(0)
    values = (rng.random(shape) * 5).astype(dtype)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(dtype, shape)
        twice = gr.concat([x[None], x[None]], 0)
        a = sess.device_array(values)
        assert a.dtype == gr.as_dtype(dtype)
        np.testing.assert_array_equal(a.numpy(), values)
        out, same = sess.fetch_to_device([twice, x], {x: a})
        np.testing.assert_array_equal(out.numpy(), np.stack([values, values]))
        np.testing.assert_array_equal(same.numpy(), values)
        assert same is not a


def test_feeds_of_both_kinds_have_plans_of_their_own(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (4,))
        y = gr.reduce_sum(x * x)
        host = np.arange(4, dtype=np.float32)
        a = sess.device_array(host)
        for _ in range(3):
            assert sess.run(y, {x: host}) == sess.run(y, {x: a}) == 14
        call = sess.make_callable(y, [x])
        assert call(host) == call(a) == call(host) == 14


def test_a_loop_on_the_device_moves_nothing(device):
    if not runs_kernels(device):
        pytest.skip("there is nothing to move on the host")
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (64, 64))
        y = gr.tanh(gr.matmul(x, x)) + x
        a = sess.device_array(np.eye(64, dtype=np.float32))
        plan = entry_plan(sess, y, {x: a})
        kinds = {type(step) for step in plan.steps}
        assert not kinds & {UploadStep, DownloadStep, HostStep}, str(plan)
        assert kinds >= {BindStep, KeepStep}
        assert "which is on the device" in str(plan) and "which stays on the device" in str(plan)
        want = np.eye(64, dtype=np.float32)
        for _ in range(4):
            a = sess.fetch_to_device(y, {x: a})
            want = np.tanh(want @ want) + want
        np.testing.assert_allclose(a.numpy(), want, rtol=1e-5, atol=1e-6)


def test_results_that_are_held_keep_their_values(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (100,))
        y = x + 1
        step = sess.make_callable(y, [x], to_device=True)
        a = sess.device_array(np.zeros(100, np.float32))
        held = []
        for _ in range(8):
            a = step(a)
            held.append(a)
        for k, array in enumerate(held):
            np.testing.assert_array_equal(array.numpy(), np.full(100, k + 1, np.float32))
        del held, array
        gc.collect()
        for _ in range(20):
            a = step(a)
        np.testing.assert_array_equal(a.numpy(), np.full(100, 28, np.float32))


def test_what_is_fetched_twice_or_is_a_view_is_an_array_of_its_own(device):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (3, 4))
        y = x * 2
        fetched = sess.fetch_to_device(
            {"y": y, "again": gr.identity(y), "row": y[1], "flat": gr.reshape(y, (-1,)), "t": gr.transpose(y),
             "x": x, "constant": gr.constant(3.0), "joined": gr.concat([y, y], 0)},
            {x: sess.device_array(values)},
        )  # fmt: skip
        twice = values * 2
        want = {"y": twice, "again": twice, "row": twice[1], "flat": twice.ravel(), "t": twice.T,
                "x": values, "constant": np.float32(3), "joined": np.concatenate([twice, twice])}  # fmt: skip
        assert all(isinstance(v, DeviceArray) for v in fetched.values())
        for name, array in fetched.items():
            np.testing.assert_array_equal(array.numpy(), want[name], err_msg=name)
            assert array.device == device


def test_variables_are_not_shared_with_what_was_fetched(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        v = gr.Variable(np.ones(50, np.float32))
        x = gr.placeholder(gr.float32, (50,))
        update = gr.assign(v, v + x)
        sess.run(v.initializer)
        a = sess.device_array(np.full(50, 2, np.float32))
        before = sess.fetch_to_device(v.value())
        after, new = sess.fetch_to_device([update, v + 1], {x: a})
        sess.run(update, {x: a})
        np.testing.assert_array_equal(before.numpy(), np.ones(50))
        np.testing.assert_array_equal(after.numpy(), np.full(50, 3))
        assert new.shape == (50,)
        np.testing.assert_array_equal(sess.run(v), np.full(50, 5))
        np.testing.assert_array_equal(a.numpy(), np.full(50, 2))


def test_a_shape_that_depends_on_data(device):
    values = np.array([3.0, -1.0, 5.0, -2.0], np.float32)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (None,))
        positive = gr.boolean_mask(x, x > 0) * 2
        a = sess.device_array(values)
        found = sess.fetch_to_device(positive, {x: a})
        np.testing.assert_array_equal(found.numpy(), [6, 10])


def test_an_array_of_another_device(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (3,))
        a = sess.device_array([1.0, 2.0, 3.0], device="cpu:0")
        assert a.device == "cpu:0"
        np.testing.assert_array_equal(sess.run(x * 2, {x: a}), [2, 4, 6])
        there = sess.device_array(a)
        assert there.device == device
        with gr.Session(device="cpu:0") as other:
            np.testing.assert_array_equal(other.run(x * 3, {x: there}), [3, 6, 9])
            kept = other.fetch_to_device(x * 3, {x: there})
            assert kept.device == "cpu:0"
            np.testing.assert_array_equal(kept.numpy(), [3, 6, 9])


def test_operations_give_none_and_the_form_is_kept(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        v = gr.Variable([1.0])
        got = sess.fetch_to_device((v.initializer, {"v": [gr.constant([1.0, 2.0])]}))
        assert got[0] is None
        np.testing.assert_array_equal(got[1]["v"][0].numpy(), [1, 2])


def test_wrong_arrays_are_refused(device):
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (3,), name="x")
        with pytest.raises(FeedError, match=r"'x:0' cannot be fed: the device array holds float64") as fault:
            sess.run(x + 1, {x: sess.device_array(np.zeros(3))})
        assert "gr.cast(x, gr.float32)" in str(fault.value)
        with pytest.raises(ShapeError, match=r"a value of shape \(4,\) is fed to 'x:0'"):
            sess.run(x + 1, {x: sess.device_array(np.zeros(4, np.float32))})
        with pytest.raises(DTypeError):
            sess.device_array([1.5], dtype=gr.int32)
        with pytest.raises(GraphrunError, match="opencl:77"):
            sess.device_array([1.5], device="opencl:77")
        if runs_kernels(device):
            with pytest.raises(DTypeError, match="strings are no values of"):
                sess.device_array(["a"])
        np.testing.assert_array_equal(sess.run(x + 1, {x: np.zeros(3, np.float32)}), [1, 1, 1])


def test_it_outlives_its_session(device):
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (3,))
        with gr.Session(device=device) as sess:
            a = sess.fetch_to_device(x + 1, {x: np.zeros(3, np.float32)})
        gc.collect()
        np.testing.assert_array_equal(a.numpy(), [1, 1, 1])
