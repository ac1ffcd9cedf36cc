"""All that a framework runs of its own on a pipeline: its schedules with their options and numbers of stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import inf
from time import perf_counter

from ppopt.evaluation.evaluate import evaluate_with
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from solver.states import EngineChoice
from strategies.given_model.stages import GivenModel
from strategies.language.orders import parse_strategy
from strategies.language.registry import Strategy, all_strategies
from strategies.layouts.runs_in import Framework

CHUNKS = (2, 3, 4)
"""Stages per device tried with schedules that take any number."""


def schedules_of(
    model: GivenModel, framework: Framework, engine: EngineChoice = "graph", until: float = inf
) -> Iterator[Schedule]:
    """Replay each schedule of a framework with its defaults, then with other options and numbers of stages.

    Parameters
    ----------
    model : GivenModel
        The costs.
    framework : Framework
        The framework.
    engine : {"auto", "cpsat", "graph"}
        As for `ppopt.evaluate`.
    until : float
        On the clock of `time.perf_counter`; after it, nothing more is replayed once something was.

    Yields
    ------
    Schedule
        Those that run on the pipeline and in the framework.
    """
    found = False
    for name in framework.schedules:
        for label in _labels(model, all_strategies()[name]):
            if found and perf_counter() > until:
                return
            with suppress(InputError):
                made = evaluate_with(model, label, engine, {}, cured=False)
                if not framework.why_not(made.strategy, made.layout):
                    found = True
                    yield made


def _labels(model: GivenModel, strategy: Strategy) -> Iterator[str]:
    """Write a schedule with its defaults, then with other numbers of stages and options."""
    yield strategy.name
    needs, devices = strategy.requirements, model.pipeline.devices
    counts: Sequence[int | None] = [None]
    if needs.stages_per_device is None:
        counts = [count * devices for count in CHUNKS if count % needs.stages_come_in == 0]
    for stages in counts:
        chosen = {} if stages is None else {"stages": stages}
        with suppress(InputError):
            pipeline = model.for_strategy(strategy, chosen).pipeline
            for options in strategy.variants(pipeline):
                written = ",".join(f"{key}={value}" for key, value in {**options, **chosen}.items())
                if written:
                    yield f"{strategy.name}:{written}"


def best_of_each(schedules: Sequence[Schedule]) -> list[Schedule]:
    """Choose the shortest variant of each schedule that may win, or else the shortest; of equals the first."""
    best: dict[str, Schedule] = {}
    for each in schedules:
        name = parse_strategy(each.strategy)[0].name
        if name not in best or _rank(each) < _rank(best[name]):
            best[name] = each
    return list(best.values())


def _rank(schedule: Schedule) -> tuple[bool, bool, float]:
    return not schedule.may_win, not schedule.fits, schedule.makespan
