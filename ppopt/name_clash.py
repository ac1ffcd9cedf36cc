"""Detects user files that have the names of ppopt's other packages, which Python would then load instead."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

OTHER_PACKAGES = ("solver", "strategies", "reports")
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH120, PTH100  # pathlib takes 5 ms to load


def refuse_name_clash() -> None:
    """Stop if another module hides one of ppopt's packages; otherwise load the packages.

    Once loaded, they can no longer be hidden by a later change of the search path. A hiding module is found without
    running it.

    Raises
    ------
    ImportError
        With the file found, ppopt's own, and the cure.
    """
    for name in OTHER_PACKAGES:
        found = _location(name)
        own = os.path.join(_HOME, name)  # noqa: PTH118
        if found is not None and not _same(found, own):
            raise ImportError(
                f"ppopt needs its own package {name!r} ({own}), but Python finds {found} under that name; rename or "
                f"move that file, or use the `ppopt` command, which does not look in the current folder",
                name=name,
                path=found,
            )
        __import__(name)


def _location(name: str) -> str | None:
    """Find where a package is, or would be, loaded from: its folder, or its file if it is a single one."""
    module = sys.modules.get(name)
    spec = PathFinder.find_spec(name) if module is None else getattr(module, "__spec__", None)
    if spec is not None and spec.submodule_search_locations:
        return next(iter(spec.submodule_search_locations))
    if spec is not None and spec.origin:
        return spec.origin
    return getattr(module, "__file__", None)


def _same(found: str, own: str) -> bool:
    try:
        return found == own or os.path.samefile(found, own)  # noqa: PTH121
    except OSError:
        return False
