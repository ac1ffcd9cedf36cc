"""One section of the page: its charts, their data, and the texts that the template puts next to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, cast

import yaml

from reports.charts import palette
from reports.charts.frontier import COPIES_LINE
from reports.charts.panel import Panel, Table
from reports.content import Section
from reports.focus import in_focus
from reports.numbers import grouped, with_unit
from reports.page import sentences, tables
from reports.page.layout import ALL_PANELS, BESIDE_SLIDERS, GROUPS, HOW_TO_READ, hero
from reports.page.tiles import Tile, tiles
from reports.page.timelines import ChartData, Drawn, Timelines
from reports.page.what_if import WhatIfControls, controls_of, replay_data


class DrawnPanel(NamedTuple):
    """A chart of the page with its text alternative."""

    key: str
    title: str
    sentence: str
    table: Table


class DrawnGroup(NamedTuple):
    """Panels below a heading, row by row."""

    title: str
    rows: list[list[DrawnPanel]]


BESIDE = {
    "UNSHARD": "gathers of parameters",
    "REDUCE_GRAD": "reductions of gradients",
    "OFFLOAD": "copies to the host and back",
    "RELOAD": "copies to the host and back",
}
"""What the thin row beneath a device calls the work beside computing."""


@dataclass
class SectionView:
    """One section as the template reads it.

    Attributes
    ----------
    section : Section
        The section.
    place : int
        Its index on the page.
    panels : dict of str to DrawnPanel
        Its charts except the timelines.
    drawn : list of Drawn
        Its timelines.
    kinds : dict of str to str
        The kinds of operation that they show, with their colours.
    """

    section: Section
    place: int
    panels: dict[str, DrawnPanel] = field(default_factory=dict)
    drawn: list[Drawn] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[DrawnGroup]:
        """The groups that have a panel in this section besides the picture of the first screen."""
        drawn = [DrawnGroup(group.title, self._rows(group.rows)) for group in GROUPS]
        return [group for group in drawn if group.rows]

    def _rows(self, rows: Sequence[Sequence[Panel]]) -> list[list[DrawnPanel]]:
        found = [[self.panels[each.name] for each in row if each.name in self.panels] for row in rows]
        others = [[each for each in row if each is not self.hero] for row in found]
        return [row for row in others if row]

    @property
    def frameworks(self) -> str:
        """The fastest schedule of each framework, in a sentence."""
        return sentences.frameworks(self.section)

    @property
    def title(self) -> str:
        """What the section answers."""
        if self.section.measured is not None:
            return "A run against its prediction"
        if self.section.frontier is not None:
            return "Step time against memory"
        return "Which layers go where" if self.section.reasons else "Pipeline schedules"

    @property
    def lead(self) -> str:
        """The verdict in one sentence."""
        return self.section.headline or sentences.verdict(self.section)

    @property
    def margin(self) -> str:
        """How far the verdict holds."""
        return "" if self.section.headline else self.section.margins.sentences(self.section.units.time)

    @property
    def tiles(self) -> list[Tile]:
        """The figures of the verdict."""
        return tiles(self.section)

    @property
    def hero(self) -> DrawnPanel | None:
        """The picture that shows the decision."""
        panel = hero(self.section)
        return None if panel is None else self.panels.get(panel.name)

    @property
    def how_to_read(self) -> str:
        """How to read that picture, if it is not obvious."""
        panel = hero(self.section)
        text = "" if panel is None else HOW_TO_READ.get(panel.name, "")
        has_copies = self.section.frontier is not None and self.section.frontier.copies is not None
        return f"{text} {COPIES_LINE}" if text and has_copies else text

    @cached_property
    def focus(self) -> frozenset[int]:
        """The ranks of the schedules that are shown at first."""
        return in_focus(self.section)

    @property
    def folded(self) -> int:
        """The number of schedules that are folded at first."""
        return len(self.section.schedules) - len(self.focus)

    @property
    def notes(self) -> list[tuple[str, str]]:
        """The notes that hold for several schedules, each with whom it holds for."""
        return list(sentences.shared_notes(self.section))

    @property
    def costs(self) -> list[tuple[str, str]]:
        """The costs assumed, in a few words each."""
        return list(_costs(self.section.pipeline))

    @property
    def beside_sliders(self) -> list[list[DrawnPanel]]:
        """The panels that stand above the sliders of other costs."""
        return self._rows([BESIDE_SLIDERS])

    @property
    def configuration(self) -> str:
        """The configuration as YAML."""
        return yaml.safe_dump(dict(self.section.pipeline), sort_keys=False, allow_unicode=True, default_flow_style=None)

    @property
    def columns(self) -> list[str]:
        """The header of the table of all figures."""
        return tables.number_titles(self.section)

    @property
    def numbers(self) -> list[list[tables.Cell]]:
        """All figures, one row per schedule."""
        return tables.numbers(self.section)

    @property
    def marks_over(self) -> bool:
        """Whether some schedule is over the memory limit."""
        return any(each.summary.over for each in self.section.schedules)

    @property
    def marks_copies(self) -> bool:
        """Whether the memory of some schedule lacks a second copy of the weights."""
        return any(each.summary.lacks_second_copy for each in self.section.schedules)

    @property
    def strips(self) -> str:
        """The meaning of a full memory strip."""
        return sentences.strips(self.section)

    @property
    def has_limits(self) -> bool:
        """Whether some device has a memory limit."""
        return any(limit is not None for each in self.section.schedules for limit in each.summary.limits)

    @property
    def thin_row(self) -> str:
        """What the thin row beneath a device shows; empty if nothing."""
        beside, transfers = set[str](), 0
        for each in self.section.schedules:
            ran = () if each.beside is None else [row for row in each.beside.rows if row.end > row.start]
            beside |= {cast("Any", row.task).action.kind for row in ran}
            transfers += len(each.transfers) - len(ran)
        texts = ["transfers, paler while one side waits"] if transfers else []
        return "; ".join([*texts, *dict.fromkeys(BESIDE[kind] for kind in BESIDE if kind in beside)])

    @property
    def most_devices(self) -> int:
        """The number of devices, if some are hidden in timelines at first; 0 if none is."""
        devices = (
            each.problem.devices
            for each, drawn in zip(self.section.schedules, self.drawn, strict=True)
            if drawn.folding
        )
        return max(devices, default=0)

    @property
    def what_if(self) -> WhatIfControls | None:
        """The controls to change costs; None if nothing can be replayed."""
        return controls_of(self.section)

    @property
    def what_if_data(self) -> dict[str, Any] | None:
        """The data for these controls, for the page's script."""
        return replay_data(self.section, self.place)

    def gather(self, data: ChartData) -> None:
        """Make all charts and add their data.

        Parameters
        ----------
        data : ChartData
            The collected data of the page.
        """
        for each in ALL_PANELS:
            if each.is_drawn(self.section):
                key = f"{each.name}-{self.place}"
                data.charts[key] = each.specification(self.section, key)
                words = each.sentence(self.section), each.table(self.section)
                self.panels[each.name] = DrawnPanel(key, each.title, *words)
        timelines = Timelines(self.section, self.place, data)
        self.drawn = timelines.every()
        self.kinds = {kind: colour for kind, colour in palette.KINDS.items() if kind in timelines.kinds}


