"""The statements of a fused group, on numbers or on vectors, for every kernel that has one inside.

Elementwise kernels, reductions with a producer, rows and the epilogues of gemm and conv differ in how they
loop and load; what happens to the loaded elements is written here, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphrun.compiler.codegen.text import expression, literal, vector
from graphrun.compiler.fusion import Group, Instruction


def statements(
    group: Group, operands: Sequence[str], lanes: int = 1, scalars: Sequence[str] | None = None,
    prefix: str = "t",
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Lines of C that compute a group, and the names of its results.

    Parameters
    ----------
    group : Group
        Its maps do not matter here: the caller has loaded the elements.
    operands : sequence of str
        For each input of the group a variable, in the compute type, of `lanes` lanes.
    lanes : int
        1, 2, 4, 8 or 16.
    scalars : sequence of str, optional
        Variables, numbers of their compute type, for `Group.scalars`; without, literals are in the text.
    prefix : str
        Instruction j becomes the constant ``<prefix><j>``.

    Returns
    -------
    lines : list of str
    results : list of str
        A variable, in the compute type, of `lanes` lanes for each output of the group.
    """
    lines: list[str] = []
    names = list(scalars or ()) if group.scalars else []
    taken = 0
    for j, instruction in enumerate(group.instructions):
        values = []
        for (kind, what), dtype in zip(instruction.operands, instruction.in_dtypes, strict=True):
            if kind != "lit":
                values.append(operands[what] if kind == "in" else f"{prefix}{what}")
                continue
            if names:
                text = names[taken]
                taken += 1
            else:
                text = literal(what, dtype)
            values.append(text if lanes == 1 else f"(({vector(dtype.compute, lanes)}){text})")
        lines += instruction_lines(instruction, values, lanes, f"{prefix}{j}")
    return lines, [f"{prefix}{j}" for j in group.results]


def instruction_lines(instruction: Instruction, values: Sequence[str], lanes: int, name: str) -> list[str]:
    """Lines of C that make the constant `name` of an instruction's operands."""
    dtype = instruction.dtype
    kind = vector(dtype.compute, lanes)
    code = expression(
        instruction.expr, instruction.attrs, instruction.in_dtypes, dtype, values, lanes
    )  # fmt: skip
    if code is None:
        return _each_lane(instruction, values, lanes, name)
    code = f"({kind})({code})"
    if dtype.storage == "half":
        # NumPy rounds each result of a chain, not the last one alone.
        code = f"gr_half{'' if lanes == 1 else lanes}({code})"
    return [f"const {kind} {name} = {code};"]


def _each_lane(instruction: Instruction, values: Sequence[str], lanes: int, name: str) -> list[str]:
    """An expression that is right for numbers only, on each lane of vectors."""
    dtype = instruction.dtype
    lines = [f"{dtype.compute} {name}_r[{lanes}];"]
    parts = []
    for k, (value, operand) in enumerate(zip(values, instruction.in_dtypes, strict=True)):
        lines += [f"{operand.compute} {name}_x{k}[{lanes}];", f"gr_vstore{lanes}({value}, {name}_x{k});"]
        parts.append(f"{name}_x{k}[gr_lane]")
    code = expression(instruction.expr, instruction.attrs, instruction.in_dtypes, dtype, parts)
    code = f"({dtype.compute})({code})"
    if dtype.storage == "half":
        code = f"gr_half({code})"
    return [
        *lines,
        f"for (int gr_lane = 0; gr_lane < {lanes}; ++gr_lane) {name}_r[gr_lane] = {code};",
        f"const {vector(dtype.compute, lanes)} {name} = gr_vload{lanes}({name}_r);",
    ]
