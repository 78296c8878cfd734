"""Training: optimizers, learning rates that change, and the step counter."""

from graphrun.train.decay import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    linear_cosine_decay,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    piecewise_constant,
    polynomial_decay,
)
from graphrun.train.decoupled import AdamWOptimizer, LAMBOptimizer, LionOptimizer
from graphrun.train.moving_averages import ExponentialMovingAverage, moving_average_variables
from graphrun.train.optimizer import Optimizer
from graphrun.train.optimizers import (
    AdadeltaOptimizer,
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    RMSPropOptimizer,
)
from graphrun.train.regularized import (
    AdagradDAOptimizer,
    FtrlOptimizer,
    ProximalAdagradOptimizer,
    ProximalGradientDescentOptimizer,
)
from graphrun.train.step import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

piecewise_constant_decay = piecewise_constant
