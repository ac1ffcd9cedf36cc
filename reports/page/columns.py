"""A timeline as columns of whole numbers, small enough that a page holds those of all its schedules.

The page's script (``columns.js``) turns them back into starts, ends, waiting times and levels of memory.
"""

from __future__ import annotations

import base64
import json
import zlib
from itertools import pairwise
from typing import Any

import numpy as np

from reports.charts.timeline_layout import colours, places
from reports.content import Presented
from reports.critical_path import critical_path
from reports.idle import leading_rows
from reports.operation import operation
from solver.numbered import Exact, Numbered, Numbers, Timeline, integers

_LARGEST = 2**53
"""Whole numbers up to this are exact in a browser; larger ones are thinned."""

_THINNED = 2**50
"""Thinned numbers stay below this: fifteen digits."""


def packed(data: Any) -> str:
    """Write data as compressed JSON in base64, which a script element can hold as it is.

    Raises
    ------
    ValueError
        If the data hold numbers that JSON cannot write.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return packed_text(text)


def packed_text(text: str) -> str:
    """Compress text, and write it in base64."""
    return base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"), 6)).decode()


def columns(presented: Presented) -> dict[str, Any]:
    """Write a timeline as columns.

    Times are in ticks from the first start of all; ``scale`` ticks are one unit of time. Numbers that repeat from one
    operation of a kind and stage to the next are differences to that one, so they are mostly zeros and compress well.

    Returns
    -------
    dict
        ``unit`` of time, ``scale``, ``origin`` (the first start in ticks), ``amounts`` (units of memory in one of the
        user's); ``devices``, for each device as `_device` writes it; ``blocks``, the distances between the first halves
        of blocks (the second follows); ``critical``, the distances between the operations on the critical path;
        ``waits``: the ``rows`` with idle time before them, as distances, the ``data``, ``latency`` and ``order`` part
        of it, and the distance to the ``source`` (0 for none); ``limits``; ``colours`` for each kind and place, with
        the colour of the text; ``transfers`` as `_transfers` writes them; ``items``, what slices of microbatches are
        called, if there are any; ``levels`` as `_levels` writes them, if operations alone do not decide the memory.
    """
    rows = Timeline.of(presented.problem, presented.timeline)
    first, last = presented.extent
    ticks = _Thinned.below(last - first)
    taken, returned, static, amounts = _memory(presented, rows)
    place = np.array(places(presented), dtype=np.int64)
    kinds = [operation(row.task) for row in presented.timeline]
    stage, microbatch = (np.array([each[part] for each in kinds], dtype=np.int64) for part in (0, 2))
    letters = np.array([ord(each.kind) for each in kinds])
    leads = np.array(leading_rows(presented.timeline))
    halves = np.flatnonzero(leads != np.arange(len(leads)))
    bounds = np.searchsorted(rows.device, np.arange(presented.problem.devices + 1)).tolist()
    begins, length = rows.start - first, ticks.of(rows.end - rows.start)
    free = np.concatenate([[0], rows.end[:-1] - first])
    free[[low for low, high in pairwise(bounds) if low < high]] = 0
    gap = ticks.of(begins - free)
    return {
        "unit": presented.summary.units.time,
        "scale": presented.problem.ticks_per_unit / ticks.size,
        "origin": first // ticks.size,
        "amounts": presented.problem.amounts_per_unit / amounts.size,
        "devices": [
            _device(
                np.stack([letters, stage, place])[:, low:high],
                microbatch[low:high],
                gap[low:high],
                length[low:high],
                taken[low:high],
                returned[low:high],
            )
            | {"static": static[device]}
            for device, (low, high) in enumerate(pairwise(bounds))
        ],
        "blocks": _distances(leads[halves]),
        "critical": _distances(np.array(sorted(critical_path(presented.problem, presented.timeline)), dtype=np.int64)),
        "waits": _waits(presented, ticks, leads),
        "limits": list(presented.summary.limits),
        "colours": colours(int(place.max(initial=0)) + 1),
        "transfers": _transfers(presented, ticks, first),
        **({"items": list(presented.items)} if presented.items else {}),
        **({} if presented.beside is None else {"levels": _levels(presented, ticks, amounts, first)}),
    }


def _levels(presented: Presented, ticks: _Thinned, amounts: _Thinned, first: int) -> list[dict[str, list[int]]]:
    """Write for each device the moments at which its memory changes, with how much it holds more from then on."""
    return [
        {
            "time": _distances(ticks.of(integers(moment - first for moment, _ in steps))),
            "level": _distances(amounts.of(integers(level for _, level in steps))),
        }
        for steps in presented.memory_steps
    ]


class _Thinned:
    """Whole numbers made small enough for a browser: each stands for ``size`` of them."""

    def __init__(self, size: int) -> None:
        self.size = size

    @classmethod
    def below(cls, largest: int) -> _Thinned:
        """Choose the size for numbers up to the largest."""
        return cls(1 if largest < _LARGEST else -(-largest // _THINNED))

    def of(self, values: Exact) -> Numbers:
        """Round to whole thinned numbers; opposite numbers stay opposite."""
        if self.size == 1:
            return values.astype(np.int64)
        thin: Numbers = ((abs(values) + self.size // 2) // self.size).astype(np.int64)
        return np.where(values < 0, -thin, thin)


def _device(
    kinds: Numbers, microbatch: Numbers, gap: Numbers, length: Numbers, taken: Numbers, returned: Numbers
) -> dict[str, Any]:
    """Write the operations of one device.

    Returns
    -------
    dict
        ``types``, each kind of operation on a stage: its letter, its stage, and the index of the stage on the device;
        ``type`` of each operation, and what differs from the operation before of the same type: its ``microbatch``,
        its ``length``, and the memory that it has ``taken`` at its start and ``returned`` at its end; the ``gap``
        after the previous operation.
    """
    types, which = np.unique(kinds, axis=1, return_inverse=True)
    which = which.reshape(-1)
    return {
        "types": [[chr(letter), stage, place] for letter, stage, place in types.T.tolist()],
        "type": which.tolist(),
        "gap": gap.tolist(),
        **{
            name: _since_last(values, which)
            for name, values in (
                ("microbatch", microbatch), ("length", length), ("taken", taken), ("returned", returned),
            )
        },
    }  # fmt: skip


def _since_last(values: Numbers, types: Numbers) -> list[int]:
    """Return how much each value differs from the one before of the same type; the first of a type counts from 0."""
    order = np.argsort(types, kind="stable")
    ordered = values[order]
    is_first = np.diff(types[order], prepend=-1) != 0
    steps = np.diff(ordered, prepend=0)
    found = np.empty_like(values)
    found[order] = np.where(is_first, ordered, steps)
    return _plain(found)


def _distances(places: Numbers) -> list[int]:
    return _plain(np.diff(places, prepend=0))


def _plain(values: Numbers) -> list[int]:
    plain: list[int] = values.tolist()
    return plain


def _memory(presented: Presented, rows: Timeline) -> tuple[Numbers, Numbers, list[int], _Thinned]:
    """Return what each operation takes at its start and returns at its end, and what each device holds at all times."""
    problem = presented.problem
    holds = Numbered(problem).holds
    row_of = np.empty(len(problem.tasks), dtype=np.int64)
    row_of[rows.number] = np.arange(len(rows))
    taken, returned = (np.zeros(len(rows), dtype=holds.amount.dtype) for _ in range(2))
    np.add.at(taken, row_of[holds.take], holds.amount)
    np.add.at(returned, row_of[holds.returner], holds.part)
    static = integers(problem.static_of(device) for device in range(problem.devices))
    amounts = _Thinned.below(int(taken.sum()) + int(static.sum()))
    return amounts.of(taken), amounts.of(returned), amounts.of(static).tolist(), amounts


def _waits(presented: Presented, ticks: _Thinned, leads: Numbers) -> dict[str, list[int]]:
    row_of = {row.task: place for place, row in enumerate(presented.timeline)}
    found = [
        (at, wait)
        for at, (wait, lead) in enumerate(zip(presented.waiting.before, leads.tolist(), strict=True))
        if wait.idle and lead == at
    ]
    return {
        "rows": _distances(np.array([at for at, _ in found], dtype=np.int64)),
        "data": [wait.data // ticks.size for _, wait in found],
        "latency": [wait.latency // ticks.size for _, wait in found],
        "order": [wait.order // ticks.size for _, wait in found],
        "source": [0 if wait.producer is None else at - row_of[wait.producer] for at, wait in found],
    }


def _transfers(presented: Presented, ticks: _Thinned, first: int) -> dict[str, list[Any]]:
    """Write the ends of transfers: names, devices, what each does, when it began, the time before and after that."""
    every = presented.transfers
    ready, start, end = (
        ticks.of(integers(getattr(each, name) - first for each in every)) for name in ("ready", "start", "end")
    )
    return {
        "device": [each.device for each in every],
        "name": [each.name for each in every],
        "does": [each.does for each in every],
        "start": _distances(start),
        "waited": (start - ready).tolist(),
        "length": (end - start).tolist(),
    }
