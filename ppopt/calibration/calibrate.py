"""Calibration: the overhead, and one more cost if that is what explains it, with which replays take so long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import Any, NamedTuple

from ppopt.calibration.least_squares import Fit, Point, least_squares
from ppopt.calibration.measured_steps import FoundCosts, MeasuredStep, leaves_transfers_open
from ppopt.evaluation.evaluate import check_pipeline
from ppopt.schedules.order_files import read_named
from reports.numbers import MEASURED, number, percent, signed_percent, with_unit
from solver.errors import InputError
from solver.states import Objective
from strategies.given_model.model_notes import PLANNED
from strategies.given_model.stages import CutChoice, GivenModel
from strategies.language.orders import parse_strategy
from strategies.model.numbers import read_duration, shown
from strategies.model.pipeline import Pipeline
from strategies.order_files.given_order import Named

WORTH_EXPLAINING = {2: 0.005}
"""By the number of measurements, the mean relative error from which a second number is tried. Two numbers always fit
two measurements, so the error must be larger than the noise of a measurement."""

LEAST_WORTH_EXPLAINING = 1e-4
"""The same for three or more measurements, where the test below decides: the digits of a written time."""

EXACT = 1e-5
"""A mean relative error below this is none."""

STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 95 %, two-sided, for 1, 2, … degrees of freedom; larger numbers of them take the last."""

_SHOWN = 5
"""Significant digits of steps in the table."""


