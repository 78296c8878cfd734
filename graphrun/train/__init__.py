"""Training: optimizers, learning rates that change, the step counter, and sessions with hooks."""

from graphrun.train.basic_hooks import (
    FeedFnHook,
    FinalOpsHook,
    GlobalStepWaiterHook,
    LoggingTensorHook,
    NanLossDuringTrainingError,
    NanTensorHook,
    SecondOrStepTimer,
    StepCounterHook,
    StopAtStepHook,
)
from graphrun.train.coordinator import Coordinator, LooperThread
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
from graphrun.train.hooks import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues
from graphrun.train.monitored import MonitoredSession, MonitoredTrainingSession, SingularMonitoredSession
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
from graphrun.train.scaffold import ChiefSessionCreator, Scaffold, SessionCreator
from graphrun.train.step import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

piecewise_constant_decay = piecewise_constant
