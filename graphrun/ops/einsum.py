"""`einsum`: sums of products by a formula of index letters, made of products of matrices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_operands
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.fill import shape
from graphrun.ops.linalg import matmul
from graphrun.ops.matrices import matrix_diag_part
from graphrun.ops.reduce import reduce_sum
from graphrun.ops.reshape import reshape
from graphrun.ops.state import identity
from graphrun.ops.transpose import transpose
from graphrun.shapes import format_shape

# Letters that stand for the dimensions of an ellipsis, from the last one.
_HIDDEN = "0123456789"


def _fault(equation: str, what: str, fix: str = "") -> ShapeError:
    return ShapeError(message(what, where=f"einsum {equation!r}", site=user_site(), fix=fix))


def _parse(equation: str, inputs: Sequence[Tensor]) -> tuple[list[str], str]:
    """The index letters of each input and of the result; those of an ellipsis are digits."""
    text = equation.replace(" ", "")
    match = re.fullmatch(r"([a-zA-Z.,]*)(?:->([a-zA-Z.]*))?", text)
    if match is None:
        raise _fault(equation, "a formula that cannot be read", 'write it as "ij,jk->ik"')
    parts = match[1].split(",")
    if len(parts) != len(inputs):
        raise _fault(equation, f"{len(inputs)} tensors for {len(parts)} terms", "write a term for each")
    terms, longest = [], 0
    for part, x in zip(parts, inputs, strict=True):
        if x._shape is None:
            raise _fault(equation, f"'{x.name}' has an unknown rank", "state it with x.set_shape")
        named, rank = part.replace("...", "", 1), len(x._shape)
        if "." in named:
            raise _fault(equation, f"the term {part!r}", "an ellipsis is three dots, once in a term")
        hidden = rank - len(named)
        if hidden < 0 or (hidden and "..." not in part) or hidden > len(_HIDDEN):
            raise _fault(equation, f"the term {part!r} for shape {format_shape(x._shape)}")
        longest = max(longest, hidden)
        # Dimensions of an ellipsis are paired from the last one.
        terms.append(part.replace("...", _HIDDEN[:hidden][::-1]))
    everywhere = _HIDDEN[:longest][::-1]
    if match[2] is None:
        letters = "".join(terms)
        result = everywhere + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c.isalpha())
        )
    else:
        result = match[2].replace("...", everywhere)
    unknown = [c for c in result if not any(c in t for t in terms)]
    if unknown or len(set(result)) != len(result) or "." in result:
        raise _fault(equation, f"the result {match[2]!r}", "each letter of it once, and from some term")
    return terms, result


class _Sizes:
    """The length of each index: an int where it is known, else a tensor."""

    def __init__(self, equation: str, terms: Sequence[str], inputs: Sequence[Tensor]) -> None:
        self.known: dict[str, int] = {}
        self.where: dict[str, tuple[Tensor, int]] = {}
        for term, x in zip(terms, inputs, strict=True):
            for k, (c, n) in enumerate(zip(term, x._shape or (), strict=True)):
                if n is None:
                    if c not in self.known:
                        self.where.setdefault(c, (x, k))
                elif n != 1 and self.known.get(c, n) not in (1, n):
                    raise _fault(equation, f"index {c!r} has lengths {self.known[c]} and {n}")
                elif n != 1 or c not in self.known:
                    self.known[c] = n if c.isalpha() or n != 1 else self.known.get(c, 1)

    def of(self, c: str) -> Any:
        if c in self.known and not (self.known[c] == 1 and c in self.where):
            return self.known[c]
        x, k = self.where[c]
        return shape(x)[k]


def _diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """A letter that stands twice in one term: the diagonal."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            rest = [k for k in range(len(term)) if k not in (i, j)]
            x = matrix_diag_part(transpose(x, [*rest, i, j]))
            term = "".join(term[k] for k in rest) + c
    return term, x


def _summed(term: str, x: Tensor, kept: set[str]) -> tuple[str, Tensor]:
    axes = [k for k, c in enumerate(term) if c not in kept]
    if not axes:
        return term, x
    return "".join(c for c in term if c in kept), reduce_sum(x, axes)


def _turned(term: str, x: Tensor, order: str) -> Tensor:
    perm = [term.index(c) for c in order]
    return x if perm == list(range(len(perm))) else transpose(x, perm)


