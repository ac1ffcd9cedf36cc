"""Decides how many stages a model is cut into, and how many its times are meant for, for everything that runs on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from solver.counted import counted
from solver.errors import InputError
from strategies.given_model.model_notes import recut_notes, split_stage_notes
from strategies.language.orders import parse_strategy, refuse_too_large, with_option
from strategies.language.registry import Strategy
from strategies.model.numbers import in_one_line, shown
from strategies.model.pipeline import Pipeline
from strategies.model.placements import PLACEMENTS, Placement
from strategies.model.stage_costs import UNIT_TIMES, Times
from strategies.order_files.given_order import GivenOrder, Named

USUAL_STAGES_PER_DEVICE = 2
"""Stages per device of a searched placement that takes any number, if the pipeline has one or leaves it open."""

CutChoice: TypeAlias = Literal["plan", "even"]
"""How to cut layers that have no cut for the required number of stages: to suit the schedule, or evenly."""

SLICES = (2, 4, 8)
"""Numbers of slices that a comparison tries if the configuration cuts microbatches."""

MOST_COUNTED = 1_000_000
"""Cap on the stages counted from a configuration that is not yet checked, so that no list grows longer than this."""


def in_stages(pipeline: Pipeline, stages: int) -> Pipeline:
    """Return a model in a number of stages: settled if it leaves the number open, re-partitioned if it has another.

    Everything that runs gets its stages here, so layers without a cut get the even one here.

    Raises
    ------
    InputError
        If the model cannot be cut into that number.
    """
    return pipeline.with_stages(stages) if pipeline.stages is None else pipeline.recut(stages)


class Cut(NamedTuple):
    """A model as given, and as a schedule or search runs it.

    Attributes
    ----------
    given : Pipeline
        In the number of stages that its times are meant for.
    pipeline : Pipeline
        In the number of stages that the schedule or search takes.
    """

    given: Pipeline
    pipeline: Pipeline

    def notes(self, name: str, placement: Placement) -> Iterator[str]:
        """Say that ``name`` runs the model in a different number of stages than given, if it does."""
        return recut_notes(name, self.given, placement)


@dataclass(frozen=True)
class GivenModel:
    """A model before anything runs on it: its costs, and the number of stages that they are meant for.

    Attributes
    ----------
    pipeline : Pipeline
        The costs. If it says how many stages it has, its times are meant for these.
    times_of : int or None
        If the pipeline leaves its stages open, the number of stages that its times are meant for. None takes the number
        of the one schedule that runs on it. Several schedules need a number, or each would run a different model: see
        `of_several`.
    cut : {"plan", "even"}
        How to cut layers that come without a cut.
    """

    pipeline: Pipeline
    times_of: int | None = None
    cut: CutChoice = "plan"

    def __post_init__(self) -> None:
        if self.cut not in ("plan", "even"):
            raise InputError(f"cut: {shown(self.cut)} is not known; allowed are plan, even")

    @classmethod
    def of_several(
        cls,
        pipeline: Pipeline,
        names: Iterable[Named] = (),
        placements: Iterable[str] = (),
        cut: CutChoice = "plan",
    ) -> GivenModel:
        """Make one model for everything shown together: open times are meant for the fewest stages that anything takes.

        Parameters
        ----------
        pipeline : Pipeline
            The costs.
        names : iterable of str or GivenOrder
            The published schedules and the orders from files.
        placements : iterable of str
            The placements to search; names and placements together must hold at least one.
        cut : {"plan", "even"}
            How to cut layers that come without a cut.

        Raises
        ------
        InputError
            If a strategy's options contradict each other.
        """
        devices = pipeline.devices
        searched = [_stages_of_placement(name, devices) for name in placements]
        return cls(pipeline, min([*searched, *(_stages_of(name, devices) for name in names)]), cut)

    def leaves_cut_open(self, stages: int) -> bool:
        """Return whether layers have no cut for this number of stages and must be cut to suit the schedule."""
        given = self.pipeline.layers_per_stage
        is_given = given is not None and len(given) == stages
        return self.cut == "plan" and self.pipeline.layers is not None and not is_given

    def settled(self, needed: int | None = None) -> Pipeline:
        """Return the model in the number of stages that its times are meant for.

        Parameters
        ----------
        needed : int, optional
            The number of stages that the only schedule takes; not needed if the pipeline or ``times_of`` says how many.
        """
        stages = self.pipeline.stages or self.times_of or needed
        assert stages is not None
        return in_stages(self.pipeline, stages)

    def reads_times_as_of(self, stages: int) -> bool:
        """Return whether given times are read as those of a number of stages only because a schedule takes as many."""
        if self.pipeline.times == Times.model_validate(UNIT_TIMES):
            return False
        open_ = self.pipeline.stages is None and self.pipeline.layers is None
        return open_ and stages == (self.times_of or stages) and stages > self.pipeline.devices

    def cut_into(self, stages: int) -> Cut:
        """Cut the model into a number of stages."""
        given = self.settled(stages)
        return Cut(given, in_stages(given, stages))

    def for_strategy(self, strategy: Strategy, options: Mapping[str, int]) -> Cut:
        """Cut the model into the stages that a schedule takes; keep its own if they fit.

        Parameters
        ----------
        strategy : Strategy
            The schedule.
        options : mapping of str to int
            As `parse_strategy` reads them; they may give the number of stages.

        Raises
        ------
        InputError
            If the schedule cannot take the pipeline or the number of stages.
        """
        model = replace(self, pipeline=in_slices(self.pipeline, strategy, options))
        return model.for_strategy_as_sliced(strategy, options)

    def for_strategy_as_sliced(self, strategy: Strategy, options: Mapping[str, int]) -> Cut:
        """Cut the model as `for_strategy` does; its microbatches are cut into slices, or not, as the schedule needs."""
        needs, devices = strategy.requirements, self.pipeline.devices
        wished = wished_stages(strategy, options, devices)
        if unmet := needs.unmet(strategy.name, self.pipeline):
            raise InputError(unmet)
        usual = needs.default_stages(devices)
        if wished is not None and not needs.takes_stages(wished, devices):
            raise InputError(f"{strategy.name}:stages: {wished} do not fit {counted(devices, 'device')}; {usual} do")
        refuse_too_large(strategy, wished or usual, self.pipeline.microbatches)
        own = self.pipeline.stages
        if wished is None and own is not None and needs.takes_stages(own, devices):
            return self.cut_into(own)
        return self.cut_into(wished or usual)

    def for_order(self, order: GivenOrder) -> Cut:
        """Cut the model into the stages of an order from a file, which may run slices or whole microbatches.

        Raises
        ------
        InputError
            If the file's sizes differ from the pipeline's.
        """
        refuse_contradictions(self.pipeline, [order])
        model = self
        if order.sizes["microbatches"] != self.pipeline.microbatches:
            model = replace(self, pipeline=self.pipeline.whole())
        return model.cut_into(order.sizes["stages"])

    def for_placement(self, placement: str) -> Cut:
        """Cut the model for a search: keep its own stages if they fit the placement and each device has several."""
        own, devices = self.pipeline.stages, self.pipeline.devices
        rule = PLACEMENTS[placement]
        takes_any = rule.stages_per_device is None
        if takes_any and own is not None and own > devices and rule.takes(devices, own):
            return self.cut_into(own)
        return self.cut_into(_stages_of_placement(placement, devices))


def _stages_of(name: Named, devices: int) -> int:
    """Return how many stages a schedule takes if the model leaves the number open."""
    if isinstance(name, GivenOrder):
        return name.sizes["stages"]
    strategy, options = parse_strategy(name)
    return wished_stages(strategy, options, devices) or strategy.requirements.default_stages(devices)


def _stages_of_placement(placement: str, devices: int) -> int:
    """Return how many stages a search takes if the model leaves the number open."""
    return (PLACEMENTS[placement].stages_per_device or USUAL_STAGES_PER_DEVICE) * devices


def with_slices(names: Iterable[Named], pipeline: Pipeline) -> Iterator[Named]:
    """Yield the published schedules to run: those of slices with several numbers of them, if there are any.

    Parameters
    ----------
    names : iterable of str or GivenOrder
        All that could be compared.
    pipeline : Pipeline
        The model.
    """
    for name in names:
        if isinstance(name, GivenOrder) or not parse_strategy(name)[0].requirements.takes_slices:
            yield name
        elif pipeline.are_sliced:
            yield name
            yield from (f"{name}:slices={number}{cut}" for number in SLICES for cut in ("", ",equal=1"))


def in_slices(pipeline: Pipeline, strategy: Strategy, options: Mapping[str, int]) -> Pipeline:
    """Cut microbatches into slices, or leave them whole, as a schedule runs them.

    Parameters
    ----------
    pipeline : Pipeline
        The model.
    strategy : Strategy
        The schedule; one that takes slices takes those of the configuration, or as its options say.
    options : mapping of str to int
        As `parse_strategy` reads them.

    Raises
    ------
    InputError
        If the microbatches cannot be cut so.
    """
    if not strategy.requirements.takes_slices:
        return pipeline.whole()
    slices, equal = options.get("slices"), options.get("equal")
    if slices is None:
        if equal is not None:
            raise InputError(f"{strategy.name}:equal: needs slices, such as {strategy.name}:slices=4,equal=1")
        return pipeline
    try:
        return pipeline.sliced(slices, "balanced" if equal is None else "equal")
    except InputError as error:
        raise InputError(f"{strategy.name}:{error}") from None


def wished_stages(strategy: Strategy, options: Mapping[str, int], devices: int) -> int | None:
    """Return how many stages the user asks for, by ``stages`` or by the schedule's own option that counts them.

    Parameters
    ----------
    strategy : Strategy
        The schedule.
    options : mapping of str to int
        As `parse_strategy` reads them.
    devices : int
        The number of devices.

    Raises
    ------
    InputError
        If the two contradict each other.
    """
    needs, stages = strategy.requirements, options.get("stages")
    if needs.stages_option is None or needs.stages_option not in options:
        return stages
    parts = options[needs.stages_option]
    needed = parts * needs.stages_come_in * devices
    if stages not in (None, needed):
        raise InputError(
            f"{strategy.name}:stages: contradicts {needs.stages_option}={parts}, which are {needed} stages on "
            f"{counted(devices, 'device')}; found {stages}"
        )
    return needed


def with_virtual_stages(text: str, pipeline: Pipeline) -> str:
    """Give a strategy its usual number of stages if it takes any number per device and the pipeline has one per device.

    Parameters
    ----------
    text : str
        The strategy, possibly with options.
    pipeline : Pipeline
        The model; if it leaves its stages open, the strategy decides.
    """
    strategy, options = parse_strategy(text)
    needs = strategy.requirements
    stages = needs.default_stages(pipeline.devices)
    if "stages" in options or needs.stages_per_device is not None or needs.stages_come_in > 1:
        return text
    return with_option(text, f"stages={stages}") if pipeline.stages == pipeline.devices < stages else text


def with_own_stages(text: str, pipeline: Pipeline) -> str:
    """Name a strategy so that it runs a pipeline's own stages, even if they are fewer than its usual number."""
    return text if with_virtual_stages(text, pipeline) == text else with_option(text, f"stages={pipeline.stages}")


