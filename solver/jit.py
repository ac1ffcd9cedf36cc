"""Inner loops: plain Python, and the same source compiled by numba where it is there and can.

A module of inner loops names its functions in ``FUNCTIONS``, each behind those that it uses. They are plain Python over
flat lists; compiled, they take numpy arrays in their place, and let go of the interpreter lock, so that they run beside
other threads. What numba has compiled is kept in the user's cache folder: the first time it takes a dozen seconds or
two, which a process of its own spends while the search goes on without.

What it is worth: row `compiled-loops` of docs/development/ablation.md.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from time import time
from types import FunctionType, ModuleType
from typing import Any

from platformdirs import user_cache_path

from solver.interrupts_kept import keep_interrupts_while_compiling

LOOPS = (
    "random_numbers",
    "partitioning/loops",
    "search/annealing",
    "search/feeding_loops",
    "search/lattice",
)
"""The modules of inner loops, without suffix; what is compiled of other sources of any of them is not used."""

KEPT_IN = "PPOPT_COMPILED"
"""The variable of the environment that names another folder for what is compiled."""

LONGEST_TO_COMPILE = 300.0
"""A process that began to compile so many seconds ago is not waited for."""


def interpreted(module: ModuleType) -> dict[str, Any]:
    """List the functions of a module as they are."""
    return {function.__name__: function for function in module.FUNCTIONS}


def jitted(module: ModuleType, *, may_compile: bool) -> dict[str, Any] | None:
    """Take the functions of a module, by name, from numba's cache; None if they are not there.

    Where they are not, they are compiled: at once, or else in a process of its own, for whoever asks next.

    Parameters
    ----------
    module : module
        Of inner loops. The last of its functions is the last that is compiled.
    may_compile : bool
        Whether there is time to compile them at once.
    """
    try:
        names = _compilable(module)
    except Exception:  # not installed, switched off, or no folder for its cache: the loops are correct without
        return None
    if not may_compile and not _is_compiled(names, module):
        compile_beside()
        return None
    return names


def compiled(module: ModuleType) -> dict[str, Any] | None:
    """Take the functions of a module, by name, from numba's cache; None if they are not there, and begin nothing."""
    try:
        names = _compilable(module)
        return names if _is_compiled(names, module) else None
    except Exception:  # as above
        return None


def compile_beside() -> None:
    """Begin to compile all inner loops in a process of its own, unless one does already.

    It ends by itself when they are compiled, be that after the command that began it.
    """
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        begun = folder / "compiling"
        if begun.exists() and time() - begun.stat().st_mtime < LONGEST_TO_COMPILE:
            return
        begun.write_text(str(os.getpid()))
        _begin_to_compile()


@cache
def _begin_to_compile() -> subprocess.Popen[bytes]:
    """Start the process; it is kept, since Python warns of processes that are forgotten while they run."""
    return subprocess.Popen(
        [sys.executable, "-m", "solver.search.compile_all"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
        start_new_session=True,
    )


def _is_compiled(names: dict[str, Any], module: ModuleType) -> bool:
    function = names[module.FUNCTIONS[-1].__name__]
    cached = f"*.{function.py_func.__name__}-*.nbi"
    return bool(function.signatures) or any(Path(function.stats.cache_path).glob(cached))


@cache
def _compilable(module: ModuleType) -> dict[str, Any]:
    """Give the inner loops to numba, once for all searches."""
    numba = import_module("numba")
    if numba.core.config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT is set")
    keep_interrupts_while_compiling()
    names = dict(vars(module))
    with _cached_for_user(numba):
        for function in module.FUNCTIONS:
            copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
            names[function.__name__] = numba.njit(cache=True, nogil=True)(copy)
    return names


@contextmanager
def _cached_for_user(numba: Any) -> Iterator[None]:
    """Let numba keep what it compiles in the user's cache folder, unless the user has named another.

    Beside the sources, where it would keep it otherwise, nothing may be writable, and nobody looks for it.
    """
    config = numba.core.config
    given = config.CACHE_DIR
    config.CACHE_DIR = given or str(_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = given


def kept_in() -> Path:
    """Name the folder for what is compiled: the one that numba's user has named, or else ours."""
    return Path(import_module("numba").core.config.CACHE_DIR or _folder())


@cache
def _folder() -> Path:
    """Name the folder for what is compiled from these very sources, by this numba, for this processor."""
    numba, llvm = import_module("numba"), import_module("llvmlite.binding")
    marks = [numba.__version__, sys.version, llvm.get_host_cpu_name()]
    for source in (Path(__file__).parent / f"{name}.py" for name in LOOPS):
        status = source.stat()
        marks.append(f"{source} {status.st_size} {status.st_mtime_ns}")
    name = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
    return Path(os.environ.get(KEPT_IN) or user_cache_path("ppopt") / "compiled") / name
