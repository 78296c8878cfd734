"""graphrun: define a graph, then run it, on OpenCL devices or on NumPy.

>>> import graphrun as gr
>>> with gr.Graph().as_default(), gr.Session() as sess:
...     x = gr.placeholder(gr.float32, (None,))
...     y = gr.reduce_sum(x * x)
...     print(sess.run([y, gr.gradients(y, x)[0]], {x: [1.0, 2.0]}))
[np.float32(5.0), array([2., 4.], dtype=float32)]
"""

from graphrun import errors as errors
from graphrun import nn as nn
from graphrun import ops as _ops  # registers every operation
from graphrun import train as train
from graphrun._version import __version__ as __version__
from graphrun.config import ConfigProto as ConfigProto
from graphrun.config import GPUOptions as GPUOptions
from graphrun.config import GraphOptions as GraphOptions
from graphrun.config import OptimizerOptions as OptimizerOptions
from graphrun.dtypes import DType as DType
from graphrun.dtypes import as_dtype as as_dtype
from graphrun.dtypes import bool_ as bool
from graphrun.dtypes import float16 as float16
from graphrun.dtypes import float32 as float32
from graphrun.dtypes import float64 as float64
from graphrun.dtypes import int8 as int8
from graphrun.dtypes import int16 as int16
from graphrun.dtypes import int32 as int32
from graphrun.dtypes import int64 as int64
from graphrun.dtypes import uint8 as uint8
from graphrun.dtypes import uint32 as uint32
from graphrun.dtypes import uint64 as uint64
from graphrun.gradients import UnconnectedGradients as UnconnectedGradients
from graphrun.gradients import gradients as gradients
from graphrun.gradients import hessians as hessians
from graphrun.graph.apply import convert_to_tensor as convert_to_tensor
from graphrun.graph.apply import (
    register_tensor_conversion_function as register_tensor_conversion_function,
)
from graphrun.graph.default import get_default_graph as get_default_graph
from graphrun.graph.default import get_default_session as get_default_session
from graphrun.graph.default import reset_default_graph as reset_default_graph
from graphrun.graph.graph import Graph as Graph
from graphrun.graph.graph import GraphKeys as GraphKeys
from graphrun.graph.node import Operation as Operation
from graphrun.graph.node import Tensor as Tensor
from graphrun.graph.scopes import add_to_collection as add_to_collection
from graphrun.graph.scopes import control_dependencies as control_dependencies
from graphrun.graph.scopes import device as device
from graphrun.graph.scopes import get_collection as get_collection
from graphrun.graph.scopes import name_scope as name_scope
from graphrun.session import InteractiveSession as InteractiveSession
from graphrun.session import Session as Session
from graphrun.shapes import Dimension as Dimension
from graphrun.shapes import TensorShape as TensorShape
