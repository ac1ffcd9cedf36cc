"""Comparing schedules: the published ones and the searched ones on one model, ranked, each with its ladder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from time import perf_counter
from typing import Any

from ppopt.evaluation import check_pipeline, evaluate_with, first_variant_that_runs
from ppopt.finished import Schedule
from ppopt.given_order import GivenOrder, Named, refuse_contradictions, stages_meant
from ppopt.infeasibility import InfeasibleError
from ppopt.ladder_bounds import measure_ladders
from ppopt.optimization import SearchOptions, optimize_each
from ppopt.search import Progress
from ppopt.selection import DEFAULT_BASELINE, Baseline, choose_baseline, each_once, identity, read_exclusions, without
from reports.ladder import STEPS, Ladder
from solver.errors import InputError
from solver.replay import ENGINES
from strategies.numbers import shown
from strategies.orders import parse_strategy, with_virtual_stages
from strategies.pipeline import Pipeline
from strategies.placements import STAGES_PER_DEVICE
from strategies.registry import all_strategies

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
        Best first: those that fit the memory by their makespans, of equal ones that with the least memory
        (`Schedule.memory_taken`) first, then those that do not. The bound of each is its ladder's.
    ladders : tuple of Ladder
        For each schedule, where its time goes.
    bound : float or None
        A makespan that no schedule can beat that fits the memory, on any of the placements shown.
    baseline : Schedule or None
        The one among them that all are compared with.
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
    notes : tuple of str
        What the user should know of the comparison as such.
    """

    pipeline: Pipeline
    schedules: tuple[Schedule, ...]
    ladders: tuple[Ladder, ...]
    bound: float | None
    baseline: Schedule | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    infeasible: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    interrupted: bool = False
    bounds_cut_short: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

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
        pairs = zip(self.schedules, self.ladders, strict=True)
        return [{**_figures(*pair), "vs_baseline": self.vs_baseline(pair[0])} for pair in pairs]

    def vs_baseline(self, schedule: Schedule) -> float | None:
        """Tell by which part a schedule's makespan is longer than the baseline's; negative where it is shorter."""
        return None if self.baseline is None else schedule.makespan / self.baseline.makespan - 1

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
            "baseline": None if self.baseline is None else self.baseline.strategy,
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
    baseline: str | PathLike[str] | GivenOrder | None = None,
    exclude: Iterable[str | PathLike[str] | GivenOrder] = (),
    time_limit: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    engine: str = "auto",
    progress: Progress | None = None,
    told: Told | None = None,
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
        Whether the search may overlap; by default it may, wherever a block is shorter than its halves.
    baseline : str or path, optional
        The schedule that all are compared with, such as your own; it is evaluated if it is not among the others. By
        default 1f1b, where that is among them; ``"none"`` for none.
    exclude : iterable of str or path
        Schedules that are not evaluated: names, with any options, or with the very options that are given.
    time_limit, workers, seed
        As for `optimize`; all placements share the time.
    engine : {"auto", "cpsat", "graph"}
        As for `evaluate`.
    progress, told : callable, optional
        ``progress(standing)`` is called as by `optimize`, ``told(text)`` with what is being done.

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
    exclusions = read_exclusions(exclude)
    names = _checked(pipeline, strategies, engine, exclusions)
    compared = choose_baseline(baseline, names, exclusions, pipeline)
    if compared.name is not None and compared.name not in names:
        names.append(compared.name)
        refuse_contradictions(pipeline, [compared.name])
    placements = options.placements if optimize else []
    if not names and not placements:
        raise InputError("strategies: name at least one, or let something be searched")
    base = _base(pipeline, names, placements)
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(base)
    allowed = overlap is None or overlap  # where no block saves time, it is no freedom
    gathered = _Gathered(told or _tell_nobody)
    gathered.evaluate(pipeline, names, engine, base)
    if placements:
        gathered.search(settled, replace(options, overlap=allowed, starts=tuple(gathered.starts)))
    gathered.refuse_nothing()
    gathered.told("computing lower bounds")
    ranked = _ranked(settled, gathered.schedules, split_backward=True, overlap=allowed)
    return replace(
        ranked,
        **gathered.compared_with(compared, ranked.schedules),
        left_out=tuple(gathered.left_out),
        infeasible=tuple(gathered.infeasible),
        searched=tuple(gathered.searched),
        interrupted=gathered.interrupted,
        seconds=perf_counter() - started,
    )


def _tell_nobody(_text: str) -> None:
    pass


def _checked(
    pipeline: Pipeline, strategies: Iterable[Any] | None, engine: str, exclusions: frozenset[Hashable]
) -> list[Named]:
    """Refuse wrong arguments before any work; list the names."""
    check_pipeline(pipeline)
    if engine not in ENGINES:
        raise InputError(f"engine: {shown(engine)} is not known; allowed are {', '.join(ENGINES)}")
    if strategies is None:
        return [with_virtual_stages(str(name), pipeline) for name in without(all_strategies(), exclusions)]
    if isinstance(strategies, (str, bytes)) or not isinstance(strategies, Iterable):
        raise InputError(f"strategies: must be a list of names; found {shown(strategies)}")
    names = without(each_once(strategies), exclusions)
    refuse_contradictions(pipeline, names)
    return names


