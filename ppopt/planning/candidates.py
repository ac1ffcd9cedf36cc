"""The orders that a plan cuts a model for: each strategy with each number of stages per device, and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ppopt.evaluation.order_files import GivenOrder, Named
from solver.errors import InputError
from strategies.actions import PipelineAction
from strategies.orders import make_orders, parse_strategy, wished_stages
from strategies.pipeline import Pipeline
from strategies.placements import Placement
from strategies.registry import Strategy

USUAL_STAGES_PER_DEVICE = (2, 3, 4)
"""Tried with schedules that take any number of stages per device, where the user does not say."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An order with its number of stages, for which the model is to be cut.

    Attributes
    ----------
    name : str
        The schedule with its options but ``stages``, or the file.
    given : str or GivenOrder
        What `ppopt.evaluate` takes for it.
    strategy : Strategy or None
        The published schedule; None for a file.
    options : dict of str to int
        Its options but ``stages``.
    stages : int
        How many stages there are.
    pipeline : Pipeline
        The model, evenly cut into so many.
    placement : Placement
        Which device holds which stage.
    orders : sequence of sequence of (Op or Block)
        The actions of each device; for a schedule that looks at the costs, those of the even cut.
    looks_at_costs : bool
        Whether the order depends on the costs, so that another cut may have another order.
    """

    name: str
    given: Named
    strategy: Strategy | None
    options: dict[str, int]
    stages: int
    pipeline: Pipeline
    placement: Placement
    orders: Sequence[Sequence[PipelineAction]]
    looks_at_costs: bool = False

    @property
    def stages_per_device(self) -> int:
        """How many stages each device holds."""
        return self.stages // self.pipeline.devices

    @property
    def label(self) -> str:
        """The name with the number of stages per device."""
        return f"{self.name}, v = {self.stages_per_device}"

    def orders_on(self, pipeline: Pipeline) -> Sequence[Sequence[PipelineAction]]:
        """Return the actions of each device on another cut into as many stages.

        Raises
        ------
        InputError
            If the schedule finds no order for it.
        """
        if not self.looks_at_costs or self.strategy is None:
            return self.orders
        return make_orders(self.strategy, pipeline, self.options)[1]


@dataclass
class Candidates:
    """The orders that a plan is made for, and those that do not fit.

    Attributes
    ----------
    fitting : list of Candidate
        In the order of the names.
    left_out : list of (str, str)
        What does not fit the pipeline, with the reason.
    """

    fitting: list[Candidate] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def gather(
    pipeline: Pipeline, names: Iterable[Named], stages_per_device: Sequence[int] | None, *, all_of_them: bool
) -> Candidates:
    """List the orders that a plan is made for.

    Parameters
    ----------
    pipeline : Pipeline
        With layers.
    names : sequence of str or GivenOrder
        Schedules, maybe with options, and orders from files.
    stages_per_device : sequence of int or None
        The numbers of stages that a device may hold; None for those that each schedule asks for, and a few where it
        takes any.
    all_of_them : bool
        Whether all schedules are meant, so that one that takes only other numbers of stages is left out silently.
    """
    found = Candidates()
    for name in names:
        made: list[Candidate] = []
        try:
            counts = _numbers_of_stages(pipeline, name, stages_per_device)
            made.extend(_candidate(pipeline, name, stages) for stages in counts)
        except InputError as error:
            found.left_out.append((str(name), "; ".join(str(error).split("\n"))))
        found.fitting += made
        if not made and not all_of_them and stages_per_device and all(str(name) != each for each, _ in found.left_out):
            numbers = ", ".join(map(str, stages_per_device))
            found.left_out.append((str(name), f"{name} does not take {numbers} stages per device"))
    return found


def _numbers_of_stages(pipeline: Pipeline, name: Named, stages_per_device: Sequence[int] | None) -> Iterator[int]:
    """Yield the numbers of stages for which an order is to be planned."""
    devices = pipeline.devices
    if isinstance(name, GivenOrder):
        yield name.sizes["stages"]
        return
    strategy, options = parse_strategy(name)
    needs = strategy.requirements
    if (wished := wished_stages(strategy, options, devices)) is not None:
        yield wished
    elif needs.stages_per_device is not None:
        if stages_per_device is None or needs.stages_per_device in stages_per_device:
            yield needs.stages_per_device * devices
    else:
        own = pipeline.layers_per_stage is not None and stages_per_device is None
        numbers = [pipeline.stages_per_device] if own else stages_per_device or USUAL_STAGES_PER_DEVICE
        yield from (each * devices for each in numbers if needs.takes_stages(each * devices, devices))


def _candidate(pipeline: Pipeline, name: Named, stages: int) -> Candidate:
    if isinstance(name, GivenOrder):
        return _of_file(pipeline, name)
    strategy, options = parse_strategy(name)
    if unmet := strategy.requirements.unmet(strategy.name, pipeline):
        raise InputError(unmet)
    if not strategy.requirements.takes_stages(stages, pipeline.devices):
        fits = strategy.requirements.default_stages(pipeline.devices)
        raise InputError(f"{strategy.name}:stages: {stages} do not fit {pipeline.devices} devices; {fits} do")
    own = {key: value for key, value in options.items() if key != "stages"}
    cut = pipeline.with_even_cut(stages)
    placement, orders = make_orders(strategy, cut, own)
    written = ",".join(f"{key}={value}" for key, value in own.items())
    return Candidate(
        name=f"{strategy.name}:{written}" if written else strategy.name,
        given=name,
        strategy=strategy,
        options=own,
        stages=stages,
        pipeline=cut,
        placement=placement,
        orders=orders,
        looks_at_costs=_looks_at_costs(strategy, cut, own, orders),
    )


def _of_file(pipeline: Pipeline, given: GivenOrder) -> Candidate:
    sizes = given.sizes
    for key in ("devices", "microbatches"):
        if sizes[key] != getattr(pipeline, key):
            raise InputError(f"{key}: the pipeline has {getattr(pipeline, key)}, but {given} has {sizes[key]}")
    return Candidate(
        name=given.name,
        given=given,
        strategy=None,
        options={},
        stages=sizes["stages"],
        pipeline=pipeline.with_even_cut(sizes["stages"]),
        placement=given.placement,
        orders=given.orders,
    )


def _looks_at_costs(
    strategy: Strategy, cut: Pipeline, options: dict[str, int], orders: Sequence[Sequence[PipelineAction]]
) -> bool:
    """Return whether a schedule makes another order for pipelines of the same sizes with unlike costs."""
    return any(_orders_of(strategy, other, options) != orders for other in _unlike(cut))


def _orders_of(
    strategy: Strategy, pipeline: Pipeline, options: dict[str, int]
) -> Sequence[Sequence[PipelineAction]] | None:
    try:
        return make_orders(strategy, pipeline, options)[1]
    except InputError:
        return None


def _unlike(cut: Pipeline) -> Iterator[Pipeline]:
    """Make three pipelines of the same sizes, unlike in times, in memory, and in what crosses devices."""
    stages = cut.stages or 0
    for seed, latency, limit in ((1, 0, None), (2, 5, None), (3, 1, 40 * stages)):
        draws = [[1 + (stage + 2) * factor * seed % 17 for stage in range(stages)] for factor in (3, 5, 7, 11)]
        forward, to_input, to_weight, activation = draws
        memory = {"activation": activation, "held_for_weight": [1] * stages}
        yield Pipeline.from_mapping(
            {
                "devices": cut.devices,
                "stages": stages,
                "microbatches": cut.microbatches,
                "p2p_latency": latency,
                "times": {"forward": forward, "backward_input": to_input, "backward_weight": to_weight},
                "memory": memory if limit is None else memory | {"limit": limit},
            }
        )
