"""Rehearses schedules on local processes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from ppopt.evaluation.evaluate import check_pipeline, evaluate
from ppopt.process.cores import usable_cores
from ppopt.profiling.measurement import MILLISECONDS, Measurement, unit_of_times
from ppopt.rehearsal.calibration import calibrate, calibrated_pipeline
from ppopt.rehearsal.crew import Crew, RehearsalError
from ppopt.rehearsal.outcome import Rehearsal, measured_actions
from ppopt.rehearsal.prediction import (
    predict,
    predict_with_queues,
    splits_first_stage,
    with_first_stage_input_backward,
)
from ppopt.schedules.order_files import read_named, refuse_communication_faults
from ppopt.schedules.schedule import Schedule
from solver.counted import counted
from solver.errors import InputError
from solver.problem import tasks_of
from strategies.given_model.stages import in_stages
from strategies.lowering.as_pytorch import lower_as_pytorch
from strategies.model.actions import Op
from strategies.model.communication import NO_HOP, WAITING, Hop
from strategies.model.numbers import read_count, shown
from strategies.model.pipeline import Pipeline
from strategies.order_files.exported_order import export_order
from strategies.order_files.given_order import GivenOrder
from strategies.order_files.schedule_file import WAITS, Aside, Token, is_copy

Rehearsable: TypeAlias = str | PathLike[str] | GivenOrder | Schedule

START_SECONDS = 60.0
TIMES_PREDICTED = 5.0
"""The default time-out is `START_SECONDS` plus this many times the predicted time."""

SHORT = 5.0
"""Milliseconds: with shorter operations, the runtime's own work is noticeable."""

MOST_PROCESSES = 64

QUEUED = ("async", "edge", "pair", "rank")
"""The choices for sends and receives; see `rehearse`."""


def rehearse(
    pipeline: Pipeline,
    schedule: Rehearsable,
    *,
    steps: int = 3,
    unit: str | None = None,
    timeout: float | None = None,
    trace_dir: str | Path | None = None,
    communicators: str = "async",
) -> Rehearsal:
    """Run a schedule in PyTorch's pipeline runtime, on local processes whose stages wait for their given durations.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    schedule : str, path or Schedule
        A strategy or an order's file, as for `ppopt.evaluate`; or a schedule, whose order is run on these costs.
    steps : int
        The number of measured steps, after a warm-up.
    unit : {"us", "ms", "s"}
        The unit of the pipeline's times; by default the pipeline's own unit, or else milliseconds.
    timeout : float, optional
        Seconds, including the start, after which unfinished processes are ended; by default a minute plus five times
        the predicted time.
    trace_dir : str or Path, optional
        A folder for a trace of each rank by PyTorch's profiler, ``rank0.json`` and so on.
    communicators : {"async", "edge", "pair", "rank"}
        How sends and receives run: in plain gloo, where none waits for another; or in queues of blocking ones, like
        NCCL's communicators: one for each directed pair of ranks, for each pair, or for each rank.

    Returns
    -------
    Rehearsal
        Measured and predicted times, gradients and memory side by side.

    Raises
    ------
    InputError
        If an argument is wrong, or PyTorch's runtime cannot run the schedule.
    RehearsalError
        If PyTorch is missing, or a process fails, ends or hangs.
    """
    return rehearse_all(
        pipeline,
        [schedule],
        steps=steps,
        unit=unit,
        timeout=timeout,
        trace_dir=trace_dir,
        communicators=communicators,
    )[0]


