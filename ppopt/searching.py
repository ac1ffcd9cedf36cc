"""In which order the tools of a search run, and how they share its time."""

from __future__ import annotations

from time import perf_counter

from ppopt.search import Search
from solver.bounds.bound import Bound
from solver.bounds.heads_tails import heads_and_tails
from solver.bounds.makespan import makespan_bound
from solver.bounds.memory_edges import memory_edges
from solver.bounds.relaxation import relaxed_bound
from solver.search.cpsat_search import search as search_with_cpsat
from solver.search.greedy import greedy_schedules
from solver.search.local_search import improve
from strategies.pipeline import Pipeline
from strategies.placements import Placement

GREEDY_SHARE = 0.15
"""The part of the time that list schedules may take before the search proper."""

FIRST_ROUND = 3.0
"""Seconds that each tool has in the first round; every round doubles them."""


def run_tools(search: Search, pipeline: Pipeline, placement: Placement, workers: int, seed: int) -> None:
    """Bound, build, then let CP-SAT and local search alternate until the schedule meets the bound or time is up."""
    search.proven(first_bound(search, pipeline, placement))
    if search.done():
        return
