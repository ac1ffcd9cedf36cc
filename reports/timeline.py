"""The timeline as a table, with one row per operation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.operation import operation
from solver.problem import Placed

COLUMNS = ("device", "stage", "microbatch", "op", "start", "end", "block")


def timeline_frame(rows: Sequence[Placed], ticks_per_unit: int) -> pd.DataFrame:
    """Make the timeline's table.

    Parameters
    ----------
    rows : sequence of Placed
        The times of all tasks, which are (stage, op, microbatch), in ticks.
    ticks_per_unit : int
        Ticks in one of the user's units of time.

    Returns
    -------
    pandas.DataFrame
        Columns ``device``, ``stage``, ``microbatch``, ``op``, ``start``, ``end`` (in the user's unit) and ``block``
        (the same number for both halves of an overlapped block, missing elsewhere); device by device, in order of time.
    """
    tasks, devices, starts, ends, blocks = zip(*rows, strict=True)
    stages, ops, microbatches = zip(*map(operation, tasks), strict=True)
    return pd.DataFrame(
        {
            "device": devices,
            "stage": stages,
            "microbatch": microbatches,
            "op": ops,
            "start": [start / ticks_per_unit for start in starts],
            "end": [end / ticks_per_unit for end in ends],
            "block": pd.array(blocks, dtype="Int64"),
        }
    )