def rehearse_all(
    pipeline: Pipeline,
    schedules: Iterable[Rehearsable],
    *,
    steps: int = 3,
    unit: str | None = None,
    timeout: float | None = None,
    trace_dir: str | Path | None = None,
    communicators: str = "async",
) -> list[Rehearsal]:
    """Rehearse several schedules on the same processes, one after the other; see `rehearse`.

    Parameters
    ----------
    pipeline, steps, unit
        As for `rehearse`.
    schedules : iterable of str, path or Schedule
        As for `rehearse`; for the pipeline's number of devices.
    timeout : float, optional
        Seconds for each schedule.
    trace_dir : str or Path, optional
        As for `rehearse`; with several schedules, each gets its own subfolder: ``0``, ``1`` and so on.
    communicators : str
        As for `rehearse`.

    Returns
    -------
    list of Rehearsal
        In the order of the schedules.
    """
    check_pipeline(pipeline)
    pipeline.refuse_unequal("rehearse")
    pipeline.refuse_beside("rehearse")
    if isinstance(schedules, (str, Schedule)) or not isinstance(schedules, Iterable):
        raise InputError(f"schedules: must be a list; found {shown(schedules)}")
    given = list(schedules)
    if not given:
        raise InputError("schedules: name at least one")
    folder = None if trace_dir is None else Path(trace_dir)
    options = Options(steps, unit_of_times(pipeline, unit), timeout, folder, communicators)
    plans = [Plan(pipeline, each, options) for each in given]
    _refuse_missing_torch()
    folders = _trace_folders(options.trace_dir, len(plans))
    with Crew(pipeline.devices) as crew:
        return [plan.run(crew, folder) for plan, folder in zip(plans, folders, strict=True)]


def _refuse_missing_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise RehearsalError("PyTorch is not installed, and a rehearsal runs on it: pip install 'ppopt[torch]'")


def _trace_folders(folder: Path | None, count: int) -> Sequence[Path | None]:
    if folder is None:
        return [None] * count
    folders = [folder] if count == 1 else [folder / str(place) for place in range(count)]
    try:
        for each in folders:
            each.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"trace_dir: {shown(str(folder))} cannot be created: {error.strerror or error}") from None
    return folders


@dataclass(frozen=True)
class Options:
    """The arguments of `rehearse` besides the pipeline and the schedule.

    Raises
    ------
    InputError
        If a value is wrong.
    """

    steps: int
    unit: str
    timeout: float | None
    trace_dir: Path | None
    communicators: str = "async"

    def __post_init__(self) -> None:
        try:
            read_count(self.steps)
        except ValueError as error:
            raise InputError(f"steps: {error}") from None
        if self.unit not in MILLISECONDS:
            raise InputError(f"unit: {shown(self.unit)} is not known; allowed are {', '.join(MILLISECONDS)}")
        if self.communicators not in QUEUED:
            raise InputError(
                f"communicators: {shown(self.communicators)} is not known; allowed are {', '.join(QUEUED)}"
            )
        seconds = self.timeout
        if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
            raise InputError(f"timeout: must be a number of seconds greater than 0; found {shown(seconds)}")