def refuse_contradictions(pipeline: Pipeline, named: Iterable[Named]) -> None:
    """Refuse files whose sizes differ from the pipeline's.

    Raises
    ------
    InputError
        If any differ, with a line for each.
    """
    found = [
        f"{key}: the pipeline has {own}, but {name} has {size}"
        for name in named
        if isinstance(name, GivenOrder)
        for key, size in name.sizes.items()
        if (own := getattr(pipeline, key)) is not None and own != size
        if not (key == "microbatches" and pipeline.whole().microbatches == size)
    ]
    if found:
        raise InputError("\n".join(found))


def recut_as_asked(
    pipeline: Pipeline, stages: int | None, orders: Sequence[GivenOrder]
) -> tuple[Pipeline, tuple[str, ...]]:
    """Re-partition a model for ``--recut``: into the stages of the files, or else the number that ``--stages`` gives.

    Parameters
    ----------
    pipeline : Pipeline
        The model; if it leaves its stages open, it gets that number.
    stages : int or None
        The value of ``--stages``.
    orders : sequence of GivenOrder
        The orders from files to run.

    Returns
    -------
    pipeline : Pipeline
        The re-partitioned model.
    notes : tuple of str
        Notes that it was re-partitioned, if it was, and which stages that makes lighter.

    Raises
    ------
    InputError
        If files differ, or nothing gives the number of stages.
    """
    wanted = sorted({order.sizes["stages"] for order in orders})
    if len(wanted) > 1:
        numbers = ", ".join(map(str, wanted))
        raise InputError(f"--recut: the files must have the same number of stages; found {numbers}")
    stages = wanted[0] if wanted else stages
    if stages is None:
        raise InputError("--recut: cuts the model into --stages N, or for a schedule file; neither is given")
    cut = in_stages(pipeline, stages)
    if pipeline.stages is None or pipeline.stages == stages:
        return cut, ()
    homes = orders[0].placement.homes[0] if orders else [stage % pipeline.devices for stage in range(stages)]
    shared = f"({'layers spread' if pipeline.layers is not None else 'times and activations shared out'} evenly)"
    note = f"the model was re-partitioned from {pipeline.stages} into {counted(stages, 'stage')} {shared}"
    return cut, (note, *split_stage_notes(pipeline, homes))


