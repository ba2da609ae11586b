"""Linear algebra on one thread: the number of cores must not change the last bits of a result."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types


def one_thread() -> AbstractContextManager[object]:
    """Limit BLAS and OpenMP to one thread inside a `with` block."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=1)
    return limited


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # finding the loaded libraries takes milliseconds
