"""What a user should know of how a model is taken: re-partitioned, in unusual pieces, or with halves not given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from statistics import median

from solver.counted import counted
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

HEAVIER = Fraction(11, 10)
"""A stage is heavier than the others if its F + B exceeds this multiple of their median: less is noise of a profile."""


def recut_notes(name: str, before: Pipeline, placement: Placement) -> Iterator[str]:
    """Say that a schedule runs a model in another number of stages than was given, and what that makes lighter.

    Parameters
    ----------
    name : str
        What the schedule is called.
    before : Pipeline
        The model in as many stages as were given.
    placement : Placement
        Of the stages that it was cut into.
    """
    old, new = before.stages or 0, len(placement.homes[0])
    if old == new:
        return
    if before.layers is not None:
        yield f"{name} runs {counted(new, 'stage')}: the same model, its layers spread evenly over them"
        return
    yield (
        f"{name} runs {counted(new, 'stage')}: the same model, re-partitioned from {counted(old, 'stage')} "
        "(times and activations shared out evenly)"
    )
    yield from split_stage_notes(before, placement.homes[0])


def split_stage_notes(before: Pipeline, homes: Sequence[int]) -> Iterator[str]:
    """Say which stages are heavier than the others and lie on several devices in a new cut.

    Half of a stage is taken to be half as heavy, while what makes it heavier than the others, an LM head for example,
    cannot be halved: the new cut looks better than any real one.

    Parameters
    ----------
    before : Pipeline
        The model in as many stages as were given.
    homes : sequence of int
        The device of each stage of the new cut.
    """
    old, new = before.stages or 0, len(homes)
    if before.layers is not None:
        return  # no layer is split
    for stage, ratio in _heavier(before):
        moved = _moved(stage, old, homes)
        if moved:
            yield (
                f"stage {stage} of {old} is {_times(ratio)} the others; cut into {new}, {_part(moved)} of its extra "
                "time was moved to another device: enter layers, or stages so fine that it stays whole"
            )


def _heavier(pipeline: Pipeline) -> Iterator[tuple[int, Fraction]]:
    """List the stages that are heavier than the others, and how many times."""
    work = [cost.forward + cost.backward for cost in pipeline.costs]
    for stage, own in enumerate(work):
        others = [*work[:stage], *work[stage + 1 :]]
        if others and own > HEAVIER * (usual := median(others)):
            yield stage, own / usual


def _moved(stage: int, old: int, homes: Sequence[int]) -> Fraction:
    """Compute which part of a stage, one of so many, lies elsewhere than on the device that holds most of it."""
    new = len(homes)
    held: dict[int, Fraction] = {}
    for place in range(stage * new // old, -(-(stage + 1) * new // old)):
        first, last = max(stage * new, place * old), min((stage + 1) * new, (place + 1) * old)
        held[homes[place]] = held.get(homes[place], Fraction(0)) + Fraction(last - first, new)
    return 1 - max(held.values())


def _times(ratio: Fraction) -> str:
    return f"{float(ratio):.1f}".removesuffix(".0") + " times"


def _part(part: Fraction) -> str:
    return "half" if part == Fraction(1, 2) else f"{float(part):.0%}"


HALVES = "backward is given without its halves: where it is split, I and W are assumed to be half of it each"

PLANNED = (
    "the cut of the layers is not given, so each schedule got a quick cut of its own; ppopt plan searches longer and "
    "proves its cut, --cut even spreads the layers evenly"
)

TWO_COPIES = "keeps two copies of the weights, which the peak memory does not include"


def halves_notes(pipeline: Pipeline) -> Iterator[str]:
    """Say of a pipeline whose backwards are split that their halves were not given."""
    if pipeline.halves_are_assumed:
        yield HALVES


def chunks_notes(strategy: Strategy, given: Pipeline, cut: Pipeline, *, as_given: bool) -> Iterator[str]:
    """Say where a schedule that takes any number of stages per device runs other than its usual one.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    given, cut : Pipeline
        The model in as many stages as were given, and as it runs.
    as_given : bool
        Whether that is the model's own number of stages, not one chosen for this schedule.
    """
    name, needs = strategy.name, strategy.requirements
    if needs.stages_per_device is not None or cut.devices == 1:
        return
    usual, chunks = needs.default_stages_per_device, cut.stages_per_device
    cure = f"{name}:stages={usual * cut.devices}"
    if given.stages == cut.devices and chunks == usual > 1:
        yield f"{name}:stages={cut.devices} keeps the one stage per device that is given"
    if chunks == 1 < usual:
        yield f"{name} has only one stage per device here; {cure} cuts each in two"
    if chunks > usual and as_given:
        all_stages = f"{name} runs all {cut.stages} stages as they were given"
        yield f"{all_stages}, {chunks} per device; {cure} runs {usual} per device"
