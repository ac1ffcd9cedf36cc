"""The options that replay schedules with drawn times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ppopt.commands.finite_number import FINITE
from solver.errors import InputError
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.noise.noise import Noise
    from ppopt.schedules.schedule import Schedule
    from strategies.model.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--noise",
        "noise",
        type=FINITE,
        metavar="X",
        help="Draw every operation's time with this coefficient of variation, such as 0.05, and replay each order.",
    ),
    click.option(
        "--spread",
        metavar="FILE",
        help="Draw the times from measured spreads instead: a file written by `ppopt profile --spread`.",
    ),
    click.option(
        "--noise-device",
        "noise_devices",
        multiple=True,
        metavar="X|D=X",
        help="Draw the speed of every device, or of device D, with this coefficient of variation.",
    ),
    click.option("--samples", type=int, metavar="N", help="Number of draws.  [default: 1000]"),
)

LENGTHS = click.option(
    "--noise-lengths",
    metavar="FILE",
    help="Draw the microbatches of each step from a file of lengths, fed at random, as a pyramid, and at best.",
)

NOISE_OPTIONS = ("noise", "spread", "noise_devices", "samples")
"""The parameters that `noise_options` adds."""


def noise_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_noise(
    noise: float | None, spread: str | None, noise_devices: Sequence[str], samples: int | None, seed: int
) -> Noise | None:
    """Read the noise; None if no option asks for any.

    Parameters
    ----------
    noise, spread, noise_devices, samples
        As `noise_options` adds them.
    seed : int
        The seed of the draws.

    Raises
    ------
    InputError
        If an option is wrong, or the options contradict each other.
    """
    if noise is None and spread is None and not noise_devices:
        if samples is not None:
            raise InputError(
                "--samples: sets how often times are drawn; give --noise, --spread or --noise-device as well"
            )
        return None
    from ppopt.noise.noise import USUAL_SAMPLES, Noise
    from ppopt.noise.spread_file import read_spreads

    if spread is not None and noise is not None:
        raise InputError("--spread: says how each operation varies, and so does --noise; give one of the two")
    return Noise(
        operation=noise or 0.0,
        spreads=None if spread is None else read_spreads(spread),
        device=_read_devices(noise_devices),
        samples=USUAL_SAMPLES if samples is None else samples,
        seed=seed,
    )


def with_noise(schedules: list[Schedule], noise: Noise | None, deadline: float | None = None) -> list[Schedule]:
    """Replay schedules with drawn times, if noise is given."""
    if noise is None:
        return schedules
    from ppopt.noise.under_noise import under_noise

    return under_noise(schedules, noise, deadline=deadline)


def _read_devices(texts: Sequence[str]) -> float | dict[int, float]:
    """Read one number per device, as in ``3=0.2``, or one for all."""
    found: dict[int | None, float] = {}
    for text in texts:
        device, equals, value = text.rpartition("=")
        place = int(device) if equals and device.isascii() and device.isdecimal() and len(device) < 8 else None
        number = _number(value)
        if number is None or (equals and place is None):
            raise InputError(
                f"--noise-device: must be a number such as 0.1, or one of a device, 3=0.1; found {text[:40]!r}"
            )
        if place is not None and 1 <= number < 100:
            click.echo(
                f"note: --noise-device {text}: {number:.0%} jitter: did you mean --slowdown {text}?".replace("%", " %"),
                err=True,
            )
        if place in found:
            raise InputError(f"--noise-device: {'device ' + str(place) if equals else 'all devices'} is given twice")
        found[place] = number
    if None in found:
        if len(found) > 1:
            raise InputError("--noise-device: is given for all devices and for one; give one of the two")
        return found[None]
    return {place: number for place, number in found.items() if place is not None} or 0.0


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def print_drawn(
    pipeline: Pipeline, schedules: Sequence[Schedule], lengths: str | None, samples: int | None, seed: int, form: str
) -> None:
    """Print how long steps of schedules are with drawn lengths, if any: behind a table, else on standard error."""
    if lengths is None:
        return
    from ppopt.evaluation.drawn_lengths import under_lengths
    from reports.numbers import number

    click.echo(f"\nmicrobatches drawn from {in_one_line(lengths)}, fed in three ways:", err=form != "table")
    rows = [("strategy", "fed", "mean", "5%", "95%", "over limit")]
    for schedule in schedules:
        drawn = under_lengths(pipeline, schedule.strategy, lengths, samples=samples or 200, seed=seed)
        for each in drawn:
            figures = (number(each.mean), number(each.low), number(each.high))
            rows.append((schedule.strategy, each.feed, *figures, f"{each.over_limit:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        aligned = [str.ljust] * 2 + [str.rjust] * (len(row) - 2)
        cells = [align(text, width) for align, text, width in zip(aligned, row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip(), err=form != "table")
