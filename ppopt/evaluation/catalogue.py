"""The schedules that ppopt knows, with their requirements on a pipeline."""

from __future__ import annotations

from typing import Any

from strategies.language.registry import all_strategies


def strategies() -> list[dict[str, Any]]:
    """List all schedules, those of other installed packages included.

    Returns
    -------
    list of dict
        For each schedule ``name``, ``placement``, ``devices``, ``stages``, ``microbatches`` (its requirements on
        these, with p devices, m microbatches and whole numbers k), ``options``, ``aliases`` and ``summary``.
    """
    return [
        {
            "name": strategy.name,
            "placement": strategy.placement,
            **strategy.requirements.describe(),
            "options": sorted(strategy.options),
            "aliases": list(strategy.aliases),
            "summary": strategy.summary,
        }
        for strategy in all_strategies().values()
    ]
