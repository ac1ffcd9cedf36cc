"""The schedules that a comparison evaluates, and its baseline."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os.path import realpath
from typing import Any

from ppopt.schedules.order_files import is_file, read_named
from solver.errors import InputError
from strategies.given_model.stages import with_virtual_stages
from strategies.language.orders import parse_strategy
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline
from strategies.order_files.given_order import GivenOrder, Named

DEFAULT_BASELINE = "1f1b"
NO_BASELINE = "none"


def each_once(names: Iterable[Any]) -> Iterator[Named]:
    """Drop repeated names of the same schedule with the same options; refuse wrong names.

    Raises
    ------
    InputError
        With everything that is wrong with the names.
    """
    seen: set[Hashable] = set()
    mistakes: list[str] = []
    for name in names:
        try:
            read = read_named(name)
        except InputError as error:
            mistakes.append(str(error))
            continue
        key = identity(read)
        if key not in seen:
            seen.add(key)
            yield read
    if mistakes:
        raise InputError("\n".join(mistakes))


def identity(name: Named) -> Hashable:
    """Return a key shared by all names of a schedule with the same options, or of a file."""
    if isinstance(name, GivenOrder):
        return realpath(name.name)
    strategy, options = parse_strategy(name)
    return strategy.name, frozenset(options.items())


def read_exclusions(exclude: object) -> frozenset[Hashable]:
    """Read the exclusions: files, schedules with the given options, or schedules with any options.

    Parameters
    ----------
    exclude : iterable of str or path
        The names.

    Raises
    ------
    InputError
        With all unknown names.
    """
    if isinstance(exclude, (str, bytes)) or not isinstance(exclude, Iterable):
        raise InputError(f"exclude: must be a list of names; found {shown(exclude)}")
    left_out: set[Hashable] = set()
    mistakes: list[str] = []
    for name in exclude:
        try:
            left_out.add(_excluded(name))
        except InputError as error:
            mistakes.append(_about("exclude", error))
    if mistakes:
        raise InputError("\n".join(mistakes))
    return frozenset(left_out)


def without(names: Iterable[Named], exclusions: frozenset[Hashable]) -> list[Named]:
    """Drop the names that `read_exclusions` read."""
    return [name for name in names if exclusions.isdisjoint(_ways_to_exclude(name))]


def _excluded(name: Any) -> Hashable:
    """Read one exclusion; a file need not exist."""
    if isinstance(name, GivenOrder):
        return identity(name)
    if is_file(name):
        return str(realpath(name))
    strategy, options = parse_strategy(name)
    return identity(name) if options else strategy.name


def _ways_to_exclude(name: Named) -> list[Hashable]:
    return [identity(name)] if isinstance(name, GivenOrder) else [identity(name), parse_strategy(name)[0].name]


@dataclass(frozen=True)
class Baseline:
    """The schedule that all others are compared with.

    Attributes
    ----------
    name : str, GivenOrder or None
        The schedule; None for none.
    is_asked_for : bool
        Whether the user named it.
    """

    name: Named | None
    is_asked_for: bool = False


def read_baseline(baseline: Any) -> Named | None:
    """Read the baseline; None for ``none``.

    Raises
    ------
    InputError
        If it is unknown.
    """
    if isinstance(baseline, str) and baseline.strip().lower() == NO_BASELINE:
        return None
    try:
        return read_named(baseline)
    except InputError as error:
        raise InputError(_about("baseline", error)) from None


def _about(argument: str, error: InputError) -> str:
    return "\n".join(f"{argument}: {line.removeprefix('strategy: ')}" for line in str(error).split("\n"))


def choose_baseline(
    baseline: Any, names: Sequence[Named], exclusions: frozenset[Hashable], pipeline: Pipeline
) -> Baseline:
    """Choose the baseline.

    Parameters
    ----------
    baseline : str, path or None
        The user's choice, with or without the number of stages that it has among the names; None for 1f1b if it is
        among them, ``none`` for no baseline.
    names : sequence of str or GivenOrder
        The schedules to evaluate.
    exclusions : frozenset
        The exclusions, as `read_exclusions` returns them.
    pipeline : Pipeline
        The model.

    Raises
    ------
    InputError
        If it is unknown or excluded.
    """
    if baseline is None:
        return Baseline(next((name for name in names if identity(name) == identity(DEFAULT_BASELINE)), None))
    read = read_baseline(baseline)
    if read is None:
        return Baseline(None)
    usual = with_virtual_stages(read, pipeline) if isinstance(read, str) else read
    if not without([read, usual], exclusions):
        raise InputError(f"baseline: {read} is excluded; nothing can be compared with it")
    for wanted in (identity(read), identity(usual)):
        if found := next((name for name in names if identity(name) == wanted), None):
            return Baseline(found, is_asked_for=True)
    return Baseline(usual, is_asked_for=True)
