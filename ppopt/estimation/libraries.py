"""The libraries that build and count models: an extra, loaded late, and never allowed to use the network."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = {"torch": "PyTorch", "transformers": "transformers"}


class MissingLibrariesError(Exception):
    """The extra is not installed."""


def require_libraries() -> None:
    """Refuse to go on without the extra; keep the libraries from the network.

    Raises
    ------
    MissingLibrariesError
        If it is not installed, with what to install.
    """
    missing = [title for name, title in LIBRARIES.items() if importlib.util.find_spec(name) is None]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise MissingLibrariesError(
            f"{' and '.join(missing)} {are} not installed, which build and count the model: pip install 'ppopt[model]'"
        )
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"  # read when the libraries are imported
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' advice to their own callers from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
