"""Checks inside of graphs: TensorFlow's ``tf.debugging``.

>>> import graphrun as gr
>>> with gr.Graph().as_default():
...     gr.debugging.assert_rank(gr.zeros([2, 3]), 2).type
'NoOp'
"""

from graphrun.ops.assertions import assert_equal as assert_equal
from graphrun.ops.assertions import assert_greater as assert_greater
from graphrun.ops.assertions import assert_greater_equal as assert_greater_equal
from graphrun.ops.assertions import assert_integer as assert_integer
from graphrun.ops.assertions import assert_less as assert_less
from graphrun.ops.assertions import assert_less_equal as assert_less_equal
from graphrun.ops.assertions import assert_near as assert_near
from graphrun.ops.assertions import assert_negative as assert_negative
from graphrun.ops.assertions import assert_non_negative as assert_non_negative
from graphrun.ops.assertions import assert_non_positive as assert_non_positive
from graphrun.ops.assertions import assert_none_equal as assert_none_equal
from graphrun.ops.assertions import assert_positive as assert_positive
from graphrun.ops.assertions import assert_proper_iterable as assert_proper_iterable
from graphrun.ops.assertions import assert_rank as assert_rank
from graphrun.ops.assertions import assert_rank_at_least as assert_rank_at_least
from graphrun.ops.assertions import assert_rank_in as assert_rank_in
from graphrun.ops.assertions import assert_same_float_dtype as assert_same_float_dtype
from graphrun.ops.assertions import assert_scalar as assert_scalar
from graphrun.ops.assertions import assert_type as assert_type
from graphrun.ops.assertions import is_non_decreasing as is_non_decreasing
from graphrun.ops.assertions import is_numeric_tensor as is_numeric_tensor
from graphrun.ops.assertions import is_strictly_increasing as is_strictly_increasing
from graphrun.ops.checks import assert_all_finite as assert_all_finite
from graphrun.ops.checks import check_numerics as check_numerics
from graphrun.ops.compare import is_finite as is_finite
from graphrun.ops.compare import is_inf as is_inf
from graphrun.ops.compare import is_nan as is_nan
