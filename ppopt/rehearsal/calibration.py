"""Costs from one step of a rehearsal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from statistics import fmean
from typing import cast

from ppopt.profiling.measurement import MeasuredAction
from ppopt.rehearsal.prediction import with_costs
from solver.problem import Problem
from strategies.model.actions import Op
from strategies.model.backward_halves import SPLIT_TOLERANCE
from strategies.model.communication import Communication
from strategies.model.pipeline import Pipeline

CLEARLY = 1.0
"""Milliseconds: a result sent at least this much before its consumer needed it did not delay the consumer."""

HAIR = 1e-6
"""A relative difference that keeps each part of a backward shorter than the whole."""


@dataclass
class Calibration:
    """The costs measured in one step, in milliseconds.

    Attributes
    ----------
    durations : dict of (int, str) to float
        The mean for each stage and kind.
    between : dict of (int, str) to float
        The time that the runtime needs after such an action, before the device's next one can start: it sends results
        and posts receives. A trimmed mean.
    latency : float
        The time after that until a result reaches the device that waits for it. A trimmed mean.
    excess : float
        The difference between this time and the requested latency, hop by hop. A trimmed mean.
    """

    durations: dict[tuple[int, str], float]
    between: dict[tuple[int, str], float]
    latency: float
    excess: float = 0.0

    def lasts(self, stage: int, kind: str) -> float | None:
        """Return how long an action occupies its device, including the runtime's work after it."""
        duration = self.durations.get((stage, kind))
        return None if duration is None else duration + self.between[stage, kind]


