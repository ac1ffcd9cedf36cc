"""Whether a schedule's order is the same whatever the stages cost."""

from __future__ import annotations

from typing import Any

from strategies.language.orders import make_orders
from strategies.language.registry import Strategy
from strategies.model.pipeline import Pipeline

SIZES = frozenset({"devices", "stages", "microbatches", "stages_per_device", "unit"})
"""The attributes that are the same on every cut: an order made from these alone does not change with the cut."""


class _Watched(Pipeline):
    """A pipeline that records whether anything but its sizes is read."""

    def __getattribute__(self, name: str) -> Any:
        if name not in SIZES and not name.startswith(("_", "model_")):
            object.__getattribute__(self, "__dict__")["_is_read"] = True
        return super().__getattribute__(name)


def depends_on_costs(strategy: Strategy, pipeline: Pipeline, options: dict[str, int]) -> bool:
    """Return whether a schedule's rule reads anything of the pipeline but its sizes.

    Equal orders on a few sample costs prove nothing about other costs; a rule that never reads the costs cannot depend
    on them.

    Parameters
    ----------
    strategy : Strategy
        The rule.
    pipeline : Pipeline
        With a fixed number of stages.
    options : dict of str to int
        The rule's options.
    """
    fields = {key: getattr(pipeline, key) for key in Pipeline.model_fields}
    watched = _Watched.model_construct(**fields)
    watched.__dict__["_is_read"] = False
    make_orders(strategy, watched, options)
    return bool(watched.__dict__["_is_read"])
