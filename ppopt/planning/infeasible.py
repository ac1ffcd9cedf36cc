"""Why no cut fits the memory: how much is missing, where, and what would help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter

from ppopt.planning.candidates import label_of
from ppopt.planning.fixed_order import FixedOrder
from ppopt.planning.linear_bound import scales_of
from ppopt.planning.order_as_partition import Recompute, write_partition
from reports.numbers import number
from solver.errors import InfeasibleError
from solver.partitioning.greatest_row import GreatestRow, Row
from solver.partitioning.problem import Limit, PartitionProblem, Split

SECONDS = 2.0
"""Finding out how much is missing may take so long for each order."""


@dataclass(frozen=True)
class Missing:
    """What every cut lacks.

    Attributes
    ----------
    least : Fraction
        By so much, at least, every cut exceeds the limit of some device; at most 0 where one fits.
    device : int
        The device on which the cut that lacks least does.
    needed, limit : Fraction
        What it holds there, and the limit.
    """

    least: Fraction
    device: int
    needed: Fraction
    limit: Fraction


def missing_memory(order: FixedOrder, recompute: Recompute, *, empty: bool) -> Missing | None:
    """Find the cut whose greatest excess over a limit is least: CP-SAT over what devices hold at every moment.

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
        None if there is no limit, or no answer in two seconds.
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
    scale = scales_of(order.pipeline).memory
    stages = {term.bin for term in worst.form}
    device = next(
        device for device, local in enumerate(order.placement.local_stages) if stages <= {stage for stage, _ in local}
    )
    needed, limit = Fraction(amounts[id(worst)], scale), Fraction(worst.most, scale)
    return Missing(Fraction(found.bound - highest, scale), device, needed, limit)


def _amount(problem: PartitionProblem, limit: Limit, split: Split) -> int:
    return int(problem.in_columns(limit.form) @ problem.amounts_of(split))


def why_nothing_fits(order: FixedOrder, recompute: Recompute, *, empty: bool) -> InfeasibleError:
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
        message = f"infeasible: {label_of(order)}: no cut fits the memory limit"
        return InfeasibleError(message, 0, Fraction(0), Fraction(0))
    message = (
        f"infeasible: {label_of(order)}: every cut exceeds the memory limit of some device, by at least "
        f"{number(float(missing.least))}; in the one that lacks least device {missing.device} holds "
        f"{number(float(missing.needed))}, its limit is {number(float(missing.limit))}"
    )
    if help_ := _what_recomputation_gives(order, recompute, empty=empty):
        message += f"; {help_}"
    return InfeasibleError(message, missing.device, missing.needed, missing.limit)


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


def gathered(errors: Iterable[InfeasibleError]) -> InfeasibleError | None:
    """Gather why nothing fits for several orders: that which lacks least first; None of none."""
    ranked = sorted(errors, key=lambda error: error.needed - error.capacity)
    if not ranked:
        return None
    first = ranked[0]
    message = str(first)
    if len(ranked) > 1:
        message += (
            f"; the {len(ranked) - 1} other orders, of other schedules or numbers of stages, lack as much or more"
        )
    return InfeasibleError(message, first.device, first.needed, first.capacity)
