"""One section of the page: its charts, their data, and the texts that the template puts next to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import altair as alt
import yaml

from reports.charts.overview import idle_shares, overview_layer, windows
from reports.charts.panel import Table
from reports.charts.records import label
from reports.charts.timeline_layout import columns, cut_out, memory_scale
from reports.charts.timelines import timeline_layers, timeline_start
from reports.content import Presented, Section
from reports.numbers import digits_of, grouped, percent, signed_percent, with_unit
from reports.page import sentences, tables
from reports.page.layout import ALL_PANELS, GROUPS, Group
from reports.page.what_if import WhatIfControls, controls_of, replay_data
from reports.table import Row
from solver.counted import counted


class DrawnPanel(NamedTuple):
    """A chart of the page with its text alternative."""

    key: str
    title: str
    sentence: str
    table: Table


class Drawn(NamedTuple):
    """A timeline of the page: one chart, or, for a long schedule, the idle shares and three windows.

    Attributes
    ----------
    key, name, sentence : str
        Its key in the page, the schedule's name, and the sentence that explains it.
    parts : list of (str, str)
        The key and the caption of each of its charts.
    order : str
        The actions of each device, one line per device.
    notes : tuple of str
        Notes on the schedule for the reader.
    """

    key: str
    name: str
    sentence: str
    parts: list[tuple[str, str]]
    order: str
    notes: tuple[str, ...]


@dataclass
class ChartData:
    """The data for the page's script: specifications by key, and the data of timelines."""

    charts: dict[str, Any] = field(default_factory=dict)
    timelines: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, Any] = field(default_factory=dict)


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
    whole : set of int
        The schedules (by id) whose timelines are drawn whole.
    """

    section: Section
    place: int
    panels: dict[str, DrawnPanel] = field(default_factory=dict)
    drawn: list[Drawn] = field(default_factory=list)
    whole: set[int] = field(default_factory=set)

    @property
    def groups(self) -> list[Group]:
        """The groups that have a panel in this section."""
        return [group for group in GROUPS if any(each.name in self.panels for row in group.rows for each in row)]

    @property
    def verdict(self) -> str:
        """The verdict."""
        return self.section.headline or sentences.whole_verdict(self.section)

    @property
    def frameworks(self) -> str:
        """The fastest schedule of each framework, in a sentence."""
        return sentences.frameworks(self.section)

    @property
    def tiles(self) -> list[tuple[str, str, str]]:
        """The verdict's numbers: title, value, remark."""
        best = self.section.winner or self.section.fastest
        if best is None:
            return []
        figures, bound, unit = best.summary.figures, self.section.bound, self.section.unit
        fits = "over the memory limit" if best.summary.over else best.placement + " placement"
        tiles = [
            ("winner", best.summary.name, fits),
            (
                "makespan",
                with_unit(grouped(figures.makespan, digits_of(best.summary.status)), unit),
                f"{percent(figures.bubble_ratio)} of the device time idle",
            ),
        ]
        baseline = self.section.baseline
        if baseline is not None and baseline.name != best.summary.name:
            share = signed_percent(figures.makespan / baseline.figures.makespan - 1)
            tiles.append((f"against {baseline.name}", share, f"{baseline.name} takes {_time(baseline, unit)}"))
        if bound is not None and not best.summary.over:
            lost = max(0.0, figures.makespan - bound)
            remark = f"{percent(lost / figures.makespan)} of the step; bound {with_unit(grouped(bound), unit)}"
            tiles.append(("lost against the bound", with_unit(grouped(lost), unit), remark))
        peak = max(figures.peak_memory)
        device = figures.peak_memory.index(peak)
        limit = best.summary.limits[device]
        remark = f"device {device}" if limit is None else f"device {device}, limit {grouped(limit)}"
        tiles.append(("peak memory", grouped(peak), remark))
        return tiles

    @property
    def costs(self) -> list[tuple[str, str]]:
        """The costs assumed, in a few words each."""
        return list(_costs(self.section.pipeline))

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
    def strips(self) -> str:
        """The meaning of a full memory strip."""
        return sentences.strips(self.section)

    @property
    def transfers_wait(self) -> bool:
        """Whether transfers are drawn."""
        return any(each.transfers for each in self.section.schedules)

    @property
    def has_long_order(self) -> bool:
        """Whether some order is too long for the page."""
        return any(not each.order for each in self.drawn)

    @property
    def what_if(self) -> WhatIfControls | None:
        """The controls to change costs; None if nothing can be replayed."""
        return controls_of(self.section, self.whole)

    @property
    def what_if_data(self) -> dict[str, Any] | None:
        """The data for these controls, for the page's script."""
        return replay_data(self.section, self.place, self.whole)

    def gather(self, data: ChartData, whole: set[int]) -> None:
        """Make all charts and add their data.

        Parameters
        ----------
        data : ChartData
            The collected data of the page.
        whole : set of int
            The schedules (by id) whose timelines are drawn whole.
        """
        self.whole = whole
        for each in ALL_PANELS:
            if each.is_drawn(self.section):
                key = f"{each.name}-{self.place}"
                data.charts[key] = each.chart(self.section).to_dict()
                words = each.sentence(self.section), each.table(self.section)
                self.panels[each.name] = DrawnPanel(key, each.title, *words)
        drawer = _Timelines(self.section, self.place, data, whole)
        self.drawn = [drawer.draw(rank, each) for rank, each in enumerate(self.section.schedules)]


