"""Searching for the best schedule, with a proven lower bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import solver.longest_path  # noqa: F401 - what finishes a result is loaded before a clock runs
from ppopt.evaluation.framework_variants import schedules_of
from ppopt.noise.noise import Noise
from ppopt.noise.under_noise import under_noise
from ppopt.optimization.cuts import cut_or_none, model_notes
from ppopt.optimization.ladders import freedom_of, simple_bound
from ppopt.optimization.one_search import search_placement
from ppopt.optimization.options import SearchOptions
from ppopt.process.internal_error import InternalError, as_internal
from ppopt.process.time_limit import TimeLimit
from ppopt.schedules.schedule import Schedule
from solver.budget import CUT
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.search.state import Progress
from solver.states import Objective
from strategies.given_model.stages import Cut, CutChoice, GivenModel
from strategies.layouts.runs_in import Framework
from strategies.model.pipeline import Pipeline
from strategies.model.plausibility import doubts
from strategies.problem.search_problem import TWO_WAYS


def optimize(
    pipeline: Pipeline,
    *,
    placement: str | None = None,
    split_backward: bool = True,
    overlap: bool = False,
    objective: Objective = "makespan",
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    starts: Sequence[Schedule] = (),
    cut: CutChoice = "plan",
    robust: Noise | None = None,
    framework: str | None = None,
    offload: bool = False,
) -> Schedule:
    """Search for the schedule with the least makespan (or span) on these costs and within this memory.

    Parameters
    ----------
    pipeline : Pipeline
        The costs and the memory limit.
    placement : str, optional
        Which device holds which stage: ``linear``, or another placement that ``ppopt optimize --help`` lists. ``all``
        tries each in turn but ``wave``, which with one wave is ``v``, and returns the best; the bidirectional one, with
        two copies of the weights, only where ``memory.static`` is given. The default is ``linear``, and ``all`` with a
        framework.
    split_backward : bool
        Whether backwards are I and W.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device.
    objective : {"makespan", "span"}
        What is minimised.
    time_limit : float
        Seconds.
    workers : int, optional
        How many cores the search uses in all; by default all there are, up to 16. With one, a seed decides the result
        as far as the clock allows.
    seed : int
        The seed of everything random.
    progress : callable, optional
        ``progress(standing)`` is called whenever the best schedule or the bound moves.
    starts : sequence of Schedule
        Where to start from, too, beside the published schedules: those of the same placement and cut, with no other
        steps than the search may use. The result is never longer than one of them that fits the memory.
    cut : {"plan", "even"}
        How layers are cut that come without a cut: such that some order may be short (`ppopt.plan` searches for cut and
        order together), or evenly.
    robust : Noise, optional
        How times vary: of the schedules that the search met, the result is the one with the least mean makespan then,
        and a note says what it gives up without noise.
    framework : str, optional
        The training framework that runs the result: only placements on which it loads any order are searched. For one
        that loads none, the result is the shortest of its own schedules, with all their options.
    offload : bool
        Whether the search chooses which activations are copied to the host; otherwise the ``offload`` of the pipeline
        says so.

    Returns
    -------
    Schedule
        With ``bound``, ``gap`` and ``status`` (``optimal`` or ``feasible``). Ctrl-C ends the search early, with the
        best so far.

    Raises
    ------
    InfeasibleError
        If no schedule fits the memory.
    TimeTooShortError
        If layers come without a cut, and none was found that fits the memory, nor proven that there is none; or if no
        order was found that fits with what its devices copy and gather beside computing.
    InputError
        If an argument is wrong.
    InternalError
        If the only search fails by our fault; of several, a note names the one that did.
    """
    options = SearchOptions(
        placement=placement or ("linear" if framework is None else "all"),
        split_backward=split_backward,
        overlap=overlap,
        objective=objective,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        progress=progress,
        starts=starts,
        cut=cut,
        periodic=robust is None,
        robust=robust,
        framework=framework,
        offload=offload,
    )
    outcomes = list(optimize_each(pipeline, options))
    found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
    if not found:
        raise _why_nothing(outcomes)
    faults = [f"internal error: {each}" for each in outcomes if isinstance(each, InternalError)]
    if faults:
        found = [replace(each, notes=(*each.notes, *faults)) for each in found]
    if robust is not None:
        found = under_noise(found, robust)
        length = [each.noise.mean if each.noise else each.makespan for each in found]
        return min(zip(found, length, strict=True), key=lambda each: (each[0].lacks_second_copy, each[1]))[0]
    best = min(found, key=lambda each: (each.lacks_second_copy, each.objective_value, each.memory_taken))
    return _with_copies_told(best, found)


def _with_copies_told(best: Schedule, found: Sequence[Schedule]) -> Schedule:
    """Note which schedule would be shorter if a second copy of the weights, which its memory lacks, fits."""
    shorter = min(found, key=lambda each: each.objective_value)
    if best.lacks_second_copy or shorter.objective_value >= best.objective_value:
        return best
    share = 1 - shorter.objective_value / best.objective_value
    what = f"{shorter.strategy} would be {share:.2%} shorter"
    note = f"{what}, with two copies of the weights: give memory.static to compare"
    return replace(best, notes=(*best.notes, note))


def _best_of(
    pipeline: Pipeline, framework: Framework, options: SearchOptions, limit: TimeLimit
) -> Schedule | InfeasibleError:
    """Return the shortest of a framework's own schedules that fits, with a bound for all orders on its placement."""
    model = GivenModel.of_several(pipeline, framework.schedules, cut=options.cut)
    made = list(schedules_of(model, framework, until=limit.ends))
    if not made:
        raise InputError(f"framework: no schedule of {framework.title} runs on this pipeline")
    span = options.objective == "span"
    made.sort(key=lambda each: (each.lacks_second_copy, each.span if span else each.makespan, each.memory_taken))
    best = next((each for each in made if each.fits), None)
    if best is None:
        device = made[0].over_limit[0]
        held, limit_there = made[0].figures.peaks[device], pipeline.limits[device] or Fraction(0)
        return InfeasibleError(
            f"infeasible: no schedule of {framework.title} fits the memory limit; {made[0].strategy} holds "
            f"{float(held):.10g} of {float(limit_there):.10g} on device {device}",
            device,
            held,
            limit_there,
        )
    return replace(best, objective=options.objective, proven=None if span else simple_bound(freedom_of(best)))


