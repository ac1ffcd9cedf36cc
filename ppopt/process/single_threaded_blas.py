"""Limits NumPy's matrix library to one thread, so that the number of workers is the number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Run matrix products in the calling thread; restore the previous setting at the end.

    The matrices of a search are small: additional threads mostly wait for each other, on cores that other workers need.
    If several threads of a process search, the first one decides for all.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
