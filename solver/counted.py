"""A number with its noun, as messages write it."""

from __future__ import annotations


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
