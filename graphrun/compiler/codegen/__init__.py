"""OpenCL C from descriptors: elementwise groups, reductions and index kernels.

Each function returns the text of one kernel that is called ``GR_KERNEL``; the lowering gives it a name
made of its text, so that equal kernels are built once.  Every tensor is a pointer and a ``ulong`` offset
in elements.  A loop over ``n`` elements is written once as ``GR_FOR``: contiguous chunks for each
work-item on CPUs, where the inner loop vectorizes, and a grid stride on GPUs, where neighbours read
neighbours.  ``GR_UNITS`` is the same for larger pieces of work.
"""

from graphrun.compiler.codegen.arg import arg_kernel
from graphrun.compiler.codegen.elementwise import elementwise
from graphrun.compiler.codegen.epilogue import EPILOGUE_MACROS, epilogue_args, epilogue_text
from graphrun.compiler.codegen.index import index_kernel
from graphrun.compiler.codegen.reduce import by_groups, reduce_kernel, reduce_units, reduction_layout
from graphrun.compiler.codegen.statements import statements
from graphrun.compiler.codegen.text import PRELUDE, literal, mapped_index, vector, vector_defines

__all__ = [
    "EPILOGUE_MACROS", "PRELUDE", "arg_kernel", "by_groups", "elementwise", "epilogue_args",
    "epilogue_text", "index_kernel", "literal", "mapped_index", "reduce_kernel", "reduce_units",
    "reduction_layout", "statements", "vector", "vector_defines",
]  # fmt: skip
