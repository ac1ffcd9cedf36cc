"""The timeline as a table, with one row per operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pandas as pd

from reports.operation import operation
from solver.problem import Placed

COLUMNS = ("device", "stage", "microbatch", "op", "start", "end", "block")


def timeline_frame(rows: Sequence[Placed], ticks_per_unit: int, beside: Sequence[Placed] = ()) -> pd.DataFrame:
    """Make the timeline's table.

    Parameters
    ----------
    rows : sequence of Placed
        The times of all tasks, which are (stage, op, microbatch), in ticks.
    ticks_per_unit : int
        Ticks in one of the user's units of time.
    beside : sequence of Placed
        The times of what runs beside computing, whose tasks have an ``action`` (stage, op, microbatch); the microbatch
        of gathers and reductions is missing.

    Returns
    -------
    pandas.DataFrame
        Columns ``device``, ``stage``, ``microbatch``, ``op``, ``start``, ``end`` (in the user's unit) and ``block``
        (the same number for both halves of an overlapped block, missing elsewhere); device by device, in order of time.
    """
    every = [*rows, *(row._replace(task=cast("Any", row.task).action) for row in beside if row.end > row.start)]
    if beside:
        every.sort(key=lambda row: (row.device, row.start))
    tasks, devices, starts, ends, blocks = zip(*every, strict=True)
    stages, ops, microbatches = zip(*map(operation, tasks), strict=True)
    return pd.DataFrame(
        {
            "device": devices,
            "stage": stages,
            "microbatch": pd.array(microbatches, dtype="Int64") if beside else microbatches,
            "op": ops,
            "start": [start / ticks_per_unit for start in starts],
            "end": [end / ticks_per_unit for end in ends],
            "block": pd.array(blocks, dtype="Int64"),
        }
    )
