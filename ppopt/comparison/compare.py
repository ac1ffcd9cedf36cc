"""Comparing published and searched schedules on one model: ranked, each with its ladder."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from time import perf_counter
from typing import Any, cast

from ppopt.comparison.communicators import CommunicatorTrials
from ppopt.comparison.comparison import Comparison
from ppopt.comparison.margins import MarginsSoFar, margins_of
from ppopt.comparison.margins import seconds_needed as seconds_for_margins
from ppopt.comparison.ranking import rank_schedules
from ppopt.comparison.selection import (
    Baseline,
    choose_baseline,
    each_once,
    identity,
    read_exclusions,
    without,
)
from ppopt.evaluation.evaluate import check_pipeline, evaluate_with, first_variant_that_runs
from ppopt.evaluation.framework_variants import best_of_each, schedules_of
from ppopt.noise.noise import Noise
from ppopt.noise.under_noise import seconds_needed, under_noise
from ppopt.optimization.cuts import searched_cut, searched_cuts
from ppopt.optimization.ladders import Freedom, QuickBounds, freedom_of
from ppopt.optimization.optimize import optimize_each
from ppopt.optimization.options import QuickBound, SearchOptions
from ppopt.process.internal_error import InternalError, as_reason, internal_errors
from ppopt.process.time_limit import MOMENT, Afterwards, TimeLimit
from ppopt.schedules.replaying import with_each_resident
from ppopt.schedules.schedule import Schedule
from reports.content import with_name
from solver.budget import (
    BOUNDS,
    COMMUNICATORS,
    DRAWS,
    DRAWS_AND_FILES,
    MARGINS,
    PUBLISHED,
    PUBLISHED_BEFORE_FILES,
    PUBLISHED_BEFORE_SEARCHES,
)
from solver.errors import InfeasibleError, InputError, TimeTooShortError
from solver.replay import ENGINES
from solver.search.state import Progress
from solver.states import EngineChoice
from strategies.given_model.stages import (
    CutChoice,
    GivenModel,
    refuse_contradictions,
    with_slices,
    with_virtual_stages,
)
from strategies.language.orders import parse_strategy
from strategies.layouts.runs_in import Framework, run_by
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.given_order import GivenOrder, Named
from strategies.problem.search_problem import TWO_WAYS, are_divided

SHORTEST_SEARCH_OF_MANY = 6
"""Least time of a search per operation, in multiples of the fastest evaluation per operation."""

FEWEST_PACES = 3
"""Evaluations needed before the fastest one is trusted: the first ones may include loading libraries."""

ENOUGH_OPS = 5_000
"""With more operations, one evaluation is trusted alone."""

ALWAYS_FOR_SEARCH = 0.3
"""Seconds by which a search may exceed its time before it is left out; keeps every search of a small pipeline."""

SHORTEST_SEARCH = 4
"""Time of the shortest possible search, with its cut and its bound, in average evaluations."""

MOST_KINDS = 3
"""Most operations that a search has for each stage and microbatch."""

OnPhase = Callable[[str], None]
"""Called with a short text about the current phase."""


def compare(
    pipeline: Pipeline,
    strategies: Iterable[str | PathLike[str] | GivenOrder] | None = None,
    *,
    optimize: bool = True,
    placement: str = "all",
    overlap: bool | None = None,
    baseline: str | PathLike[str] | GivenOrder | None = None,
    exclude: Iterable[str | PathLike[str] | GivenOrder] = (),
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    engine: EngineChoice = "graph",
    progress: Progress | None = None,
    on_phase: OnPhase | None = None,
    afterwards: Afterwards | None = None,
    cut: CutChoice = "plan",
    noise: Noise | None = None,
    framework: str | None = None,
    offload: bool = False,
) -> Comparison:
    """Evaluate published schedules, search for better ones, and rank them all on the same model.

    Parameters
    ----------
    pipeline : Pipeline
        The costs and the memory limit.
    strategies : iterable of str or path, optional
        Names and schedule files as for `evaluate`; by default every known schedule. If the pipeline has one stage per
        device, schedules that take any number of stages per device run with two. A schedule that does not fit is left
        out, with a reason.
    optimize : bool
        Whether to search as well, with split backwards.
    placement : str
        The placement to search, one that ``ppopt compare --help`` lists.
    overlap : bool, optional
        Whether the search may overlap; by default it may, wherever a block is shorter than its halves.
    baseline : str or path, optional
        The schedule that all are compared with, such as your own; it is evaluated if it is not among the others. By
        default 1f1b, if it is among them; ``"none"`` for none.
    exclude : iterable of str or path
        Schedules that are not evaluated: a name excludes it with any options, a name with options only with these.
    time_limit : float
        Seconds in all. If there is a search, published schedules take at most four fifths, bounds take some, and the
        placements share the rest. Schedules that the time does not suffice for are left out, and named.
    workers, seed
        As for `optimize`.
    engine : {"auto", "cpsat", "graph"}
        As for `evaluate`; the graph is the fastest for many schedules, and all engines give the same result.
    progress, on_phase : callable, optional
        ``progress(standing)`` is called as by `optimize`, ``on_phase(text)`` with the current phase.
    afterwards : Afterwards, optional
        Work on the result that must fit into the same time.
    cut : {"plan", "even"}
        How to cut layers that come without a cut: for each schedule on its own, or evenly.
    noise : Noise, optional
        How times vary: each schedule is also replayed with many draws, within the same time.
    framework : str, optional
        Only what this training framework runs. For one that loads no order from outside nothing is searched; its own
        schedules are also tried with other options and numbers of stages, and the best of each is shown.
    offload : bool
        Whether the search chooses which activations are copied to the host; otherwise the ``offload`` of the pipeline
        says so, as for every published schedule.

    Returns
    -------
    Comparison
        The schedules, ranked. Ctrl-C ends the search early, with the results so far.

    Raises
    ------
    InputError
        If an argument is wrong, or nothing is left to show.
    """
    started = perf_counter()
    if overlap is not None and not isinstance(overlap, bool):
        raise InputError(f"overlap: must be True, False or None; found {shown(overlap)}")
    options = SearchOptions(
        placement=placement,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        progress=progress,
        cut=cut,
        framework=framework,
        offload=offload,
    )
    exclusions = read_exclusions(exclude)
    own = options.runs_for
    options = replace(options, one_way=isinstance(pipeline, Pipeline) and pipeline.has_unequal_items)
    names = _checked(
        pipeline, _published(pipeline, framework) if strategies is None else strategies, engine, exclusions
    )
    options.refuse_offload(pipeline, searches=optimize)
    if noise is not None:
        noise.refuse_unknown_devices(pipeline.devices)
    compared = choose_baseline(baseline, names, exclusions, pipeline)
    if compared.name is not None and compared.name not in names:
        names.append(compared.name)
        refuse_contradictions(pipeline, [compared.name])
    placements = options.placements if optimize else []
    if not names and not placements:
        raise InputError("strategies: must name at least one, or allow a search")
    limit = TimeLimit(time_limit, afterwards)
    model = GivenModel.of_several(pipeline, names, placements, cut)
    settled = model.settled()
    searched = pipeline if model.leaves_cut_open(len(settled.costs)) else settled
    allowed = overlap is None or overlap  # harmless if no block saves time
    gathered = _ComparisonSoFar(on_phase or _tell_nobody, limit, framework=own)
    if placements:
        gathered.left_out += [(name, TWO_WAYS) for name in options.two_ways]
    cuts = gathered.cut_for_searches(searched, placements, replace(options, overlap=allowed))
    with limit.running(PUBLISHED):
        gathered.evaluate(model, names, engine, searches=len(placements))
        if own is not None and not own.loads and _are_all_of(own, names):
            gathered.try_variants(model, own, engine, exclusions)
    gathered.try_communicators(COMMUNICATORS.within(limit.left) if optimize else limit.left)
    options = replace(options, overlap=allowed, starts=tuple(gathered.schedules))
    if optimize and gathered.schedules:
        gathered.put_aside(noise, cuts)
    gathered.bound(searched, options, placements)
    if placements:
        gathered.search(searched, options)
        gathered.try_communicators(limit.left)
    gathered.refuse_nothing()
    ranked = rank_schedules(settled, gathered.schedules, gathered.bounds)
    if noise is not None:
        gathered.on_phase("drawing times")
        deadline = limit.ends - gathered.for_files - gathered.for_margins if optimize else None
        with limit.running(DRAWS):
            noisy = under_noise(ranked.schedules, noise, deadline=deadline)
        ranked = replace(ranked, schedules=tuple(noisy), noise=noise)
    margins = gathered.find_margins(ranked, limited=optimize)
    ranked = replace(ranked, by_resident=gathered.by_resident(ranked.winner))
    ranked = replace(
        ranked,
        **gathered.compared_with(compared, ranked.schedules),
        left_out=(*gathered.left_out, *ranked.left_out),
        infeasible=tuple(gathered.infeasible),
        searched=tuple(gathered.searched),
        interrupted=gathered.interrupted,
        seconds=perf_counter() - started,
        communicators=gathered.trials.found,
        framework=None if own is None else own.name,
        reach=margins.margins,
    )
    notes = (
        *ranked.notes,
        *margins.notes,
        *gathered.trials.notes(ranked.schedules),
        *_of_other_stages(ranked.schedules),
        *(["no What if sliders on a page: they have one time for all microbatches"] if pipeline.entries else []),
    )
    return replace(ranked, notes=notes)


def _of_other_stages(schedules: Sequence[Schedule]) -> Iterator[str]:
    """Name schedules that beat the searched one on the same placement with another number of stages."""
    for found in (each for each in schedules if each.is_searched):
        rivals = [
            each
            for each in schedules
            if each.fits and each.placement == found.placement and each.pipeline.stages != found.pipeline.stages
        ]
        best = min(rivals, key=lambda each: each.makespan, default=found)
        if best.makespan < found.makespan:
            yield (
                f"{best.strategy} is shorter than {found.strategy}, whose search had {found.pipeline.stages} stages; "
                f"{best.pipeline.stages} were not searched"
            )


def _published(pipeline: object, framework: str | None) -> list[Named]:
    check_pipeline(pipeline)
    return list(with_slices(run_by(framework), cast("Pipeline", pipeline)))


def _tell_nobody(_text: str) -> None:
    pass


def _are_all_of(framework: Framework, names: Iterable[Named]) -> bool:
    """Return whether all schedules of a framework are among some names, so that none was picked."""
    named = {parse_strategy(name)[0].name for name in names if isinstance(name, str)}
    return named >= framework.schedules.keys()


def _checked(
    pipeline: Pipeline, strategies: Iterable[Any], engine: EngineChoice, exclusions: frozenset[Hashable]
) -> list[Named]:
    """Refuse wrong arguments before any work; return the names as a list."""
    check_pipeline(pipeline)
    if engine not in ENGINES:
        raise InputError(f"engine: {shown(engine)} is not known; allowed are {', '.join(ENGINES)}")
    if isinstance(strategies, (str, bytes)) or not isinstance(strategies, Iterable):
        raise InputError(f"strategies: must be a list of names; found {shown(strategies)}")
    read = without(each_once(strategies), exclusions)
    usual = (name if isinstance(name, GivenOrder) else with_virtual_stages(name, pipeline) for name in read)
    names = without(each_once(usual), exclusions)
    refuse_contradictions(pipeline, names)
    return names


@dataclass
class _ComparisonSoFar:
    """The results of a comparison so far."""

    on_phase: OnPhase
    limit: TimeLimit
    bounds: QuickBounds = field(default_factory=QuickBounds)
    schedules: list[Schedule] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    infeasible: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    interrupted: bool = False
    labels: dict[Hashable, str] = field(default_factory=dict)
    trials: CommunicatorTrials = field(default_factory=CommunicatorTrials)
    for_files: float = 0.0
    for_margins: float = 0.0
    paces: list[float] = field(default_factory=list)
    framework: Framework | None = None

    def try_communicators(self, seconds: float) -> None:
        """Find out which communicators the schedules run with, and the cost of PyTorch's placement."""
        self.on_phase("trying communicators")
        try:
            with self.limit.running(COMMUNICATORS, seconds):
                self.trials.run(self.schedules, perf_counter() + seconds)
        except KeyboardInterrupt:
            self.interrupted = True
            self.limit.hurry()

    def evaluate(self, model: GivenModel, names: Sequence[Named], engine: EngineChoice, *, searches: int) -> None:
        """Evaluate each schedule; leave out any that does not fit, or that leaves too little time for searches.

        A schedule that does not fit is shown with options that do, if any exist.
        """
        share = (PUBLISHED if self.limit.afterwards.foresee is None else PUBLISHED_BEFORE_FILES).share
        started, longest = perf_counter(), 0.0
        for place, name in enumerate(names, 1):
            began = perf_counter()
            for_searches = searches * SHORTEST_SEARCH * (began - started) / place / max(self.limit.seconds, 1e-9)
            part = min(share, max(1 - for_searches, PUBLISHED_BEFORE_SEARCHES.share))
            if searches and self.schedules and began + longest > self.limit.ends - (1 - part) * self.limit.seconds:
                self.left_out.append((str(name), f"not evaluated: {part:.0%} of {self.limit.used_up}"))
                continue
            self.on_phase(f"evaluating {name}, {place} of {len(names)}")
            try:
                self._evaluate_one(model, name, engine)
            except Exception as error:
                self.left_out.append((str(name), as_reason(name, error)))
            longest = max(longest, perf_counter() - began)

    def _evaluate_one(self, model: GivenModel, name: Named, engine: EngineChoice) -> None:
        began = perf_counter()
        try:
            result = evaluate_with(model, name, engine, {})
        except InputError as error:
            self.left_out.append((str(name), "; ".join(str(error).split("\n"))))
            other = first_variant_that_runs(model, name, engine) if isinstance(name, str) else None
            if other is not None and not self._why_not(other):
                self.schedules.append(other)
        else:
            if reason := self._why_not(result):
                self.left_out.append((str(name), reason))
                return
            self._take(name, result)
            self.paces.append((perf_counter() - began) / len(result.problem.tasks))

    def _why_not(self, schedule: Schedule) -> str:
        """Say why a schedule is left out: nothing bounds it, or the framework asked for does not run it."""
        if are_divided(schedule.pipeline, schedule.layout):
            return TWO_WAYS
        return "" if self.framework is None else self.framework.why_not(schedule.strategy, schedule.layout)

    def try_variants(
        self, model: GivenModel, framework: Framework, engine: EngineChoice, exclusions: frozenset[Hashable]
    ) -> None:
        """Add the best variant of each of a framework's schedules, if it is better than those shown already."""
        self.on_phase(f"trying options of {framework.title}")
        shown = {schedule.strategy for schedule in self.schedules}
        made: list[Schedule] = []
        try:
            made.extend(schedules_of(model, framework, engine, self.limit.ends))
        except KeyboardInterrupt:
            self.interrupted = True
        allowed = without((each.strategy for each in made), exclusions)
        best = best_of_each([*self.schedules, *(each for each in made if each.strategy in allowed)])
        self.schedules += [each for each in best if each.strategy not in shown]

    def _take(self, name: Named, result: Schedule) -> None:
        self.schedules.append(result)
        self.labels[identity(name)] = result.strategy

    def cut_for_searches(
        self, pipeline: Pipeline, placements: Sequence[str], options: SearchOptions
    ) -> list[tuple[Pipeline, Placement]]:
        """Cut the model for each search, before published schedules use up their share of the time."""
        try:
            return list(searched_cuts(pipeline, placements, options))
        except KeyboardInterrupt:
            self.interrupted = True
            self.limit.hurry()
            return []

    def put_aside(self, noise: Noise | None, cuts: Iterable[tuple[Pipeline, Placement]]) -> None:
        """Reserve time for noise draws and files, for the schedules found so far and those still to be searched."""
        try:
            self._put_aside(noise, cuts)
        except KeyboardInterrupt:
            self.interrupted = True
            self.limit.hurry()

    def _put_aside(self, noise: Noise | None, cuts: Iterable[tuple[Pipeline, Placement]]) -> None:
        coming = sum(MOST_KINDS * (cut.stages or 0) * cut.microbatches for cut, _ in cuts)
        seconds = 0.0
        if noise is not None:
            self.on_phase("foreseeing how long drawing takes")
            seconds += DRAWS.foreseen(seconds_needed(self.schedules, noise, coming))
        self.on_phase("foreseeing how long margins take")
        self.for_margins = MARGINS.foreseen(seconds_for_margins(self.schedules, coming), self.limit.left)
        seconds += self.for_margins
        if self.limit.afterwards.foresee is not None:
            self.on_phase("foreseeing how long files take")
            self.for_files = self.limit.afterwards.foresee(self.schedules, coming)
        most = DRAWS_AND_FILES.within(self.limit.left)
        if seconds + self.for_files > most:
            self.for_files *= most / (seconds + self.for_files)
        self.limit.put_aside(files=min(seconds + self.for_files, most))

    def bound(self, pipeline: Pipeline, options: SearchOptions, placements: Sequence[str]) -> None:
        """Find bounds for the schedules found so far and those still to be searched."""
        self.on_phase("computing lower bounds")
        seconds = BOUNDS.within(self.limit.left) if placements else self.limit.left
        self.bounds.deadline = perf_counter() + seconds
        freedoms = [freedom_of(schedule) for schedule in self.schedules]
        freedoms += [Freedom(*cut, True, options.overlap) for cut in searched_cuts(pipeline, placements, options)]
        try:
            with self.limit.running(BOUNDS, seconds):
                self.bounds.find(freedoms)
        except KeyboardInterrupt:
            self.searched += placements[:1]
            self.interrupted = self.bounds.cut_short = True
            self.limit.hurry()
        self.bounds.deadline = self.limit.ends

    def search(self, pipeline: Pipeline, options: SearchOptions) -> None:
        """Search the placements in turn; they share the time, and Ctrl-C ends them all."""
        placements = options.placements
        shown = len(self.schedules)
        found = self.bounds.found.items()
        quick: dict[Hashable, QuickBound] = {freedom: each.quick for freedom, each in found if each.quick is not None}
        for place, name in enumerate(placements):
            if self.interrupted:
                return
            if reason := self._why_not_searched(pipeline, name, options):
                self.left_out.append((f"optimized-{name}", reason))
                continue
            self.on_phase(f"{name}, {place + 1} of {len(placements)}")
            part = self.limit.part(len(placements) - place)
            part.afterwards = replace(part.afterwards, shown=shown)
            shown = 0
            seconds = options.time_limit / len(placements)  # the same as for the bounds, so that the cut is the same
            one = replace(options, placement=name, time_limit=seconds, quick=quick)
            self._search_one(pipeline, one, part)
            self.limit.put_aside(files=part.owed)

    def _why_not_searched(self, pipeline: Pipeline, name: str, options: SearchOptions) -> str:
        """Say why even the shortest search of a placement would take too long; empty if it would not."""
        is_large = any(len(each.problem.tasks) > ENOUGH_OPS for each in self.schedules)
        if len(self.paces) < FEWEST_PACES and not (self.paces and is_large):
            return ""
        with suppress(InputError, InfeasibleError, TimeTooShortError):  # the search says so itself, at once
            cut, _ = searched_cut(pipeline, name, options, shares=len(options.placements))
            of_search = MOST_KINDS * (cut.stages or 0) * cut.microbatches
            needed = SHORTEST_SEARCH_OF_MANY * min(self.paces) * of_search
            if needed > self.limit.left + ALWAYS_FOR_SEARCH:
                left = f"less of the time limit of {self.limit.seconds:g} s was left"
                return f"not searched: that takes at least {needed:.1f} s, and {left}"
        return ""

    def _search_one(self, pipeline: Pipeline, options: SearchOptions, limit: TimeLimit) -> None:
        try:
            outcomes = list(optimize_each(pipeline, options, limit))
        except InputError as error:
            self.left_out.append((f"optimized-{options.placement}", str(error)))
        except KeyboardInterrupt:  # just before the search or just after it
            self.searched.append(options.placement)
            self.interrupted = True
        except Exception as error:
            name = f"optimized-{options.placement}"
            self.left_out.append((name, as_reason(name, error)))
        else:
            self.searched.append(options.placement)
            found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
            self.schedules += found
            self.infeasible += [str(outcome) for outcome in outcomes if isinstance(outcome, InfeasibleError)]
            undecided = [str(outcome) for outcome in outcomes if isinstance(outcome, TimeTooShortError)]
            self.left_out += [(f"optimized-{options.placement}", reason) for reason in undecided]
            self.interrupted = any(schedule.interrupted for schedule in found)
        if self.interrupted:
            self.limit.hurry()

    def find_margins(self, ranked: Comparison, *, limited: bool) -> MarginsSoFar:
        """Find how far the verdict holds, within the time that was put aside for it, even if a search was late."""
        self.on_phase("finding how far the verdict holds")
        seconds = most = MARGINS.within(math.inf)
        if limited:
            least = min(MOMENT, self.for_margins) if self.limit.interrupted else self.for_margins
            seconds = min(most, max(least, self.limit.ends - self.for_files - perf_counter()))
        with self.limit.running(MARGINS, seconds):
            found = margins_of(ranked.contenders, perf_counter() + seconds)
        if found.interrupted:
            self.interrupted = True
            self.limit.hurry()
        return found

    def by_resident(self, best: Schedule | None) -> tuple[Schedule, ...]:
        """Replay the best schedule with each number of resident stages, unless the time is up."""
        if best is None or best.pipeline.sharding is None or self.interrupted or self.limit.left <= 0:
            return ()
        self.on_phase("replaying other numbers of resident stages")
        return tuple(with_each_resident(best))

    def compared_with(self, baseline: Baseline, ranked: Sequence[Schedule]) -> dict[str, Any]:
        """Find the baseline among the schedules; return a note instead if a requested one was left out."""
        if baseline.name is None:
            return {}
        label = self.labels.get(identity(baseline.name))
        found = next((schedule for schedule in ranked if schedule.strategy == label), None)
        if found is not None or not baseline.is_asked_for:
            return {"baseline": found}
        return {"notes": (f"the baseline {baseline.name} was left out, so nothing is compared with it",)}

    def refuse_nothing(self) -> None:
        """Refuse an empty comparison."""
        if not self.schedules and not self.infeasible and self.left_out:
            if ours := internal_errors(self.left_out):
                raise InternalError("\n".join(ours))
            raise InputError("\n".join(with_name(name, reason) for name, reason in self.left_out))
