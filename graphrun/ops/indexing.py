"""`x[key]`: NumPy's basic indexing of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.errors import DTypeError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.attributes import ints, is_tensor
from graphrun.ops.slicing import strided_slice_op
from graphrun.ops.state import Variable
from graphrun.shapes import format_shape


def _key_error(x: Tensor, what: str, fix: str) -> DTypeError:
    return DTypeError(
        message(what, where=f"indexing of '{x.name}'", site=user_site(),
                expected="ints, slices, `...`, None, or scalar integer tensors", fix=fix)
    )  # fmt: skip


def _checked_index(x: Tensor, item: Any) -> Any:
    """An index as an int, or as a scalar integer tensor."""
    if isinstance(item, bool | np.bool_):
        raise _key_error(x, f"the index {item} is a bool", "use gr.boolean_mask(x, mask) to select by a mask")
    if isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype.kind in "iu":
        return int(item)
    if isinstance(item, list | np.ndarray) and not is_tensor(item):
        if np.asarray(item, object).size and np.asarray(item).dtype.kind == "b":
            raise _key_error(x, "the index is a list of bools", "use gr.boolean_mask(x, mask)")
        raise _key_error(x, "the index is a list", "use gr.gather(x, indices), which takes an axis too")
    if is_tensor(item):
        t = convert_to_tensor(item)
        if t.dtype.is_bool:
            raise _key_error(x, f"the index '{t.name}' is a bool tensor", "use gr.boolean_mask(x, mask)")
        if not t.dtype.is_integer:
            raise _key_error(x, f"the index '{t.name}' has dtype {t.dtype}", "use gr.cast(i, gr.int32)")
        if t._shape is not None and t._shape != ():
            fix = "use gr.gather(x, indices), which takes an axis too"
            if t._shape == (1,):
                fix += "; for a vector of one element, gr.squeeze(i) is a scalar"
            raise _key_error(x, f"the index '{t.name}' has shape {format_shape(t._shape)}", fix)
        known = partial_value(t)
        return known if isinstance(known, int) else t
    try:
        return int(item.__index__())
    except AttributeError:
        fix = "use // where / made a float of an int" if isinstance(item, float) else ""
        raise _key_error(x, f"the index {item!r} is a {type(item).__name__}", fix) from None


def read_key(x: Tensor, items: tuple[Any, ...]) -> tuple[dict[str, Any], list[tuple[int, Tensor]], bool]:
    """The attributes of the `strided_slice` that a key is.

    Also the places and values of indices that are tensors, at which the slice takes the whole axis; and
    whether the slice is the whole tensor.
    """
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    begin_mask = end_mask = ellipsis = new = shrink = 0
    picks: list[tuple[int, Tensor]] = []  # positions in `items`, and indices that are tensors
    trivial = True
    for i, item in enumerate(items):
        bit = 1 << i
        b, e, s = 0, 0, 1
        if isinstance(item, slice):
            b, e, s = (0 if v is None else v for v in (item.start, item.stop, item.step))
            begin_mask |= bit if item.start is None else 0
            end_mask |= bit if item.stop is None else 0
            s = 1 if item.step is None else s
            trivial = trivial and item == slice(None)
        elif item is Ellipsis:
            if ellipsis:
                raise _key_error(x, "`...` stands twice in the key", "write it once")
            ellipsis |= bit
        elif item is None:
            new |= bit
            trivial = False
        else:
            index = _checked_index(x, item)
            if isinstance(index, Tensor):
                picks.append((i, index))
                begin_mask |= bit
                end_mask |= bit
            else:
                b, e = index, index + 1
                shrink |= bit
                trivial = False
        begin.append(b)
        end.append(e)
        strides.append(s)
    where = f"indexing of '{x.name}'"
    attrs: dict[str, Any] = {
        "begin": ints(begin, where, "a slice"), "end": ints(end, where, "a slice"),
        "strides": ints(strides, where, "a slice"), "begin_mask": begin_mask, "end_mask": end_mask,
        "ellipsis_mask": ellipsis, "new_axis_mask": new, "shrink_axis_mask": shrink,
    }  # fmt: skip
    return attrs, picks, trivial


def getitem(tensor: Any, key: Any, name: str | None = None) -> Tensor:
    """Return ``tensor[key]``, by NumPy's rules for basic indexing.

    Parameters
    ----------
    tensor : tensor
    key : int, slice, Ellipsis, None, scalar integer tensor, or a tuple of these
        Bounds of slices may be tensors as well.  Select by an array of indices with `gather`, by a mask
        with `boolean_mask`.

    Notes
    -----
    An index that is a tensor does not change any shape, so it costs no new plan when its value changes.
    The bounds of a slice do: the step is planned anew for each of their values.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.zeros([4, 5, 6])
    >>> x[1:, ::-2].shape.as_list(), x[..., 0].shape.as_list(), x[:, None, 2].shape.as_list()
    ([3, 3, 6], [4, 5], [4, 1, 6])
    """
    x = convert_to_tensor(tensor)
    items = key if isinstance(key, tuple) else (key,)
    attrs, picks, trivial = read_key(x, items)
    ellipsis, shrink = attrs["ellipsis_mask"], attrs["shrink_axis_mask"]
    new = attrs["new_axis_mask"]
    if x._shape is not None and (picks or not trivial or len(items) > len(x._shape)):
        _check_rank(x, len(items) - bin(ellipsis | new).count("1"))
    if not trivial or not picks:
        x = apply(strided_slice_op, (x,), attrs, name if not picks else None)
    for position, index in reversed(picks):
        axis = _result_axis(items, position, shrink, ellipsis, picks)
        x = apply("gather", (x, index), {"axis": axis, "batch_dims": 0, "negative": True}, name)
    if isinstance(tensor, Variable):  # `v[2].assign(...)`
        x._slice_of = tensor, key
    return x


def _result_axis(items: tuple[Any, ...], position: int, shrink: int, ellipsis: int, picks: Any) -> int:
    """Where entry `position` of a key lies in the slice; tensor indices behind it are gone by then."""
    if ellipsis and (1 << position) > ellipsis:
        gone = {p for p, _ in picks}
        behind = [k for k in range(position + 1, len(items)) if not shrink >> k & 1 and k not in gone]
        return -1 - len(behind)
    return sum(1 for k in range(position) if not shrink >> k & 1)


def _check_rank(x: Tensor, named: int) -> None:
    rank = len(x._shape)  # type: ignore[arg-type]
    if named > rank:
        raise ShapeError(
            message(f"{named} indices for rank {rank}", where=f"indexing of '{x.name}'", site=user_site(),
                    got=f"{format_shape(x._shape)} {x.dtype}", expected=f"at most {rank}")
        )  # fmt: skip
