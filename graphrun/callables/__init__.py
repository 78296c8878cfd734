"""Graphs as Python functions: `function` of an expression, as Theano has it, `trace` of Python code."""
