"""A number with its noun, and lists of names, for messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(count: int, what: str) -> str:
    """Write a count with its noun: ``1 device``, ``2 microbatches``, ``20,000 operations``.

    Parameters
    ----------
    count : int
        The number.
    what : str
        The noun in the singular. Its plural ends in ``es`` after ``ch`` and ``s``, in ``ies`` for ``y``, else in ``s``.
    """
    if count == 1:
        return f"1 {what}"
    if what.endswith("y"):
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}{'es' if what.endswith(('ch', 's')) else 's'}"


def listed(names: Iterable[str]) -> str:
    """Write a list of names, separated by commas, or by semicolons if a name contains a comma."""
    every = list(names)
    return ("; " if any("," in name for name in every) else ", ").join(every)


def joined(names: Sequence[str]) -> str:
    """Write a list of names, at least one, as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
