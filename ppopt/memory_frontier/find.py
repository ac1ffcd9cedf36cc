"""Finding the memory frontier of a pipeline.

One file holds the options, the order of the steps and their progress messages, because each step decides how much time
the next one has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter

from ppopt.evaluation.evaluate import check_pipeline, evaluate_with, first_variant_that_runs
from ppopt.memory_frontier.curves import ONE_AT_A_TIME, Curves, FoundSchedule, Record
from ppopt.memory_frontier.explore import Exploration, OnProgress
from ppopt.memory_frontier.frontier_result import Frontier, Point
from ppopt.memory_frontier.limits import AUTO, POINTS, Limits, read_limits, read_points, refuse_below
from ppopt.memory_frontier.saved import Saved, read_saved, restore, save
from ppopt.memory_frontier.searched_cuts import SearchedCut, least_makespan, scope_of, searched_cuts_of
from ppopt.memory_frontier.searchers import Searchers
from ppopt.optimization.finishing import placement_notes
from ppopt.optimization.ladders import freedom_of
from ppopt.optimization.options import SearchOptions
from ppopt.optimization.sizes import MANY_OPS, MOST_SEARCHED_OPS
from ppopt.optimization.starts import one_at_a_time
from ppopt.optimization.unwritten import Long
from ppopt.process.cores import usable_cores
from ppopt.process.garbage import collection_paused
from ppopt.process.internal_error import InternalError, as_reason, internal_errors
from ppopt.process.time_limit import least_seconds
from ppopt.process.version import __version__
from ppopt.process.whole_files import check_writable
from ppopt.schedules.replaying import replay_orders, with_each_resident
from ppopt.schedules.schedule import Schedule
from solver.deadline import OutOfTimeError
from solver.errors import InputError, TimeTooShortError
from solver.search.first_bounds import plain_bound
from solver.search.long_search import SHORTEST
from strategies.given_model.model_notes import TWO_COPIES, halves_notes
from strategies.given_model.stages import GivenModel, wished_stages, with_slices, with_virtual_stages
from strategies.language.orders import parse_strategy
from strategies.layouts.runs_in import run_by
from strategies.model.cuts import Counts
from strategies.model.pipeline import Pipeline
from strategies.model.plausibility import doubts
from strategies.problem.search_problem import Allowed, build_search_problem, pipeline_actions

PUBLISHED_SHARE = 0.25
"""Largest share of the time for evaluating published schedules; the rest of them are left out."""

LAID_SHARE = 0.5
"""Share of the time after which no further placement is written out."""

CAUTION = 1.5
"""Safety factor on times per operation that were measured on few microbatches."""

TO_ANSWER = 0.3
"""Seconds to stop the searches and assemble their results."""

FOR_A_PAGE, FOR_ITS_SCHEDULES = 0.6, 1.3
"""Time of a page: seconds for itself, and per schedule, a multiple of the time of evaluating the schedule."""

NO_TIME_TO_CUT = "the time limit is too short to cut its layers such that they need the least memory"


def frontier(
    pipeline: Pipeline,
    *,
    placement: str = "all",
    overlap: bool = False,
    limits: Limits = AUTO,
    points: int = POINTS,
    time_limit: float = 100.0,
    workers: int | None = None,
    seed: int = 0,
    save_to: str | Path | None = None,
    on_progress: OnProgress | None = None,
    shown_afterwards: bool = False,
    framework: str | None = None,
) -> Frontier:
    """Find the shortest step for each memory limit, with a proven bound, and compare it with published schedules.

    A schedule found at a limit runs at every greater one, and a bound proven at a limit holds at every smaller one, so
    neither the makespans nor the bounds rise with the limit. The pipeline's own limit is one of the limits examined; it
    does not restrict the others.

    Parameters
    ----------
    pipeline : Pipeline
        The costs, with the memory that each stage takes.
    placement : str
        Which device holds which stage: a placement that ``ppopt frontier --help`` lists; ``all`` is every one except
        ``wave``, on the same model.
    overlap : bool
        Whether any forward may run in one block with any full backward on its device.
    limits : "auto" or sequence of numbers
        The memory limits, the same for every device. ``auto`` chooses evenly spaced ones, from the least that any
        schedule needs to the limit above which more memory gains nothing.
    points : int
        The most limits that ``auto`` chooses.
    time_limit : float
        Seconds in all.
    workers : int, optional
        The number of parallel searches; by default one per core.
    seed : int
        The seed of everything random.
    save_to : str or path, optional
        A file that stores all results. If it exists, this run continues from it. If it cannot be written in the end,
        the error's ``frontier`` holds the result.
    on_progress : callable, optional
        ``on_progress(text)`` is called with the progress.
    shown_afterwards : bool
        Whether to leave time for a page of all schedules.
    framework : str, optional
        The training framework that runs the result: only placements on which it loads any order are searched.

    Returns
    -------
    Frontier
        Ctrl-C ends the searches early, with the results so far.

    Raises
    ------
    InputError
        If an argument is wrong, a limit is below the least, the model takes no memory, or the file cannot be used.
    TimeTooShortError
        If the pipeline is too long to write out even the schedule with the least memory in time.
    """
    found, keep = find_frontier(
        pipeline,
        placement=placement,
        overlap=overlap,
        limits=limits,
        points=points,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        save_to=save_to,
        on_progress=on_progress,
        shown_afterwards=shown_afterwards,
        framework=framework,
    )
    try:
        keep()
    except InputError as error:
        raise NotSavedError(str(error), found) from None
    return found


class NotSavedError(InputError):
    """The result could not be written.

    Attributes
    ----------
    frontier : Frontier
        The result.
    """

    def __init__(self, message: str, found: Frontier) -> None:
        self.frontier = found
        super().__init__(message)


@collection_paused()
def find_frontier(
    pipeline: Pipeline,
    *,
    placement: str,
    overlap: bool,
    limits: Limits,
    points: int,
    time_limit: float,
    workers: int | None,
    seed: int,
    save_to: str | Path | None,
    on_progress: OnProgress | None = None,
    shown_afterwards: bool = False,
    framework: str | None = None,
    compared: Sequence[Fraction] = (),
) -> tuple[Frontier, Callable[[], None]]:
    """Do the same as `frontier`, but let the caller decide when to write the file: results are shown first.

    Parameters
    ----------
    pipeline, placement, overlap, limits, points, time_limit, workers, seed, save_to, on_progress, shown_afterwards,
    framework
        As for `frontier`.
    compared : sequence of Fraction
        Limits to search at, besides those given or chosen: a picture compares them.

    Returns
    -------
    found : Frontier
        The result.
    keep : callable
        ``keep()`` writes it to the file, if one was given.

    Raises
    ------
    InputError, TimeTooShortError
        As for `frontier`.
    """
    started = perf_counter()
    check_pipeline(pipeline)
    if pipeline.layers is not None or pipeline.are_sliced:
        pipeline.refuse_unequal("frontier" if pipeline.are_sliced else "frontier of layers")
    if pipeline.feed == "best":  # a curve is of one pipeline
        pipeline = pipeline.model_copy(update={"feed": "pyramid"})
    options = SearchOptions(
        placement=placement,
        overlap=overlap,
        time_limit=time_limit,
        workers=workers,
        seed=seed,
        framework=framework,
    )
    if options.runs_for is not None and not options.placements:
        raise InputError(f"framework: {options.runs_for.loads_only}; compare ranks its own schedules at a memory limit")
    wanted, count = read_limits(limits), read_points(points)
    wanted = None if wanted is None else tuple(sorted({*wanted, *compared}))
    gathered = _FrontierSoFar(
        pipeline, options, on_progress or _tell_nobody, started, wanted=wanted or (), compared=compared
    )
    saved = Saved()
    if save_to is not None:
        check_writable(save_to)
        saved = read_saved(save_to, __version__, gathered.model, options.allowed)
    gathered.lay_lanes(saved.cuts)
    refuse_below(gathered.curves.least, compared[:1], gathered.curves.placements, "from")
    refuse_below(gathered.curves.least, wanted or (), gathered.curves.placements)
    with Searchers(gathered.processes) as searchers:  # they take a while to start
        gathered.evaluate()
        gathered.restore(saved)
        exploration = gathered.explore(searchers, wanted, count, saved.limits, shown_afterwards=shown_afterwards)
    shown = exploration.settle()
    made = gathered.result(shown, exploration)

    def keep() -> None:
        if save_to is not None:
            save(save_to, __version__, gathered.model, gathered.curves, options.allowed, shown, saved)

    return replace(made, seconds=perf_counter() - started), keep


def _tell_nobody(_text: str) -> None:
    pass


def _operations(pipeline: Pipeline) -> int:
    return 3 * (pipeline.stages or 0) * pipeline.microbatches


def _laid(cut: SearchedCut, allowed: Allowed) -> Record:
    problem = build_search_problem(cut.pipeline, cut.layout, **allowed._asdict())
    record = Record(cut.name, cut.pipeline, cut.layout, problem, cut.is_open)
    orders = pipeline_actions(one_at_a_time(cut.layout, problem))
    record.add_each(replay_orders(ONE_AT_A_TIME, cut.pipeline, cut.layout, orders, "graph", searched=True))
    if cut.is_open:
        record.prove_for_cuts(least_makespan(cut.pipeline, cut.layout), None)
    else:
        record.prove(plain_bound(problem, "makespan"), None)
    return record


def _seconds_to_lay(cut: SearchedCut, allowed: Allowed) -> float:
    began = perf_counter()
    _laid(cut, allowed)
    return perf_counter() - began


@dataclass
class _FrontierSoFar:
    """The parts of a frontier so far."""

    pipeline: Pipeline
    options: SearchOptions
    on_progress: OnProgress
    started: float
    curves: Curves = field(default_factory=lambda: Curves([]))
    published: list[FoundSchedule] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    evaluating: float = 0.0
    replaying: float = 0.0  # predicted seconds per operation of long pipelines
    interrupted: bool = False
    wanted: Sequence[Fraction] = ()
    compared: Sequence[Fraction] = ()

    def __post_init__(self) -> None:
        names = with_slices(run_by(self.options.framework), self.pipeline)
        self.names = [with_virtual_stages(name, self.pipeline) for name in names if isinstance(name, str)]
        self.several = GivenModel.of_several(self.pipeline, self.names, self.options.placements)
        self.given = self.several.settled()
        self.model = (self.given if self.pipeline.layers is None else self.pipeline).with_limit(None)
        _refuse_no_memory(self.given)

    def lay_lanes(self, kept: Mapping[str, Sequence[Counts]]) -> None:
        """Cut the model for each placement, with a schedule that needs the least memory and a bound without a search.

        Parameters
        ----------
        kept : mapping of str to sequence of sequence of int
            For each placement, the cuts that an earlier run searched separately.

        Raises
        ------
        InputError
            If the model fits none of the placements.
        TimeTooShortError
            If the time is too short for all of them.
        """
        records: list[Record] = []
        too_long: list[str] = []
        for name in self.options.placements:
            try:
                for cut in self._cuts(name, kept.get(name, ())):
                    if (why := self._no_time(cut, LAID_SHARE if records else 1.0)) is None:
                        records.append(_laid(cut, self.options.allowed))
                    else:
                        too_long.append(why)
                        self.left_out.append((cut.name, why))
            except OutOfTimeError:
                too_long.append(f"{name}: {NO_TIME_TO_CUT}")
                self.left_out.append((name, NO_TIME_TO_CUT))
            except Exception as error:
                reason = str(error) if isinstance(error, InputError) else as_reason(name, error)
                self.left_out.append((name, reason))
        if not records and too_long:
            raise TimeTooShortError("\n".join(too_long))
        if not records and (ours := internal_errors(self.left_out)):
            raise InternalError("\n".join(ours))
        if not records:
            raise InputError("\n".join(reason for _, reason in self.left_out))
        self.curves = Curves(records)

    def _cuts(self, name: str, kept: Sequence[Counts]) -> list[SearchedCut]:
        """Choose the cuts to search on a placement; an earlier run searched those in `kept`."""
        limits = [None, *self.wanted] if self.wanted else [None]
        cuts = searched_cuts_of(self.model, name, self.options, limits, kept)
        ops = _operations(cuts[0].pipeline)
        if ops > MOST_SEARCHED_OPS:
            raise InputError(f"{name}: these are {ops:,} operations; at most {MOST_SEARCHED_OPS:,} are searched")
        return cuts

    def _no_time(self, cut: SearchedCut, share: float) -> str | None:
        """Predict a long pipeline's time from a few microbatches; say so if it exceeds a share of the limit."""
        name, ops = cut.name, _operations(cut.pipeline)
        if ops <= MANY_OPS:
            return None
        allowed = self.options.allowed
        few, part = Long(cut.pipeline, cut.layout, allowed, ()).fewer(SHORTEST)
        short = cut._replace(pipeline=few, layout=part)
        (least,) = least_seconds(lambda: [_seconds_to_lay(short, allowed)])
        per_op = CAUTION * least / _operations(few)
        self.replaying = max(self.replaying, per_op)
        limit = self.options.time_limit
        if perf_counter() + per_op * ops <= self.started + share * limit:
            return None
        return (
            f"{name}: writing {ops:,} operations out and replaying them takes about {per_op * ops:.1f} s; "
            f"{share:.0%} of the time limit of {limit:g} s would be used up"
        )

    @property
    def processes(self) -> int:
        """The number of parallel searches; 0 if there is no time for any."""
        return (self.options.workers or usable_cores()) if self.options.time_limit else 0

    def evaluate(self) -> None:
        """Evaluate the published schedules; Ctrl-C stops this."""
        try:
            self._evaluate_each()
        except KeyboardInterrupt:
            self.interrupted = True

    def _evaluate_each(self) -> None:
        """Evaluate the published schedules without a limit, and with the user's limit if it changes the order."""
        ends = self.started + PUBLISHED_SHARE * self.options.time_limit
        several = self.several
        models = [replace(several, pipeline=several.pipeline.with_limit(None))]
        if self.pipeline.memory.limit is not None:
            models.append(several)
        began = perf_counter()
        runs = [(name, model) for model in models for name in self._by_placement()]
        for place, (name, model) in enumerate(runs):
            self.on_progress(f"evaluating {name}, {place + 1} of {len(runs)}")
            if (self.published and perf_counter() > ends) or self._is_too_late(name, ends):
                share = f"{PUBLISHED_SHARE:.0%} of the time limit of {self.options.time_limit:g} s"
                left = (each for each, which in runs[place:] if which is models[0])
                self.left_out += [(each, f"not evaluated: {share} was used up") for each in left]
                break
            try:
                self._evaluate_one(name, model, is_first=model is models[0])
            except Exception as error:
                self.left_out.append((name, as_reason(name, error)))
        self.evaluating = (perf_counter() - began) / max(1, len(self.published))

    def _by_placement(self) -> list[str]:
        """List the published schedules, starting with those on a searched placement."""
        searched = {record.layout.name for record in self.curves.records}
        return sorted(self.names, key=lambda name: parse_strategy(name)[0].placement not in searched)

    def _is_too_late(self, name: str, ends: float) -> bool:
        """Return whether evaluating a schedule of a long pipeline would exceed the time for all of them."""
        strategy, options = parse_strategy(name)
        stages = wished_stages(strategy, options, self.model.devices) or self.model.stages or self.model.devices
        ops = (3 if strategy.splits_backward else 2) * stages * self.model.microbatches
        return bool(self.replaying) and perf_counter() + self.replaying * ops > ends

    def _evaluate_one(self, name: str, model: GivenModel, *, is_first: bool) -> None:
        try:
            made: Schedule | None = evaluate_with(model, name, "graph", {}, cured=False)
        except InputError as error:
            made = first_variant_that_runs(model, name, "graph")
            if made is None and is_first:
                self.left_out.append((name, "; ".join(str(error).split("\n"))))
        if made is None or (self.options.runs_for and self.options.runs_for.why_not(made.strategy, made.layout)):
            return
        record = self._lane_of(made)
        chooses = self.model.sharding is not None and self.model.sharding.resident == "auto"
        for each in with_each_resident(made) if chooses else [made]:
            found = FoundSchedule.of(each)
            alike = [other for other in self.published if other.schedule.strategy == each.strategy]
            if not is_first and any(other.rank == found.rank for other in alike):
                continue
            if chooses and any(other.makespan <= found.makespan and other.memory <= found.memory for other in alike):
                continue
            self.published.append(found)
            if record is not None:
                record.add(found)

    def restore(self, saved: Saved) -> None:
        """Restore the results of an earlier run."""
        try:
            restore(self.curves, saved, self.options.allowed)
        except InternalError as error:
            self.left_out.append(("what was saved", as_reason("what was saved", error)))

    def _lane_of(self, schedule: Schedule) -> Record | None:
        """Find the record whose search could have found a published schedule."""
        if freedom_of(schedule).overlap and not self.options.overlap:
            return None
        return next((record for record in self.curves.records if record.is_of(schedule)), None)

    def explore(
        self,
        searchers: Searchers,
        limits: Sequence[Fraction] | None,
        points: int,
        earlier: Sequence[Fraction],
        *,
        shown_afterwards: bool,
    ) -> Exploration:
        """Search."""
        ends = self.started + self.options.time_limit - TO_ANSWER
        if shown_afterwards:
            shown = len(self.published) + (len(limits) if limits else points)
            ends -= FOR_A_PAGE + FOR_ITS_SCHEDULES * self.evaluating * shown
        asked = self.pipeline.memory.limit
        exploration = Exploration(
            model=self.model,
            curves=self.curves,
            options=self.options,
            limits=limits,
            points=points,
            wanted=[*([asked] if isinstance(asked, Fraction) else []), *self.compared],
            earlier=[limit for limit in earlier if limit >= self.curves.least],
            ends=ends,
            processes=self.processes,
            on_progress=self.on_progress,
            interrupted=self.interrupted,
        )
        exploration.run(searchers)
        return exploration

    def result(self, limits: Sequence[Fraction], exploration: Exploration) -> Frontier:
        """Assemble the result."""
        curves = self.curves
        published = sorted(self.published, key=lambda each: (each.memory, each.makespan, each.schedule.strategy))
        steps = curves.bound_steps(limits)
        blocks_left_out = not self.options.overlap and any(freedom_of(each.schedule).overlap for each in published)
        return Frontier(
            pipeline=self.given,
            points=tuple(self._point(limit) for limit in limits),
            published=tuple(each.schedule for each in published),
            comparable=frozenset(
                place for place, each in enumerate(published) if self._lane_of(each.schedule) is not None
            ),
            stairs=tuple(each.schedule for each in curves.stairs()),
            bounds=tuple((float(limit), float(bound)) for limit, bound in steps),
            top=curves.best_at(None).schedule,
            highest_bound=float(curves.bound_at(None)),
            searched=curves.placements,
            scope=scope_of(curves.records, self.pipeline, blocks_left_out=blocks_left_out),
            left_out=(*self.left_out, *exploration.faults.items()),
            notes=tuple(self._notes(exploration)),
            interrupted=exploration.interrupted,
        )

    def _point(self, limit: Fraction) -> Point:
        return Point(float(limit), self.curves.best_at(limit).schedule, self.curves.bound_at(limit))

    def _notes(self, exploration: Exploration) -> Iterator[str]:
        yield from doubts(self.pipeline)
        yield from halves_notes(self.model)
        yield from placement_notes(self.model)
        if "memory" not in self.pipeline.model_fields_set and self.pipeline.layers is None:
            yield "no memory is given, so every stage is assumed to keep 1 for each microbatch (see memory.activation)"
        if isinstance(self.pipeline.memory.limit, tuple) and len(set(self.pipeline.limits)) > 1:
            yield "the devices have different limits, but the frontier gives all of them the same"
        for record in self.curves.records:
            if len(record.layout.homes) > 1 and not any(cost.static for cost in record.pipeline.costs):
                yield f"{record.layout.name} {TWO_COPIES}"
        can_recompute = self.pipeline.layers is not None and self.pipeline.layers.recomputable
        if can_recompute and any(record.over_cuts for record in self.curves.records):
            yield "no layer is recomputed here; ppopt plan finds which to recompute within one limit"
        if exploration.died:
            yield f"{exploration.died} of the search processes died, and their results are lost"
        if exploration.interrupted:
            yield "the searches were interrupted; these are the best schedules found so far"


def _refuse_no_memory(model: Pipeline) -> None:
    """Refuse a model that takes no memory: limits are meaningless for it.

    Raises
    ------
    InputError
        If nothing takes memory.
    """
    beside = any(each.weights or each.gradients for each in model.side_costs)
    if not beside and not any(cost.activation or cost.static for cost in model.costs):
        raise InputError(
            "memory.activation: must be above 0 on some stage for a memory frontier; found 0 on all, so no limit "
            "matters; give the memory that a stage keeps for a microbatch"
        )
