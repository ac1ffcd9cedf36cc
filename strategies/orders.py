"""From a schedule's rule to the orders of its devices, on a pipeline cut to fit it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from solver.errors import InputError
from strategies.actions import PipelineAction
from strategies.counting import count_microbatches
from strategies.numbers import in_one_line, read_count, shown
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
    """Give a strategy groups of microbatches, where it has such an option and does not set it itself.

    Parameters
    ----------
    text : str
        The strategy, maybe with options: ``interleaved:stages=8``.
    group_size : int or None
        The microbatches of a group.
    """
    strategy, options = parse_strategy(text)
    if group_size is None or "group_size" not in strategy.options or "group_size" in options:
        return text
    return _with_option(text, options, f"group_size={group_size}")


def with_virtual_stages(text: str, pipeline: Pipeline) -> str:
    """Give a strategy that takes any number of stages a device its usual one, where the pipeline has only one.

    Parameters
    ----------
    text : str
        The strategy, maybe with options.
    pipeline : Pipeline
        The model; what leaves its stages open is left to the strategy.
    """
    strategy, options = parse_strategy(text)
    stages = strategy.requirements.default_stages(pipeline.devices)
    if "stages" in options or strategy.requirements.stages_per_device is not None:
        return text
    if not pipeline.stages == pipeline.devices < stages or strategy.requirements.stages_come_in > 1:
        return text
    return _with_option(text, options, f"stages={stages}")


def _with_option(text: str, options: dict[str, int], option: str) -> str:
    joint = "," if options else "" if ":" in text else ":"
    return f"{text}{joint}{option}"


def least_stages(names: Iterable[str], devices: int) -> int:
    """Return for how many stages times are meant where that is left open: the least that a strategy takes.

    Parameters
    ----------
    names : iterable of str
        The strategies, maybe with options; at least one.
    devices : int
        How many devices there are.
    """
    strategies = [parse_strategy(name) for name in names]
    return min(
        wished_stages(each, options, devices) or each.requirements.default_stages(devices)
        for each, options in strategies
    )


def wished_stages(strategy: Strategy, options: dict[str, int], devices: int) -> int | None:
    """Find how many stages the user wants: as ``stages`` says, or the schedule's own option that counts them.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    options : dict of str to int
        As `parse_strategy` reads them.
    devices : int
        How many devices there are.

    Returns
    -------
    int or None
        None if nothing is said.

    Raises
    ------
    InputError
        If the two contradict each other.
    """
    needs, stages = strategy.requirements, options.get("stages")
    if needs.stages_option is None or needs.stages_option not in options:
        return stages
    parts = options[needs.stages_option]
    counted = parts * needs.stages_come_in * devices
    if stages not in (None, counted):
        raise InputError(
            f"{strategy.name}:stages: contradicts {needs.stages_option}={parts}, which are {counted} stages on "
            f"{devices} devices; found {stages}"
        )
    return counted


def check_options(strategy: Strategy, options: dict[str, Any]) -> dict[str, int]:
    """Refuse options that a schedule does not take; those that are None are left out."""
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
    refuse_too_large(strategy, wanted, pipeline.microbatches)
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
        steps = list(strategy(pipeline, device, **options))
    except InputError as error:
        raise InputError(f"{strategy.name}: {error}") from None
    try:
        return list(count_microbatches(steps, placement.local_stages[device]))
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
