"""Random numbers: TensorFlow's ``tf.random``.

>>> import graphrun as gr
>>> gr.random.normal([2, 3]).shape.as_list()
[2, 3]
"""

from graphrun.ops.draws import categorical, multinomial
from graphrun.ops.draws import random_gamma as gamma
from graphrun.ops.draws import random_poisson as poisson
from graphrun.ops.random import random_normal as normal
from graphrun.ops.random import random_shuffle as shuffle
from graphrun.ops.random import random_uniform as uniform
from graphrun.ops.random import truncated_normal
from graphrun.ops.seeds import get_seed, set_random_seed

__all__ = [
    "categorical",
    "gamma",
    "get_seed",
    "multinomial",
    "normal",
    "poisson",
    "set_random_seed",
    "shuffle",
    "truncated_normal",
    "uniform",
]