def settle_sizes(
    mapping: dict[str, Any], sources: Mapping[str, str], named: Sequence[Named], *, recut: bool = False
) -> dict[str, Any]:
    """Fill in the sizes that a configuration leaves open from files, and refuse contradictions.

    Parameters
    ----------
    mapping : dict
        The configuration.
    sources : mapping of str to str
        Where its ``devices``, ``stages``, ``microbatches`` and everything else (``""``) come from.
    named : sequence of str or GivenOrder
        The schedules and orders to run.
    recut : bool
        Whether the model may be re-partitioned, so that a different number of stages is no contradiction.

    Raises
    ------
    InputError
        If anything contradicts, with a line for each contradiction: both values, and their sources.
    """
    files = [name for name in named if isinstance(name, GivenOrder)]
    if not files:
        return mapping
    settled, mistakes = dict(mapping), list[str]()
    for key in ("devices", "stages", "microbatches"):
        given = list(_given(key, mapping, sources))
        if not given and key != "stages":
            given = [(key, files[0].sizes[key], files[0].name)]
        mistakes += [
            f"{what}: {value} from {source}, but {each.sizes[key]} from {each.name}" + _WAY_OUT.get(key, "")
            for what, value, source in given
            for each in files
            if value != each.sizes[key] and not (recut and key == "stages")
        ]
        # open stages stay open beside published schedules or files that differ in stages: all are cuts of one model
        if recut and key == "stages" and given:
            continue
        alone = len(files) == len(named) and len({each.sizes[key] for each in files}) == 1
        if given or alone:
            settled.setdefault(key, files[0].sizes[key])
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))
    return settled


