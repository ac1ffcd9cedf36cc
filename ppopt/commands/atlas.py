"""``ppopt atlas``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from solver.errors import InputError
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.best_known.cells import Cell, Key

_EPILOG = (
    "An activation is what a device keeps of one microbatch for its whole part of the model. docs/explanation/atlas.md "
    "says which published schedule is optimal where, and where none is."
)


@click.command(epilog=_EPILOG)
@click.option("--devices", type=int, metavar="N", help="The number of devices, p.")
@click.option("--microbatches", type=int, metavar="N", help="The number of microbatches.")
@click.option(
    "--memory", metavar="X", help="The most activations that a device may hold: a number, p/2, p, 3p/2, 2p or none."
)
@click.option("--placement", metavar="NAME", help="linear, v, interleaved or bidirectional.")
@click.option("--times", metavar="NAME", help="unit or measured.")
@click.option("--mine", metavar="FILE.csv", help="Say where an order of your own stands.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def atlas(mine: str | None, form: str, **options: Any) -> None:
    """Show the best known makespans on a grid of pipelines, with proven bounds, and where an order of yours stands.

    Without options, each line sums up the cells of one placement and memory limit; with any, each line is a cell.
    """
    wanted = {name: value for name, value in options.items() if value is not None}
    if mine is not None:
        _show_order(mine, wanted, form)
        return
    cells = _matching(wanted)
    if form != "table":
        _write([cell.to_dict() for cell in cells], "cells", form)
    elif wanted:
        _show_cells(cells)
    else:
        _show_summary(cells)


_ORDER = ("times", "placement", "devices", "microbatches", "memory")
"""The options that choose cells; what the later ones may be depends on the earlier ones."""


def _matching(wanted: dict[str, Any]) -> list[Cell]:
    """Find the cells that have all values wanted.

    Raises
    ------
    InputError
        If none has.
    """
    from ppopt.best_known.cells import read_cells

    left = list(read_cells().values())
    for name in (name for name in _ORDER if name in wanted):
        value = str(wanted[name])
        found = [cell for cell in left if value in _names(cell.key, name)]
        if not found:
            known = ", ".join(_all_of(left, name))
            on = f" on {wanted['devices']} devices" if "devices" in wanted and name in _ORDER[3:] else ""
            raise InputError(f"--{name}: must be one of {known}{on}; found {in_one_line(value)[:40]!r}")
        left = found
    return left


def _all_of(cells: Sequence[Cell], name: str) -> list[str]:
    """List what an option may be for some of these cells, numbers by size."""
    values = dict.fromkeys(_names(cell.key, name)[0] for cell in cells)
    return sorted(values, key=lambda value: float(value) if value.isdecimal() else float("inf"))


def _names(key: Key, name: str) -> tuple[str, ...]:
    """Return what an option may say to mean a cell."""
    value = getattr(key, name)
    return ("none" if value is None else str(value), *((key.label,) if name == "memory" else ()))


_OF_CELLS = ("", "times, placement", "p", "m", "memory", "found", "bound", "gap", "published")


def _show_cells(cells: Sequence[Cell]) -> None:
    from reports.table import aligned

    click.echo("\n".join(aligned([_OF_CELLS, *map(_cells, cells)])))
    if len({cell.key._replace(times="") for cell in cells}) == 1:
        for cell in cells:
            published = ", ".join(cell.published) or "none fits"
            click.echo(f"\nbest published, {cell.key.times} times: {published}\nto search longer: {cell.key.command}")


def _cells(cell: Cell) -> tuple[str, ...]:
    from reports.numbers import number, percent

    key = cell.key
    return (
        "",
        f"{key.times}, {key.placement}",
        *(str(key.devices), str(key.microbatches), _names(key, "memory")[0]),
        *("" if value is None else number(value) for value in (cell.found, cell.bound)),
        "optimal" if cell.proven else "" if cell.gap is None else percent(cell.gap),
        "none fits" if cell.published_makespan is None else number(cell.published_makespan),
    )


_OF_LINES = ("", "times, placement, memory", "cells", "proven", "published", "beaten", "longer")
_NOTES = (
    "published: cells in which a published schedule is proven optimal",
    "beaten: cells in which the best known is shorter than every published schedule, or none fits",
    "longer: how much longer the best published schedule that fits is, at most",
)


def _show_summary(cells: Sequence[Cell]) -> None:
    from ppopt.best_known.summary import proven_part, summed_up
    from reports.numbers import percent
    from reports.table import aligned

    rows = [
        (
            "",
            f"{line.times}, {line.placement}, {line.memory}",
            *(str(line.cells), str(line.proven), str(line.optimal), str(line.beaten)),
            "" if line.longer is None else percent(line.longer),
        )
        for line in summed_up(cells)
    ]
    click.echo("\n".join([*aligned([_OF_LINES, *rows]), *_NOTES, proven_part(cells)]))


def _show_order(path: str, wanted: dict[str, Any], form: str) -> None:
    """Show where an order stands.

    Raises
    ------
    InputError
        If the order cannot be placed, or other options ask for something else.
    """
    from ppopt.best_known.own_order import place_order

    if others := [f"--{name}" for name in wanted if name != "times"]:
        raise InputError(f"--mine: takes sizes and placement from the order; leave out {', '.join(others)}")
    named = {cell.key.times for cell in _matching(wanted)}
    given, everywhere = place_order(path)
    places = [each for each in everywhere if each.cell.key.times in named]
    for note in given.notes:
        click.echo(f"note: {note}", err=True)
    if form != "table":
        _write([{"file": given.name, **each.to_dict()} for each in places], "orders", form)
        return
    devices, microbatches = given.sizes["devices"], given.sizes["microbatches"]
    click.echo(f"{given.name}: {devices} devices, {microbatches} microbatches, {given.placement.name}")
    for each in places:
        click.echo(each.sentence())


def _write(rows: Sequence[dict[str, Any]], what: str, form: str) -> None:
    from ppopt.best_known.cells import as_csv

    if form == "json":
        click.echo(json.dumps({what: rows}, allow_nan=False))
    else:
        click.echo(as_csv(rows), nl=False)
