"""Faults of ours: named beside the results of everything else, and never in their place."""

from __future__ import annotations

from collections.abc import Iterable

from solver.errors import InfeasibleError, TimeTooShortError

_WORDS = "internal error"


class InternalError(RuntimeError):
    """ppopt made a schedule that breaks a rule, or failed in another way; the fault is ours."""


def as_internal(name: object, error: Exception) -> InternalError:
    """Make of whatever went wrong with a schedule an error of one line that names it.

    Raises
    ------
    Exception
        The error itself, where it is an answer to the user and no fault.
    """
    if isinstance(error, (InfeasibleError, TimeTooShortError)):
        raise error
    text = str(error) if isinstance(error, InternalError) else f"{type(error).__name__}: {error}"
    made = InternalError(f"{name}: {'; '.join(text.removeprefix(f'{name}: ').splitlines())}")
    made.__cause__ = error
    return made


def as_reason(name: object, error: Exception) -> str:
    """Say why a schedule is left out with which something went wrong by our fault.

    Raises
    ------
    Exception
        As for `as_internal`.
    """
    return f"{_WORDS}: {str(as_internal(name, error)).removeprefix(f'{name}: ')}"


def internal_errors(left_out: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List those of what was left out, by name and reason, that are our fault: a line each."""
    ours = ((name, reason) for name, reason in left_out if reason.startswith(_WORDS))
    return tuple(f"{name}{reason.removeprefix(_WORDS)}" for name, reason in ours)
