"""One section of the page: its charts, their data, and the texts that the template puts next to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from reports.charts import palette
from reports.charts.panel import Table
from reports.content import Section
from reports.numbers import digits_of, grouped, percent, signed_percent, with_unit
from reports.page import sentences, tables
from reports.page.layout import ALL_PANELS, GROUPS, Group
from reports.page.timelines import ChartData, Drawn, Timelines
from reports.page.what_if import WhatIfControls, controls_of, replay_data
from reports.table import Row


class DrawnPanel(NamedTuple):
    """A chart of the page with its text alternative."""

    key: str
    title: str
    sentence: str
    table: Table


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
    def has_limits(self) -> bool:
        """Whether some device has a memory limit."""
        return any(limit is not None for each in self.section.schedules for limit in each.summary.limits)

    @property
    def transfers_wait(self) -> bool:
        """Whether transfers are drawn."""
        return any(each.transfers for each in self.section.schedules)

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
                data.charts[key] = each.chart(self.section).to_dict()
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


def _costs(pipeline: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    times, memory, unit = pipeline.get("times", {}), pipeline.get("memory", {}), str(pipeline.get("unit", ""))
    parts = [
        ("devices", str(pipeline["devices"])),
        ("stages", str(pipeline.get("stages", "as the schedule needs"))),
        ("microbatches", str(pipeline["microbatches"])),
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
