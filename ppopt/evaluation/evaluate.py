"""Evaluating published schedules: replay, check, measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from os import PathLike
from time import perf_counter

from ppopt.cutting.fixed_order import FixedOrder
from ppopt.cutting.quick import planned, planned_for_file
from ppopt.process.garbage import collection_paused
from ppopt.process.internal_error import InternalError, as_internal
from ppopt.schedules.communicated import programs_note
from ppopt.schedules.order_files import read_each, read_named
from ppopt.schedules.replaying import replay_orders
from ppopt.schedules.schedule import Schedule
from solver.errors import DeadlockError, InputError, describe_cycle
from solver.problem import Orders
from solver.replay import ENGINES
from solver.states import EngineChoice
from strategies.given_model.model_notes import PLANNED, chunks_notes, halves_notes, open_stages_note
from strategies.given_model.stages import Cut, CutChoice, GivenModel, with_virtual_stages
from strategies.language.orders import check_options, make_orders, parse_strategy
from strategies.language.registry import Strategy
from strategies.language.running_options import values_that_run
from strategies.model.actions import Op, PipelineAction
from strategies.model.numbers import shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.model.plausibility import doubts
from strategies.order_files.given_order import GivenOrder, Named
from strategies.rules.interleaving import pytorchs_groups


def evaluate(
    pipeline: Pipeline,
    strategy: str | PathLike[str] | GivenOrder,
    engine: EngineChoice = "auto",
    *,
    cut: CutChoice = "plan",
    **options: int,
) -> Schedule:
    """Replay a published schedule, or one from a file, on a pipeline's costs.

    Parameters
    ----------
    pipeline : Pipeline
        The costs. If its number of stages does not fit the schedule, the model is re-partitioned (`Pipeline.recut`)
        and a note says so.
    strategy : str or path
        The schedule's name or alias, with its options, if any, after a colon: ``interleaved:group_size=2,stages=8``.
        Or the path of a schedule file (PyTorch's CSV: docs/reference/orders.md) with the pipeline's devices, stages and
        microbatches. A text is a path if it ends in ``.csv``, or if it contains a separator and exists.
    engine : {"auto", "cpsat", "graph"}
        What computes the times; both engines give the same. ``auto`` uses CP-SAT up to 20,000 operations.
    cut : {"plan", "even"}
        How to cut layers that come without a cut: quickly for this schedule, or evenly. `ppopt.plan` searches longer.
    **options : int
        The schedule's options, as after the colon.

    Returns
    -------
    Schedule
        Orders, times and figures, checked.

    Raises
    ------
    InputError
        If the strategy is unknown, does not fit the pipeline, or deadlocks on it; or with each fault of a file.
    """
    check_pipeline(pipeline)
    return evaluate_with(GivenModel(pipeline, cut=cut), read_named(strategy), engine, options)


def evaluate_all(
    pipeline: Pipeline,
    strategies: Iterable[str | PathLike[str] | GivenOrder],
    engine: EngineChoice = "auto",
    *,
    cut: CutChoice = "plan",
) -> list[Schedule]:
    """Replay several schedules, published ones and files, on the same model.

    If the pipeline leaves the number of stages open and the schedules need different numbers, its times apply to the
    smallest number, and the model is re-partitioned for the others.

    Parameters
    ----------
    pipeline : Pipeline
        The costs.
    strategies : iterable of str or path
        As for `evaluate`.
    engine, cut
        As for `evaluate`.

    Returns
    -------
    list of Schedule
        In the order of the names.

    Raises
    ------
    InputError
        As for `evaluate`, or if no strategy is named.
    """
    results: list[Schedule] = []
    for outcome in evaluate_each(pipeline, strategies, engine, cut=cut):
        if not isinstance(outcome, Schedule):
            raise outcome
        results.append(outcome)
    return results


def evaluate_each(
    pipeline: Pipeline,
    strategies: Iterable[str | PathLike[str] | GivenOrder],
    engine: EngineChoice = "auto",
    *,
    cut: CutChoice = "plan",
) -> Iterator[Schedule | InputError | InternalError]:
    """Replay several schedules as `evaluate_all` does; a failing one does not stop the others.

    Yields
    ------
    Schedule, InputError or InternalError
        For each name its schedule, or why the schedule does not fit the pipeline or deadlocks on it, or an internal
        error.

    Raises
    ------
    InputError
        If a name is unknown, an argument is wrong, or no strategy is named.
    """
    check_pipeline(pipeline)
    if isinstance(strategies, str) or not isinstance(strategies, Iterable):
        raise InputError(f"strategies: must be a list of names; found {shown(strategies)}")
    names = read_each(strategies)
    if not names:
        raise InputError("strategies: name at least one")
    model = GivenModel.of_several(pipeline, names, cut=cut)
    for name in names:
        try:
            yield evaluate_with(model, name, engine, {})
        except InputError as error:
            yield error
        except Exception as error:
            yield as_internal(name, error)


def check_pipeline(pipeline: object) -> None:
    """Refuse anything but a pipeline.

    Raises
    ------
    InputError
        If the argument is not a pipeline.
    """
    if not isinstance(pipeline, Pipeline):
        raise InputError(f"pipeline: must be a Pipeline, see Pipeline.from_mapping; found {shown(pipeline)}")


@collection_paused()
def evaluate_with(
    model: GivenModel, name: Named, engine: EngineChoice, options: dict[str, int], *, cured: bool = True
) -> Schedule:
    """Replay a schedule, as `evaluate` does.

    Parameters
    ----------
    model : GivenModel
        The costs, and the number of stages that they are meant for.
    name : str or GivenOrder
        A published schedule, or an order read from a file.
    engine, options
        As for `evaluate`.
    cured : bool
        Whether to report a deadlock with alternatives that run; finding them takes up to a second.
    """
    started = perf_counter()
    if engine not in ENGINES:
        raise InputError(f"engine: {shown(engine)} is not known; allowed are {', '.join(ENGINES)}")
    if isinstance(name, GivenOrder):
        return _replay_given(model, name, engine, options)
    if "stages" not in options:
        name = with_virtual_stages(name, model.pipeline)
    strategy, chosen = _with_options(name, options)
    cut = model.for_strategy(strategy, chosen)
    stages = chosen.pop("stages", None)
    pipeline = cut.pipeline
    placement, orders = make_orders(strategy, pipeline, chosen)
    notes = [*doubts(model.pipeline), *_notes(strategy, model, cut, placement, as_given=stages is None)]
    if model.leaves_cut_open(len(pipeline.costs)):
        pipeline, orders = _planned(FixedOrder(strategy.name, pipeline, placement, orders, strategy, chosen))
    groups = pytorchs_groups(name.partition(":")[0], pipeline.devices, pipeline.microbatches)
    if groups and "group_size" not in chosen:
        notes.append(groups)
    if strategy.requirements.takes_slices and not pipeline.are_sliced:
        notes.append(f"{strategy.name}: microbatches are whole, one slice each; {strategy.name}:slices=4 cuts them")
    label = strategy.name + _written(chosen, stages)
    if pipeline.feed == "best":
        pipeline = _fed_best(label, pipeline, placement, orders)
        notes.append(f"{strategy.name} {FED_BEST}")
    try:
        return replay_orders(label, pipeline, placement, orders, engine, notes=notes, started=started)
    except DeadlockError as error:
        if cures := "; ".join(_cures(strategy, pipeline, chosen)) if cured else "":
            cycle = describe_cycle(error.cycle)
            error.args = (f"{label}: the order deadlocks: {cures}; the cycle is {cycle}",)
        raise


FED_BEST = "is fed in the best order that a search found for it"


def _fed_best(label: str, pipeline: Pipeline, placement: Placement, orders: Orders) -> Pipeline:
    """Feed microbatches in the best order found for a schedule; one that deadlocks is fed as it is."""
    from ppopt.feeding.feeding import fed_best  # compiles its loops

    try:
        return fed_best(pipeline, placement, orders)[0]
    except DeadlockError:
        return pipeline.model_copy(update={"feed": "pyramid"})
    except InputError as error:
        raise InputError(f"{label}: {error}") from None


def _cures(strategy: Strategy, pipeline: Pipeline, chosen: dict[str, int]) -> Iterator[str]:
    """Say why an order deadlocks, if its schedule knows, and what would run instead."""
    if strategy.why_deadlocked and (why := strategy.why_deadlocked(pipeline, **chosen)):
        yield why
    for option, values in values_that_run(strategy, pipeline, chosen).items():
        yield f"{option} {', '.join(map(str, values))} {'runs' if len(values) == 1 else 'run'}"


def first_variant_that_runs(model: GivenModel, name: str, engine: EngineChoice) -> Schedule | None:
    """Replay a schedule that fails with its default options, with the first of its own proposals that runs.

    Parameters
    ----------
    model, engine
        As for `evaluate_with`.
    name : str
        A published schedule.

    Returns
    -------
    Schedule or None
        None if no proposal runs, or if the name already sets options of the schedule's own.
    """
    strategy, chosen = parse_strategy(name)
    if chosen.keys() - {"stages"}:
        return None
    try:
        pipeline = model.for_strategy(strategy, chosen).pipeline
    except InputError:
        return None
    for options in filter(None, strategy.variants(pipeline)):
        with suppress(InputError):
            return evaluate_with(model, name, engine, options, cured=False)
    return None


def _replay_given(model: GivenModel, given: GivenOrder, engine: EngineChoice, options: dict[str, int]) -> Schedule:
    if options:
        raise InputError(f"{given.name}: a schedule file takes no options; found {', '.join(options)}")
    cut = model.for_order(given)
    splits = any(isinstance(action, Op) and action.kind == "I" for order in given.orders for action in order)
    halves = halves_notes(model.pipeline) if splits else ()
    notes = [
        *doubts(model.pipeline),
        *given.notes_on(cut.pipeline.lowering),
        *_cut_notes(given.name, model, cut, given.placement),
        *halves,
    ]
    pipeline = planned_for_file(model, given)
    if note := programs_note(given, pipeline):
        notes.append(note)
    if pipeline.feed == "best":
        pipeline = _fed_best(given.name, pipeline, given.placement, given.orders)
        notes.append(f"{given.name} {FED_BEST}")
    return replay_orders(given.name, pipeline, given.placement, given.orders, engine, notes=notes, given=given)


def _planned(order: FixedOrder) -> tuple[Pipeline, Sequence[Sequence[PipelineAction]]]:
    """Cut layers for an order quickly; an order that depends on costs is made again for that cut."""
    pipeline = planned(order)
    return pipeline, order.orders_on(pipeline)


def _with_options(name: str, options: dict[str, int]) -> tuple[Strategy, dict[str, int]]:
    """Read a strategy with the options after its colon and those given separately."""
    strategy, written = parse_strategy(name)
    given = check_options(strategy, options)
    if twice := sorted(written.keys() & given):
        raise InputError(f"{strategy.name}:{twice[0]}: is given twice, after the colon and as an argument")
    return strategy, written | given


def _notes(strategy: Strategy, model: GivenModel, cut: Cut, placement: Placement, *, as_given: bool) -> Iterator[str]:
    """Say how the model was read; ``as_given`` if the user did not choose the number of stages for this schedule."""
    yield from _cut_notes(strategy.name, model, cut, placement)
    stages = len(cut.pipeline.costs)
    if as_given and model.reads_times_as_of(stages):
        yield open_stages_note(stages, cut.pipeline.devices)
    yield from chunks_notes(strategy, cut.given, cut.pipeline, as_given=as_given)
    if strategy.splits_backward:
        yield from halves_notes(model.pipeline)


def _cut_notes(name: str, model: GivenModel, cut: Cut, placement: Placement) -> Iterator[str]:
    """Say how the model was cut."""
    if model.leaves_cut_open(len(cut.pipeline.costs)):
        yield PLANNED
    else:
        yield from cut.notes(name, placement)


def _written(options: dict[str, int], stages: int | None) -> str:
    parts = [f"{key}={value}" for key, value in options.items()]
    if stages is not None:
        parts.append(f"stages={stages}")
    return f":{','.join(parts)}" if parts else ""
