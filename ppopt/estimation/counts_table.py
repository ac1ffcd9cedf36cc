"""The table of what was counted of a model."""

from __future__ import annotations

from ppopt.estimation.counts import CountedModel
from ppopt.estimation.gpus import GIGA
from reports.numbers import number
from reports.table import aligned

_TITLES = ("layers", "count", "parameters", "F", "I", "W", "kept")
_UNITS = ("", "", "", "TFLOP", "TFLOP", "TFLOP", "GB")


def counts_table(model: CountedModel) -> str:
    """Write what was counted as a table: of one layer and one microbatch, before anything is divided."""
    rows = [
        (
            row.name,
            str(row.count),
            f"{row.cost.parameters:,}",
            *(
                number(flops / 1e12, 4)
                for flops in (row.cost.forward, row.cost.backward_input, row.cost.backward_weight)
            ),
            number(row.cost.activation / GIGA, 4),
        )
        for row in model.rows
    ]
    sizes = f"{model.microbatch_size} × {model.seq:,} tokens"
    about = f"one layer and one microbatch of {sizes}, undivided"
    lines = aligned([_TITLES, _UNITS, *rows], None)
    return "\n".join([*lines, f"{model.architecture}: {model.parameters:,} parameters; {about}"])
