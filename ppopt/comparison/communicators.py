"""Which communicators let a schedule run, and the cost of PyTorch's placement of communication."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from ppopt.schedules.communicated import Order, run_lowered
from ppopt.schedules.communicator_verdicts import cycles
from ppopt.schedules.schedule import Schedule
from solver.counted import listed
from solver.replay import timeline
from strategies.lowering.as_program import as_programs
from strategies.lowering.by_time import BY_TIME
from strategies.model.communicators import COMMUNICATORS, MEANINGS
from strategies.order_files.schedule_file import Token

WORTH_TELLING = 0.05
"""Losses above this share of the makespan are reported."""

SECONDS_A_TRANSFER = 3e-4
"""Estimated seconds per task of a schedule, until a schedule has been timed."""


@dataclass(frozen=True)
class CommunicatorFigures:
    """How a schedule fares with each kind of communicators.

    Attributes
    ----------
    runs : mapping of str to str
        ``"runs"`` or ``"hangs"``, placed as the pipeline says.
    lost : mapping of str to float
        The relative increase of the makespan if PyTorch places sends and receives, compared with placement by time;
        empty if PyTorch cannot run the schedule.
    """

    runs: Mapping[str, str]
    lost: Mapping[str, float] = field(default_factory=dict)

    @property
    def hangs(self) -> list[str]:
        """The communicators with which the schedule hangs."""
        return [name for name, verdict in self.runs.items() if verdict == "hangs"]

    def warning(self, name: str) -> str | None:
        """Say how much PyTorch's placement loses, if it is a lot."""
        worst = max(self.lost, key=lambda each: self.lost[each], default=None)
        if worst is None or self.lost[worst] <= WORTH_TELLING:
            return None
        much = [each for each in self.lost if self.lost[each] > WORTH_TELLING]
        parts = [f"{self.lost[each]:.0%} with {each} ({MEANINGS[each]})" for each in much]
        return (
            f"{name}: PyTorch's placement of sends and receives loses {', '.join(parts)}; place them as --lowered "
            "exports them"
        )


@dataclass
class CommunicatorTrials:
    """Tries schedules with each kind of communicators, as time permits.

    Attributes
    ----------
    found : dict of str to CommunicatorFigures
        By the name of the schedule.
    left_out : list of str
        The schedules not tried for lack of time.
    """

    found: dict[str, CommunicatorFigures] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    rate: float = SECONDS_A_TRANSFER

    def run(self, schedules: Iterable[Schedule], deadline: float) -> None:
        """Try the schedules that are not tried yet and whose transfers take time.

        Parameters
        ----------
        schedules : iterable of Schedule
            The schedules.
        deadline : float
            On the clock of `time.perf_counter`; a schedule that would finish later is not tried.
        """
        for schedule in schedules:
            if schedule.strategy in self.found or not _moves(schedule):
                continue
            size = len(schedule.problem.tasks)
            began = perf_counter()
            if began + size * self.rate > deadline:
                self.left_out.append(schedule.strategy)
                continue
            self.found[schedule.strategy] = try_communicators(schedule)
            self.rate = (perf_counter() - began) / size

    def notes(self, schedules: Iterable[Schedule]) -> Iterator[str]:
        """Name the communicators that schedules run with, large losses by PyTorch's placement, and those not tried."""
        shown = [schedule.strategy for schedule in schedules if schedule.strategy in self.found]
        hanging = {name: self.found[name].hangs for name in shown if self.found[name].hangs}
        if shown and not hanging:
            yield f"all run with any communicators ({', '.join(COMMUNICATORS)}): {listed(shown)}"
        elif shown:
            yield "; ".join(f"{name} hangs with {', '.join(names)}" for name, names in hanging.items())
        for name in shown:
            if warning := self.found[name].warning(name):
                yield warning
        missing = [name for name in dict.fromkeys(self.left_out) if name not in self.found]
        if missing:
            yield f"their communicators were not tried, for lack of time: {listed(missing)}"


def _moves(schedule: Schedule) -> bool:
    """Return whether any transfer takes time on its link; only then does the order of transfers matter."""
    pipeline = schedule.pipeline
    return pipeline.communication is not None and any(
        hop.transfer for homes in schedule.layout.homes for hop in pipeline.hops(homes)
    )


def try_communicators(schedule: Schedule) -> CommunicatorFigures:
    """Run a schedule with each kind of communicators, placed as the pipeline says, by PyTorch, and by time."""
    problem = replace(schedule.problem, moves={})
    rows = timeline(problem, schedule.actions)
    order = Order(schedule.strategy, schedule.pipeline, schedule.layout, problem, schedule.actions, rows)
    chosen = schedule.pipeline.lowering or "timed"
    own = None if schedule.placed_by in ("", BY_TIME, "PyTorch", "the file") else order.placed().lowered
    placed: dict[str, list[list[Token | None]]] = {}
    for lowering in ("timed", "pytorch"):
        if lowering == "timed" or len(schedule.layout.homes) == 1:
            placed[lowering] = [list(row) for row in order.lowered_rows(lowering)]
    if chosen == "given" and schedule.lowered is not None:
        placed["given"] = [list(row) for row in schedule.lowered]
    programs = {
        lowering: as_programs(rows, schedule.layout, problem.duration, order.moving)
        for lowering, rows in placed.items()
    }
    runs = cycles(own or programs.get(chosen, programs["timed"]))
    lost: dict[str, float] = {}
    if "pytorch" in programs:
        for name in COMMUNICATORS:
            one, other = (
                run_lowered(schedule.strategy, programs[each], name).makespan for each in ("pytorch", "timed")
            )
            lost[name] = one / other - 1
    return CommunicatorFigures({name: "runs" if cycle is None else "hangs" for name, cycle in runs.items()}, lost)
