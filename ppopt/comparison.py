"""Comparing schedules: the published ones and the searched ones on one model, ranked, each with its ladder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from os.path import realpath
from time import perf_counter
from typing import Any

from ppopt.evaluation import check_pipeline, evaluate_with
from ppopt.finished import Schedule
from ppopt.given_order import GivenOrder, Named, read_named, refuse_contradictions, stages_meant
from ppopt.infeasibility import InfeasibleError
from ppopt.ladder_bounds import Freedom, QuickBounds, freedom_of, measure_ladders
from ppopt.optimization import SearchOptions, optimize_each, searched_cuts
from ppopt.search import Progress
from ppopt.time_limit import Afterwards, TimeLimit
from reports.ladder import STEPS, Ladder
from solver.errors import InputError
from solver.replay import ENGINES
from strategies.numbers import shown
from strategies.orders import parse_strategy, with_virtual_stages
from strategies.pipeline import Pipeline
from strategies.placements import STAGES_PER_DEVICE
from strategies.registry import all_strategies

PUBLISHED_SHARE = 0.8
"""The part of the time that evaluating published schedules may take before a search."""

BOUNDS_SHARE = 0.25
"""The part of what is then left that bounds may take."""

Told = Callable[[str], None]
"""Called with a few words on what is being done."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `ppopt.compare` returns.

    Attributes
    ----------
    pipeline : Pipeline
        The model, with the number of stages that its times are meant for.
    schedules : tuple of Schedule
        Best first: those that fit the memory by their makespans, then those that do not. The bound of each is its
        ladder's.
    ladders : tuple of Ladder
        For each schedule, where its time goes.
    bound : float or None
        A makespan that no schedule can beat that fits the memory, on any of the placements shown.
    left_out : tuple of (str, str)
        Schedules that do not fit the pipeline, with the reason.
    infeasible : tuple of str
        Why no schedule fits the memory, for each placement of which that is so.
    searched : tuple of str
        The placements that were searched; with an interruption, up to the one that it fell on.
    interrupted : bool
        Whether Ctrl-C ended the search.
    bounds_cut_short : bool
        Whether the clock, or the size of the pipeline, left some argument for a bound out: all are true, but may be
        higher in another run.
    seconds : float
        How long all of it took.
    """

    pipeline: Pipeline
    schedules: tuple[Schedule, ...]
    ladders: tuple[Ladder, ...]
    bound: float | None
    left_out: tuple[tuple[str, str], ...] = ()
    infeasible: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    interrupted: bool = False
    bounds_cut_short: bool = False
    seconds: float = 0.0

    @property
    def winner(self) -> Schedule | None:
        """The shortest schedule that fits the memory, if any does."""
        return next((schedule for schedule in self.schedules if schedule.fits), None)

    @property
    def fastest(self) -> Schedule | None:
        """The shortest schedule, whatever memory it takes."""
        return min(self.schedules, key=lambda schedule: schedule.makespan, default=None)

    def figures(self) -> list[dict[str, Any]]:
        """Write the figures of each schedule as plain values, the ladder as one of them."""
        return [_figures(*pair) for pair in zip(self.schedules, self.ladders, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Write the comparison as plain values, as in ``--format json``."""
        search = {"placements": list(self.searched), "interrupted": self.interrupted} if self.searched else None
        rows = zip(self.figures(), self.schedules, strict=True)
        return {
            "pipeline": self.pipeline.to_mapping(),
            "schedules": [{**figures, "idle": _idle(schedule)} for figures, schedule in rows],
            "left_out": [{"strategy": name, "reason": reason} for name, reason in self.left_out],
            "infeasible": list(self.infeasible),
            "bound": self.bound,
            "bounds_cut_short": self.bounds_cut_short,
            "search": search,
        }

    def __repr__(self) -> str:
        names = ", ".join(f"{schedule.strategy} {schedule.makespan:g}" for schedule in self.schedules)
        return f"<Comparison of {len(self.schedules)} schedules: {names}>"