class Explained(NamedTuple):
    """A measured step, and what is predicted for it.

    Attributes
    ----------
    strategy : str
        The schedule.
    measured : float
        How long a step took.
    before, predicted : float
        The prediction with the costs as given, and with those found.
    """

    strategy: str
    measured: float
    before: float
    predicted: float

    @property
    def unexplained(self) -> float:
        """The relative error that is left."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """What `ppopt.calibrate` returns.

    Attributes
    ----------
    pipeline : Pipeline
        The pipeline with the costs found.
    overhead : float
        The overhead of every operation.
    transfer : float or None
        The time of a transfer beside its latency; None if that did not explain the steps.
    after : float
        What a step takes after its last operation: as found, if that explains the steps, else as configured.
    measured : tuple of Explained
        Each measured step and its predictions.
    notes : tuple of str
        What the reader should know.
    found : FoundCosts
        The same costs, exactly.
    """

    pipeline: Pipeline
    measured: tuple[Explained, ...]
    notes: tuple[str, ...]
    found: FoundCosts

    @property
    def overhead(self) -> float:
        """The overhead of every operation."""
        return float(self.found.overhead)

    @property
    def transfer(self) -> float | None:
        """The time of a transfer beside its latency; None if it was not found."""
        return float(self.found.transfer) if self.found.transfer else None

    @property
    def after(self) -> float:
        """What a step takes after its last operation."""
        return float(self.found.after)

    @property
    def unexplained(self) -> float:
        """The root of the mean squared relative error that is left."""
        return float((sum(each.unexplained**2 for each in self.measured) / len(self.measured)) ** 0.5)

    def lines(self) -> list[str]:
        """Write what was found, with a table of predictions, for a terminal."""
        unit = self.pipeline.unit
        found = {"overhead": (self.overhead, "before each operation")}
        if self.transfer is not None:
            found["communication.transfer"] = (self.transfer, "of each result, beside the latency")
        if self.after:
            found["step.after"] = (self.after, "after the last operation of a step")
        costs = [f"{key}: {with_unit(number(value, MEASURED), unit)} {what}" for key, (value, what) in found.items()]
        name = max(len("strategy"), *(len(each.strategy) for each in self.measured))
        titles = (
            f"  {'strategy':{name}}  {'measured':>9}  {'before':>9}  {'error':>7}  {'calibrated':>10}  {'error':>7}"
        )
        rows = [
            f"  {each.strategy:{name}}  {number(each.measured, _SHOWN):>9}  {number(each.before, _SHOWN):>9}  "
            f"{signed_percent(each.before / each.measured - 1, 2):>7}  {number(each.predicted, _SHOWN):>10}  "
            f"{signed_percent(each.unexplained, 2):>7}"
            for each in self.measured
        ]
        return [*costs, titles, *rows, f"unexplained: {percent(self.unexplained)} on average"]

    def to_dict(self) -> dict[str, Any]:
        """Return what was found, in plain numbers."""
        return {
            "overhead": self.overhead,
            "transfer": self.transfer,
            "after": self.after,
            "measured": [each._asdict() for each in self.measured],
        }

    def __repr__(self) -> str:
        unit = self.pipeline.unit
        found = [f"overhead {with_unit(number(self.overhead, MEASURED), unit)}"]
        if self.transfer is not None:
            found.append(f"transfer {with_unit(number(self.transfer, MEASURED), unit)}")
        if self.after:
            found.append(f"after a step {with_unit(number(self.after, MEASURED), unit)}")
        return f"<Calibration: {', '.join(found)}; {percent(self.unexplained)} unexplained>"


def calibrate(
    pipeline: Pipeline,
    measured: Mapping[str, float],
    *,
    objective: Objective = "makespan",
    cut: CutChoice = "plan",
) -> Calibration:
    """Find the overhead with which replays take as long as measured steps.

    The squares of the relative errors are as small as possible. With two or more measurements a second cost is added if
    it explains clearly more: a transfer time, or a time after the last operation.

    Parameters
    ----------
    pipeline : Pipeline
        The costs. The overhead found replaces the one given, which counts only in `Explained.before`.
    measured : mapping of str to float
        For each schedule, as for `ppopt.evaluate`, how long a step took, in the pipeline's unit of time.
    objective : {"makespan", "span"}
        Whether a step takes the makespan; or the span, where each device begins the next step when it is ready.
    cut : {"plan", "even"}
        As for `ppopt.evaluate`.

    Returns
    -------
    Calibration
        The costs found, and a pipeline that has them.

    Raises
    ------
    InputError
        If a step is shorter than its work, or all are shorter than the replays without overhead.
    """
    check_pipeline(pipeline)
    if not isinstance(measured, Mapping) or not measured:
        raise InputError(f"measured: must be a mapping from schedules to times; found {shown(measured)}")
    named = [(read_named(name), _length(name, length)) for name, length in measured.items()]
    return calibrate_named(pipeline, named, objective, cut)


def calibrate_named(
    pipeline: Pipeline, named: Sequence[tuple[Named, Fraction]], objective: Objective, cut: CutChoice
) -> Calibration:
    """Calibrate as `calibrate` does, with schedules that are read already and the lengths of their steps."""
    pipeline.refuse_unequal("calibrate")
    if objective not in ("makespan", "span"):
        raise InputError(f"objective: {shown(objective)} is not known; allowed are makespan, span")
    names = [name for name, _ in named]
    _refuse_twice(names)
    times_of = GivenModel.of_several(pipeline, names, cut=cut).times_of if len(names) > 1 else None
    steps = [MeasuredStep(name, length, pipeline, objective, times_of, cut) for name, length in named]
    found, notes = fit_steps(steps)
    return Calibration(
        pipeline=found.put_into(pipeline),
        measured=tuple(_explained(step, found) for step in steps),
        notes=tuple(notes),
        found=found,
    )


def _refuse_twice(names: Sequence[Named]) -> None:
    """Refuse two measurements of one schedule, under whatever names."""
    found: dict[tuple[Any, ...], str] = {}
    for name in names:
        if isinstance(name, str):
            strategy, options = parse_strategy(name)
            key, given = (strategy.name, *sorted(options.items())), name
        else:
            key, given = (name.name,), name.name
        if key in found:
            raise InputError(f"measured: {found[key]} and {given} are one schedule; give the median of its steps")
        found[key] = given


def _length(name: str | PathLike[str], value: object) -> Fraction:
    try:
        return read_duration(value)
    except ValueError as error:
        raise InputError(f"measured: {shown(name)}: {error}") from None


def _explained(step: MeasuredStep, found: FoundCosts) -> Explained:
    before = step.length_of(step.replayed(step.pipeline)) + step.pipeline.after
    return Explained(step.label, float(step.length), float(before), float(step.predicted(found)))


class _Candidate(NamedTuple):
    """Costs that were fitted: the overhead, and one more if it has a name."""

    second: str | None
    fit: Fit

    def costs(self, given: FoundCosts) -> FoundCosts:
        """Return the costs found, with what was given for all others."""
        overhead, *more = self.fit.at
        costs = given._replace(overhead=overhead)
        return costs._replace(**{self.second: more[0]}) if self.second else costs


def fit_steps(steps: Sequence[MeasuredStep]) -> tuple[FoundCosts, list[str]]:
    """Fit costs to measured steps, which may be steps of different pipelines.

    Returns
    -------
    found : FoundCosts
        The costs.
    notes : list of str
        What the reader should know.

    Raises
    ------
    InputError
        As for `calibrate`.
    """
    pipeline = steps[0].pipeline
    nothing = FoundCosts(Fraction(0), Fraction(0), pipeline.after)
    least = [step.replayed(nothing.put_into(step.pipeline)) for step in steps]
    for step, schedule in zip(steps, least, strict=True):
        step.refuse_if_impossible(schedule)
    short = [
        step.too_short(schedule)
        for step, schedule in zip(steps, least, strict=True)
        if step.length_of(schedule) + nothing.after > step.length
    ]
    if len(short) == len(steps):
        raise InputError("\n".join(f"{text}: are the costs those of this run?" for text in short))
    work = sum((Fraction(sum(schedule.figures.busy)) for schedule in least), Fraction(0))
    scale = work / sum(len(order) for schedule in least for order in schedule.actions)
    first = _Candidate(None, _fit(steps, nothing, None, Fraction(0), scale))
    others = [
        _Candidate(second, _fit(steps, nothing._replace(after=Fraction(0)), second, first.fit.at[0], scale))
        for second in _seconds(steps, first.fit)
    ]
    explaining = sorted(
        (other for other in others if explains(first.fit, other.fit)), key=lambda other: round(other.fit.squares, 12)
    )
    chosen = explaining[0] if explaining else first
    notes = [*short, *_notes(steps, chosen, explaining, scale)]
    if any(PLANNED in schedule.notes for schedule in least):
        notes.append(
            "the cut of the layers is not given, so each schedule got a quick cut: give the one that was measured"
        )
    return chosen.costs(nothing), notes


def fit_costs(steps: Sequence[MeasuredStep], given: FoundCosts, second: str | None = None) -> FoundCosts:
    """Fit an overhead to steps, and one more cost if it is named, whether or not that explains them.

    Parameters
    ----------
    steps : sequence of MeasuredStep
        The steps, which may be steps of different pipelines.
    given : FoundCosts
        What is taken for the costs that are not fitted.
    second : {"transfer", "after"} or None
        The other cost.
    """
    times = [cost.forward + cost.backward for step in steps for cost in step.pipeline.work]
    return _Candidate(second, _fit(steps, given, second, Fraction(0), sum(times, Fraction(0)) / len(times))).costs(
        given
    )


def _fit(
    steps: Sequence[MeasuredStep], given: FoundCosts, second: str | None, overhead: Fraction, scale: Fraction
) -> Fit:
    def errors(point: Point) -> list[float]:
        costs = _Candidate(second, Fit(point, ())).costs(given)
        return [float(step.predicted(costs) / step.length - 1) for step in steps]

    return least_squares(errors, [overhead, *([Fraction(0)] if second else [])], scale)


def _seconds(steps: Sequence[MeasuredStep], first: Fit) -> Iterator[str]:
    """Yield the costs that may explain what an overhead alone does not."""
    if len(steps) < 2 or first.mean_error < WORTH_EXPLAINING.get(len(steps), LEAST_WORTH_EXPLAINING):
        return
    if all(leaves_transfers_open(step.pipeline) for step in steps):
        yield "transfer"
    yield "after"


def explains(first: Fit, other: Fit) -> bool:
    """Return whether a second number explains the steps; chance would do as well as that once in twenty times.

    That is the F-test of a model within another that has one more number. Two measurements leave nothing to test with:
    there the second number must explain all.
    """
    if not other.at[1]:
        return False
    freedom = len(first.errors) - 2
    if not freedom:
        return other.mean_error < EXACT
    critical: float = STUDENT[min(freedom, len(STUDENT)) - 1] ** 2
    return (first.squares - other.squares) * freedom > critical * other.squares


def _notes(
    steps: Sequence[MeasuredStep], chosen: _Candidate, explaining: Sequence[_Candidate], scale: Fraction
) -> Iterator[str]:
    unit = steps[0].pipeline.unit
    if chosen.second and len(steps) == 2:
        yield "two numbers fit two measurements always: a third would show whether they hold"
    for other in explaining[1:]:
        if other.fit.mean_error < 2 * chosen.fit.mean_error + EXACT:
            key = "communication.transfer" if other.second == "transfer" else "step.after"
            values = [with_unit(number(float(value), MEASURED), unit) for value in other.fit.at]
            yield f"{key} of {values[1]} and an overhead of {values[0]} explain the steps as well"
    if chosen.fit.at[0] > scale:
        yield (
            f"an overhead of {with_unit(number(float(chosen.fit.at[0]), MEASURED), unit)} is more than an operation "
            "takes: is a measured time in another unit, or of several steps?"
        )
