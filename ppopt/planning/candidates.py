"""The orders that a plan cuts a model for: strategies with various numbers of stages per device, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import TypeAlias

from ppopt.cutting.fixed_order import FixedOrder, read_order
from ppopt.process.internal_error import as_reason
from solver.errors import InputError
from strategies.given_model.stages import wished_stages
from strategies.language.orders import parse_strategy
from strategies.layouts.runs_in import Framework
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS, Homes, Placement, make_placement
from strategies.order_files.given_order import GivenOrder, Named

MayTake: TypeAlias = Callable[[int], str | None]
"""Says why an order with this many actions would take too long."""

USUAL_STAGES_PER_DEVICE = (2, 3, 4)
"""Tried with schedules that take any number of stages per device, unless the user sets it."""


@dataclass
class Candidates:
    """The orders to plan for, and those that do not fit.

    Attributes
    ----------
    fitting : list of FixedOrder
        In the order of the names.
    left_out : list of (str, str)
        Orders that do not fit the pipeline, with the reason.
    too_long : list of (str, str)
        Orders that would take too long, with their predicted time.
    """

    fitting: list[FixedOrder] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    too_long: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Restriction:
    """Restrictions on orders, searched and published ones alike.

    Attributes
    ----------
    placement : str or None
        The placement; None for any.
    split_backward : bool
        Whether backwards may be I and W.
    framework : Framework or None
        The framework that must run it; None for any.
    """

    placement: str | None = None
    split_backward: bool = True
    framework: Framework | None = None

    def excludes(self, pipeline: Pipeline, name: Named, stages: int | None) -> str | None:
        """Say why an order is excluded; None if it is not."""
        if not self.split_backward and _splits_backward(name):
            return "splits backwards into I and W, but whole backwards are required"
        placed = _placement_of(pipeline, name, stages)
        if self.framework is not None and placed is not None and (why := self.framework.why_not(str(name), placed)):
            return why
        if self.placement is None:
            return None
        if placed is not None and placed.homes == _homes(self.placement, placed):
            return None
        own = name.placement.name if isinstance(name, GivenOrder) else parse_strategy(name)[0].placement
        return f"its placement is {own}, but {self.placement} is required"


ANYTHING = Restriction()


def _splits_backward(name: Named) -> bool:
    if isinstance(name, GivenOrder):
        return any(isinstance(op, Op) and op.kind == "I" for order in name.orders for op in order)
    return parse_strategy(name)[0].splits_backward


def _placement_of(pipeline: Pipeline, name: Named, stages: int | None) -> Placement | None:
    """Place the stages of an order as it will run; None if its placement does not allow them."""
    if isinstance(name, GivenOrder):
        return name.placement
    with suppress(InputError):
        number = _stages_of(pipeline, name, stages)
        return make_placement(parse_strategy(name)[0].placement, pipeline.devices, number, pipeline.microbatches)
    return None


def _homes(name: str, like: Placement) -> Homes | None:
    """Place the same number of stages by another placement; None if that placement does not allow them."""
    stages = len(like.homes[0])
    rule = PLACEMENTS[name]
    return rule.homes(like.devices, stages) if rule.takes(like.devices, stages) else None


def name_of(order: FixedOrder) -> str:
    """Name an order with its options, but without its number of stages."""
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
    only: Restriction = ANYTHING,
    may_take: MayTake | None = None,
    until: float = inf,
) -> Candidates:
    """List the orders to plan for.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    names : iterable of str or GivenOrder
        Schedules, possibly with options, and orders from files.
    stages_per_device : sequence of int or None
        The numbers of stages that a device may hold; None for those that each schedule requires, and a few typical ones
        if a schedule takes any.
    also : iterable of int
        Further numbers, for schedules that take any.
    all_of_them : bool
        Whether the names stand for all schedules. A schedule that needs other numbers of stages, or that the
        restriction excludes, is then left out silently.
    only : Restriction
        Restrictions on the orders.
    may_take : callable, optional
        ``may_take(actions)`` says why an order with this many actions would take too long; None if it would not. It is
        called for short orders first, and counts all of them.
    until : float
        On the clock of `time.perf_counter`; after it, no further order is written, except the first.
    """
    found = Candidates()
    wanted: list[tuple[Named, int | None]] = []
    for each in _wanted(pipeline, names, stages_per_device, also, found, all_of_them=all_of_them):
        why = only.excludes(pipeline, *each)
        if why is None:
            wanted.append(each)
        elif not all_of_them:
            found.left_out.append((_label(pipeline, *each), why))
    written: dict[int, FixedOrder] = {}
    sizes = [_actions_of(pipeline, *each) for each in wanted]
    for size, place in sorted((size, place) for place, size in enumerate(sizes)):
        name, number = wanted[place]
        why = may_take(size) if may_take else None
        if why is None and written and perf_counter() > until:
            why = "no time to write its order"
        if why is not None:
            found.too_long.append((_label(pipeline, name, number), why))
            continue
        try:
            written[place] = read_order(pipeline, name, stages=number)
        except Exception as error:
            reason = "; ".join(str(error).split("\n")) if isinstance(error, InputError) else as_reason(name, error)
            if (str(name), reason) not in found.left_out:
                found.left_out.append((str(name), reason))
    found.fitting += [order for _, order in sorted(written.items())]
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
    """List names with numbers of stages; None if the name sets its own."""
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
    """Count an order's actions before writing it."""
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
    """Yield the numbers of stages to plan an order for; None if it sets its own."""
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
    else:  # with one stage each, they are schedules with names of their own
        for number in sorted({*(stages_per_device or USUAL_STAGES_PER_DEVICE), *also} - {1}) or [1]:
            if needs.takes_stages(number * devices, devices):
                yield number * devices
