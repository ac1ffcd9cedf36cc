"""The schedules that ppopt knows, with their requirements on a pipeline."""

from __future__ import annotations

from typing import Any

from strategies.language.registry import all_strategies
from strategies.layouts.runs_in import frameworks_of


def strategies() -> list[dict[str, Any]]:
    """List all schedules, those of other installed packages included.

    Returns
    -------
    list of dict
        For each schedule ``name``, ``placement``, ``devices``, ``stages``, ``microbatches`` (its requirements on
        these, with p devices, m microbatches and whole numbers k), ``options``, ``aliases``, ``runs_in`` (the
        frameworks that run it) and ``summary``.
    """
    return [
        {
            "name": strategy.name,
            "placement": strategy.placement,
            **strategy.requirements.describe(),
            "options": sorted(strategy.options),
            "aliases": list(strategy.aliases),
            "runs_in": frameworks_of(strategy.name),
            "summary": strategy.summary,
        }
        for strategy in all_strategies().values()
    ]
