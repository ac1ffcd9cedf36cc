"""What a bug report needs: versions, the machine, compiled loops, extras and folders."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import platformdirs

from ppopt.process.cores import usable_cores
from ppopt.process.version import __version__

LOOPS = {
    "search": ("solver.search.annealing", "solver.search.lattice"),
    "partitioning": ("solver.partitioning.loops",),
}
"""The modules of inner loops, by what they serve."""

_SETTINGS = ("PPOPT_", "NUMBA_")
"""Beginnings of the environment variables that change what ppopt does."""


def find_versions() -> dict[str, Any]:
    """Collect what a bug report needs.

    Returns
    -------
    dict
        Plain values: ``ppopt``, ``python``, ``platform``, ``cores``, ``compiled_loops``, ``cache``, ``libraries``,
        ``extras`` and ``environment``.
    """
    libraries, extras = _requirements()
    return {
        "ppopt": {"version": __version__, "folder": str(Path(__file__).parents[2])},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "platform": platform.platform(),
        "cores": {"usable": usable_cores(), "all": os.cpu_count() or 1},
        "compiled_loops": _compiled_loops(),
        "cache": _folder(platformdirs.user_cache_path("ppopt", appauthor=False)),
        "libraries": libraries,
        "extras": extras,
        "environment": {key: os.environ[key] for key in sorted(os.environ) if key.startswith(_SETTINGS)},
    }


def show_versions() -> None:
    """Print what a bug report needs, as ``ppopt doctor`` does."""
    print("\n".join(lines_of(find_versions())))


def _compiled_loops() -> dict[str, Any]:
    """Ask numba itself, so that what keeps a search from using it is found here as well."""
    from solver import jit

    state: dict[str, Any] = {"numba": None, "compiled": {}, "folder": None, "problem": None}
    try:
        numba = import_module("numba")
        state["numba"] = numba.__version__
        if numba.core.config.DISABLE_JIT:
            state["problem"] = "NUMBA_DISABLE_JIT is set"
            return state
        state["folder"] = _folder(Path(jit.kept_in()))
        for what, names in LOOPS.items():
            state["compiled"][what] = all(jit.compiled(import_module(name)) is not None for name in names)
    except Exception as error:  # whatever it is, searches go on without numba
        state["problem"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return state


def _folder(path: Path) -> dict[str, Any]:
    """Name a folder, and say why nothing can be written there; it need not exist yet."""
    existing = next((each for each in (path, *path.parents) if each.exists()), path)
    problem = None
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        problem = f"{existing}: {error.strerror or error}"
    return {"path": str(path), "writable": problem is None, "problem": problem}


def _requirements() -> tuple[dict[str, str | None], dict[str, dict[str, str | None]]]:
    """List the installed version of each requirement; those of extras by extra. None for one that is missing."""
    libraries: dict[str, str | None] = {}
    extras: dict[str, dict[str, str | None]] = defaultdict(dict)
    for line in _required_lines():
        found = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)", line)
        if found is not None:
            (extras[extra[1]] if extra else libraries)[found[0]] = _version(found[0])
    return libraries, dict(extras)


def _required_lines() -> list[str]:
    try:
        return metadata.requires("ppopt") or []
    except metadata.PackageNotFoundError:  # run from a folder that was never installed
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """Write what `find_versions` found, line by line."""
    python, cores = found["python"], found["cores"]
    rows = [
        ("ppopt", f"{found['ppopt']['version']}, in {found['ppopt']['folder']}"),
        ("Python", f"{python['version']} ({python['implementation']}), {python['executable']}"),
        ("platform", found["platform"]),
        ("cores", f"{cores['usable']} of {cores['all']}"),
        *_rows_of_loops(found["compiled_loops"]),
        ("cache", _folder_text(found["cache"])),
        *((key, value) for key, value in found["environment"].items()),
    ]
    if not found["libraries"]:
        rows.append(("libraries", "unknown: ppopt was not installed with pip, but runs from its folder"))
    rows += [(name, version or "MISSING: reinstall with `pip install ppopt`") for name, version in _sorted(found)]
    rows += [(f"[{extra}]", _extra_text(extra, members)) for extra, members in sorted(found["extras"].items())]
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {text}" for name, text in rows]


def _sorted(found: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return sorted(found["libraries"].items(), key=lambda each: each[0].lower())


def _rows_of_loops(loops: Mapping[str, Any]) -> list[tuple[str, str]]:
    if loops["problem"] is not None:
        return [("compiled loops", f"NO, searches are slower: {loops['problem']}")]
    folder = loops["folder"]
    missing = [what for what, is_compiled in loops["compiled"].items() if not is_compiled]
    state = "yes"
    if missing and not folder["writable"]:
        state = f"NO, searches are slower: nothing can be kept in {folder['path']}"
    elif missing:
        state = f"not yet for {' and '.join(missing)}: the next search compiles them"
    return [("compiled loops", state), ("", _folder_text(folder))]


def _folder_text(folder: Mapping[str, Any]) -> str:
    return f"{folder['path']}, " + ("writable" if folder["writable"] else f"NOT writable: {folder['problem']}")


def _extra_text(extra: str, members: Mapping[str, str | None]) -> str:
    missing = [name for name, version in members.items() if version is None]
    if missing:
        return f"not installed: `pip install 'ppopt[{extra}]'` brings {', '.join(missing)}"
    return ", ".join(f"{name} {version}" for name, version in sorted(members.items()))
