"""Numpy's matrix library kept to one thread, so that a number of workers is a number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Let matrix products run in the thread that asks for them, and give back what held before.

    The matrices of a search are small: further threads mostly wait for each other, on cores that others count on. Where
    several threads of a process search, the first of them decides for all.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
