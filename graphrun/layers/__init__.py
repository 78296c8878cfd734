"""Layers: functions and classes that make their variables, with TensorFlow 1's names.

>>> import graphrun as gr
>>> with gr.Graph().as_default():
...     x = gr.placeholder(gr.float32, (None, 4))
...     y = gr.layers.dense(x, 3, activation=gr.nn.relu)
...     print(y.name, [v.name for v in gr.trainable_variables()])
dense/Relu:0 ['dense/kernel:0', 'dense/bias:0']
"""

from graphrun.layers.base import InputSpec as InputSpec
from graphrun.layers.base import Layer as Layer
from graphrun.layers.convolutional import Conv1D as Conv1D
from graphrun.layers.convolutional import Conv2D as Conv2D
from graphrun.layers.convolutional import Conv2DTranspose as Conv2DTranspose
from graphrun.layers.convolutional import Conv3D as Conv3D
from graphrun.layers.convolutional import SeparableConv2D as SeparableConv2D
from graphrun.layers.convolutional import conv1d as conv1d
from graphrun.layers.convolutional import conv2d as conv2d
from graphrun.layers.convolutional import conv2d_transpose as conv2d_transpose
from graphrun.layers.convolutional import conv3d as conv3d
from graphrun.layers.convolutional import separable_conv2d as separable_conv2d
from graphrun.layers.core import Dense as Dense
from graphrun.layers.core import Dropout as Dropout
from graphrun.layers.core import Flatten as Flatten
from graphrun.layers.core import dense as dense
from graphrun.layers.core import dropout as dropout
from graphrun.layers.core import flatten as flatten
from graphrun.layers.normalization import BatchNormalization as BatchNormalization
from graphrun.layers.normalization import batch_normalization as batch_normalization
from graphrun.layers.pooling import AveragePooling1D as AveragePooling1D
from graphrun.layers.pooling import AveragePooling2D as AveragePooling2D
from graphrun.layers.pooling import MaxPooling1D as MaxPooling1D
from graphrun.layers.pooling import MaxPooling2D as MaxPooling2D
from graphrun.layers.pooling import average_pooling1d as average_pooling1d
from graphrun.layers.pooling import average_pooling2d as average_pooling2d
from graphrun.layers.pooling import max_pooling1d as max_pooling1d
from graphrun.layers.pooling import max_pooling2d as max_pooling2d
