"""How much a schedule's step varies with the lengths that each step gets, for several orders of feeding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppopt.evaluation.evaluate import check_pipeline, evaluate
from ppopt.feeding.feeding import write_fed
from ppopt.schedules.order_files import read_named
from solver.counted import counted
from solver.errors import InputError
from solver.search.feeding import Feeding
from strategies.model.items import pyramid, work_of
from strategies.model.lengths_file import read_lengths
from strategies.model.numbers import check_seed
from strategies.model.pipeline import Pipeline

STEPS = 4000
"""The most orders that are tried for the best of one draw."""

MOST_ACTIONS = 4_000_000
"""The most actions that are replayed for it."""

FEEDS = ("at random", "pyramid", "best")


class DrawnFeed(NamedTuple):
    """The step's length over draws of lengths, for one way to feed them.

    Attributes
    ----------
    feed : str
        ``at random``, ``pyramid`` or ``best``.
    mean, low, high : float
        The mean, and what one draw in twenty is below, and above.
    over_limit : float
        The share of draws that exceed the memory limit.
    """

    feed: str
    mean: float
    low: float
    high: float
    over_limit: float


def under_lengths(
    pipeline: Pipeline, strategy: str, lengths: str | Path, *, samples: int = 200, seed: int = 0
) -> list[DrawnFeed]:
    """Replay a schedule with microbatches drawn from a file of lengths.

    Parameters
    ----------
    pipeline : Pipeline
        The costs, and how many microbatches a step has; their lengths are drawn.
    strategy : str
        The schedule, as for `evaluate`.
    lengths : str or path
        The file: the documents of one microbatch a line.
    samples : int
        The number of draws.
    seed : int
        Their seed.

    Returns
    -------
    list of DrawnFeed
        The same draws fed at random, as a pyramid, and in the best order that a short search finds.

    Raises
    ------
    InputError
        If the file has fewer microbatches than a step, or an argument is wrong.
    """
    check_pipeline(pipeline)
    check_seed(seed)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples: must be a whole number of at least 1; found {samples}")
    if pipeline.are_sliced:
        raise InputError("--noise-lengths: draws whole microbatches, and these are cut into slices")
    pipeline.refuse_waits("--noise-lengths:")
    listed = read_lengths(lengths)
    number = pipeline.microbatches
    if len(listed) < number:
        raise InputError(f"{lengths}: has {counted(len(listed), 'microbatch')}, and a step needs {number}")
    drawn_from = pipeline.model_copy(update={"microbatches": listed, "entries": None, "feed": "given"})
    one = drawn_from.model_copy(update={"microbatches": listed[:number], "entries": None})
    schedule = evaluate(one, read_named(strategy), "graph")
    costs = drawn_from.as_cut(schedule.pipeline)
    fed = write_fed(schedule.pipeline, schedule.layout, schedule.actions, costs)
    work = [work_of(each, costs.weights) for each in costs.items.classes]
    random = np.random.default_rng(seed)
    found = [
        _fed(Feeding(fed, len(costs.items.classes), kinds), [work[kind] for kind in kinds], seed)
        for kinds in (costs.items.of[random.permutation(len(listed))[:number]].tolist() for _ in range(samples))
    ]
    after = float(pipeline.after)
    values = np.array(found) + np.array([after, 0])
    return [
        DrawnFeed(
            feed,
            float(values[:, place, 0].mean()),
            float(np.percentile(values[:, place, 0], 5)),
            float(np.percentile(values[:, place, 0], 95)),
            float(values[:, place, 1].mean()),
        )
        for place, feed in enumerate(FEEDS)
    ]


def _fed(feeding: Feeding, work: Sequence[Fraction], seed: int) -> list[tuple[float, float]]:
    """Return the makespan, and whether it is over the limit, of one draw for each way to feed it."""
    as_drawn, by_size = list(range(len(work))), pyramid(work)
    steps = min(STEPS, max(1, MOST_ACTIONS // feeding.actions))
    best = feeding.search([as_drawn, by_size], deadline=None, steps=steps, seed=seed)[0][1]
    return [(feeding.makespan(order), float(not feeding.fits(order))) for order in (as_drawn, by_size, best)]