def _figures(schedule: Schedule, ladder: Ladder) -> dict[str, Any]:
    steps = {step: float(getattr(ladder, step)) for step in ("ideal", "saved", *STEPS)}
    return {
        **schedule.to_dict(),
        "placement": schedule.placement,
        "searched": schedule.is_searched,
        "ladder": {**steps, "limited": ladder.limited},
    }


def _idle(schedule: Schedule) -> list[dict[str, float]]:
    from reports.idle import CAUSES

    devices = schedule.waiting.devices
    scale = schedule.problem.ticks_per_unit
    return [{cause: getattr(idle, cause) / scale for cause in CAUSES} for idle in devices]


def compare(
    pipeline: Pipeline,
    strategies: Iterable[str | PathLike[str] | GivenOrder] | None = None,
    *,
    optimize: bool = True,
    placement: str = "all",
    overlap: bool | None = None,
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    engine: str = "auto",
    progress: Progress | None = None,
    told: Told | None = None,
    afterwards: Afterwards | None = None,
) -> Comparison:
    """Evaluate published schedules, search for better ones, and rank them all on the same model.

    Parameters
    ----------
    pipeline : Pipeline
        The costs and the memory limit.
    strategies : iterable of str or path, optional
        Names and schedule files as for `evaluate`; by default every schedule that there is, those that take any number
        of stages a device with two where the pipeline has one. What does not fit is left out, with a reason.
    optimize : bool
        Whether to search, too, with split backwards.
    placement : {"linear", "interleaved", "v", "bidirectional", "all"}
        What is searched.
    overlap : bool, optional
        Whether the search may overlap; by default where an overlapped block of some stage is shorter than its halves.
    time_limit : float
        Seconds for all of it: half of it at most for the published schedules where something is searched, some for
        bounds, the rest for the placements. What there is no time for is left out, and named.
    workers, seed
        As for `optimize`.
    engine : {"auto", "cpsat", "graph"}
        As for `evaluate`.
    progress, told : callable, optional
        ``progress(standing)`` is called as by `optimize`, ``told(text)`` with what is being done.
    afterwards : Afterwards, optional
        What is yet to be done with the result in the same time.

    Returns
    -------
    Comparison
        Ranked. Ctrl-C ends the search early, with what there is.

    Raises
    ------
    InputError
        If an argument is wrong, or nothing remains to be shown.
    """
    started = perf_counter()
    if overlap is not None and not isinstance(overlap, bool):
        raise InputError(f"overlap: must be True, False or None; found {shown(overlap)}")
    options = SearchOptions(placement=placement, time_limit=time_limit, workers=workers, seed=seed, progress=progress)
    names = _checked(pipeline, strategies, engine)
    placements = options.placements if optimize else []
    if not names and not placements:
        raise InputError("strategies: name at least one, or let something be searched")
    limit = TimeLimit(time_limit, afterwards)
    base = _base(pipeline, names, placements)
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(base)
    allowed = _blocks_save(settled) if overlap is None else overlap
    gathered = _Gathered(told or _tell_nobody, limit)
    gathered.evaluate(pipeline, names, engine, base, hurried=bool(placements))
    options = replace(options, overlap=allowed)
    gathered.bound(settled, options, placements)
    if placements:
        gathered.search(settled, options)
    gathered.refuse_nothing()
    ranked = _ranked(settled, gathered.schedules, gathered.bounds, split_backward=True, overlap=allowed)
    return replace(
        ranked,
        left_out=tuple(gathered.left_out),
        infeasible=tuple(gathered.infeasible),
        searched=tuple(gathered.searched),
        interrupted=gathered.interrupted,
        seconds=perf_counter() - started,
    )


def _tell_nobody(_text: str) -> None:
    pass