class _Timelines:
    """Draws the timelines of a section on one time axis."""

    def __init__(self, section: Section, place: int, data: ChartData, whole: set[int]) -> None:
        self.place, self.data, self.whole = place, data, whole
        linked = [each for each in section.schedules if id(each) in whole]
        self.start = min(map(timeline_start, linked), default=0.0)
        self.end = max((timeline_start(each) + each.summary.figures.makespan for each in linked), default=1.0)
        self.full_strip = memory_scale(section.schedules)

    def draw(self, rank: int, presented: Presented) -> Drawn:
        key = f"timeline-{self.place}-{rank}"
        whole = id(presented) in self.whole
        if not presented.is_drawn:
            return Drawn(key, label(presented), sentences.timeline(presented, whole=False), [], "", presented.notes)
        timeline = columns(presented)
        if whole:
            self._add(key, timeline, self.start, self.end, linked=True)
            parts = [(key, "")]
        else:
            parts = self._add_overview(key, presented, timeline)
        sentence = sentences.timeline(presented, whole=whole)
        order = "\n".join(",".join(actions) for actions in presented.orders) if whole else ""
        return Drawn(key, label(presented), sentence, parts, order, presented.notes)

    def _add(self, key: str, timeline: dict[str, Any], start: float, end: float, *, linked: bool) -> None:
        devices = timeline["devices"]
        chart = f"timeline of {counted(devices, 'device')}, {start!r} to {end!r}"
        if chart not in self.data.charts:
            self.data.charts[chart] = _timeline_chart(devices, start, end, timeline["unit"])
        more = {"from": start, "to": end, "scale": self.full_strip, "group": self.place if linked else None}
        self.data.timelines[key] = timeline | more | {"chart": chart}

    def _add_overview(self, key: str, presented: Presented, timeline: dict[str, Any]) -> list[tuple[str, str]]:
        shares = f"{key}-shares"
        self.data.charts[shares] = overview_layer(presented, alt.NamedData(name="shares")).to_dict()
        self.data.shares[shares] = {
            "start": timeline_start(presented),
            "makespan": presented.summary.figures.makespan,
            "idle": idle_shares(presented),
        }
        parts = [(shares, "The whole step: idle share of each device")]
        for name, start, end in windows(presented):
            self._add(f"{key}-{name}", cut_out(timeline, start, end), start, end, linked=False)
            stretch = f"from {grouped(start)} to {with_unit(grouped(end), presented.summary.unit)}"
            parts.append((f"{key}-{name}", f"{name.capitalize()}: {stretch}"))
        return parts


_SOME_START, _SOME_END = 1.2345678901234567e-101, 7.654321098765432e-101
"""Placeholders for each timeline's start and end, with values that no timeline has."""


def _timeline_chart(devices: int, start: float, end: float, unit: str) -> dict[str, Any]:
    """Specify a timeline whose rows and tooltips come from the page's script."""
    text = _any_timeline_chart(devices, unit)
    for stands, meant in ((_SOME_START, start), (_SOME_END, end), (_SOME_END - _SOME_START, end - start)):
        text = text.replace(repr(stands), repr(meant))
    specification: dict[str, Any] = json.loads(text)
    return specification


@cache
def _any_timeline_chart(devices: int, unit: str) -> str:
    """Write one specification for all timelines with this many devices: Altair takes a tenth of a second for each."""
    named = {name: alt.NamedData(name=name) for name in ("bars", "memory", "transfers")}
    chart = timeline_layers(devices, _SOME_START, _SOME_END, **named, tooltip=alt.value(" "), unit=unit)
    settings = [alt.param(name="colour_by", value="kind"), alt.param(name="critical_path", value=False)]
    return json.dumps(chart.add_params(*settings).to_dict())


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


def _microbatches(given: object) -> str:
    """Write the number of microbatches, and whether they are listed with their sizes."""
    if not isinstance(given, list):
        return str(given)
    return f"{sum(each.get('count', 1) for each in given)}, not all as measured"


def _costs(pipeline: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    times, memory, unit = pipeline.get("times", {}), pipeline.get("memory", {}), str(pipeline.get("unit", ""))
    parts = [
        ("devices", str(pipeline["devices"])),
        ("stages", str(pipeline.get("stages", "as the schedule needs"))),
        ("microbatches", _microbatches(pipeline["microbatches"])),
        *((name.replace("_", " "), with_unit(_amount(value), unit)) for name, value in times.items()),
        *_transfer_costs(pipeline, unit),
    ]
    if "layers" in pipeline:
        parts.append(("layers", ", ".join(f"{kind['count']} {kind['name']}" for kind in pipeline["layers"])))
    else:
        parts.append(("activation", _amount(memory.get("activation", 1))))
    names = {"static": "static memory"}
    others = [key for key in memory if key not in ("activation", "limit")]
    parts += [(names.get(key, key.replace("_", " ")), _amount(memory[key])) for key in others]
    return [*parts, ("memory limit", _amount(memory["limit"]) if "limit" in memory else "none")]


def _time(row: Row, unit: str) -> str:
    return with_unit(grouped(row.figures.makespan, digits_of(row.status)), unit)


def _amount(value: Any) -> str:
    if not isinstance(value, list):
        return grouped(value)
    low, high = min(value), max(value)
    return grouped(low) if low == high else f"{grouped(low)} to {grouped(high)}"
