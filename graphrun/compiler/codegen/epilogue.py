"""What a hand-written kernel does with its results before it stores them: a fused group as macros.

A kernel file that has the hooks stores through ``GR_STORE_V(v, at)`` and ``GR_STORE_S(v, at)`` alone, has
``GR_EPI_PARAMS`` at the end of its parameters and ``GR_EPI_BEGIN`` at the start of its body, and calls its
output's pointer, to which its offset has been added, ``GR_OUT`` (a macro that it defines).  Where
``GR_EPI_FETCH(at)`` is defined, it asks for what storing a vector at `at` will read and write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.compiler.codegen.statements import statements
from graphrun.compiler.codegen.text import fetch, load, load_line, mapped_index, parameter, store, vector
from graphrun.compiler.fusion import Group
from graphrun.graph.descriptor import Spec
from graphrun.shapes import num_elements

# What an epilogue defines; whoever put it before a file takes it back behind it.
EPILOGUE_MACROS = (
    "GR_EPILOGUE",
    "OUT_TYPE",
    "GR_EPI_PARAMS",
    "GR_EPI_BEGIN",
    "GR_STORE_V",
    "GR_STORE_S",
    "GR_EPI_FETCH",
)

# Operands and results of so many bytes together are far from the core, and a tile's rows of them are a burst
# behind a product: they are asked for while it is computed.
FETCHED_BYTES = 512 << 10


def epilogue_text(
    group: Group, position: int, in_specs: Sequence[Spec], outs: Sequence[Spec], lanes: int
) -> str:
    """Definitions of the epilogue's macros, to be put before the text of the kernel file.

    Parameters
    ----------
    group : Group
        Its outputs are what is stored; the first one goes where the kernel's own result would.  Those with
        ``places`` are stored in pieces, in which rows of the result are whole.
    position : int
        Which input of the group the kernel's result is.  Its map must be None.
    in_specs, outs : sequence of Spec
        Of the group's inputs and outputs; the outputs have the shape of the kernel's result.
    lanes : int
        How many elements ``v`` of ``GR_STORE_V`` has; they lie in one row of the output.

    Returns
    -------
    str
        ``#define`` lines of `EPILOGUE_MACROS`.  The launch takes `epilogue_args` behind its own arguments.
    """
    assert group.maps[position] is None, "the result is read where it is stored"
    extra = [k for k in range(len(in_specs)) if k != position]
    pointers = [parameter(in_specs[k].dtype, f"gr_e{k}", const=True, restrict=False) for k in extra]
    pointers += [parameter(s.dtype, f"gr_y{j}", const=False) for j, s in enumerate(outs) if j]
    numbers = [f"const {dtype.compute} gr_s{m}" for m, (_, dtype) in enumerate(group.scalars)]
    moved = [f"gr_e{k}" for k in extra] + [f"gr_y{j}" for j in range(1, len(outs))]
    begin = [f"{p} += {p}_o;" for p in moved]
    return "".join(
        [
            "#define GR_EPILOGUE 1\n",
            f"#define OUT_TYPE {outs[0].dtype.storage}\n",
            f"#define GR_EPI_PARAMS {''.join(f', {p}' for p in (*pointers, *numbers))}\n",
            f"#define GR_EPI_BEGIN {' '.join(begin)}\n",
            _store("GR_STORE_V", group, position, in_specs, outs, lanes),
            _store("GR_STORE_S", group, position, in_specs, outs, 1),
            _fetch(group, position, in_specs, outs, lanes),
        ]
    )


def _fetch(group: Group, position: int, in_specs: Sequence[Spec], outs: Sequence[Spec], lanes: int) -> str:
    read = [k for k in range(len(in_specs)) if k != position and group.maps[k] is None]
    # As many results as there are operands are likely to lie where these do.
    written = [j for j in range(len(read), len(outs)) if not group.places or group.places[j] is None]
    specs = [*(in_specs[k] for k in read), *(outs[j] for j in written)]
    if sum(num_elements(s.dims) * s.dtype.size_bytes for s in specs) < FETCHED_BYTES:
        return ""
    lines = [line for k in read for line in fetch(in_specs[k].dtype, f"gr_e{k}", "(at_)", lanes)]
    for j in written:
        lines += fetch(outs[j].dtype, f"gr_y{j}" if j else "GR_OUT", "(at_)", lanes, to_write=True)
    return f"#define GR_EPI_FETCH(at_) {' '.join(lines)}\n"


def epilogue_args(group: Group, position: int, outs: Sequence[Spec]) -> list[tuple[str, Any]]:
    """What a launch takes behind its own arguments: the group's ``("in", k)``, ``("out", j)``, scalars."""
    args: list[tuple[str, Any]] = [("in", k) for k in range(len(group.maps)) if k != position]
    args += [("out", j) for j in range(1, len(outs))]
    return args + [(dtype.compute, value.item()) for value, dtype in group.scalars]


def _store(
    macro: str, group: Group, position: int, in_specs: Sequence[Spec], outs: Sequence[Spec], lanes: int
) -> str:
    width = outs[0].dims[-1] if outs[0].dims else 1
    body = ["const ulong gr_at = (at_);"]
    names = []
    for k, s in enumerate(in_specs):
        kind = vector(s.dtype.compute, lanes)
        pointer, name = f"gr_e{k}", f"gr_a{k}"
        names.append(name)
        m = group.maps[k]
        if k == position:
            # The kernel alone would have stored its result in its own dtype.
            value = f"gr_half{'' if lanes == 1 else lanes}(v_)" if s.dtype.storage == "half" else "(v_)"
            body.append(f"const {kind} {name} = {value};")
        elif m is None:
            body.append(f"const {kind} {name} = {load(s.dtype, pointer, 'gr_at', lanes)};")
        elif not any(m.strides):
            body += load_line(s.dtype, pointer, mapped_index(m, "gr_at"), 0, lanes, name)
        elif lanes == 1 or (0 not in m.dims and m.dims[-1] % width == 0):
            # A row of the output is a line of the map.
            body += load_line(s.dtype, pointer, mapped_index(m, "gr_at"), m.strides[-1], lanes, name)
        else:
            each = load(s.dtype, pointer, mapped_index(m, "(gr_at + gr_lane)"))
            body += [
                f"{s.dtype.compute} {name}_x[{lanes}];",
                f"for (int gr_lane = 0; gr_lane < {lanes}; ++gr_lane) {name}_x[gr_lane] = {each};",
                f"const {kind} {name} = gr_vload{lanes}({name}_x);",
            ]
    scalars = [f"gr_s{m}" for m in range(len(group.scalars))]
    inner, results = statements(group, names, lanes, scalars, prefix="gr_t")
    body += inner
    for j, (s, t) in enumerate(zip(outs, results, strict=True)):
        # A row of the result is whole in the pieces of a map too.
        place = group.places[j] if group.places else None
        at = mapped_index(place, "gr_at") if place is not None else "gr_at"
        body.append(store(s.dtype, f"gr_y{j}" if j else "GR_OUT", at, t, lanes))
    lines = " \\\n".join(f"    {line}" for line in body)
    return f"#define {macro}(v_, at_) do {{ \\\n{lines} \\\n}} while (0)\n"
