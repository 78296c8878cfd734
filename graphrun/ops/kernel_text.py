"""Reading the one kernel in a text of OpenCL C: its arguments, and the same text with offsets of buffers."""

from __future__ import annotations

import re
from typing import NamedTuple

from graphrun.errors import GraphError, message
from graphrun.graph.site import user_site

_KERNEL = re.compile(r"\b(?:__kernel|kernel)\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_QUALIFIERS = {"const", "restrict", "__restrict", "volatile", "__global", "global", "__private", "private"}
_TYPES = {
    "unsigned char": "uchar", "unsigned short": "ushort", "unsigned int": "uint", "unsigned long": "ulong",
    "unsigned": "uint", "signed char": "char", "size_t": "ulong",
}  # fmt: skip


class Signature(NamedTuple):
    """What a kernel takes, and its text in the form that plans launch.

    Attributes
    ----------
    entry : str
    pointers : tuple of str
        Element types of the pointers, in order.
    numbers : tuple of str
        Types of the numbers behind them.
    text : str
        Each pointer is followed by an offset in elements; the kernel is called ``GR_NAME``.
    """

    entry: str
    pointers: tuple[str, ...]
    numbers: tuple[str, ...]
    text: str


def parse_kernel(source: str) -> Signature:
    """Read the kernel of `source`.

    Raises
    ------
    GraphError
        If there is none, or more than one, or an argument of another kind than pointers to global memory and
        numbers behind them.
    """
    bare = _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), source)
    found = list(_KERNEL.finditer(bare))
    if len(found) != 1:
        raise _fault(f"the source has {len(found)} kernels", "one function that begins with __kernel")
    start = bare.find("void", found[0].end())
    head = re.compile(r"void\s+(\w+)\s*\(").match(bare, start) if start >= 0 else None
    if head is None:
        raise _fault("the kernel returns something", "__kernel void name(...)")
    end = bare.find(")", head.end())
    brace = bare.find("{", end)
    if end < 0 or brace < 0 or bare[end + 1 : brace].strip():
        raise _fault(f"the arguments of kernel {head[1]} are not closed", "__kernel void name(...) {")
    pointers: list[str] = []
    numbers: list[str] = []
    params: list[str] = []
    setup: list[str] = []
    for part in bare[head.end() : end].split(","):
        words = part.replace("*", " * ").split()
        if not words or words == ["void"]:
            continue
        name, kind = words[-1], [w for w in words[:-1] if w not in _QUALIFIERS]
        if "*" in kind:
            is_global = {"__global", "global"} & set(words)
            if kind.count("*") != 1 or kind[-1] != "*" or not is_global or numbers:
                raise _fault(
                    f"argument '{part.strip()}' of kernel {head[1]}",
                    "pointers to global memory, one for each input and output, and numbers behind them",
                )
            base = " ".join(kind[:-1])
            pointers.append(_TYPES.get(base, base))
            qualified = " ".join(words[:-1])
            params.append(f"{qualified} gr_{name}, const ulong gr_{name}_offset")
            setup.append(f"{qualified} {name} = gr_{name} + gr_{name}_offset;")
        else:
            base = " ".join(kind)
            numbers.append(_TYPES.get(base, base))
            params.append(f"{' '.join(words[:-1])} {name}".replace("size_t", "ulong"))
    # The lines behind keep their numbers.
    lines = "\n" * source.count("\n", head.start(), brace + 1)
    text = (
        f"{source[: head.start()]}void GR_NAME({', '.join(params)}) {{ {' '.join(setup)}{lines}"
        f"{source[brace + 1 :]}"
    )
    return Signature(head[1], tuple(pointers), tuple(numbers), text)


def _fault(what: str, expected: str) -> GraphError:
    return GraphError(message(what, where="OpenCLKernel", site=user_site(), expected=expected))
