"""What a sweep runs on each configuration: a published schedule, a file, or a search.

What searches is loaded when a grid has a search: each worker would wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from ppopt.comparison.ladders import freedom_of, simple_bound
from ppopt.evaluation.evaluate import evaluate
from ppopt.evaluation.order_files import read_named
from ppopt.result import Schedule
from solver.errors import InputError
from strategies.given_order import GivenOrder
from strategies.numbers import in_one_line, shown
from strategies.orders import parse_strategy
from strategies.pipeline import Pipeline
from strategies.stages import GivenModel


class Effort(NamedTuple):
    """How long a search may take, and what seeds it."""

    seconds: float
    seed: int


@dataclass(frozen=True)
class Run:
    """Something that is run on each configuration.

    Attributes
    ----------
    kind : str
        A name in `KINDS`, or ``evaluate``.
    name : str
        What it is called in the results, and what is evaluated.
    options : tuple of (str, object)
        What a search was told.
    order : GivenOrder or None
        What was read from a schedule file.
    """

    kind: str
    name: str
    options: tuple[tuple[str, Any], ...] = ()
    order: GivenOrder | None = None

    @property
    def is_search(self) -> bool:
        """Whether it takes as long as it may."""
        return self.kind in KINDS

    def execute(self, pipeline: Pipeline, effort: Effort) -> Schedule:
        """Run it.

        Raises
        ------
        InputError
            If it does not fit the pipeline.
        InfeasibleError
            If no schedule fits the memory.
        """
        if self.is_search:
            return KINDS[self.kind].execute(pipeline, effort, dict(self.options))
        schedule = evaluate(pipeline, self.order or self.name, engine="graph")
        return replace(schedule, bound=float(simple_bound(freedom_of(schedule))))


class Kind(NamedTuple):
    """A kind of search.

    Attributes
    ----------
    read : callable
        ``read(value)`` reads what is written behind its word, as options, and refuses what is wrong.
    execute : callable
        ``execute(pipeline, effort, options)`` runs it.
    placements : callable
        ``placements(options)`` lists what is searched, to choose for how many stages open times are meant.
    """

    read: Callable[[object], dict[str, Any]]
    execute: Callable[[Pipeline, Effort, dict[str, Any]], Schedule]
    placements: Callable[[dict[str, Any]], Sequence[str]]


_OPTIMIZE = ("placement", "split_backward", "overlap", "objective")


def _read_optimize(value: object) -> dict[str, Any]:
    options: dict[str, Any] = {"placement": value} if not isinstance(value, Mapping) else dict(value)
    for key in options:
        if key not in _OPTIMIZE:
            near = get_close_matches(str(key), _OPTIMIZE, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{shown(key)} is not an option of a search{hint}; allowed are {', '.join(_OPTIMIZE)}")
    if not isinstance(options.get("placement", ""), str):
        raise InputError(f"placement: must be a name; found {shown(options['placement'])}")
    for key in ("split_backward", "overlap"):
        if not isinstance(options.get(key, False), bool):
            raise InputError(f"{key}: must be true or false; found {shown(options[key])}")
    _searched(options)
    return options


def _optimize(pipeline: Pipeline, effort: Effort, options: dict[str, Any]) -> Schedule:
    from ppopt.optimization.optimize import optimize

    return optimize(pipeline, **options, time_limit=effort.seconds, workers=1, seed=effort.seed)


def _searched(options: dict[str, Any]) -> Sequence[str]:
    from ppopt.optimization.optimize import SearchOptions

    return SearchOptions(**options).placements


KINDS: dict[str, Kind] = {"optimize": Kind(_read_optimize, _optimize, _searched)}
"""The searches, by the word that a grid has for them; all else under ``run`` names schedules."""


def read_runs(value: object) -> tuple[Run, ...]:
    """Read what is to be run.

    Parameters
    ----------
    value : str, mapping or sequence of them
        ``1f1b``, ``interleaved:stages=16``, the path of a schedule file, ``optimize: v``.

    Raises
    ------
    InputError
        With a line for each that is wrong.
    """
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    runs: dict[str, Run] = {}
    mistakes: list[str] = []
    for item in items:
        try:
            run = _read_run(item)
        except InputError as error:
            mistakes += [f"run: {line.removeprefix('strategy: ')}" for line in str(error).split("\n")]
            continue
        if run.name in runs:
            mistakes.append(f"run: {run.name} is named twice")
        runs[run.name] = run
    if not items or value is None:
        mistakes.append("run: is missing; name what is run on each configuration, such as run: [1f1b, zb1p]")
    if mistakes:
        raise InputError("\n".join(mistakes))
    return tuple(runs.values())


def _read_run(item: object) -> Run:
    if isinstance(item, str) and (word := item.partition(":")[0].strip()) in KINDS:
        item = {word: item.partition(":")[2].strip() or "linear"}
    if isinstance(item, Mapping):
        return _read_search(item)
    if not isinstance(item, (str, os.PathLike)):
        raise InputError(f"must be a schedule or a search; found {shown(item)}")
    read = read_named(item)
    if isinstance(read, GivenOrder):
        return Run("evaluate", read.name, order=read)
    strategy, options = parse_strategy(read)
    written = ",".join(f"{key}={options[key]}" for key in sorted(options))
    return Run("evaluate", f"{strategy.name}:{written}" if written else strategy.name)


def _read_search(item: Mapping[Any, Any]) -> Run:
    if len(item) != 1:
        raise InputError(f"a search is one word with what is searched, such as optimize: v; found {shown(dict(item))}")
    word, value = next(iter(item.items()))
    if word not in KINDS:
        near = get_close_matches(str(word), KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{in_one_line(str(word)[:40])} is no search{hint}; allowed are {', '.join(KINDS)}")
    try:
        options = KINDS[word].read(value)
    except InputError as error:
        raise InputError(f"{word}: {error}") from None
    rest = [f"{key}={str(inner).lower()}" for key, inner in sorted(options.items()) if key != "placement"]
    return Run(word, f"{word}:" + ",".join([options.get("placement", "linear"), *rest]), tuple(sorted(options.items())))


def stages_of_times(pipeline: Pipeline, runs: Sequence[Run]) -> int | None:
    """Return for how many stages open times are meant, so that all runs are of one model; see `GivenModel`."""
    names = [run.order or run.name for run in runs if not run.is_search]
    placements = [name for run in runs if run.is_search for name in KINDS[run.kind].placements(dict(run.options))]
    return GivenModel.of_several(pipeline, names, placements).times_of
