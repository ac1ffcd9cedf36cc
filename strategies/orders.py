"""From a schedule's rule to the orders of its devices, on a pipeline cut to fit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solver.errors import InputError
from strategies.actions import PipelineAction
from strategies.counting import count_microbatches
from strategies.pipeline import MOST_OPS, Pipeline
from strategies.placements import Placement, make_placement
from strategies.registry import Strategy, find_strategy


def parse_strategy(text: str) -> tuple[Strategy, dict[str, int]]:
    """Read a strategy with options: ``interleaved:group_size=2,stages=8``.

    Returns
    -------
    strategy : Strategy
        The schedule.
    options : dict of str to int
        Its options; ``stages`` cuts the model for any of them.

    Raises
    ------
    InputError
        If the name or an option is not known, or a value is not a whole number of at least 1.
    """
    name, _, tail = text.partition(":")
    strategy = find_strategy(name)
    options: dict[str, int] = {}
    for part in filter(None, tail.split(",")):
        key, _, value = part.partition("=")
        options[key.strip().replace("-", "_")] = _whole_number(f"{strategy.name}:{key}", value)
    check_options(strategy, options)
    return strategy, options


def check_options(strategy: Strategy, options: dict[str, Any]) -> None:
    """Refuse options that a schedule does not take."""
    allowed = [*strategy.options, "stages"]
    for key, value in options.items():
        if key not in allowed:
            raise InputError(f"{strategy.name}:{key}: is not an option; allowed are {', '.join(allowed)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{strategy.name}:{key}: must be a whole number of at least 1; found {value!r}")


def _whole_number(where: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{where}: must be a whole number of at least 1; found {text[:40]!r}")
    return int(text)


def cut_for(strategy: Strategy, pipeline: Pipeline, *, stages: int | None = None, base: int | None = None) -> Pipeline:
    """Cut a pipeline's model into as many stages as a schedule needs.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    pipeline : Pipeline
        The model; its stages are kept if they fit the schedule.
    stages : int, optional
        Cut into this many, wished by the user.
    base : int, optional
        Where the pipeline leaves the number of stages open: for how many stages its times are meant. Without it, they
        are meant for as many as the schedule needs.

    Raises
    ------
    InputError
        If the schedule cannot take the pipeline or the number of stages.
    """
    needs = strategy.requirements
    if unmet := needs.unmet(strategy.name, pipeline):
        raise InputError(unmet)
    if stages is not None and not needs.takes_stages(stages, pipeline.devices):
        fits = needs.default_stages(pipeline.devices)
        raise InputError(f"{strategy.name}:stages: {stages} do not fit {pipeline.devices} devices; {fits} do")
    wanted = stages or needs.default_stages(pipeline.devices)
    if pipeline.stages is None:
        return pipeline.with_stages(base or wanted).recut(wanted)
    if stages is None and needs.takes_stages(pipeline.stages, pipeline.devices):
        return pipeline
    return pipeline.recut(wanted)


def make_orders(
    strategy: Strategy, pipeline: Pipeline, options: dict[str, int] | None = None
) -> tuple[Placement, list[list[PipelineAction]]]:
    """Write out what each device does.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    pipeline : Pipeline
        Cut to fit it, see `cut_for`.
    options : dict, optional
        The schedule's own options.

    Returns
    -------
    placement : Placement
        Which device holds which stage.
    orders : list of list of Op or Block
        The actions of each device.
    """
    assert pipeline.stages is not None
    refuse_too_large(strategy, pipeline.stages, pipeline.microbatches)
    placement = make_placement(strategy.placement, pipeline.devices, pipeline.stages, pipeline.microbatches)
    orders = [_order_of(strategy, pipeline, device, placement, options or {}) for device in range(pipeline.devices)]
    return placement, orders


def _order_of(
    strategy: Strategy, pipeline: Pipeline, device: int, placement: Placement, options: dict[str, int]
) -> list[PipelineAction]:
    try:
        return list(count_microbatches(strategy(pipeline, device, **options), placement.local_stages[device]))
    except InputError as error:
        raise InputError(f"{strategy.name}, device {device}: {error}") from None


def refuse_too_large(strategy: Strategy, stages: int, microbatches: int) -> None:
    """Refuse a schedule with more operations than can be replayed."""
    ops = (3 if strategy.splits_backward else 2) * stages * microbatches
    if ops > MOST_OPS:
        raise InputError(
            f"{strategy.name}: {stages:,} stages × {microbatches:,} microbatches are {ops:,} operations; "
            f"at most {MOST_OPS:,} are taken"
        )


def actions_as_text(orders: Sequence[Sequence[PipelineAction]]) -> list[list[str]]:
    """Write orders in PyTorch's grammar."""
    return [[str(action) for action in order] for order in orders]
