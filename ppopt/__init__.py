"""ppopt: how good a pipeline-parallel schedule is, exactly, and what the best possible one is.

Everything a user needs is here; the names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppopt.catalogue import strategies
    from ppopt.charts import bubble_chart, device_idle_chart, idle_chart, ladder_chart, memory_chart, timeline_chart
    from ppopt.comparison import Comparison, compare
    from ppopt.evaluation import InternalError, evaluate, evaluate_all
    from ppopt.explanation import explain
    from ppopt.file_check import CheckReport, check_schedule_file
    from ppopt.finished import Schedule
    from ppopt.infeasibility import InfeasibleError
    from ppopt.offline_charts import show_offline
    from ppopt.optimization import SearchOptions, optimize, optimize_each
    from ppopt.profile_result import Profile, profile
    from ppopt.rehearsal.crew import RehearsalError
    from ppopt.rehearsal.outcome import Rehearsal
    from ppopt.rehearsal.rehearsing import rehearse, rehearse_all
    from ppopt.search import Standing
    from reports.metrics import Figures
    from solver.checker import Violation, violations
    from solver.errors import DeadlockError, InputError
    from solver.problem import Block, Placed, Problem
    from strategies.actions import Op, parse_action
    from strategies.pipeline import Pipeline
    from strategies.registry import Strategy, schedule
    from strategies.steps import B, F, I, Step, W

__version__ = "0.1.0"

_HOMES = {
    "ppopt.catalogue": ("strategies",),
    "ppopt.charts": (
        "bubble_chart",
        "device_idle_chart",
        "idle_chart",
        "ladder_chart",
        "memory_chart",
        "timeline_chart",
    ),
    "ppopt.comparison": ("Comparison", "compare"),
    "ppopt.evaluation": ("InternalError", "evaluate", "evaluate_all"),
    "ppopt.explanation": ("explain",),
    "ppopt.file_check": ("CheckReport", "check_schedule_file"),
    "ppopt.finished": ("Schedule",),
    "ppopt.infeasibility": ("InfeasibleError",),
    "ppopt.offline_charts": ("show_offline",),
    "ppopt.optimization": ("SearchOptions", "optimize", "optimize_each"),
    "ppopt.profile_result": ("Profile", "profile"),
    "ppopt.rehearsal.crew": ("RehearsalError",),
    "ppopt.rehearsal.outcome": ("Rehearsal",),
    "ppopt.rehearsal.rehearsing": ("rehearse", "rehearse_all"),
    "ppopt.search": ("Standing",),
    "reports.metrics": ("Figures",),
    "solver.checker": ("Violation", "violations"),
    "solver.errors": ("DeadlockError", "InputError"),
    "solver.problem": ("Block", "Placed", "Problem"),
    "strategies.actions": ("Op", "parse_action"),
    "strategies.pipeline": ("Pipeline",),
    "strategies.registry": ("Strategy", "schedule"),
    "strategies.steps": ("B", "F", "I", "Step", "W"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # by room, as above
    "strategies",
    "bubble_chart",
    "device_idle_chart",
    "idle_chart",
    "ladder_chart",
    "memory_chart",
    "timeline_chart",
    "Comparison",
    "compare",
    "InternalError",
    "evaluate",
    "evaluate_all",
    "explain",
    "CheckReport",
    "check_schedule_file",
    "Schedule",
    "InfeasibleError",
    "show_offline",
    "SearchOptions",
    "optimize",
    "optimize_each",
    "Profile",
    "profile",
    "RehearsalError",
    "Rehearsal",
    "rehearse",
    "rehearse_all",
    "Standing",
    "Figures",
    "Violation",
    "violations",
    "DeadlockError",
    "InputError",
    "Block",
    "Placed",
    "Problem",
    "Op",
    "parse_action",
    "Pipeline",
    "Strategy",
    "schedule",
    "B",
    "F",
    "I",
    "Step",
    "W",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a name from its room when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ppopt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
