"""The cells under their names of TensorFlow 1, as ``gr.nn.rnn_cell.LSTMCell``."""

from graphrun.rnn.cells import BasicLSTMCell as BasicLSTMCell
from graphrun.rnn.cells import BasicRNNCell as BasicRNNCell
from graphrun.rnn.cells import GRUCell as GRUCell
from graphrun.rnn.cells import LSTMCell as LSTMCell
from graphrun.rnn.cells import LSTMStateTuple as LSTMStateTuple
from graphrun.rnn.cells import RNNCell as RNNCell
from graphrun.rnn.wrappers import DeviceWrapper as DeviceWrapper
from graphrun.rnn.wrappers import DropoutWrapper as DropoutWrapper
from graphrun.rnn.wrappers import MultiRNNCell as MultiRNNCell
from graphrun.rnn.wrappers import ResidualWrapper as ResidualWrapper