def _why_nothing(outcomes: Sequence[Schedule | InfeasibleError | TimeTooShortError | InternalError]) -> Exception:
    """Choose why no placement has a schedule: nothing is proven where one of them was not decided."""
    errors = [outcome for outcome in outcomes if not isinstance(outcome, Schedule)]
    return next((error for error in errors if isinstance(error, TimeTooShortError)), errors[0])


def _with_known_feed(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline without a search for the order of feeding, since a search of the order chooses that, too."""
    return pipeline.model_copy(update={"feed": "pyramid"}) if pipeline.feed == "best" else pipeline


def optimize_each(
    pipeline: Pipeline, options: SearchOptions, limit: TimeLimit | None = None
) -> Iterator[Schedule | InfeasibleError | TimeTooShortError | InternalError]:
    """Search each placement in turn, the time shared evenly and what one leaves given to the next.

    A placement whose bound is above the best schedule of those before it cannot win, and leaves its time to the others.

    Parameters
    ----------
    pipeline, options
        What is searched, and how.
    limit : TimeLimit, optional
        The clock of the command, where that does more than search. What is done with a schedule before the next is
        asked for belongs to its turn.

    Yields
    ------
    Schedule, InfeasibleError, TimeTooShortError or InternalError
        The best found on a placement, or why there is none; of several, also what went wrong on one by our fault.
    """
    options.refuse_offload(pipeline)
    limit = limit or TimeLimit(options.time_limit)
    if options.runs_for is not None and not options.placements:
        yield _best_of(pipeline, options.runs_for, options, limit)
        return
    options = replace(options, one_way=pipeline.has_unequal_items)
    pipeline = _with_known_feed(pipeline)
    model = GivenModel.of_several(pipeline, placements=options.placements, cut=options.cut)
    seconds = CUT.within(options.time_limit)
    with limit.running(CUT, seconds):
        each = seconds / len(options.placements)
        cuts = {name: cut_or_none(model, name, options.allowed, each) for name in options.placements}
    best: Schedule | None = None
    for place, (name, cut) in enumerate(cuts.items()):
        limit.begin_turn(len(cuts) - place)
        if not isinstance(cut, Cut):
            yield cut
            continue
        try:
            result = search_placement(cut.pipeline, name, options, limit, best)
            result = replace(result, notes=(*model_notes(result, cut, options), *result.notes))
        except (InfeasibleError, TimeTooShortError) as error:
            yield error
            continue
        except InputError:
            raise
        except Exception as error:
            if len(cuts) == 1:
                raise
            yield as_internal(f"optimized-{name}", error)
            continue
        if best is None or result.objective_value < best.objective_value:
            best = result
        two_ways = (f"left out: {each}: {TWO_WAYS}" for each in options.two_ways)
        yield replace(result, notes=(*doubts(pipeline), *two_ways, *result.notes))
        if result.interrupted:
            return
