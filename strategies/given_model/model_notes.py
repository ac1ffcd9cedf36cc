"""Notes for the user on how a model was taken: re-partitioned, in unusual chunks, or with backward halves assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from statistics import median

from solver.counted import counted
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement

HEAVIER = Fraction(11, 10)
"""A stage counts as heavier than the others if its F + B exceeds this multiple of their median; less may be noise."""


def recut_notes(name: str, before: Pipeline, placement: Placement) -> Iterator[str]:
    """Say that a schedule runs the model in a different number of stages than given, and what that makes lighter.

    Parameters
    ----------
    name : str
        The schedule's name.
    before : Pipeline
        The model in its given stages.
    placement : Placement
        The placement of the new stages.
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


def open_stages_note(stages: int, devices: int) -> str:
    """Say that times are read as those of a schedule's own stages, which another schedule beside it may change."""
    return (
        f"stages is not given, so times are read as those of {stages} stages; beside a schedule of "
        f"{counted(devices, 'stage')} they are read as those of {devices}"
    )


def split_stage_notes(before: Pipeline, homes: Sequence[int]) -> Iterator[str]:
    """Name the stages that are heavier than the others and lie on several devices in a new cut.

    Re-partitioning takes half of a stage to be half as heavy. But the part that makes a stage heavy, such as an LM
    head, cannot be halved in reality, so the new cut looks better than any real one.

    Parameters
    ----------
    before : Pipeline
        The model in its given stages.
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
    """Yield each stage that is heavier than the others, with its F + B as a multiple of their median."""
    work = [cost.forward + cost.backward for cost in pipeline.work]
    for stage, own in enumerate(work):
        others = [*work[:stage], *work[stage + 1 :]]
        if others and own > HEAVIER * (usual := median(others)):
            yield stage, own / usual


def _moved(stage: int, old: int, homes: Sequence[int]) -> Fraction:
    """Return the fraction of one of ``old`` stages that lies outside the device that holds most of it."""
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
    """Say that a pipeline with split backwards was given without their halves."""
    if pipeline.halves_are_assumed:
        yield HALVES


def chunks_notes(strategy: Strategy, given: Pipeline, cut: Pipeline, *, as_given: bool) -> Iterator[str]:
    """Say if a schedule that takes any number of stages per device does not run its usual number.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    given, cut : Pipeline
        The model in its given stages, and in the stages that the schedule runs.
    as_given : bool
        Whether that number is the model's own, not one chosen for this schedule.
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
