"""``ppopt calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.pipeline_options import (
    OPTION_NAMES,
    cut_options,
    pipeline_options,
    read_with_strategies,
    with_layout,
)
from solver.errors import InputError

if TYPE_CHECKING:
    from fractions import Fraction

    from ppopt.calibration.calibrate import Calibration
    from solver.states import Objective
    from strategies.given_model.stages import CutChoice
    from strategies.model.pipeline import Pipeline

_EPILOG = (
    "A time is in the configuration's unit, or has its own: 1f1b=1.525s. A name that ends in .csv is an order of your "
    "own: order.csv=1525.4."
)


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@pipeline_options
@cut_options
@click.option(
    "--measured",
    multiple=True,
    required=True,
    metavar="STRATEGY=TIME",
    help="How long a step of a schedule took, such as 1f1b=1525.4; once for each schedule that was measured.",
)
@click.option(
    "--objective",
    type=click.Choice(["makespan", "span"]),
    default="makespan",
    show_default=True,
    help="What a step takes: the span, if each device begins the next step when it has finished this one.",
)
@click.option("-o", "--output", metavar="FILE.yaml", help="Write the configuration with the costs found there.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def calibrate(
    cut: CutChoice,
    layout: str | None,
    measured: tuple[str, ...],
    objective: Objective,
    output: str | None,
    form: str,
    **options: Any,
) -> None:
    """Find the overhead with which replays take as long as measured steps.

    With two or more measurements, a transfer time or a time after the last operation is found as well, if that explains
    clearly more.
    """
    from ppopt.process.whole_files import check_outputs, written_whole

    check_outputs({"--output": output}, [options["config"], options["lengths"]])
    texts = _split(measured)
    pipeline, names = read_with_strategies(list(texts), **{name: options[name] for name in OPTION_NAMES})
    pipeline = with_layout(pipeline, layout)

    from ppopt.calibration.calibrate import calibrate_named
    from ppopt.calibration.written import configuration_text

    lengths = [_length(name, text, pipeline) for name, text in texts.items()]
    found = calibrate_named(pipeline, list(zip(names, lengths, strict=True)), objective, cut)
    if output is not None:
        config = options["config"] if layout is None and not _overridden(options) else None
        text = configuration_text(config, found.pipeline, found.found, as_json=output.lower().endswith(".json"))
        with written_whole(output) as file:
            file.write(text)
    _print(found, form)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if output is not None:
        click.echo(f"costs: {output}", err=form == "json")


def _split(measured: tuple[str, ...]) -> dict[str, str]:
    """Split each ``STRATEGY=TIME`` at its last equals sign, since strategies have options."""
    found: dict[str, str] = {}
    for text in measured:
        name, _, value = (" ".join(text.splitlines())).rpartition("=")
        name = name.strip()
        if not name or not value.strip() or (":" in name and name.rpartition(",")[2].count("=") != name.count(":")):
            raise InputError(f"--measured: must be STRATEGY=TIME, such as 1f1b=1525.4; found {text[:40]!r}")
        if name in found:
            raise InputError(f"--measured: {name[:40]} is given twice; give the median of its steps")
        found[name] = value.strip()
    return found


def _length(name: str, text: str, pipeline: Pipeline) -> Fraction:
    """Read a time in the unit of the pipeline, or with a unit of its own."""
    from fractions import Fraction

    from ppopt.profiling.measurement import MILLISECONDS, unit_of_times
    from strategies.model.numbers import read_duration, written_number

    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzµμ ")
    unit = text[len(digits) :].strip() if digits else ""
    try:
        length = read_duration(written_number(digits or text))
    except ValueError as error:
        raise InputError(f"--measured {name}: {error}") from None
    if not unit:
        return length
    if unit not in MILLISECONDS:
        raise InputError(f"--measured {name}: {unit[:12]!r} is not a unit; allowed are {', '.join(MILLISECONDS)}")
    if pipeline.unit is None:
        raise InputError(
            f"--measured {name}: is in {unit}, and the configuration names no unit: add that of its times, such as "
            "unit: ms"
        )
    own = unit_of_times(pipeline, None)
    return length * Fraction(str(MILLISECONDS[unit])) / Fraction(str(MILLISECONDS[own]))


def _overridden(options: dict[str, Any]) -> bool:
    return any(options[name] for name in OPTION_NAMES if name != "config")


def _print(found: Calibration, form: str) -> None:
    import json

    if form == "json":
        click.echo(json.dumps(found.to_dict()))
        return
    for line in found.lines():
        click.echo(line)
