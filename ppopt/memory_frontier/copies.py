"""The frontier with copies: the orders known, replayed with the activations that the configuration offloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ppopt.memory_frontier.curves import FoundSchedule, stairs_of
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from reports.frontier_points import Saving
from solver.errors import InputError
from strategies.model.pipeline import Pipeline

NO_OFFLOAD = (
    "offload: compares the curve without copies with that of copies, and the configuration says nothing of them; give "
    "offload: {time: …}, the time to copy a microbatch's activation to the host"
)

WITHOUT_COPIES = (
    "offload: nothing is copied here, and the memory is that of whole activations; --offload adds the curve with copies"
)


def replayed_with_copies(
    schedules: Iterable[Schedule], model: Pipeline, left_out: list[tuple[str, str]]
) -> list[FoundSchedule]:
    """Replay orders with copies, each on its cut, whatever memory they need.

    Parameters
    ----------
    schedules : iterable of Schedule
        The same without copies.
    model : Pipeline
        The model, in the stages that its times are meant for, with ``offload``.
    left_out : list of (str, str)
        Takes the names of those that cannot have copies, with the reason.
    """
    found = []
    for each in schedules:
        try:
            offload = model.as_cut(each.pipeline).offload
            pipeline = each.pipeline.model_copy(update={"offload": offload}).with_limit(None)
            searched = not each.is_published
            made = replay_orders(each.strategy, pipeline, each.layout, each.actions, "graph", searched=searched)
        except InputError as error:
            left_out.append((f"{each.strategy} with copies", str(error)))
            continue
        found.append(FoundSchedule.of(made))
    return found


@dataclass(frozen=True)
class CopiedCurve:
    """What is known with copies, beside what is known without them.

    Attributes
    ----------
    plain, copied : sequence of FoundSchedule
        The schedules at which each curve falls, by increasing memory.
    copies_anything : bool
        Whether any order copies something.
    """

    plain: Sequence[FoundSchedule]
    copied: Sequence[FoundSchedule]
    copies_anything: bool = True

    @classmethod
    def of(cls, plain: Sequence[FoundSchedule], found: Sequence[FoundSchedule]) -> CopiedCurve:
        """Make it from all that is known with copies."""
        return cls(plain, stairs_of(found), any(_copies(each.schedule) for each in found))

    @property
    def best(self) -> FoundSchedule | None:
        """The schedule with copies that the sentence is about; None if copies save nothing.

        Of all that are as short as the shortest without copies, the one that needs least memory; else the shortest that
        needs less memory than that, and is shorter than all without copies within its memory.
        """
        top = self.plain[-1]
        fewer = [each for each in self.copied if each.memory < top.memory]
        free = [each for each in fewer if each.makespan <= top.makespan]
        if free:
            return min(free, key=lambda each: (each.memory, each.makespan))
        better = [each for each in fewer if (least := self.plain_within(each.memory)) is None or each.makespan < least]
        return min(better, key=lambda each: each.rank, default=None)

    def plain_within(self, memory: Fraction) -> Fraction | None:
        """Return the shortest step known without copies within a limit; None if nothing fits it."""
        return min((each.makespan for each in self.plain if each.memory <= memory), default=None)

    def within(self, memory: Fraction) -> FoundSchedule | None:
        """Find the shortest schedule with copies within a limit."""
        fitting = (each for each in self.copied if each.memory <= memory)
        return min(fitting, key=lambda each: each.rank, default=None)

    def saving(self, model: Pipeline) -> Saving:
        """Say what copies save of the memory of the shortest step of a model, and what they cost."""
        top, best = self.plain[-1], self.best
        ratios = _shares_of_computing(model if best is None else best.schedule.pipeline)
        return Saving(
            memory=(float(top.memory), None if best is None else float(best.memory)),
            makespan=(float(top.makespan), None if best is None else float(best.makespan)),
            is_free=best is not None and best.makespan <= top.makespan,
            plain_within=None if best is None or (least := self.plain_within(best.memory)) is None else float(least),
            copy=float(max(ratios, default=0)),
            differs=len(set(ratios)) > 1,
            copies_anything=self.copies_anything,
            offloads_anything=bool(ratios),
        )


def _copies(schedule: Schedule) -> bool:
    return schedule.sides is not None and any(each.action.kind == "OFFLOAD" for each, _ in schedule.sides.order.every)


def _shares_of_computing(pipeline: Pipeline) -> list[Fraction]:
    """Return the time of both copies relative to F + B, for each stage that offloads and computes."""
    pairs = zip(pipeline.costs, pipeline.side_costs, strict=True)
    return [
        (side.offload + side.reload) / (cost.forward + cost.backward)
        for cost, side in pairs
        if side.share * cost.activation and cost.forward + cost.backward
    ]
