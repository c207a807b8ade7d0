"""What a traced model keeps between two calls: the variables that it writes.

Runs in the conversion child only: it imports TensorFlow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from devicekit.convert.remedies.emit import all_ops

_WRITING = ("Assign", "ResourceScatter", "ResourceApply")


def keeps_state(function: Any) -> bool:
    """Returns whether a concrete function writes variables: then its outputs depend on its earlier calls."""
    return any(op.type.startswith(_WRITING) for op in all_ops(function.graph))


@contextmanager
def from_the_beginning(*functions: Any) -> Iterator[None]:
    """Gives back to the functions' variables, behind the block, the values that they had before it."""
    written = [function for function in functions if keeps_state(function)]
    variables = {id(one): one for function in written for one in function.variables}.values()
    before = [(variable, variable.numpy()) for variable in variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
