"""Why no cut fits the memory: which device lacks how much, and what would help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter

from ppopt.cutting.fixed_order import FixedOrder, read_order
from ppopt.cutting.order_as_partition import Recompute, write_partition
from ppopt.planning.candidates import label_of, name_of
from reports.numbers import number, with_unit
from solver.errors import InfeasibleError, InputError
from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Limit, PartitionProblem, Split

SECONDS = 2.0
"""Seconds per order to find out how much memory is missing."""


OTHER_STAGES_PER_DEVICE = (1, 2, 3, 4)
"""The numbers of stages per device to suggest from, if nothing fits."""


@dataclass(frozen=True)
class Missing:
    """The memory that every cut lacks.

    Attributes
    ----------
    least : Fraction
        Every cut exceeds the limit of some device by at least this much; at most 0 if a cut fits.
    device : int
        The device where the cut that lacks least exceeds its limit most.
    needed, limit : Fraction
        The memory needed there, and the limit.
    """

    least: Fraction
    device: int
    needed: Fraction
    limit: Fraction


def missing_memory(order: FixedOrder, recompute: Recompute, *, empty: bool) -> Missing | None:
    """Find the cut whose greatest excess over a limit is least, with CP-SAT over the devices' memory at every moment.

    Parameters
    ----------
    order : FixedOrder
        The order.
    recompute : {"none", "per-stage"}
        What may be recomputed.
    empty : bool
        Whether stages may be empty.

    Returns
    -------
    Missing or None
        None if there is no limit, or no answer in time.
    """
    written = write_partition(order.pipeline, order.placement, order.orders, recompute=recompute, empty=empty)
    problem = written.problem
    if not problem.limits:
        return None
    highest = max(limit.most for limit in problem.limits)
    rows = [Row(limit.form, highest - limit.most) for limit in problem.limits]
    found = GreatestRow(problem.bins, problem.runs, rows, empty=empty).solve(perf_counter() + SECONDS)
    if found.split is None or found.status != "optimal":
        return None
    amounts = {id(limit): _amount(problem, limit, found.split) for limit in problem.limits}
    worst = max(problem.limits, key=lambda limit: amounts[id(limit)] - limit.most)
    scale = written.amounts_per_unit
    stages = {term.bin for term in worst.form}
    device = next(
        device for device, local in enumerate(order.placement.local_stages) if stages <= {stage for stage, _ in local}
    )
    needed, limit = Fraction(amounts[id(worst)], scale), Fraction(worst.most, scale)
    return Missing(Fraction(found.bound - highest, scale), device, needed, limit)


def _amount(problem: PartitionProblem, limit: Limit, split: Split) -> int:
    return int(problem.in_columns(limit.form) @ problem.amounts_of(split))


@dataclass(frozen=True)
class Lack:
    """Why no cut fits for an order.

    Attributes
    ----------
    label : str
        The order with its number of stages per device.
    reason : str
        Which device lacks how much, and what would help.
    missing : Missing or None
        The same in numbers, if known.
    """

    label: str
    reason: str
    missing: Missing | None

    @property
    def amount(self) -> Fraction:
        """The least that is missing; an unknown amount counts as the greatest."""
        return Fraction(10**30) if self.missing is None else self.missing.least


def why_nothing_fits(order: FixedOrder, recompute: Recompute, *, empty: bool) -> Lack:
    """Say which device lacks how much, whatever the cut, and whether recomputation would help.

    Parameters
    ----------
    order : FixedOrder
        The order, for which no cut fits.
    recompute : {"none", "per-stage"}
        What may be recomputed.
    empty : bool
        Whether stages may be empty.
    """
    missing = missing_memory(order, recompute, empty=empty)
    if missing is None or missing.least <= 0:
        return Lack(label_of(order), "no cut fits the memory limit", None)
    reason = (
        f"every cut exceeds the memory limit of some device, by at least {number(float(missing.least))}; in the one "
        f"that comes closest, device {missing.device} holds {number(float(missing.needed))}, but its limit is "
        f"{with_unit(number(float(missing.limit)), order.pipeline.memory.unit)}"
    )
    helps = _what_recomputation_gives(order, recompute, empty=empty)
    return Lack(label_of(order), f"{reason}; {helps}" if helps else reason, missing)


def _what_recomputation_gives(order: FixedOrder, recompute: Recompute, *, empty: bool) -> str:
    layers = order.pipeline.layers
    assert layers is not None
    if recompute != "none":
        return "recomputation is counted in"
    if not layers.recomputable:
        return "recomputation might help, but no kind of layers has recompute: {activation: …}"
    again = missing_memory(order, "per-stage", empty=empty)
    if again is None:
        return ""
    if again.least <= 0:
        return "with recomputation one fits"
    return f"with recomputation {number(float(again.least))} are still missing"


def other_numbers_of_stages(order: FixedOrder, recompute: Recompute, tried: Iterable[int], *, empty: bool) -> str:
    """Say if a schedule that takes any number of stages per device would fit with another number; empty if not known.

    Parameters
    ----------
    order : FixedOrder
        The order, for which no cut fits.
    recompute : {"none", "per-stage"}
        What may be recomputed.
    tried : iterable of int
        The numbers of stages per device that were tried.
    empty : bool
        Whether stages may be empty.
    """
    strategy, devices = order.strategy, order.pipeline.devices
    if strategy is None or strategy.requirements.stages_per_device is not None:
        return ""
    others = [number for number in OTHER_STAGES_PER_DEVICE if number not in set(tried)]
    found: list[int] = []
    for number_ in others:
        stages = number_ * devices
        if not strategy.requirements.takes_stages(stages, devices):
            continue
        with suppress(InputError):
            other = read_order(order.pipeline, name_of(order), stages=stages)
            missing = missing_memory(other, recompute, empty=empty)
            if missing is not None and missing.least <= 0:
                found.append(number_)
    if found:
        return f"with {' or '.join(map(str, found))} {'stage' if found == [1] else 'stages'} per device it fits"
    if others == [1]:
        return "1 stage per device does not fit either"
    return f"{', '.join(map(str, others))} stages per device do not fit either" if others else ""


def gathered(lacks: Sequence[Lack], others: str = "") -> InfeasibleError | None:
    """Combine the reasons of several orders, the one that lacks least first; None if there are none.

    Parameters
    ----------
    lacks : sequence of Lack
        The reasons.
    others : str
        A remark about other numbers of stages.
    """
    if not lacks:
        return None
    first = min(lacks, key=lambda lack: lack.amount)
    message = f"infeasible: {first.label}: {first.reason}"
    if len(lacks) > 1:
        message += f"; the {len(lacks) - 1} others lack as much or more"
    if others:
        message += f"; {others}"
    missing = first.missing
    if missing is None:
        return InfeasibleError(message, 0, Fraction(0), Fraction(0))
    return InfeasibleError(message, missing.device, missing.needed, missing.limit)
