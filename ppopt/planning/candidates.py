"""The orders that a plan cuts a model for: each strategy with each number of stages per device, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ppopt.internal_error import as_reason
from ppopt.planning.fixed_order import FixedOrder, read_order
from solver.errors import InputError
from strategies.given_order import GivenOrder, Named
from strategies.orders import parse_strategy
from strategies.pipeline import Pipeline
from strategies.stages import wished_stages

MayTake: TypeAlias = Callable[[int], str | None]
"""Says why there is no time for an order of so many actions."""

USUAL_STAGES_PER_DEVICE = (2, 3, 4)
"""Tried with schedules that take any number of stages per device, where the user does not say."""


@dataclass
class Candidates:
    """The orders that a plan is made for, and those that do not fit.

    Attributes
    ----------
    fitting : list of FixedOrder
        In the order of the names.
    left_out : list of (str, str)
        What does not fit the pipeline, with the reason.
    too_long : list of (str, str)
        Orders for which there is no time, with how much they would take.
    """

    fitting: list[FixedOrder] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    too_long: list[tuple[str, str]] = field(default_factory=list)


def name_of(order: FixedOrder) -> str:
    """Name an order with its options, but not how many stages it has."""
    if order.strategy is None:
        return order.label
    written = ",".join(f"{key}={value}" for key, value in order.options.items())
    return f"{order.strategy.name}:{written}" if written else order.strategy.name


def label_of(order: FixedOrder) -> str:
    """Name an order with its number of stages per device."""
    return f"{name_of(order)}, v = {order.stages // order.pipeline.devices}"


def gather(
    pipeline: Pipeline,
    names: Iterable[Named],
    stages_per_device: Sequence[int] | None,
    *,
    also: Iterable[int] = (),
    all_of_them: bool,
    may_take: MayTake | None = None,
) -> Candidates:
    """List the orders that a plan is made for.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    names : iterable of str or GivenOrder
        Schedules, maybe with options, and orders from files.
    stages_per_device : sequence of int or None
        The numbers of stages that a device may hold; None for those that each schedule asks for, and a few where it
        takes any.
    also : iterable of int
        Numbers that are wanted beside them, of schedules that take any.
    all_of_them : bool
        Whether all schedules are meant, so that one that takes only other numbers of stages is left out silently.
    may_take : callable, optional
        ``may_take(actions)`` says of an order of so many actions why there is no time for it; None if there is. The
        short ones are asked for first, and all are counted.
    """
    found = Candidates()
    wanted = _wanted(pipeline, names, stages_per_device, also, found, all_of_them=all_of_them)
    late: set[int] = set()
    sizes = [_actions_of(pipeline, *each) for each in wanted] if may_take else []
    for size, place in sorted((size, place) for place, size in enumerate(sizes)):
        why = may_take(size) if may_take else None
        if why is not None:
            found.too_long.append((_label(pipeline, *wanted[place]), why))
            late.add(place)
    for name, number in (each for place, each in enumerate(wanted) if place not in late):
        try:
            found.fitting.append(read_order(pipeline, name, stages=number))
        except Exception as error:
            reason = "; ".join(str(error).split("\n")) if isinstance(error, InputError) else as_reason(name, error)
            if (str(name), reason) not in found.left_out:
                found.left_out.append((str(name), reason))
    return found


def _wanted(
    pipeline: Pipeline,
    names: Iterable[Named],
    stages_per_device: Sequence[int] | None,
    also: Iterable[int],
    found: Candidates,
    *,
    all_of_them: bool,
) -> list[tuple[Named, int | None]]:
    """List names with numbers of stages, None where the name has its own."""
    wanted: list[tuple[Named, int | None]] = []
    for name in names:
        try:
            numbers = list(_numbers_of_stages(pipeline, name, stages_per_device, also))
        except InputError as error:
            found.left_out.append((str(name), str(error)))
            continue
        if not numbers and not all_of_them and stages_per_device:
            given = ", ".join(map(str, stages_per_device))
            what = "stage" if given == "1" else "stages"
            found.left_out.append((str(name), f"{name} does not take {given} {what} per device"))
        wanted += [(name, number) for number in numbers]
    return wanted


def _actions_of(pipeline: Pipeline, name: Named, stages: int | None) -> int:
    """Count the actions of an order before it is written."""
    if isinstance(name, GivenOrder):
        return sum(map(len, name.orders))
    strategy, _ = parse_strategy(name)
    return (3 if strategy.splits_backward else 2) * _stages_of(pipeline, name, stages) * pipeline.microbatches


def _stages_of(pipeline: Pipeline, name: str, stages: int | None) -> int:
    return stages or wished_stages(*parse_strategy(name), pipeline.devices) or pipeline.devices


def _label(pipeline: Pipeline, name: Named, stages: int | None) -> str:
    if isinstance(name, GivenOrder):
        return str(name)
    return f"{name}, v = {_stages_of(pipeline, name, stages) // pipeline.devices}"


def _numbers_of_stages(
    pipeline: Pipeline, name: Named, stages_per_device: Sequence[int] | None, also: Iterable[int]
) -> Iterator[int | None]:
    """Yield the numbers of stages for which an order is to be planned; None where it has its own."""
    devices = pipeline.devices
    if isinstance(name, GivenOrder):
        yield None
        return
    strategy, options = parse_strategy(name)
    needs = strategy.requirements
    if wished_stages(strategy, options, devices) is not None:
        yield None
    elif needs.stages_per_device is not None:
        if stages_per_device is None or needs.stages_per_device in stages_per_device:
            yield needs.stages_per_device * devices
    else:  # with one stage each they are schedules that have a name of their own
        for number in sorted({*(stages_per_device or USUAL_STAGES_PER_DEVICE), *also} - {1}) or [1]:
            if needs.takes_stages(number * devices, devices):
                yield number * devices
