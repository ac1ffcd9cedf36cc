"""The timelines of a section: their data, and the texts that the template puts next to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reports.charts.records import label
from reports.charts.timeline_layout import (
    full_strip,
    highest_peak,
    idle_ticks,
    row_height,
    shown_devices,
)
from reports.charts.timelines import timeline_start
from reports.content import Presented, Section
from reports.focus import in_focus
from reports.numbers import percent
from reports.page import sentences
from reports.page.columns import columns, packed
from reports.units import in_best_unit

MOST_OPEN, OPEN_HEIGHT = 3, 1_000
"""At most so many timelines are open at first, and no more than fit this height in pixels; one is in any case."""

AXIS_HEIGHT = 44
"""The height of a timeline without its rows, in pixels."""


class Drawn(NamedTuple):
    """A timeline of the page.

    Attributes
    ----------
    key, name : str
        Its key in the page, and the schedule's name.
    makespan, sentence : str
        How long it takes as a person reads it, and the sentence that explains it.
    notes : tuple of str
        Notes on this schedule alone.
    data : str
        Its columns, packed; empty if there was no time to draw it.
    height : int
        Its height at first, in pixels.
    folding : str
        Which devices are shown at first; empty if all are.
    in_focus, is_open : bool
        Whether it is shown at first, and whether it is open then.
    """

    key: str
    name: str
    makespan: str
    sentence: str
    notes: tuple[str, ...]
    data: str
    height: int
    folding: str
    in_focus: bool
    is_open: bool


@dataclass
class ChartData:
    """The data for the page's script: specifications by key, and what the script needs to know of each timeline."""

    charts: dict[str, Any] = field(default_factory=dict)
    timelines: dict[str, Any] = field(default_factory=dict)


class Timelines:
    """The timelines of a section, and the ``kinds`` of operation that they show.

    Parameters
    ----------
    section : Section
        The section.
    place : int
        Its index on the page.
    data : ChartData
        The collected data of the page.
    """

    def __init__(self, section: Section, place: int, data: ChartData) -> None:
        self.section, self.place, self.data = section, place, data
        self.highest = highest_peak(section.schedules)
        self.focus = in_focus(section)
        self.opened = frozenset(self._opened())
        self.kinds: set[str] = set()
        self.shared = {note for note, _ in sentences.shared_notes(section)}

    def every(self) -> list[Drawn]:
        """Make all of them, and add their data."""
        return [self._draw(rank, each) for rank, each in enumerate(self.section.schedules)]

    def _opened(self) -> Iterator[int]:
        """Yield the ranks of those that are open at first: the winner, the baseline, the best published one, others."""
        section, room = self.section, OPEN_HEIGHT
        ranks = {each.summary.name: rank for rank, each in reversed(list(enumerate(section.schedules)))}
        named = [None if section.winner is None else section.winner.summary, section.baseline]
        first = [ranks[row.name] for row in named if row is not None and row.name in ranks]
        published = [rank for rank, each in enumerate(section.schedules) if not each.searched and not each.summary.over]
        others = sorted(self.focus) if len(section.schedules) <= MOST_OPEN else []
        candidates = dict.fromkeys([*first, *published[:1], *others])
        for number, rank in enumerate([each for each in candidates if each in self.focus][:MOST_OPEN]):
            room -= _height(section.schedules[rank])
            if number == 0 or room >= 0:
                yield rank

    def _draw(self, rank: int, presented: Presented) -> Drawn:
        key = f"timeline-{self.place}-{rank}"
        summary, memory = presented.summary, presented.summary.units.memory
        data = ""
        if presented.is_drawn:
            written = columns(presented)
            self.kinds |= {kind for device in written["devices"] for kind, _, _ in device["types"]}
            data = packed(written)
            start = timeline_start(presented)
            self.data.timelines[key] = {
                "group": self.place,
                "from": start,
                "to": start + summary.figures.makespan,
                "shown": shown_devices(presented),
                "rowHeight": row_height(presented.problem.devices),
                "full": [full_strip(limit, self.highest) for limit in summary.limits],
                "limits": [None if each is None else f"limit {in_best_unit(each, memory)}" for each in summary.limits],
            }
        return Drawn(
            key=key,
            name=label(presented),
            makespan=in_best_unit(summary.figures.makespan, summary.units.time),
            sentence=sentences.timeline(presented),
            notes=tuple(note for note in presented.notes if note not in self.shared),
            data=data,
            height=_height(presented),
            folding=folding(presented),
            in_focus=rank in self.focus,
            is_open=rank in self.opened,
        )


def _height(presented: Presented) -> int:
    devices = presented.problem.devices
    return AXIS_HEIGHT + row_height(devices) * len(shown_devices(presented))


def folding(presented: Presented) -> str:
    """Say which devices of a timeline are shown, and how long the hidden ones idle; empty if none is hidden."""
    idle, shown = idle_ticks(presented), shown_devices(presented)
    hidden = sorted(set(range(len(idle))) - set(shown))
    if not hidden:
        return ""
    step = presented.summary.figures.makespan * presented.problem.ticks_per_unit
    low, high = (percent(most(idle[device] for device in hidden) / step) for most in (min, max))
    text = f"{len(shown)} of {len(idle)} devices"
    if len(set(idle)) == 1:
        return f"{text}, at equal distances; each of the {len(idle)} idles for {low} of the step."
    each = f"{low} of the step" if low == high else f"{low} to {high} of the step"
    longest = f"the first, the last, and the {len(shown) - 2} that idle longest"
    return f"{text}: {longest}. Each of the {len(hidden)} others idles for {each}."