class Plan:
    """A schedule to rehearse.

    Raises
    ------
    InputError
        If PyTorch's runtime cannot run the schedule, or it is for another pipeline.
    """

    def __init__(self, pipeline: Pipeline, schedule: Rehearsable, options: Options) -> None:
        self.options = options
        pipeline = pipeline.model_copy(update=dict.fromkeys((*WAITING, "step")))
        named = schedule if isinstance(schedule, Schedule) else read_named(schedule)
        self.lowered = named.lowered if isinstance(named, GivenOrder) else None
        if isinstance(named, GivenOrder):
            _refuse_copies(named)
            refuse_communication_faults(named)
        self.schedule = named if isinstance(named, Schedule) else evaluate(pipeline, named)
        _refuse(pipeline, self.schedule)
        kept = self.schedule.notes
        if isinstance(named, GivenOrder) and self.lowered is not None:
            kept = tuple(note for note in kept if note not in named.notes or note in named.notes_on("given"))
        self.notes = [*kept, *_too_few_cores(pipeline.devices)]
        if self.lowered is not None:
            self._leave_out_waits(self.lowered)
        self.costs = self._costs(pipeline)
        self.cycle = ""
        self.predicted, self.held_up = self._predict(self.costs)
        self.microbatches = _in_order_of_last_stage(self.schedule)
        self.homes = list(self.schedule.layout.homes[0])

    def _leave_out_waits(self, lowered: Sequence[Sequence[Token | None]]) -> None:
        self.lowered = [[token for token in row if not _is_wait(token)] for row in lowered]
        waits = sum(map(len, lowered)) - sum(map(len, self.lowered))
        if waits:
            self.notes.append(
                f"{waits} WAIT_SEND were left out, of the rehearsal and of the prediction: PyTorch 2.13 does not have "
                "them (pytorch#194121)"
            )

    def _predict(self, costs: Pipeline) -> tuple[Schedule, frozenset[Op]]:
        """Replay the schedule as the processes run it; if that hangs, keep the cycle and replay without waits."""
        communicators = self.options.communicators
        if communicators == "async":
            return predict(self.schedule, costs), frozenset()
        rows = self.lowered or lower_as_pytorch(self.schedule.actions, self.schedule.layout)
        try:
            return predict_with_queues(self.schedule, costs, rows, communicators)
        except InputError as error:
            self.cycle = str(error)
            return predict(self.schedule, costs), frozenset()

    def _costs(self, pipeline: Pipeline) -> Pipeline:
        costs = (
            self.schedule.pipeline
            if pipeline.stages is None or pipeline.layers is not None
            else in_stages(pipeline, len(self.schedule.pipeline.costs))
        )
        costs = costs.model_copy(update=dict.fromkeys((*WAITING, "step")))
        if splits_first_stage(self.schedule):
            costs = with_first_stage_input_backward(costs, "zero")
            self.notes.append(
                "PyTorch runs nothing for the I of stage 0 and the whole backward in its W; so does the prediction"
            )
        if self.schedule.has_blocks:
            self.notes.append(
                "PyTorch runs the two halves of an overlapped block one after the other; so does the prediction"
            )
        shortest = min(min(cost.forward, cost.backward) for cost in costs.costs)
        if shortest * self._unit < SHORT:
            self.notes.append(
                f"operations of {float(shortest * self._unit):g} ms are short compared with the runtime's own "
                "overhead, so expect the nominal prediction to be too short"
            )
        return costs

    @property
    def _unit(self) -> float:
        return MILLISECONDS[self.options.unit]

    def run(self, crew: Crew, traces: Path | None) -> Rehearsal:
        """Run the schedule and compare."""
        predicted_seconds = self.predicted.makespan * self._unit / 1e3
        seconds = self.options.timeout or START_SECONDS + TIMES_PREDICTED * predicted_seconds * (self.options.steps + 1)
        try:
            answers = crew.run(self.job(crew.folder, traces), seconds)
        except RehearsalError as error:
            if not self.cycle:
                raise
            raise RehearsalError(f"{self.cycle}\n{error}") from None
        if self.cycle:
            self.notes.append(f"was expected to hang, and did not: {self.cycle}")
        blocks = self.schedule.has_blocks
        measurement = Measurement(
            devices=self.costs.devices,
            stages=len(self.costs.costs),
            microbatches=self.costs.microbatches,
            actions=measured_actions(answers, self.microbatches),
            skipped={},
            offsets=(0.0,) * self.costs.devices,
            notes=(f"rehearsed by PyTorch {crew.torch}; stages wait",) + (() if not blocks else (_BLOCKS,)),
        )
        first = [action for action in measurement.actions if action.step == 0]
        problem = self.predicted.problem
        measured = calibrate(
            first,
            problem,
            float(self.costs.longest_lag) * self._unit,
            milliseconds_per_tick=self._unit / problem.ticks_per_unit if self.costs.communication else 0.0,
            held_up=self.held_up,
        )
        queued = self.options.communicators != "async"
        calibrated = calibrated_pipeline(self.costs, measured, self._unit, queued=queued)
        return Rehearsal(
            schedule=self.schedule,
            predicted_nominal=self.predicted,
            predicted_calibrated=self._predict(calibrated)[0],
            calibrated=calibrated,
            measurement=measurement,
            unit=self.options.unit,
            gradient_difference=max(answer["gradient_difference"] for answer in answers),
            torch=crew.torch,
            notes=tuple(self.notes),
            communicators=self.options.communicators,
        )

    def job(self, folder: Path, traces: Path | None) -> dict[str, Any]:
        """Write the job for a worker, with its files in a folder."""
        order, departures = folder / "order.csv", folder / "departures"
        rows = self.schedule.actions if self.lowered is None else _without_blanks(self.lowered)
        order.write_text(export_order(rows, self.schedule.layout).text)
        departures.write_bytes(bytes(8 * 2 * len(self.homes) * len(self.microbatches)))
        return {
            "order": str(order),
            "homes": self.homes,
            "microbatches": len(self.microbatches),
            "durations": [self._nanoseconds(stage) for stage in range(len(self.homes))],
            "format": "compute_only" if self.lowered is None else "compute_comms",
            "communicators": self.options.communicators,
            "latency": self._hops("latency"),
            "transfer": self._hops("transfer"),
            "departures": str(departures),
            "steps": self.options.steps,
            "trace": None if traces is None else str(traces.absolute()),
        }

    def _hops(self, part: str) -> list[tuple[int, int]]:
        """Return how long the results of each stage's forward and backward are in flight, in nanoseconds.

        Time that occupies no queue is latency. If there is no latency at all, the list is empty.
        """
        queued = self.options.communicators != "async"
        found: list[tuple[int, int]] = []
        for stage in range(len(self.homes)):
            forward, backward = self._hop(stage, stage + 1, "F"), self._hop(stage, stage - 1, "B")
            times = [
                hop.transfer if part == "transfer" else hop.latency if queued else hop.lag
                for hop in (forward, backward)
            ]
            there, back = (round(float(time) * self._unit * 1e6) for time in times)
            found.append((there, back))
        return found if part == "transfer" or any(map(any, found)) else []

    def _hop(self, stage: int, taken: int, kind: str) -> Hop:
        if not 0 <= taken < len(self.homes):
            return NO_HOP
        return self.costs.hop(min(stage, taken), self.homes[stage], self.homes[taken], kind)

    def _nanoseconds(self, stage: int) -> dict[str, int]:
        cost = self.costs.costs_on(self.homes[stage])[stage]
        durations = {"F": cost.forward, "B": cost.backward, "I": cost.backward_input, "W": cost.backward_weight}
        return {kind: round(float(value) * self._unit * 1e6) for kind, value in durations.items()}


