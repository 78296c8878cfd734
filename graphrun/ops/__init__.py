"""Operations: one record each, by family.  Importing this package registers all of them."""

from graphrun.ops import (  # noqa: F401
    array,
    conv,
    decompositions,
    einsum,
    inverses,
    linalg,
    math,
    matrices,
    moving,
    nn,
    operators,
    pool,
    random,
    ranking,
    reduce,
    scatter,
    segments,
    sets,
    special,
    state,
)
