"""A number with its noun, and lists of names, as messages write them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, what: str) -> str:
    """Write how many there are of something: ``1 device``, ``2 microbatches``, ``20,000 operations``.

    Parameters
    ----------
    count : int
        How many.
    what : str
        One of them. Its plural ends in ``es`` after ``ch`` and ``s``, in ``ies`` for ``y``, else in ``s``.
    """
    if count == 1:
        return f"1 {what}"
    if what.endswith("y"):
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}{'es' if what.endswith(('ch', 's')) else 's'}"


def listed(names: Iterable[str]) -> str:
    """Write names one after the other: between commas, or semicolons where a name has a comma itself."""
    every = list(names)
    return ("; " if any("," in name for name in every) else ", ").join(every)
