"""Tensors of strings: TensorFlow's ``tf.strings``.

>>> import graphrun as gr
>>> gr.strings.join([["a", "b"], "c"]).shape.as_list()
[2]
"""

from graphrun.ops.string_parts import length, lower, regex_full_match, regex_replace, substr, upper
from graphrun.ops.string_parts import string_strip as strip
from graphrun.ops.strings import as_string, reduce_join, split
from graphrun.ops.strings import string_join as join
from graphrun.ops.strings import string_to_number as to_number

__all__ = [
    "as_string",
    "join",
    "length",
    "lower",
    "reduce_join",
    "regex_full_match",
    "regex_replace",
    "split",
    "strip",
    "substr",
    "to_number",
    "upper",
]
