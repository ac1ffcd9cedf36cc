"""The inner loops, compiled by numba if it is installed and there is time."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

from solver.partitioning import loops

SECONDS_TO_COMPILE = 15.0
"""With less time than this, only numba's cache is used: compiling for the first time takes about 6 s."""


def compiled_loops(*, may_compile: bool) -> dict[str, Any] | None:
    """Compile the inner loops with numba, or take them from its cache.

    Parameters
    ----------
    may_compile : bool
        Whether there is time to compile loops that are not in the cache.

    Returns
    -------
    dict of str to callable or None
        The loops by name; None if numba is not installed, or there is no time.
    """
    try:
        names = _compilable()
        last = names[loops.FUNCTIONS[-1].__name__]
        is_compiled = last.signatures or any(Path(last.stats.cache_path).glob(f"loops.{last.__name__}-*.nbi"))
    except Exception:  # not installed, or no folder for its cache: everything works without it
        return None
    return names if may_compile or is_compiled else None


@cache
def _compilable() -> dict[str, Any]:
    """Register the inner loops with numba, once."""
    numba = import_module("numba")
    names = dict(vars(loops))
    for function in loops.FUNCTIONS:
        copy = FunctionType(function.__code__, names, function.__name__)
        names[function.__name__] = numba.njit(cache=True, nogil=True)(copy)
    return names
