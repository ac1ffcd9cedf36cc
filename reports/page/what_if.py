"""The part of a section in which the reader changes costs: its controls, and the data that the script replays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from reports.charts.records import label
from reports.content import Presented, Section
from reports.focus import in_focus
from reports.what_if import Replayable, WhatIf

_FAMILIES = {
    "times": "all operations",
    "forward": "forward",
    "backward": "backward (both halves)",
    "backward_input": "input backward",
    "backward_weight": "weight backward",
    "overlapped_forward_backward": "overlapped blocks",
}


class WhatIfControls(NamedTuple):
    """The controls, as the template reads them.

    Attributes
    ----------
    families : list of (str, str)
        The kinds of costs: key and label.
    places : list of (str, str)
        The stages, or the kinds of layers: value and label.
    everywhere : str
        The label for all of them.
    latency, most_latency : float
        The latency, and the largest value of its slider.
    overhead, most_overhead : float
        The overhead of a forward, and the largest value of its slider.
    devices : int
        The number of devices.
    left_out : list of str
        Schedules that cannot be replayed, and why.
    """

    families: list[tuple[str, str]]
    places: list[tuple[str, str]]
    everywhere: str
    latency: float
    most_latency: float
    overhead: float
    most_overhead: float
    devices: int
    left_out: list[str]


def controls_of(section: Section) -> WhatIfControls | None:
    """Make the controls of a section; None if nothing can be replayed.

    Parameters
    ----------
    section : Section
        The section.
    """
    found = list(_replayed(section))
    if not found or section.what_if is None:
        return None
    following = {id(each) for _, each, _ in found}
    return WhatIfControls(
        families=[(key, text) for key, text in _FAMILIES.items() if key in _keys(section.what_if)],
        places=[(each, _place_label(each)) for each in _places(section.what_if)],
        everywhere="all stages" if all(map(str.isdecimal, _places(section.what_if))) else "all layers",
        latency=section.what_if.latency,
        most_latency=4 * section.what_if.latency or _longest_time(section.what_if),
        overhead=section.what_if.overhead,
        most_overhead=4 * section.what_if.overhead or _longest_time(section.what_if) / 4,
        devices=found[0][1].problem.devices,
        left_out=[_with_reason(each) for each in section.schedules if id(each) not in following],
    )


def replay_data(section: Section, place: int) -> dict[str, Any] | None:
    """Return the data that the page's script replays; None if nothing can be replayed.

    Parameters
    ----------
    section : Section
        The section.
    place : int
        The section's index on the page.
    """
    found, focus = list(_replayed(section)), in_focus(section)
    if not found or section.what_if is None:
        return None
    devices = found[0][1].problem.devices
    keys = [*_keys(section.what_if), *(f"device@{device}" for device in range(devices))]
    keys += [f"{key}@{each}" for key in _keys(section.what_if) for each in _places(section.what_if)]
    return {
        "costs": [[cost.key, cost.place] for cost in section.what_if.costs],
        "keys": keys,
        "latency": section.what_if.latency,
        "overhead": section.what_if.overhead,
        "after": section.what_if.after,
        "devices": devices,
        "unit": section.units.time,
        "schedules": [
            {
                "key": f"timeline-{place}-{rank}",
                "name": label(each),
                "over": not each.summary.may_win,
                "focus": rank in focus,
                "costs": replayable.to_dict(),
            }
            for rank, each, replayable in found
        ],
    }


def _replayed(section: Section) -> Iterator[tuple[int, Presented, Replayable]]:
    every: Sequence[Replayable | None] = section.what_if.schedules if section.what_if is not None else ()
    for rank, (each, replayable) in enumerate(zip(section.schedules, every, strict=False)):
        if replayable is not None and each.is_drawn:
            yield rank, each, replayable


def _with_reason(presented: Presented) -> str:
    """Name a schedule that is not replayed, with the reason if it is its own."""
    if presented.values.get("hidden_communication"):
        return f"{label(presented)} (its blocks last as long as the parts of layers)"
    return label(presented)


def _keys(what_if: WhatIf) -> list[str]:
    there = {cost.key for cost in what_if.costs}
    backward = ["backward"] if there & {"backward_input", "backward_weight"} else []
    return ["times", *(key for key in _FAMILIES if key in there or key in backward)]


def _places(what_if: WhatIf) -> list[str]:
    return list(dict.fromkeys(cost.place for cost in what_if.costs))


def _place_label(place: str) -> str:
    return f"stage {place}" if place.isdecimal() else place


def _longest_time(what_if: WhatIf) -> float:
    """Choose the largest value of the slider for a latency of zero: the longest forward."""
    times = (
        sum(amount for _, amount in stage)
        for each in what_if.schedules
        if each is not None
        for stage in each.parts["F"]
    )
    return max(times, default=1.0)