def _is_wait(token: Token | None) -> bool:
    return isinstance(token, Aside) and token.kind in WAITS


def _without_blanks(rows: Sequence[Sequence[Token | None]]) -> list[list[Token]]:
    return [[token for token in row if token is not None] for row in rows]


def _too_few_cores(processes: int) -> Iterator[str]:
    """Warn if processes will wait for a core, which no schedule accounts for."""
    cores = usable_cores()
    if processes > cores:
        there = counted(cores, "core")
        yield (
            f"{there} for {processes} processes: where more of them work at once than there are cores, waits will "
            "be measured instead of schedules"
        )


_BLOCKS = "the halves of overlapped blocks ran one after the other"


def _refuse(pipeline: Pipeline, schedule: Schedule) -> None:
    """Refuse a schedule that PyTorch's runtime cannot run, or that is for another pipeline."""
    if len(schedule.layout.homes) > 1:
        raise InputError(
            f"{schedule.strategy}: is bidirectional, with two copies of each stage; PyTorch's runtime has one device "
            "for each stage"
        )
    if schedule.sides is not None:
        schedule.pipeline.refuse_waits(f"{schedule.strategy}: rehearse")
    for size in ("devices", "microbatches"):
        ours, its = getattr(pipeline, size), getattr(schedule.pipeline, size)
        if ours != its:
            raise InputError(f"{schedule.strategy}: is for {its} {size}; the pipeline has {ours}")
    if pipeline.devices > MOST_PROCESSES:
        raise InputError(f"devices: at most {MOST_PROCESSES} processes are started; found {pipeline.devices}")


def _refuse_copies(given: GivenOrder) -> None:
    """Refuse a file with copies, which PyTorch's runtime does not know."""
    copy = next((token for row in given.beside or () for token in row if is_copy(token)), None)
    if copy is not None:
        raise InputError(
            f"{given.name}: {copy} is ppopt's own, and PyTorch's runtime copies no activations; rehearse the order "
            "without OFFLOAD, RELEASE and RELOAD"
        )


def _in_order_of_last_stage(schedule: Schedule) -> list[int]:
    """List the microbatches in the order of their forwards on the last stage, as `export_order` renumbers them."""
    last = len(schedule.layout.homes[0]) - 1
    order = schedule.actions[schedule.layout.homes[0][last]]
    ops = [op for action in order for op in tasks_of(action) if isinstance(op, Op)]
    return [op.microbatch for op in ops if op.kind == "F" and op.stage == last]
