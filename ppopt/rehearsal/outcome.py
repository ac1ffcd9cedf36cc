"""The result of a rehearsal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

from ppopt.profiling.measurement import MILLISECONDS, MeasuredAction, Measurement
from ppopt.schedules.schedule import Schedule
from reports.memory import peak_memory
from solver.problem import Placed
from strategies.model.actions import Op
from strategies.model.pipeline import Pipeline

FORMAT = "ppopt-rehearsal-1"
"""The format's name in `Rehearsal.to_dict`."""


class StartDeviation(NamedTuple):
    """The deviation of actions' starts from the predicted ones, in the pipeline's unit of time.

    Attributes
    ----------
    median, largest : float
        The median and the largest of the absolute deviations of all actions.
    action : str
        The action with the largest.
    """

    median: float
    largest: float
    action: str


@dataclass(frozen=True, eq=False, repr=False)
class Rehearsal:
    """What `ppopt.rehearse` returns. Times are in the pipeline's unit, those of `measurement` in milliseconds.

    Attributes
    ----------
    schedule : Schedule
        The rehearsed schedule, as ppopt replays it.
    predicted_nominal : Schedule
        The prediction for PyTorch's runtime from the costs as given.
    predicted_calibrated : Schedule
        The prediction from the costs measured in the first step.
    calibrated : Pipeline
        The measured costs: the mean duration of each stage and kind, including the runtime's work between two actions,
        and the median latency.
    measurement : Measurement
        When each action of each step ran.
    unit : str
        ``us``, ``ms`` or ``s``.
    gradient_difference : float
        The largest difference of any gradient from that of a single process, relative to the largest entry of its
        parameter's gradient.
    torch : str
        PyTorch's version.
    notes : tuple of str
        Notes for the user.
    communicators : str
        The communicators used for sends and receives; see `rehearse`.
    """

    schedule: Schedule
    predicted_nominal: Schedule
    predicted_calibrated: Schedule
    calibrated: Pipeline
    measurement: Measurement
    unit: str
    gradient_difference: float
    torch: str
    notes: tuple[str, ...] = ()
    communicators: str = "async"

    @cached_property
    def steps(self) -> list[list[MeasuredAction]]:
        """The actions of each step."""
        steps: dict[int, list[MeasuredAction]] = defaultdict(list)
        for action in self.measurement.actions:
            steps[action.step].append(action)
        return [steps[step] for step in sorted(steps)]

    @cached_property
    def measured(self) -> list[float]:
        """The time of each step: its last end minus its first start, over the actions of all devices."""
        extents = [max(each.end for each in step) - min(each.start for each in step) for step in self.steps]
        return [extent / MILLISECONDS[self.unit] for extent in extents]

    @property
    def median(self) -> float:
        """The median of the measured steps."""
        return median(self.measured)

    @property
    def errors(self) -> dict[str, float]:
        """For each prediction, (predicted − measured) ÷ measured; negative if it is too short.

        The nominal prediction is compared with the median of all steps, the calibrated one with the median of the
        steps that it was not derived from, if there are any.
        """
        others = median(self.measured[1:] or self.measured)
        return {
            "nominal": self.predicted_nominal.makespan / self.median - 1,
            "calibrated": self.predicted_calibrated.makespan / others - 1,
        }

    @cached_property
    def start_deviations(self) -> dict[str, StartDeviation]:
        """The deviation of each prediction's starts from the measured ones, which are medians over the steps."""
        return {
            "nominal": self._deviation(self.predicted_nominal, self.steps),
            "calibrated": self._deviation(self.predicted_calibrated, self.steps[1:] or self.steps),
        }

    def _deviation(self, predicted: Schedule, steps: Sequence[Sequence[MeasuredAction]]) -> StartDeviation:
        starts: dict[Op, list[float]] = defaultdict(list)
        for step in steps:
            first = min(each.start for each in step)
            for each in step:
                starts[_op(each)].append((each.start - first) / MILLISECONDS[self.unit])
        scale = predicted.problem.ticks_per_unit
        off = {row.task: abs(median(starts[row.task]) - row.start / scale) for row in predicted.rows}  # type: ignore[index]
        worst = max(off, key=lambda op: off[op])
        return StartDeviation(median(off.values()), off[worst], str(worst))

    @cached_property
    def peak_activations(self) -> dict[str, list[float]]:
        """The peak activation memory of each device, counted and predicted, in the pipeline's unit.

        The counted peak adds what F takes and subtracts what B, I and W return, by the pipeline's costs, in the order
        in which they actually ran.
        """
        problem = self.predicted_nominal.problem
        peaks = [peak_memory(problem, [_placed(each) for each in step]) for step in self.steps]
        return {
            "measured": [max(of_device) / problem.amounts_per_unit for of_device in zip(*peaks, strict=True)],
            "predicted": list(self.predicted_nominal.peak_memory),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, as in ``--save`` and ``--format json``."""
        return {
            "format": FORMAT,
            "unit": self.unit,
            "torch": self.torch,
            "communicators": self.communicators,
            "schedule": self.schedule.to_dict(),
            "orders": self.schedule.orders,
            "pipeline": self.schedule.pipeline.to_mapping(),
            "predicted_nominal": self.predicted_nominal.makespan,
            "predicted_calibrated": self.predicted_calibrated.makespan,
            "measured": self.measured,
            "median": self.median,
            "errors": self.errors,
            "start_deviations": {key: each._asdict() for key, each in self.start_deviations.items()},
            "gradient_difference": self.gradient_difference,
            "peak_activations": self.peak_activations,
            "calibrated": self.calibrated.to_mapping(),
            "notes": list(self.notes),
            "measurement": measurement_mapping(self.measurement),
        }

    def __repr__(self) -> str:
        return (
            f"<Rehearsal {self.schedule.strategy}: measured {self.median:.4g} {self.unit}, predicted "
            f"{self.predicted_nominal.makespan:.4g} ({self.errors['nominal']:+.1%}), "
            f"calibrated {self.predicted_calibrated.makespan:.4g} ({self.errors['calibrated']:+.1%})>"
        )


def measurement_mapping(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as plain values."""
    return {
        "devices": measurement.devices,
        "stages": measurement.stages,
        "microbatches": measurement.microbatches,
        "actions": [list(action) for action in measurement.actions],
        "skipped": {str(step): reason for step, reason in measurement.skipped.items()},
        "offsets": list(measurement.offsets),
        "notes": list(measurement.notes),
    }


def measured_actions(answers: Sequence[Mapping[str, Any]], microbatches: Sequence[int]) -> tuple[MeasuredAction, ...]:
    """Read the records of the ranks.

    Parameters
    ----------
    answers : sequence of mapping
        The answer of each rank, see `ppopt.rehearsal.worker.Job.run`.
    microbatches : sequence of int
        For each microbatch of the runtime, the number in the schedule.
    """
    origin = min(row[5] for answer in answers for row in answer["actions"])
    found: list[MeasuredAction] = []
    for device, answer in enumerate(answers):
        for step, stage, kind, microbatch, asked, started, ended in answer["actions"]:
            start, end, waited = ((each / 1e6) for each in (started - origin, ended - origin, started - asked))
            op = Op(stage, kind, microbatches[microbatch])
            found.append(MeasuredAction(step, device, *op, start, end, waited))
    return tuple(sorted(found, key=lambda each: (each.step, each.start)))


def _op(action: MeasuredAction) -> Op:
    return Op(action.stage, action.kind, action.microbatch)


def _placed(action: MeasuredAction) -> Placed:
    return Placed(_op(action), action.device, round(action.start * 1e6), round(action.end * 1e6))
