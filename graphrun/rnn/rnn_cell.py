"""Cells of recurrent networks, with TensorFlow 1's names.

>>> import graphrun as gr
>>> with gr.Graph().as_default():
...     cell = gr.nn.rnn_cell.MultiRNNCell([gr.nn.rnn_cell.GRUCell(n) for n in (8, 4)])
...     print(cell.state_size, cell.output_size)
(8, 4) 4
"""

from graphrun.rnn.base import RNNCell as RNNCell
from graphrun.rnn.cells import BasicLSTMCell as BasicLSTMCell
from graphrun.rnn.cells import BasicRNNCell as BasicRNNCell
from graphrun.rnn.cells import GRUCell as GRUCell
from graphrun.rnn.cells import LSTMCell as LSTMCell
from graphrun.rnn.cells import LSTMStateTuple as LSTMStateTuple
from graphrun.rnn.wrappers import DeviceWrapper as DeviceWrapper
from graphrun.rnn.wrappers import DropoutWrapper as DropoutWrapper
from graphrun.rnn.wrappers import MultiRNNCell as MultiRNNCell
from graphrun.rnn.wrappers import ResidualWrapper as ResidualWrapper
