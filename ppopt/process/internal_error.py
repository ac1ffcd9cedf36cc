"""Internal errors: reported next to the other results, never instead of them."""

from __future__ import annotations

from collections.abc import Iterable

from solver.errors import InfeasibleError, TimeTooShortError

_WORDS = "internal error"


class InternalError(RuntimeError):
    """ppopt made a schedule that breaks a rule, or failed in another way: a bug in ppopt."""


def as_internal(name: object, error: Exception) -> InternalError:
    """Turn any unexpected error of a schedule into a one-line error that names the schedule.

    Raises
    ------
    Exception
        The error itself, if it is an answer for the user and not a bug.
    """
    if isinstance(error, (InfeasibleError, TimeTooShortError)):
        raise error
    text = str(error) if isinstance(error, InternalError) else f"{type(error).__name__}: {error}"
    made = InternalError(f"{name}: {'; '.join(text.removeprefix(f'{name}: ').splitlines())}")
    made.__cause__ = error
    return made


def as_reason(name: object, error: Exception) -> str:
    """Say why a schedule with an internal error is left out.

    Raises
    ------
    Exception
        As for `as_internal`.
    """
    return f"{_WORDS}: {str(as_internal(name, error)).removeprefix(f'{name}: ')}"


def internal_errors(left_out: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List the internal errors among schedules left out, given by name and reason; one line each."""
    ours = ((name, reason) for name, reason in left_out if reason.startswith(_WORDS))
    return tuple(f"{name}{reason.removeprefix(_WORDS)}" for name, reason in ours)