def _checked(pipeline: Pipeline, strategies: Iterable[Any] | None, engine: str) -> list[Named]:
    """Refuse wrong arguments before any work; list the names."""
    check_pipeline(pipeline)
    if engine not in ENGINES:
        raise InputError(f"engine: {shown(engine)} is not known; allowed are {', '.join(ENGINES)}")
    if strategies is None:
        return [with_virtual_stages(name, pipeline) for name in all_strategies()]
    if isinstance(strategies, (str, bytes)) or not isinstance(strategies, Iterable):
        raise InputError(f"strategies: must be a list of names; found {shown(strategies)}")
    names = list(_each_once(strategies))
    refuse_contradictions(pipeline, names)
    return names


def _each_once(names: Iterable[Any]) -> Iterator[Named]:
    """Leave out what names the same schedule with the same options once more; refuse all that is wrong."""
    seen: set[Hashable] = set()
    mistakes: list[str] = []
    for name in names:
        try:
            read = read_named(name)
        except InputError as error:
            mistakes.append(str(error))
            continue
        key = _identity(read)
        if key not in seen:
            seen.add(key)
            yield read
    if mistakes:
        raise InputError("\n".join(mistakes))


def _identity(name: Named) -> Hashable:
    if isinstance(name, GivenOrder):
        return realpath(name.name)
    strategy, options = parse_strategy(name)
    return strategy.name, frozenset(options.items())


def _base(pipeline: Pipeline, names: Sequence[Named], placements: Sequence[str]) -> int:
    """Tell for how many stages times are meant where that is left open: the least that anything shown takes."""
    searched = [(STAGES_PER_DEVICE[name] or 2) * pipeline.devices for name in placements]
    published = [stages_meant(names, pipeline.devices)] if names else []
    return min([*searched, *published])


def _blocks_save(pipeline: Pipeline) -> bool:
    return any(cost.overlapped < cost.forward + cost.backward for cost in pipeline.costs)


@dataclass
class _Gathered:
    """What a comparison has found so far."""

    told: Told
    limit: TimeLimit
    bounds: QuickBounds = field(default_factory=QuickBounds)
    schedules: list[Schedule] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    infeasible: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    interrupted: bool = False

    def evaluate(self, pipeline: Pipeline, names: Sequence[Named], engine: str, base: int, *, hurried: bool) -> None:
        """Evaluate each schedule; leave out what does not fit, and what takes more than its share of hurried time."""
        ends = self.limit.ends - (1 - PUBLISHED_SHARE) * self.limit.seconds
        longest = 0.0
        for place, name in enumerate(names, 1):
            began = perf_counter()
            if hurried and self.schedules and began + longest > ends:
                self.left_out.append((str(name), f"not evaluated: {PUBLISHED_SHARE:.0%} of {self.limit.used_up}"))
                continue
            self.told(f"evaluating {name}, {place} of {len(names)}")
            try:
                self.schedules.append(evaluate_with(pipeline, name, engine, {}, base))
            except InputError as error:
                self.left_out.append((str(name), "; ".join(str(error).split("\n"))))
            longest = max(longest, perf_counter() - began)

    def bound(self, pipeline: Pipeline, options: SearchOptions, placements: Sequence[str]) -> None:
        """Find the bounds of all that is there and all that will be searched."""
        self.told("computing lower bounds")
        share = BOUNDS_SHARE if placements else 1.0
        self.bounds.deadline = perf_counter() + share * self.limit.left
        freedoms = [freedom_of(schedule, overlap=options.overlap) for schedule in self.schedules]
        freedoms += [Freedom(*cut, True, options.overlap) for cut in searched_cuts(pipeline, placements)]
        try:
            self.bounds.find(freedoms)
        except KeyboardInterrupt:
            self.searched += placements[:1]
            self.interrupted = self.bounds.cut_short = True
            self.limit.hurry()
        self.bounds.deadline = self.limit.ends

    def search(self, pipeline: Pipeline, options: SearchOptions) -> None:
        """Search the placements in turn, the time shared; Ctrl-C ends them all."""
        placements = options.placements
        shown = len(self.schedules)
        for place, name in enumerate(placements):
            if self.interrupted:
                return
            self.told(f"{name}, {place + 1} of {len(placements)}")
            part = self.limit.part(len(placements) - place)
            part.afterwards = replace(part.afterwards, shown=shown)
            shown = 0
            self._search_one(pipeline, replace(options, placement=name), part)
            self.limit.put_aside(files=part.owed)

    def _search_one(self, pipeline: Pipeline, options: SearchOptions, limit: TimeLimit) -> None:
        try:
            outcomes = list(optimize_each(pipeline, options, limit))
        except InputError as error:
            self.left_out.append((f"optimized-{options.placement}", str(error)))
        except KeyboardInterrupt:  # before the search proper, or after it
            self.searched.append(options.placement)
            self.interrupted = True
        else:
            self.searched.append(options.placement)
            found = [outcome for outcome in outcomes if isinstance(outcome, Schedule)]
            self.schedules += found
            self.infeasible += [str(outcome) for outcome in outcomes if isinstance(outcome, InfeasibleError)]
            self.interrupted = any(schedule.interrupted for schedule in found)
        if self.interrupted:
            self.limit.hurry()

    def refuse_nothing(self) -> None:
        """Refuse a comparison in which nothing remains."""
        if not self.schedules and not self.infeasible and self.left_out:
            raise InputError("\n".join(with_name(name, reason) for name, reason in self.left_out))