_WAY_OUT = {"stages": "; --recut re-partitions the model into as many"}


def _given(key: str, mapping: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """Yield what a configuration gives for a size: its name, the number, and the source of the number."""
    if key in mapping:
        value = mapping[key]
        if isinstance(value, int) and not isinstance(value, bool):  # other values are refused later, with the rest
            yield key, value, sources.get(key, sources[""])
    elif key == "stages":
        yield from ((f"stages (the entries of {name})", count, sources[""]) for name, count in _entries(mapping))


def _entries(mapping: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the keys of a configuration that have one entry per stage, with their numbers of entries."""
    if isinstance(cut := mapping.get("layers_per_stage"), (list, tuple)):
        yield "layers_per_stage", len(cut)
    for part in ("times", "memory"):
        entries = mapping.get(part)
        for name, value in entries.items() if isinstance(entries, Mapping) else ():
            if name != "limit" and isinstance(value, (list, tuple, Mapping)):
                yield f"{part}.{in_one_line(name)}", len(value)


def count_stages(mapping: Mapping[str, Any], named: Sequence[Named]) -> int:
    """Return how many stages the times of a configuration are meant for, before it is checked.

    Parameters
    ----------
    mapping : mapping
        The configuration.
    named : sequence of str or GivenOrder
        The schedules and orders to run, which decide if the configuration does not; without any, one stage per device.
    """
    devices = mapping.get("devices")
    stated = mapping.get("stages") or next((count for _, count in _entries(mapping)), None)
    stages = stated or devices
    if not isinstance(stages, int) or stages < 1:
        return 1
    if not stated and named:
        stages = min(_stages_of(name, stages) for name in named)
    return min(stages, MOST_COUNTED)
