"""The page of a sweep: who wins where, as a map or as lines, and the table of every point."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from typing import IO, Any

import jinja2

from reports.numbers import percent
from reports.page.bundle import vega_script
from reports.page.page import embedded
from reports.source import on_costs
from reports.sweeps.charts import lines, winner_map
from reports.sweeps.content import SweepShown
from reports.sweeps.sentences import shown, verdict

MOST_LISTED = 2_000
"""Above this many points, points are not listed below each other; readers reach each through its cell."""


def write_sweep_page(file: IO[str], sweep: SweepShown, *, command: str, version: str) -> None:
    """Write a page that needs nothing but a browser.

    Parameters
    ----------
    file : text file
        The file, in UTF-8.
    sweep : SweepShown
        The sweep.
    command : str
        The command that reproduces the page.
    version : str
        ppopt's version.
    """
    charts = {"map": winner_map(sweep).to_dict()} if len(sweep.sides) > 1 and sweep.winners else {}
    charts["lines"] = lines(sweep).to_dict()
    template = _environment().get_template("sweep.html.j2")
    file.write(
        template.render(
            sweep=sweep,
            verdict=on_costs(verdict(sweep), sweep.source),
            charts=list(charts),
            menus=_menus(sweep),
            listed=_listed(sweep),
            command=command,
            version=version,
            today=date.today().isoformat(),
            data=embedded({"charts": charts, **_tables(sweep)}),
            vega=vega_script(),
            script=_source("sweep.js"),
            style=files("reports.page").joinpath("page.css").read_text(encoding="utf-8"),
        )
    )


def _menus(sweep: SweepShown) -> list[tuple[int, str, list[str], bool]]:
    """List the axes that some chart fixes at one value: index, name, values, and whether the map draws them."""
    drawn_by_all = set(sweep.sides[:1])
    return [
        (place, axis.name, list(map(shown, axis.values)), place in sweep.sides)
        for place, axis in enumerate(sweep.axes)
        if place not in drawn_by_all and len(axis.values) > 1
    ]


def _listed(sweep: SweepShown) -> list[tuple[int, list[str], str, str, str]]:
    """List each point: its number, its values, the winner, its makespan, and its lead."""
    rows = []
    for number, (place, found) in enumerate(list(sweep.points.items())[:MOST_LISTED]):
        where = [shown(found[0][name]) for name in sweep.names]
        winner = sweep.winners.get(place)
        if winner is None:
            rows.append((number, where, "nothing fits", "", ""))
            continue
        lead = sweep.lead(place)
        rows.append(
            (number, where, str(winner["strategy"]), shown(winner["makespan"]), "" if lead is None else percent(lead))
        )
    return rows


_FIGURES = (
    "strategy", "makespan", "bound", "gap", "bubble_ratio", "peak_memory", "fits", "status", "reason", "notes",
)  # fmt: skip


def _tables(sweep: SweepShown) -> dict[str, Any]:
    """Return the rows of each point for the script, the shortest that fits first."""
    points = []
    for rows in sweep.points.values():
        ordered = sorted(rows, key=lambda row: (row["makespan"] is None, not row["fits"], row["makespan"] or 0))
        where = [shown(rows[0][name]) for name in sweep.names]
        points.append({"where": where, "rows": [[row[name] for name in _FIGURES] for row in ordered]})
    return {"axes": sweep.names, "unit": sweep.unit, "points": points}


def _environment() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(_source)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _source(name: str) -> str:
    return files("reports.sweeps").joinpath(name).read_text(encoding="utf-8")
