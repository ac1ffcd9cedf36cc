"""The runs of a sweep on each configuration: a published schedule, a file, or a search.

The search modules are loaded only if a grid has a search; otherwise each worker would wait for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from ppopt.evaluation.evaluate import evaluate
from ppopt.optimization.ladders import freedom_of, simple_bound
from ppopt.schedules.order_files import read_named
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from strategies.given_model.stages import GivenModel
from strategies.language.orders import parse_strategy
from strategies.model.numbers import in_one_line, shown
from strategies.model.pipeline import Pipeline
from strategies.order_files.given_order import GivenOrder


class Effort(NamedTuple):
    """The time limit and the seed of a search."""

    seconds: float
    seed: int


@dataclass(frozen=True)
class SweepRun:
    """A run on each configuration.

    Attributes
    ----------
    kind : str
        A name in `KINDS`, or ``evaluate``.
    name : str
        Its name in the results; also the strategy to evaluate.
    options : tuple of (str, object)
        The options of a search.
    order : GivenOrder or None
        The order read from a schedule file.
    """

    kind: str
    name: str
    options: tuple[tuple[str, Any], ...] = ()
    order: GivenOrder | None = None

    @property
    def is_search(self) -> bool:
        """Whether it is a search, which uses its whole time limit."""
        return self.kind in KINDS

    def execute(self, pipeline: Pipeline, effort: Effort) -> Schedule:
        """Run it on a pipeline.

        Raises
        ------
        InputError
            If the run does not fit the pipeline.
        InfeasibleError
            If no schedule fits the memory.
        """
        if self.is_search:
            return KINDS[self.kind].execute(pipeline, effort, dict(self.options))
        schedule = evaluate(pipeline, self.order or self.name, engine="graph")
        return replace(schedule, proven=simple_bound(freedom_of(schedule)))


class Kind(NamedTuple):
    """A kind of search.

    Attributes
    ----------
    subject : str
        The option that a bare value sets, and that the name begins with.
    allowed : tuple of str
        All its options.
    check : callable
        ``check(options)`` refuses wrong options.
    execute : callable
        ``execute(pipeline, effort, options)`` runs the search.
    placements : callable
        ``placements(options)`` lists the searched placements, to choose the number of stages for open times.
    """

    subject: str
    allowed: tuple[str, ...]
    check: Callable[[dict[str, Any]], object]
    execute: Callable[[Pipeline, Effort, dict[str, Any]], Schedule]
    placements: Callable[[dict[str, Any]], Sequence[str]]


def _check_optimize(options: dict[str, Any]) -> None:
    for key in ("split_backward", "overlap"):
        if not isinstance(options.get(key, False), bool):
            raise InputError(f"{key}: must be true or false; found {shown(options[key])}")
    _searched(options)


def _optimize(pipeline: Pipeline, effort: Effort, options: dict[str, Any]) -> Schedule:
    from ppopt.optimization.optimize import optimize

    return optimize(pipeline, **options, time_limit=effort.seconds, workers=1, seed=effort.seed)


def _searched(options: dict[str, Any]) -> Sequence[str]:
    from ppopt.optimization.options import SearchOptions

    return SearchOptions(**options).placements


def _check_plan(options: dict[str, Any]) -> None:
    from ppopt.planning.options import PlanOptions, read_stages_per_device

    known = {key: value for key, value in options.items() if key not in ("strategy", "stages_per_device")}
    PlanOptions(strategies=[read_named(options.get("strategy", "1f1b"))], **known)
    read_stages_per_device(options.get("stages_per_device"))


def _plan(pipeline: Pipeline, effort: Effort, options: dict[str, Any]) -> Schedule:
    from ppopt.planning.planning import plan

    if pipeline.layers is None:
        raise InputError("plan: needs layers, and this pipeline gives the times of its stages")
    strategies = [options["strategy"]] if "strategy" in options else None
    told = {key: value for key, value in options.items() if key != "strategy"}
    planning = plan(pipeline, strategies, **told, time_limit=effort.seconds, workers=1, seed=effort.seed)
    if planning.best is None:
        reasons = [each.reason for each in planning.unplanned] + [reason for _, reason in planning.left_out]
        raise InputError(f"plan: {'; '.join(reasons) or 'no cut was found in the time given'}")
    best = planning.best
    interrupted = planning.interrupted
    return replace(best.schedule, proven=best.bound, status=best.status, interrupted=interrupted)


def _nowhere(_options: dict[str, Any]) -> Sequence[str]:
    return ()


_OF_PLANS = ("strategy", "stages_per_device", "free", "placement", "split_backward", "recompute", "empty_stages")

KINDS: dict[str, Kind] = {
    "optimize": Kind(
        "placement", ("placement", "split_backward", "overlap", "objective"), _check_optimize, _optimize, _searched
    ),
    "plan": Kind("strategy", _OF_PLANS, _check_plan, _plan, _nowhere),
}
"""The searches, by their keyword in a grid; everything else under ``run`` names schedules."""


def read_runs(value: object) -> tuple[SweepRun, ...]:
    """Read the runs of a grid.

    Parameters
    ----------
    value : str, mapping or sequence of them
        ``1f1b``, ``interleaved:stages=16``, the path of a schedule file, ``optimize: v``.

    Raises
    ------
    InputError
        With one line per wrong run.
    """
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    runs: dict[str, SweepRun] = {}
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


def _read_run(item: object) -> SweepRun:
    if isinstance(item, str) and (word := item.partition(":")[0].strip()) in KINDS:
        item = {word: item.partition(":")[2].strip() or {}}
    if isinstance(item, Mapping):
        return _read_search(item)
    if not isinstance(item, (str, os.PathLike)):
        raise InputError(f"must be a schedule or a search; found {shown(item)}")
    read = read_named(item)
    if isinstance(read, GivenOrder):
        return SweepRun("evaluate", read.name, order=read)
    strategy, options = parse_strategy(read)
    written = ",".join(f"{key}={options[key]}" for key in sorted(options))
    return SweepRun("evaluate", f"{strategy.name}:{written}" if written else strategy.name)


def _read_search(item: Mapping[Any, Any]) -> SweepRun:
    if len(item) != 1:
        raise InputError(f"a search is one word with what is searched, such as optimize: v; found {shown(dict(item))}")
    word, value = next(iter(item.items()))
    if word not in KINDS:
        near = get_close_matches(str(word), KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{in_one_line(str(word)[:40])} is no search{hint}; allowed are {', '.join(KINDS)}")
    kind = KINDS[word]
    options: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {kind.subject: value}
    try:
        _refuse_unknown(options, kind)
        kind.check(options)
    except InputError as error:
        raise InputError(f"{word}: {error}") from None
    rest = [f"{key}={str(inner).lower()}" for key, inner in sorted(options.items()) if key != kind.subject]
    subject = [options[kind.subject]] if kind.subject in options else []
    return SweepRun(word, f"{word}:" + ",".join([*subject, *rest]), tuple(sorted(options.items())))


def _refuse_unknown(options: Mapping[Any, Any], kind: Kind) -> None:
    for key in options:
        if key not in kind.allowed:
            near = get_close_matches(str(key), kind.allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{shown(key)} is not an option of it{hint}; allowed are {', '.join(kind.allowed)}")
    if not isinstance(options.get(kind.subject, ""), str):
        raise InputError(f"{kind.subject}: must be a name; found {shown(options[kind.subject])}")


def stages_of_times(pipeline: Pipeline, runs: Sequence[SweepRun]) -> int | None:
    """Return the number of stages that open times are meant for, so that all runs share one model; see `GivenModel`."""
    names = [run.order or run.name for run in runs if not run.is_search]
    placements = [name for run in runs if run.is_search for name in KINDS[run.kind].placements(dict(run.options))]
    return GivenModel.of_several(pipeline, names, placements).times_of if names or placements else None