def with_name(name: str, reason: str) -> str:
    """Write a reason with the name that it is about, which most reasons begin with."""
    return reason if reason.startswith(name.partition(":")[0]) else f"{name}: {reason}"


def comparison_of(
    pipeline: Pipeline,
    schedules: Sequence[Schedule],
    *,
    split_backward: bool = True,
    overlap: bool = False,
    deadline: float | None = None,
) -> Comparison:
    """Rank schedules that were made before.

    Parameters
    ----------
    pipeline : Pipeline
        The model of all of them.
    schedules : sequence of Schedule
        At least one.
    split_backward, overlap : bool
        What was allowed to those that a search found.
    deadline : float, optional
        Until when bounds may be looked for, on the clock of `time.perf_counter`.
    """
    least = min(schedule.pipeline.stages or 0 for schedule in schedules)
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(least)
    found = list(_first_of_each(schedule for schedule in schedules if schedule.is_searched))
    return replace(
        _ranked(settled, schedules, QuickBounds(deadline), split_backward=split_backward, overlap=overlap),
        searched=tuple(schedule.placement for schedule in found),
        interrupted=any(schedule.interrupted for schedule in found),
        seconds=sum(schedule.seconds for schedule in schedules),
    )


def _first_of_each(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """Choose one schedule for each placement."""
    yield from {schedule.placement: schedule for schedule in schedules}.values()


def _ranked(
    pipeline: Pipeline, schedules: Sequence[Schedule], quick: QuickBounds, *, split_backward: bool, overlap: bool
) -> Comparison:
    """Rank schedules and lay their ladders: those that fit come first, then the shorter, the searched, by name."""
    ranked = sorted(schedules, key=lambda each: (not each.fits, each.makespan, not each.is_searched, each.strategy))
    measured = measure_ladders(ranked, split_backward=split_backward, overlap=overlap, quick=quick)
    return Comparison(
        pipeline=pipeline,
        schedules=tuple(_with_bound(*pair) for pair in zip(ranked, measured.ladders, strict=True)),
        ladders=measured.ladders,
        bound=None if measured.bound is None else float(measured.bound),
        bounds_cut_short=measured.cut_short,
    )


def _with_bound(schedule: Schedule, ladder: Ladder) -> Schedule:
    """Give a schedule its ladder's bound, on the makespan."""
    held = schedule.bound_held_by
    same = held is not None and ladder.bound * schedule.problem.ticks_per_unit == held.value
    status = schedule.status
    if schedule.is_searched:
        status = "feasible" if ladder.order else "optimal"
    return replace(
        schedule,
        objective="makespan",
        bound=float(ladder.bound),
        bound_held_by=held if same and schedule.objective == "makespan" else None,
        status=status,
    )
