"""The libraries that build and count models: an extra, loaded late, and never allowed to use the network."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from solver.counted import joined

OLDEST = {"torch": (2, 13), "transformers": (5, 24)}
"""The libraries of the extra, with the oldest version of each."""

TITLES = {"torch": "PyTorch", "transformers": "transformers"}


class MissingLibrariesError(Exception):
    """The extra is not installed, or is too old."""


def require_libraries() -> None:
    """Refuse to go on without the extra; keep the libraries from the network.

    Raises
    ------
    MissingLibrariesError
        If it is not installed, or too old, with what to install.
    """
    missing = [TITLES[name] for name in OLDEST if find_spec(name) is None]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise MissingLibrariesError(
            f"{joined(missing)} {are} not installed, which build and count the model: pip install 'ppopt[model]'"
        )
    for name, oldest in OLDEST.items():
        found = _version(name)
        if found and found < oldest:
            raise MissingLibrariesError(
                f"{TITLES[name]} {'.'.join(map(str, found))} is too old to build and count the model, which needs "
                f"{'.'.join(map(str, oldest))}: pip install -U 'ppopt[model]'"
            )
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"  # read when the libraries are imported
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _version(name: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; empty if it is not known."""
    try:
        return tuple(map(int, re.findall(r"\d+", version(name))[:2]))
    except PackageNotFoundError:
        return ()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' advice to their own callers from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
