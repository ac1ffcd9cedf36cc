"""The numbers of each chart as tables, for readers who cannot see the chart."""

from __future__ import annotations

from dataclasses import dataclass

from reports.charts.records import (
    CAUSE_TITLES,
    STEP_TITLES,
    cut_records,
    idle_records,
    label,
    memory_records,
    share_of_limit,
    steps_shown,
)
from reports.content import Presented, Section
from reports.numbers import grouped, percent, signed_percent, titled
from reports.table import Row
from reports.what_if import strongest

MOST_EFFECTS = 12
"""Costs listed for each schedule."""


@dataclass(frozen=True)
class Table:
    """A header and rows of the same length; the first cell names the row."""

    header: list[str]
    rows: list[list[str]]


def bubbles(section: Section) -> Table:
    """Put the three figures of each schedule into a table."""
    header = ["schedule", "bubble ratio", "bubble over ideal", titled("makespan", section.unit)]
    rows = []
    for each in section.schedules:
        figures = each.summary.figures
        ratios = percent(figures.bubble_ratio), percent(figures.bubble_over_ideal)
        rows.append([label(each), *ratios, grouped(figures.makespan)])
    return Table(header, rows)


def frontier(section: Section) -> Table:
    """Put the points of the memory frontier into a table."""
    points = () if section.frontier is None else section.frontier.points
    rows = [
        [grouped(each.limit), each.name, each.placement, grouped(each.makespan), grouped(each.bound), percent(each.gap)]
        for each in points
    ]
    times = [titled(title, section.unit) for title in ("makespan", "bound")]
    return Table(["limit", "schedule", "placement", *times, "gap"], rows)


def memory(section: Section) -> Table:
    """Put makespan, peak memory and the fraction of the limit into a table."""
    rows = []
    for each in section.schedules:
        share = share_of_limit(each)
        peak = grouped(max(each.summary.figures.peak_memory))
        limit = "no limit" if share is None else percent(share)
        rows.append([label(each), grouped(each.summary.figures.makespan), peak, limit])
    return Table(["schedule", titled("makespan", section.unit), "peak memory", "of the limit"], rows)


def noise(section: Section) -> Table:
    """Put the figures of each schedule under noise into a table."""
    times = [titled(title, section.unit) for title in ("mean", "5 %", "95 %", "without noise")]
    rows = []
    for each in section.schedules:
        if each.noise is not None:
            values = (each.noise.mean, each.noise.low, each.noise.high, each.summary.figures.makespan)
            best = "" if each.noise.best is None else percent(each.noise.best)
            rows.append([label(each), *map(grouped, values), best])
    return Table(["schedule", *times, "is the best"], rows)


def margins(section: Section) -> Table:
    """Put each change of the lead into a table."""
    rows = [[each.where(section.unit), each.leader, each.overtaken_by] for each in section.margins.margins]
    return Table(["the lead changes where", "from", "to"], rows)


def effects(section: Section) -> Table:
    """Put the effects of each cost on each schedule into a table, the strongest first."""
    rows: list[list[str]] = []
    found = section.what_if.schedules if section.what_if is not None else []
    for each, replayable in zip(section.schedules, found, strict=False):
        effects = () if replayable is None else strongest(replayable.effects, MOST_EFFECTS)
        rows += [[f"{label(each)}: {it.label}", f"{it.shrinking:.3f} %", f"{it.growing:.3f} %"] for it in effects]
    return Table(["schedule and cost", "1 % less takes off", "1 % more adds"], rows)


def ladder(section: Section) -> Table:
    """Put the steps of each ladder into a table."""
    steps = steps_shown(section.schedules)
    titles = "ideal", "saved", *(STEP_TITLES[step] for step in steps), "makespan"
    times = [titled(title, section.unit) for title in titles]
    header = ["schedule", *times, "memory limit"]
    rows = [
        [
            label(each),
            grouped(float(each.ladder.ideal)),
            grouped(-float(each.ladder.saved)),
            *(grouped(float(getattr(each.ladder, step))) for step in steps),
            grouped(float(each.ladder.makespan)),
            _limit_counts(each),
        ]
        for each in section.schedules
        if each.ladder is not None
    ]
    return Table(header, rows)


def _limit_counts(presented: Presented) -> str:
    if all(limit is None for limit in presented.summary.limits):
        return "none"
    return "counted" if presented.ladder and presented.ladder.limited else "exceeded, not counted"