def _transfer_costs(pipeline: Mapping[str, Any], unit: str) -> Iterator[tuple[str, str]]:
    """Yield the costs of transfers and the rules of waiting."""
    given = pipeline.get("communication")
    if given is None:
        yield "latency", with_unit(_amount(pipeline.get("p2p_latency", 0)), unit)
    else:
        for key, value in given.items():
            classed = isinstance(value, Mapping)
            text = ", ".join(f"{name} {_amount(each)}" for name, each in value.items()) if classed else _amount(value)
            yield key.replace("_", " "), with_unit(text, unit) if key in ("latency", "transfer") else text
    if "framework" in pipeline or pipeline.get("p2p", "async") != "async":
        parts = [pipeline.get(key) for key in ("framework", "p2p", "communicators", "lowering")]
        yield "transfers", ", ".join(str(part) for part in parts if part)


def _costs_beside(pipeline: Mapping[str, Any], unit: str, held: str) -> Iterator[tuple[str, str]]:
    """Yield what devices do beside computing."""
    times = ("all_gather", "reduce_scatter", "all_reduce", "time", "back")
    for part in ("sharding", "data_parallel", "offload"):
        for key, value in pipeline.get(part, {}).items():
            its_unit = unit if key in times else held if key in ("weights", "gradients") else ""
            name = part if key == "all_reduce" else f"{part} {key}"
            yield name.replace("_", " "), with_unit(_of_parts(value), its_unit)


def _of_parts(value: Any) -> str:
    """Write a number, a word, yes or no, or a number for each stage or each kind of layers."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {grouped(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _amount(value)


def _microbatches(given: object) -> str:
    """Write the number of microbatches, and whether they are listed with their sizes."""
    if not isinstance(given, list):
        return str(given)
    return f"{sum(each.get('count', 1) for each in given)}, not all as measured"


def _costs(pipeline: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    times, memory, unit = pipeline.get("times", {}), pipeline.get("memory", {}), str(pipeline.get("unit", ""))
    held = str(memory.get("unit", ""))
    parts = [
        ("devices", str(pipeline["devices"])),
        ("stages", str(pipeline.get("stages", "as the schedule needs"))),
        ("microbatches", _microbatches(pipeline["microbatches"])),
        *((name.replace("_", " "), with_unit(_amount(value), unit)) for name, value in times.items()),
        *_transfer_costs(pipeline, unit),
        *_costs_beside(pipeline, unit, held),
    ]
    if "layers" in pipeline:
        parts.append(("layers", ", ".join(f"{kind['count']} {kind['name']}" for kind in pipeline["layers"])))
    else:
        parts.append(("activation", with_unit(_amount(memory.get("activation", 1)), held)))
    names = {"static": "static memory"}
    others = [key for key in memory if key not in ("activation", "limit", "unit")]
    parts += [(names.get(key, key.replace("_", " ")), with_unit(_amount(memory[key]), held)) for key in others]
    return [*parts, ("memory limit", with_unit(_amount(memory["limit"]), held) if "limit" in memory else "none")]


def _amount(value: Any) -> str:
    if not isinstance(value, list):
        return grouped(value)
    low, high = min(value), max(value)
    return grouped(low) if low == high else f"{grouped(low)} to {grouped(high)}"