@dataclass
class _Gaps:
    """The gaps between actions, by cause."""

    between: dict[tuple[int, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    under_way: list[tuple[tuple[int, str], float, float]] = field(default_factory=list)


def calibrate(
    actions: Sequence[MeasuredAction],
    problem: Problem,
    least_latency: float,
    *,
    milliseconds_per_tick: float = 0.0,
    held_up: Container[Op] = (),
) -> Calibration:
    """Derive the costs from one step.

    Parameters
    ----------
    actions : sequence of MeasuredAction
        All actions of the step.
    problem : Problem
        The dependencies.
    least_latency : float
        The longest requested latency, in milliseconds.
    milliseconds_per_tick : float
        Milliseconds per tick of the problem; 0 if all hops have that latency.
    held_up : container of Op
        The producers of results that had to wait for others, and so do not show how long a transfer takes.
    """
    durations: dict[tuple[int, str], list[float]] = defaultdict(list)
    for each in actions:
        durations[each.stage, each.kind].append(each.end - each.start)
    lags = _asked_for(problem, milliseconds_per_tick) if milliseconds_per_tick else {}
    gaps = _gaps(actions, problem, CLEARLY + least_latency, lags, held_up)
    everything = [gap for each in gaps.between.values() for gap in each]
    usual = trimmed_mean(everything) if everything else 0.0
    between = {key: trimmed_mean(gaps.between.get(key) or [usual]) for key in durations}
    transfers = [gap - between[key] for key, gap, _ in gaps.under_way]
    excesses = [gap - between[key] - (lag if lags else least_latency) for key, gap, lag in gaps.under_way]
    return Calibration(
        durations={key: fmean(values) for key, values in durations.items()},
        between=between,
        latency=max(0.0, trimmed_mean(transfers)) if transfers else least_latency,
        excess=trimmed_mean(excesses) if excesses else 0.0,
    )


def _asked_for(problem: Problem, milliseconds_per_tick: float) -> dict[Op, float]:
    """Look up how long each operation's input should take from another device, in milliseconds."""
    return {
        cast("Op", after): lag * milliseconds_per_tick
        for before, after, lag in problem.precedences
        if problem.tasks[before].device != problem.tasks[after].device
    }


def trimmed_mean(values: Sequence[float]) -> float:
    """Average without the largest and the smallest eighth.

    A path through the schedule adds up these times; a median would underestimate the sum if most are short and some
    long.
    """
    left_out = len(values) // 8
    return fmean(sorted(values)[left_out : len(values) - left_out])


def _gaps(
    actions: Sequence[MeasuredAction],
    problem: Problem,
    clearly: float,
    lags: Mapping[Op, float],
    held_up: Container[Op],
) -> _Gaps:
    measured = {Op(each.stage, each.kind, each.microbatch): each for each in actions}
    source = {
        after: measured[cast("Op", before)]
        for before, after, _ in problem.precedences
        if problem.tasks[before].device != problem.tasks[after].device
    }
    gaps = _Gaps()
    for before, after in _neighbours(actions):
        producer = source.get(Op(after.stage, after.kind, after.microbatch))
        if producer is not None and Op(producer.stage, producer.kind, producer.microbatch) in held_up:
            continue
        if producer is not None and producer.end > before.end:
            lag = lags.get(Op(after.stage, after.kind, after.microbatch), 0.0)
            gaps.under_way.append(((producer.stage, producer.kind), after.start - producer.end, lag))
        elif producer is None or producer.end < before.end - clearly:
            gaps.between[before.stage, before.kind].append(after.start - before.end)
    return gaps


def _neighbours(actions: Sequence[MeasuredAction]) -> Iterator[tuple[MeasuredAction, MeasuredAction]]:
    by_device: dict[int, list[MeasuredAction]] = defaultdict(list)
    for each in actions:
        by_device[each.device].append(each)
    for of_device in by_device.values():
        yield from pairwise(sorted(of_device, key=lambda each: each.start))


def calibrated_pipeline(pipeline: Pipeline, calibration: Calibration, unit: float, *, queued: bool = False) -> Pipeline:
    """Put measured costs into a pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, whose sizes and memory are kept.
    calibration : Calibration
        The costs, in milliseconds.
    unit : float
        Milliseconds per unit of the pipeline's time.
    queued : bool
        Whether transfers wait for each other: their excess over the requested time then occupies their queues.
    """
    times: dict[str, list[Fraction]] = defaultdict(list)
    for stage in range(len(pipeline.costs)):
        parts = _backward_of(calibration, stage)
        forward = calibration.lasts(stage, "F")
        assert forward is not None
        for key, value in zip(_KEYS, (forward, *parts), strict=True):
            times[key].append(_exact(value, unit))
    as_measured = pipeline.as_stages().model_copy(update={"overhead": None, "slowdown": None})  # times contain them
    changed = with_costs(as_measured, dict(times))
    if pipeline.communication is None and not queued:
        return changed.model_copy(update={"p2p_latency": _exact(calibration.latency, unit)})
    given = pipeline.communication or Communication(latency=pipeline.p2p_latency)
    longer = given.lengthened(_exact_difference(calibration.excess, unit), on_link=queued)
    return changed.model_copy(update={"p2p_latency": Fraction(0), "communication": longer})


_KEYS = ("forward", "backward", "backward_input", "backward_weight")


def _backward_of(calibration: Calibration, stage: int) -> tuple[float, float, float]:
    """Return B, I and W of a stage; fill in those that did not run, and adjust values that a pipeline would refuse."""
    whole, to_input, to_weight = (calibration.lasts(stage, kind) for kind in "BIW")
    if to_input is None or to_weight is None:
        assert whole is not None
        return whole, whole / 2, whole / 2
    both = to_input + to_weight
    if whole is None:
        return both, to_input, to_weight
    tolerance = float(SPLIT_TOLERANCE)
    least = max(both / (1 + tolerance), max(to_input, to_weight)) * (1 + HAIR)
    return min(max(whole, least), both / (1 - tolerance) * (1 - HAIR)), to_input, to_weight


def _exact_difference(milliseconds: float, unit: float) -> Fraction:
    return Fraction(round(milliseconds * 1e6)) / (Fraction(unit) * 10**6)


def _exact(milliseconds: float, unit: float) -> Fraction:
    """Return a time in a pipeline's unit, rounded to nanoseconds: exact replays need small denominators."""
    return Fraction(max(0, round(milliseconds * 1e6))) / (Fraction(unit) * 10**6)
