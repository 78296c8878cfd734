"""Everything elementwise, from files by subject, under one name."""

from graphrun.ops.arithmetic import (
    accumulate_n as accumulate_n,
)
from graphrun.ops.arithmetic import (
    add as add,
)
from graphrun.ops.arithmetic import (
    add_n as add_n,
)
from graphrun.ops.arithmetic import (
    clip_by_value as clip_by_value,
)
from graphrun.ops.arithmetic import (
    div as div,
)
from graphrun.ops.arithmetic import (
    div_no_nan as div_no_nan,
)
from graphrun.ops.arithmetic import (
    divide as divide,
)
from graphrun.ops.arithmetic import (
    floor_div as floor_div,
)
from graphrun.ops.arithmetic import (
    floordiv as floordiv,
)
from graphrun.ops.arithmetic import (
    floormod as floormod,
)
from graphrun.ops.arithmetic import (
    maximum as maximum,
)
from graphrun.ops.arithmetic import (
    minimum as minimum,
)
from graphrun.ops.arithmetic import (
    mod as mod,
)
from graphrun.ops.arithmetic import (
    multiply as multiply,
)
from graphrun.ops.arithmetic import (
    pow as pow,
)
from graphrun.ops.arithmetic import (
    realdiv as realdiv,
)
from graphrun.ops.arithmetic import (
    squared_difference as squared_difference,
)
from graphrun.ops.arithmetic import (
    subtract as subtract,
)
from graphrun.ops.arithmetic import (
    truediv as truediv,
)
from graphrun.ops.arithmetic import (
    truncatediv as truncatediv,
)
from graphrun.ops.arithmetic import (
    truncatemod as truncatemod,
)
from graphrun.ops.compare import (
    equal as equal,
)
from graphrun.ops.compare import (
    greater as greater,
)
from graphrun.ops.compare import (
    greater_equal as greater_equal,
)
from graphrun.ops.compare import (
    is_finite as is_finite,
)
from graphrun.ops.compare import (
    is_inf as is_inf,
)
from graphrun.ops.compare import (
    is_nan as is_nan,
)
from graphrun.ops.compare import (
    less as less,
)
from graphrun.ops.compare import (
    less_equal as less_equal,
)
from graphrun.ops.compare import (
    logical_and as logical_and,
)
from graphrun.ops.compare import (
    logical_not as logical_not,
)
from graphrun.ops.compare import (
    logical_or as logical_or,
)
from graphrun.ops.compare import (
    logical_xor as logical_xor,
)
from graphrun.ops.compare import (
    not_equal as not_equal,
)
from graphrun.ops.compare import (
    select as select,
)
from graphrun.ops.compare import (
    where as where,
)
from graphrun.ops.convert import (
    cast as cast,
)
from graphrun.ops.convert import (
    saturate_cast as saturate_cast,
)
from graphrun.ops.convert import (
    to_double as to_double,
)
from graphrun.ops.convert import (
    to_float as to_float,
)
from graphrun.ops.convert import (
    to_int32 as to_int32,
)
from graphrun.ops.convert import (
    to_int64 as to_int64,
)
from graphrun.ops.elementwise import (
    abs as abs,
)
from graphrun.ops.elementwise import (
    acos as acos,
)
from graphrun.ops.elementwise import (
    acosh as acosh,
)
from graphrun.ops.elementwise import (
    asinh as asinh,
)
from graphrun.ops.elementwise import (
    atan as atan,
)
from graphrun.ops.elementwise import (
    atan2 as atan2,
)
from graphrun.ops.elementwise import (
    atanh as atanh,
)
from graphrun.ops.elementwise import (
    ceil as ceil,
)
from graphrun.ops.elementwise import (
    cos as cos,
)
from graphrun.ops.elementwise import (
    cosh as cosh,
)
from graphrun.ops.elementwise import (
    digamma as digamma,
)
from graphrun.ops.elementwise import (
    erf as erf,
)
from graphrun.ops.elementwise import (
    erfc as erfc,
)
from graphrun.ops.elementwise import (
    exp as exp,
)
from graphrun.ops.elementwise import (
    expm1 as expm1,
)
from graphrun.ops.elementwise import (
    floor as floor,
)
from graphrun.ops.elementwise import (
    inv as inv,
)
from graphrun.ops.elementwise import (
    lgamma as lgamma,
)
from graphrun.ops.elementwise import (
    log as log,
)
from graphrun.ops.elementwise import (
    log1p as log1p,
)
from graphrun.ops.elementwise import (
    log_sigmoid as log_sigmoid,
)
from graphrun.ops.elementwise import (
    negative as negative,
)
from graphrun.ops.elementwise import (
    reciprocal as reciprocal,
)
from graphrun.ops.elementwise import (
    rint as rint,
)
from graphrun.ops.elementwise import (
    round as round,
)
from graphrun.ops.elementwise import (
    rsqrt as rsqrt,
)
from graphrun.ops.elementwise import (
    sigmoid as sigmoid,
)
from graphrun.ops.elementwise import (
    sign as sign,
)
from graphrun.ops.elementwise import (
    sin as sin,
)
from graphrun.ops.elementwise import (
    sinh as sinh,
)
from graphrun.ops.elementwise import (
    softplus as softplus,
)
from graphrun.ops.elementwise import (
    sqrt as sqrt,
)
from graphrun.ops.elementwise import (
    square as square,
)
from graphrun.ops.elementwise import (
    tan as tan,
)
from graphrun.ops.elementwise import (
    tanh as tanh,
)
from graphrun.ops.elementwise import (
    trigamma as trigamma,
)