def _base(pipeline: Pipeline, names: Sequence[Named], placements: Sequence[str]) -> int:
    """Tell for how many stages times are meant where that is left open: the least that anything shown takes."""
    searched = [(STAGES_PER_DEVICE[name] or 2) * pipeline.devices for name in placements]
    published = [stages_meant(names, pipeline.devices)] if names else []
    return min([*searched, *published])


@dataclass
class _Gathered:
    """What a comparison has found so far."""

    told: Told
    schedules: list[Schedule] = field(default_factory=list)
    starts: list[Schedule] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    infeasible: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    interrupted: bool = False
    labels: dict[Hashable, str] = field(default_factory=dict)

    def evaluate(self, pipeline: Pipeline, names: Sequence[Named], engine: str, base: int) -> None:
        """Evaluate each schedule; leave out what does not fit, and show what does in its place if there are options."""
        for place, name in enumerate(names, 1):
            self.told(f"evaluating {name}, {place} of {len(names)}")
            try:
                made = evaluate_with(pipeline, name, engine, {}, base)
            except InputError as error:
                self.left_out.append((str(name), "; ".join(str(error).split("\n"))))
                if isinstance(name, str) and (other := first_variant_that_runs(pipeline, name, engine, base)):
                    self.schedules.append(other)
                continue
            self.schedules.append(made)
            self.labels[identity(name)] = made.strategy
            if isinstance(name, GivenOrder) or parse_strategy(name)[1].keys() - {"stages"}:
                self.starts.append(made)  # a search starts from the others by itself

    def search(self, pipeline: Pipeline, options: SearchOptions) -> None:
        """Search the placements in turn, the time shared; Ctrl-C ends them all."""
        ends = perf_counter() + options.time_limit
        placements = options.placements
        for place, name in enumerate(placements):
            self.told(f"{name}, {place + 1} of {len(placements)}")
            seconds = max(0.0, ends - perf_counter()) / (len(placements) - place)
            self._search_one(pipeline, replace(options, placement=name, time_limit=seconds))
            if self.interrupted:
                return

    def _search_one(self, pipeline: Pipeline, options: SearchOptions) -> None:
        try:
            outcomes = list(optimize_each(pipeline, options))
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

    def compared_with(self, baseline: Baseline, ranked: Sequence[Schedule]) -> dict[str, Any]:
        """Find the baseline among what was made; a note says where one that was asked for is not there."""
        if baseline.name is None:
            return {}
        label = self.labels.get(identity(baseline.name))
        found = next((schedule for schedule in ranked if schedule.strategy == label), None)
        if found is not None or not baseline.is_asked_for:
            return {"baseline": found}
        return {"notes": (f"the baseline {baseline.name} was left out, so nothing is compared with it",)}

    def refuse_nothing(self) -> None:
        """Refuse a comparison in which nothing remains."""
        if not self.schedules and not self.infeasible and self.left_out:
            raise InputError("\n".join(with_name(name, reason) for name, reason in self.left_out))


def with_name(name: str, reason: str) -> str:
    """Write a reason with the name that it is about, which most reasons begin with."""
    return reason if reason.startswith(name.partition(":")[0]) else f"{name}: {reason}"


def comparison_of(
    pipeline: Pipeline, schedules: Sequence[Schedule], *, split_backward: bool = True, overlap: bool = False
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
    """
    least = min(schedule.pipeline.stages or 0 for schedule in schedules)
    settled = pipeline if pipeline.stages is not None else pipeline.with_stages(least)
    found = list(_first_of_each(schedule for schedule in schedules if schedule.is_searched))
    ranked = _ranked(settled, schedules, split_backward=split_backward, overlap=overlap)
    return replace(
        ranked,
        baseline=next((each for each in ranked.schedules if each.strategy == DEFAULT_BASELINE), None),
        searched=tuple(schedule.placement for schedule in found),
        interrupted=any(schedule.interrupted for schedule in found),
        seconds=sum(schedule.seconds for schedule in schedules),
    )


def _first_of_each(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """Choose one schedule for each placement."""
    yield from {schedule.placement: schedule for schedule in schedules}.values()


def _ranked(pipeline: Pipeline, schedules: Sequence[Schedule], *, split_backward: bool, overlap: bool) -> Comparison:
    """Rank schedules and lay their ladders."""
    ranked = sorted(schedules, key=_rank)
    measured = measure_ladders(ranked, split_backward=split_backward, overlap=overlap)
    return Comparison(
        pipeline=pipeline,
        schedules=tuple(_with_bound(*pair) for pair in zip(ranked, measured.ladders, strict=True)),
        ladders=measured.ladders,
        bound=None if measured.bound is None else float(measured.bound),
        bounds_cut_short=measured.cut_short,
    )


def _rank(schedule: Schedule) -> tuple[Any, ...]:
    """Those that fit come first, then the shorter, those with less memory, the searched, by name."""
    searched = schedule.is_searched
    return not schedule.fits, schedule.makespan, *schedule.memory_taken, not searched, schedule.strategy


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
