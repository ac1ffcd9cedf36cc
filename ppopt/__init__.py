"""ppopt: computes exactly how good a pipeline-parallel schedule is, and finds the best possible one.

Everything a user needs is here; names are loaded on first use.
"""

from __future__ import annotations

import importlib

from ppopt.name_clash import refuse_name_clash
from ppopt.process.version import __version__

refuse_name_clash()

TYPE_CHECKING = False
"""Like `typing.TYPE_CHECKING`, without loading `typing`, which takes longer than everything else here."""

if TYPE_CHECKING:
    from typing import Any

    from ppopt.best_known.own_order import atlas
    from ppopt.calibration.calibrate import Calibration, calibrate
    from ppopt.comparison.charts import (
        bubble_chart,
        device_idle_chart,
        idle_chart,
        ladder_chart,
        memory_chart,
        timeline_chart,
    )
    from ppopt.comparison.compare import compare
    from ppopt.comparison.comparison import Comparison
    from ppopt.comparison.offline_charts import show_offline
    from ppopt.evaluation.catalogue import strategies
    from ppopt.evaluation.check import CheckReport, check_schedule_file
    from ppopt.evaluation.drawn_lengths import DrawnFeed, under_lengths
    from ppopt.evaluation.evaluate import evaluate, evaluate_all
    from ppopt.memory_frontier.find import frontier
    from ppopt.memory_frontier.frontier_result import Frontier, Point
    from ppopt.noise.noise import Noise
    from ppopt.noise.spread_file import read_spreads
    from ppopt.noise.under_noise import under_noise
    from ppopt.optimization.best_feed import best_feed
    from ppopt.optimization.explain import explain
    from ppopt.optimization.optimize import optimize, optimize_each
    from ppopt.optimization.options import SearchOptions
    from ppopt.planning.planning import plan
    from ppopt.planning.plans import Plan, Planning
    from ppopt.process.internal_error import InternalError
    from ppopt.process.versions import show_versions
    from ppopt.profiling.profile_result import Profile, profile
    from ppopt.rehearsal.crew import RehearsalError
    from ppopt.rehearsal.outcome import Rehearsal
    from ppopt.rehearsal.rehearsing import rehearse, rehearse_all
    from ppopt.schedules.export import export
    from ppopt.schedules.schedule import Schedule
    from ppopt.sweeps.sweeping import sweep
    from reports.metrics import Figures
    from solver.checker import Violation, violations
    from solver.errors import DeadlockError, InfeasibleError, InputError, TimeTooShortError
    from solver.problem import Block, Placed, Problem
    from solver.search.state import Standing
    from strategies.language.registry import Strategy, schedule, strategy
    from strategies.language.steps import B, F, I, Step, W
    from strategies.model.actions import Op, parse_action
    from strategies.model.pipeline import Pipeline

_HOMES = {
    "ppopt.evaluation.catalogue": ("strategies",),
    "ppopt.best_known.own_order": ("atlas",),
    "ppopt.calibration.calibrate": ("Calibration", "calibrate"),
    "ppopt.comparison.charts": (
        "bubble_chart",
        "device_idle_chart",
        "idle_chart",
        "ladder_chart",
        "memory_chart",
        "timeline_chart",
    ),
    "ppopt.comparison.compare": ("compare",),
    "ppopt.comparison.comparison": ("Comparison",),
    "ppopt.comparison.offline_charts": ("show_offline",),
    "ppopt.evaluation.evaluate": ("evaluate", "evaluate_all"),
    "ppopt.schedules.export": ("export",),
    "ppopt.process.internal_error": ("InternalError",),
    "ppopt.process.versions": ("show_versions",),
    "ppopt.memory_frontier.find": ("frontier",),
    "ppopt.memory_frontier.frontier_result": ("Frontier", "Point"),
    "ppopt.noise.noise": ("Noise",),
    "ppopt.noise.spread_file": ("read_spreads",),
    "ppopt.noise.under_noise": ("under_noise",),
    "ppopt.optimization.best_feed": ("best_feed",),
    "ppopt.evaluation.drawn_lengths": ("DrawnFeed", "under_lengths"),
    "ppopt.optimization.explain": ("explain",),
    "ppopt.evaluation.check": ("CheckReport", "check_schedule_file"),
    "ppopt.schedules.schedule": ("Schedule",),
    "ppopt.sweeps.sweeping": ("sweep",),
    "ppopt.optimization.optimize": ("optimize", "optimize_each"),
    "ppopt.optimization.options": ("SearchOptions",),
    "ppopt.planning.planning": ("plan",),
    "ppopt.planning.plans": ("Plan", "Planning"),
    "ppopt.profiling.profile_result": ("Profile", "profile"),
    "ppopt.rehearsal.crew": ("RehearsalError",),
    "ppopt.rehearsal.outcome": ("Rehearsal",),
    "ppopt.rehearsal.rehearsing": ("rehearse", "rehearse_all"),
    "reports.metrics": ("Figures",),
    "solver.checker": ("Violation", "violations"),
    "solver.errors": ("DeadlockError", "InfeasibleError", "InputError", "TimeTooShortError"),
    "solver.problem": ("Block", "Placed", "Problem"),
    "solver.search.state": ("Standing",),
    "strategies.model.actions": ("Op", "parse_action"),
    "strategies.model.pipeline": ("Pipeline",),
    "strategies.language.registry": ("Strategy", "schedule", "strategy"),
    "strategies.language.steps": ("B", "F", "I", "Step", "W"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # by room, as above
    "strategies",
    "atlas",
    "Calibration",
    "calibrate",
    "bubble_chart",
    "device_idle_chart",
    "idle_chart",
    "ladder_chart",
    "memory_chart",
    "timeline_chart",
    "Comparison",
    "compare",
    "InternalError",
    "show_versions",
    "evaluate",
    "evaluate_all",
    "export",
    "Frontier",
    "Point",
    "frontier",
    "Noise",
    "read_spreads",
    "under_noise",
    "best_feed",
    "DrawnFeed",
    "under_lengths",
    "explain",
    "CheckReport",
    "check_schedule_file",
    "Schedule",
    "show_offline",
    "SearchOptions",
    "optimize",
    "optimize_each",
    "plan",
    "Plan",
    "Planning",
    "Profile",
    "profile",
    "RehearsalError",
    "Rehearsal",
    "rehearse",
    "rehearse_all",
    "sweep",
    "Figures",
    "Violation",
    "violations",
    "DeadlockError",
    "InfeasibleError",
    "InputError",
    "TimeTooShortError",
    "Block",
    "Placed",
    "Problem",
    "Standing",
    "Op",
    "parse_action",
    "Pipeline",
    "Strategy",
    "schedule",
    "strategy",
    "B",
    "F",
    "I",
    "Step",
    "W",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a name from its room on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ppopt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