def _lengths(letters: str, sizes: _Sizes) -> Any:
    total: Any = 1
    for c in letters:
        total = total * sizes.of(c)
    return total


def _product(
    a_term: str, a: Tensor, b_term: str, b: Tensor, kept: set[str], sizes: _Sizes
) -> tuple[str, Tensor]:
    """One product: shared letters that are kept are a batch, shared ones that are not are summed."""
    shared = [c for c in a_term if c in b_term]
    batch = "".join(c for c in shared if c in kept)
    inner = "".join(c for c in shared if c not in kept)
    rows = "".join(c for c in a_term if c not in shared)
    columns = "".join(c for c in b_term if c not in shared)
    result = batch + rows + columns
    # A dimension of an ellipsis may be 1 in one of them and broadcast: only elementwise keeps that right.
    narrow = any(
        x._shape is not None and x._shape[t.index(c)] == 1 and sizes.of(c) != 1
        for x, t in ((a, a_term), (b, b_term)) for c in shared
    )  # fmt: skip
    if narrow or not inner:
        wide = batch + rows + inner + columns
        left = _spread(_turned(a_term, a, batch + rows + inner), batch + rows + inner, wide)
        right = _spread(_turned(b_term, b, batch + inner + columns), batch + inner + columns, wide)
        return _summed(wide, left * right, kept)
    left, right = _turned(a_term, a, batch + rows + inner), _turned(b_term, b, batch + inner + columns)
    lead = [sizes.of(c) for c in batch]
    if len(rows) != 1 or len(inner) != 1:
        left = reshape(left, [*lead, _lengths(rows, sizes), _lengths(inner, sizes)])
    if len(inner) != 1 or len(columns) != 1:
        right = reshape(right, [*lead, _lengths(inner, sizes), _lengths(columns, sizes)])
    product = matmul(left, right)
    if len(rows) != 1 or len(columns) != 1:
        product = reshape(product, [sizes.of(c) for c in result])
    return result, product


def _spread(x: Tensor, term: str, wide: str) -> Tensor:
    """`x` with a dimension of 1 for each letter of `wide` that it lacks."""
    dims = x._shape or ()
    if None not in dims:
        return reshape(x, [dims[term.index(c)] if c in term else 1 for c in wide])
    sizes = shape(x)
    items: list[Any] = []
    for c in wide:
        if c not in term:
            items.append(1)
        else:
            n = dims[term.index(c)]
            items.append(sizes[term.index(c)] if n is None else n)
    return reshape(x, items)


def einsum(equation: str, *inputs: Any, name: str | None = None, **ignored: Any) -> Tensor:
    """Return the sum of products that `equation` states.

    Parameters
    ----------
    equation : str
        As ``"ij,jk->ik"``: a term of index letters for each tensor, and the letters of the result; all
        others are summed over.  Without ``->`` the letters that stand once make the result, in the order of
        the alphabet.  ``...`` stands for dimensions that have no letter; they broadcast.
    *inputs : tensor
        Of one dtype and of known rank.
    name : str, optional

    Raises
    ------
    ShapeError
        If the formula and the shapes do not fit.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     a = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    ...     print(sess.run([gr.einsum("ij,jk->ki", a, a), gr.einsum("ii->", a)]))
    [array([[ 7., 15.],
           [10., 22.]], dtype=float32), np.float32(5.0)]
    """
    if not inputs:
        raise _fault(equation, "no tensors", "pass one for each term")
    tensors = convert_operands(list(inputs))
    terms, result = _parse(equation, tensors)
    sizes = _Sizes(equation, terms, tensors)
    with tensors[0].graph.name_scope(name or "einsum") as scope:
        parts = [_diagonals(t, x) for t, x in zip(terms, tensors, strict=True)]
        for k, (term, x) in enumerate(parts):
            elsewhere = set(result).union(*(t for j, (t, _) in enumerate(parts) if j != k))
            parts[k] = _summed(term, x, elsewhere)
        term, x = parts[0]
        for k in range(1, len(parts)):
            kept = set(result).union(*(t for t, _ in parts[k + 1 :]))
            term, x = _product(term, x, *parts[k], kept, sizes)
        term, x = _summed(term, x, set(result))
        y = identity(_turned(term, x, result), scope)
        y.set_shape([None if isinstance(n, Tensor) else n for n in map(sizes.of, result)])
        return y
