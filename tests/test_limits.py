"""What is too large, or cannot leave the process: messages that say whose it is."""

from __future__ import annotations

import copy
import pickle

import pytest

import graphrun as gr
from graphrun.device_names import runs_kernels
from graphrun.errors import DeviceError, ExecutionError, ShapeError


def test_a_result_that_no_memory_holds_names_its_operation(device):
    kind = DeviceError if runs_kernels(device) else ExecutionError
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, (None,), name="x")
        huge = gr.tile(x, [1 << 50], name="huge")
        with pytest.raises(kind, match="tile 'huge'") as fault:
            sess.run(huge, {x: [1.0]})
        assert "test_limits.py:" in str(fault.value)
        inner = gr.reduce_sum(gr.sort(gr.zeros([1 << 20, 1 << 18], name="wide") + x[0]))
        with pytest.raises(kind, match="(?s)'.*test_limits.py:"):
            sess.run(inner, {x: [1.0]})
        assert sess.run(x * 2, {x: [1.0]}) == [2]


def test_more_dimensions_than_arrays_have():
    with gr.Graph().as_default():
        x = gr.placeholder(gr.float32, (None,), name="x")
        gr.reshape(x, [1] * 64)
        with pytest.raises(ShapeError, match=r"(?s)a result of 65 dimensions.*expected at most 64"):
            gr.reshape(x, [1] * 65)


def test_parts_of_a_graph_are_not_pickled():
    with gr.Graph().as_default() as graph, gr.Session() as sess:
        v = gr.Variable(1.0)
        x = v * 2
        for item in (x, v, x.op, graph, sess, [x]):
            with pytest.raises(TypeError, match="(?s)cannot be pickled: it belongs to a graph.*np.savez"):
                pickle.dumps(item)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.deepcopy(x)
        assert copy.copy(x) is x and copy.copy([x, v])[1] is v
