"""The options that compare a prediction with a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.profiling.against import Against
    from ppopt.schedules.schedule import Schedule

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--against",
        multiple=True,
        metavar="TRACE",
        help="Traces or logs of the same order, as for `ppopt profile`: compare measured and predicted steps.",
    ),
    click.option(
        "--unit",
        type=click.Choice(["s", "ms", "us"]),
        help="The unit of your times, for --against.  [default: the configuration's unit, else ms]",
    ),
)


def measuring_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_measuring(against: Sequence[str], unit: str | None, names: Sequence[object]) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    InputError
        If a unit is given without a measurement, or several schedules with one.
    """
    if unit is not None and not against:
        raise InputError("--unit: says in what unit of time your costs are, for --against TRACE; give that as well")
    if against and len(names) > 1:
        raise InputError(f"--against: takes one schedule, the one that was measured; found {len(names)}")


def compare_with_measured(predicted: Schedule, against: Sequence[str], unit: str | None) -> Against:
    """Read a measurement and compare its median step with the prediction."""
    from ppopt.profiling.against import hold_against
    from ppopt.profiling.measurement import unit_of_times
    from ppopt.profiling.read import read_measurement
    from ppopt.profiling.timeline import representative_step

    predicted.pipeline.refuse_unequal("--against")
    unit = unit_of_times(predicted.pipeline, unit)
    measurement = read_measurement(against, schedule=predicted.strategy, unit=unit)
    if measurement.configured is not None:
        measurement.configured.refuse_unequal("--against")
    for note in measurement.notes:
        click.echo(f"note: {note}", err=True)
    return hold_against(predicted, representative_step(measurement), unit, measurement.configured)


def print_differences(against: Against, form: str) -> None:
    """Print how the measurement differs: after a table, or on standard error for other formats."""
    for text in against.differences:
        click.echo(click.wrap_text(text, 80, subsequent_indent="  "), err=form != "table")