def idle(section: Section) -> Table:
    """Put the average idle time of a device, by cause, into a table."""
    rows = []
    for each in section.schedules:
        length = each.summary.figures.makespan * each.problem.ticks_per_unit * each.problem.devices
        totals = [sum(getattr(device, cause) for device in each.waiting.devices) for cause in CAUSE_TITLES]
        rows.append([label(each), *(percent(total / length) for total in [*totals, sum(totals)])])
    return Table(["schedule", *CAUSE_TITLES.values(), "all"], rows)


def devices(section: Section) -> Table:
    """Put the idle time of every device, by cause, into a table."""
    gathered: dict[tuple[str, int], list[str]] = {}
    for each in idle_records(section.schedules):
        gathered.setdefault((each["name"], each["device"]), []).append(grouped(each["time"]))
    rows = [[f"{name}, device {device}", *times] for (name, device), times in gathered.items()]
    return Table(["schedule and device", *(titled(each, section.unit) for each in CAUSE_TITLES.values())], rows)


def cuts(section: Section) -> Table:
    """Put the layers of every stage into a table."""
    rows: dict[tuple[str, int, int], list[str]] = {}
    for each in cut_records(section.schedules):
        again = ", recomputed" if each["recomputed"] == "yes" else ""
        text = f"{each['layers']} {each['kind']}{again}"
        rows.setdefault((each["name"], each["device"], each["stage"]), []).append(text)
    return Table(
        ["schedule, device, stage", "layers"],
        [
            [f"{name}, device {device}, stage {stage}", "; ".join(texts)]
            for (name, device, stage), texts in rows.items()
        ],
    )


def device_memory(section: Section) -> Table:
    """Put the memory of every device into a table."""
    rows: dict[tuple[str, int], list[str]] = {}
    for each in memory_records(section.schedules):
        rows.setdefault((each["name"], each["device"]), []).append(grouped(each["memory"]))
        if each["place"] == 1:
            limit = "no limit" if each["limit"] is None else grouped(each["limit"])
            rows[each["name"], each["device"]] += [grouped(each["peak"]), limit]
    header = ["schedule and device", "static", "activations", "peak", "limit"]
    return Table(header, [[f"{name}, device {device}", *texts] for (name, device), texts in rows.items()])


@dataclass(frozen=True)
class Cell:
    """A cell of the table of numbers: its text, and the value that it is sorted by."""

    text: str
    value: float | str


def number_titles(section: Section) -> list[str]:
    """Return the header of the table of numbers."""
    makespan, bound, span = (titled(title, section.unit) for title in ("makespan", "bound", "span"))
    compared = [] if section.baseline is None else [f"vs {section.baseline.name}"]
    return [
        "schedule", makespan, *compared, bound, "gap", "status", "bubble ratio", "over ideal", span, "span bubble",
        "peak memory", "placement", "stages", *(["communication"] if _waits(section) else []),
    ]  # fmt: skip


def _waits(section: Section) -> bool:
    """Return whether transfers wait in any schedule."""
    return any(each.summary.communication is not None for each in section.schedules)


def numbers(section: Section) -> list[list[Cell]]:
    """Put all figures of each schedule into cells that can be sorted."""
    return [_cells(section, rank) for rank in range(len(section.schedules))]


def _cells(section: Section, rank: int) -> list[Cell]:
    presented = section.schedules[rank]
    row, figures = presented.summary, presented.summary.figures
    gap = None if row.bound is None else (row.value - row.bound) / row.value
    none = Cell("", "Infinity")
    return [
        Cell(label(presented), row.name),
        _amount(figures.makespan),
        *_compared(figures.makespan, section.baseline),
        none if row.bound is None else _amount(row.bound),
        none if gap is None else _ratio(gap),
        Cell(row.status, row.status),
        _ratio(figures.bubble_ratio),
        _ratio(figures.bubble_over_ideal),
        _amount(figures.span),
        _ratio(figures.span_bubble_ratio),
        _amount(max(figures.peak_memory)),
        Cell(presented.placement, presented.placement),
        Cell(str(row.sizes[1]), row.sizes[1]),
        *([_waiting(row)] if _waits(section) else []),
    ]


def _waiting(row: Row) -> Cell:
    share = row.communication
    return Cell("", "Infinity") if share is None else Cell(signed_percent(share), share)


def _compared(makespan: float, baseline: Row | None) -> list[Cell]:
    if baseline is None:
        return []
    ratio = makespan / baseline.figures.makespan - 1
    return [Cell(signed_percent(ratio), ratio)]


def _amount(value: float) -> Cell:
    return Cell(grouped(value), value)


def _ratio(value: float) -> Cell:
    return Cell(percent(value), value)
