"""Draws a timeline with characters: one line per device, time from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.operation import operation
from solver.problem import Placed

Paint = Callable[[str, str], str]
"""``paint(text, kind)`` colours a text by the kind of operation."""

IDLE = "·"


def draw(
    rows: Sequence[Placed], devices: int, width: int, paint: Paint | None = None, items: Sequence[str] = ()
) -> str:
    """Draw a timeline.

    Parameters
    ----------
    rows : sequence of Placed
        The times of all tasks, which are (stage, op, microbatch).
    devices : int
        The number of devices.
    width : int
        The number of columns to fill, including the labels of the devices.
    paint : callable
        Colours the text of an operation; without it, nothing is coloured.
    items : sequence of str
        What slices of microbatches are called; empty for the numbers of microbatches.

    Returns
    -------
    str
        One line per device. An operation shows its kind and microbatch as far as there is room. An overlapped block
        shows both halves with ``|`` between them, or ``X`` without room for that. Idle time shows as dots.
    """
    label_width = len(f"device {devices - 1} ")
    columns = max(8, width - label_width)
    first, last = min(row.start for row in rows), max(row.end for row in rows)
    unit = _ticks_per_column(rows, last - first, columns)
    lines: list[list[str]] = [[] for _ in range(devices)]
    drawn = [0] * devices
    for text, device, start, end, kind in sorted(_bars(rows, items), key=lambda bar: bar[2]):
        left, right = round((start - first) / unit), round((end - first) / unit)
        left = max(left, drawn[device])
        if right <= left:
            continue
        bar = _fit(text, right - left)
        lines[device] += [IDLE * (left - drawn[device]), paint(bar, kind) if paint else bar]
        drawn[device] = right
    end_column = round((last - first) / unit)
    return "\n".join(
        f"device {device}".ljust(label_width) + "".join(lines[device]) + IDLE * (end_column - drawn[device])
        for device in range(devices)
    )


def _bars(rows: Sequence[Placed], items: Sequence[str]) -> list[tuple[str, int, int, int, str]]:
    """List the bars to draw as (text, device, start, end, kind), each block once."""
    bars: list[tuple[str, int, int, int, str]] = []
    for place, (task, device, start, end, block) in enumerate(rows):
        _, kind, microbatch = operation(task)
        text = f"{kind}{items[microbatch] if items else microbatch}"
        if block is not None and place and rows[place - 1].block == block:
            bars[-1] = (f"{bars[-1][0]}|{text}", device, start, end, "OVERLAP")
        else:
            bars.append((text, device, start, end, kind))
    return bars


def _ticks_per_column(rows: Sequence[Placed], length: int, columns: int) -> float:
    """Choose the scale: a whole number of columns for the shortest operation if it gets any, at most six."""
    shortest = min(row.end - row.start for row in rows)
    whole = min(6, shortest * columns // length)
    return shortest / whole if whole else length / columns


def _fit(text: str, columns: int) -> str:
    """Cut a text to its columns, or pad it with a rule."""
    if len(text) > columns:
        text = "X" if "|" in text else text[:1]
    return text + "─" * (columns - len(text) - 1) + ("╴" if columns > len(text) else "")
