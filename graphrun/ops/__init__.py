"""Operations: one record each, by family.  Importing this package registers all of them."""

from graphrun.ops import array, conv, linalg, math, nn, operators, pool, random, reduce, state  # noqa: F401
