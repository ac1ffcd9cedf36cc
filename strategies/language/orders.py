"""Applies a schedule's rule to a pipeline that is cut to fit it, which gives the order of each device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solver.errors import InputError
from strategies.language.counting import count_microbatches
from strategies.language.registry import Strategy, find_strategy
from strategies.model.actions import OpNames, PipelineAction
from strategies.model.numbers import in_one_line, read_count, shown
from strategies.model.pipeline import Pipeline
from strategies.model.pipeline_fields import MOST_OPS
from strategies.model.placements import Placement, make_placement


def parse_strategy(text: str) -> tuple[Strategy, dict[str, int]]:
    """Parse a strategy with options, such as ``interleaved:group_size=2,stages=8``.

    Returns
    -------
    strategy : Strategy
        The schedule.
    options : dict of str to int
        Its options; every schedule takes ``stages``, which cuts the model.

    Raises
    ------
    InputError
        If the name or an option is not known, or a value is not a whole number of at least 1.
    """
    if not isinstance(text, str):
        raise InputError(f"strategy: must be a name; found {shown(text)}")
    name, _, tail = text.partition(":")
    strategy = find_strategy(name)
    options: dict[str, int] = {}
    for part in filter(str.strip, tail.split(",")):
        written, _, value = part.partition("=")
        key = in_one_line(written.strip().replace("-", "_"))
        if key in options:
            raise InputError(f"{strategy.name}:{key}: is given twice")
        options[key] = _whole_number(f"{strategy.name}:{key}", value.strip())
    return strategy, check_options(strategy, options)


def with_group_size(text: str, group_size: int | None) -> str:
    """Set a strategy's group size, if it has that option and the text does not set it.

    Parameters
    ----------
    text : str
        The strategy, possibly with options: ``interleaved:stages=8``.
    group_size : int or None
        The number of microbatches in a group.
    """
    strategy, options = parse_strategy(text)
    if group_size is None or "group_size" not in strategy.options or "group_size" in options:
        return text
    return with_option(text, f"group_size={group_size}")


def with_option(text: str, option: str) -> str:
    """Append an option, such as ``stages=8``, to a strategy that may already have some."""
    _, options = parse_strategy(text)
    joint = "," if options else "" if ":" in text else ":"
    return f"{text}{joint}{option}"


def check_options(strategy: Strategy, options: dict[str, Any]) -> dict[str, int]:
    """Refuse options that a schedule does not take, and drop those that are None."""
    allowed = [*strategy.options, "stages"]
    checked: dict[str, int] = {}
    for key, value in options.items():
        if key not in allowed:
            raise InputError(f"{strategy.name}:{in_one_line(key)}: is not an option; allowed are {', '.join(allowed)}")
        if value is None:
            continue
        try:
            checked[key] = read_count(value)
        except ValueError as error:
            raise InputError(f"{strategy.name}:{key}: {error}") from None
    return checked


def _whole_number(where: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{where}: must be a whole number of at least 1; found {text[:40]!r}")
    return int(text)


def make_orders(
    strategy: Strategy, pipeline: Pipeline, options: dict[str, int] | None = None
) -> tuple[Placement, Sequence[Sequence[PipelineAction]]]:
    """Make the order of each device.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    pipeline : Pipeline
        The pipeline, cut to fit the schedule; see `strategies.given_model.stages.GivenModel`.
    options : dict, optional
        The schedule's own options.

    Returns
    -------
    placement : Placement
        Which device holds which stage.
    orders : sequence of list of (Op or Block)
        The actions of each device.
    """
    from solver.numbered import CodedOrders

    assert pipeline.stages is not None
    refuse_too_large(strategy, pipeline.stages, pipeline.microbatches)
    placement = make_placement(strategy.placement, pipeline.devices, pipeline.stages, pipeline.microbatches)
    orders = [_order_of(strategy, pipeline, device, placement, options or {}) for device in range(pipeline.devices)]
    return placement, CodedOrders.of(OpNames(pipeline.stages, pipeline.microbatches), orders)


def _order_of(
    strategy: Strategy, pipeline: Pipeline, device: int, placement: Placement, options: dict[str, int]
) -> list[tuple[int, ...]]:
    try:
        steps = list(strategy(pipeline, device, **options))
    except InputError as error:
        raise InputError(f"{strategy.name}: {error}") from None
    names = OpNames(len(placement.homes[0]), placement.microbatches)
    try:
        return list(count_microbatches(steps, placement.local_stages[device], names))
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
