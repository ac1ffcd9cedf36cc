"""From luck to durations: how long each action of an order lasts in each draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import cast

import numpy as np

from ppopt.noise.luck import Luck
from ppopt.noise.noise import Noise
from ppopt.noise.spread_file import Deviations
from ppopt.profiling.costs import KEYS
from ppopt.schedules.schedule import Schedule
from solver.errors import InputError
from solver.problem import Action, Block
from solver.sampled_replay import Numbers, SampledReplay
from strategies.model.actions import Op, PipelineAction

_NEITHER = Deviations(0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """How a standard normal number gives the logarithm of a factor, for each stage.

    Attributes
    ----------
    below, above : array of float
        The standard deviations for negative and for positive numbers.
    shift : array of float
        A constant to add, so that the factor's mean is 1; 0 if its median is 1.
    """

    below: Numbers
    above: Numbers
    shift: Numbers

    @classmethod
    def of_variations(cls, variations: list[float]) -> Shape:
        """Make log-normal factors with mean 1 and these coefficients of variation."""
        squares = np.array([log(1 + variation**2) for variation in variations])
        return cls(np.sqrt(squares), np.sqrt(squares), -squares / 2)

    @classmethod
    def of_deviations(cls, deviations: list[Deviations]) -> Shape:
        """Make factors with median 1 whose 10th and 90th percentiles are as measured."""
        below, above = np.array(deviations, dtype=np.float64).T
        return cls(below, above, np.zeros(len(deviations)))

    def factors(self, numbers: Numbers) -> Numbers:
        """Turn numbers, with the stages along the first axis, into factors."""
        wide = (slice(None), *[np.newaxis] * (numbers.ndim - 1))
        below, above, shift = (each[wide] for each in (self.below, self.above, self.shift))
        factors: Numbers = np.exp(numbers * np.where(numbers < 0, below, above) + shift)
        return factors


class NoisyOrder:
    """An order prepared for drawing durations: the operations that they belong to, and how these vary.

    Parameters
    ----------
    schedule : Schedule
        The order and its costs.
    noise : Noise
        How its times vary.

    Raises
    ------
    InputError
        If spreads lack a time that the order runs.
    """

    def __init__(self, schedule: Schedule, noise: Noise) -> None:
        self.schedule, self.noise = schedule, noise
        self.replay = SampledReplay(schedule.problem, schedule.actions)
        self.stages = schedule.pipeline.stages or 1
        self._devices = [device for device, order in enumerate(schedule.actions) for _ in order]
        scale = schedule.problem.ticks_per_unit
        ticks = {kind: float(each * scale) for kind, each in schedule.pipeline.overheads.items()}
        self._overheads = np.array([ticks[self._first(action).kind] for action in self.replay.actions])
        self._shapes = {kind: self._shape(kind) for kind in sorted({op.kind for op in self._halves()})}
        self._device_shape = Shape.of_variations([noise.variation_of(d) for d in range(schedule.pipeline.devices)])

    @property
    def operations(self) -> int:
        """The number of operations."""
        return len(self.schedule.problem.tasks)

    def makespans(self, luck: Luck) -> Numbers:
        """Compute the makespan of each draw, in the user's unit of time."""
        overheads = self._overheads[:, np.newaxis]
        durations = (self.replay.durations[:, np.newaxis] - overheads) * self._action_factors(luck)
        if self.noise.varies_by_device:
            numbers = np.stack([luck.of_device(device) for device in range(self.schedule.pipeline.devices)])
            durations = durations * self._device_shape.factors(numbers)[self._devices]
        ticks: Numbers = self.replay.makespans(durations + overheads, self._lags(luck))
        makespans: Numbers = ticks / self.schedule.problem.ticks_per_unit + float(self.schedule.pipeline.after)
        return makespans

    @staticmethod
    def _first(action: Action) -> Op:
        return cast("Op", action.first if isinstance(action, Block) else action)

    def _halves(self) -> Iterator[Op]:
        for action in self.replay.actions:
            yield from cast("tuple[Op, Op]", action) if isinstance(action, Block) else (cast("Op", action),)

    def _shape(self, kind: str) -> Shape:
        spreads = self.noise.spreads
        if spreads is None:
            return Shape.of_variations([self.noise.operation] * self.stages)
        keys = {"B": ["backward", "backward_input"], "I": ["backward_input", "backward"], "W": [KEYS["W"], "backward"]}
        names = keys.get(kind, [KEYS[kind]])
        return Shape.of_deviations([self._measured(names, stage) for stage in range(self.stages)])

    def _measured(self, names: list[str], stage: int) -> Deviations:
        spreads = self.noise.spreads
        assert spreads is not None
        found = (spreads.of(name, stage, self.stages) for name in names)
        deviations = next((each for each in found if each is not None), None)
        if deviations is None:
            raise InputError(
                f"spread: {spreads.name} has no {' or '.join(names)} of stage {stage} of {self.stages}; "
                "measure it, or give --noise instead"
            )
        return deviations

    def _action_factors(self, luck: Luck) -> Numbers:
        """Return the factor of each action; unless measured, a block's is the weighted mean of its halves'."""
        by_kind = {kind: shape.factors(luck.of_kind(kind, self.stages)) for kind, shape in self._shapes.items()}
        actions = cast("list[PipelineAction]", self.replay.actions)
        return np.stack([self._factor(action, by_kind, luck) for action in actions])

    def _factor(self, action: PipelineAction, by_kind: dict[str, Numbers], luck: Luck) -> Numbers:
        if not isinstance(action, Block):
            return cast("Numbers", by_kind[action.kind][action.stage, action.microbatch])
        forward, backward = cast("tuple[Op, Op]", action)
        measured = None if self.noise.spreads is None else self._block(forward.stage)
        if measured is not None:
            numbers = [luck.of_kind(op.kind, self.stages)[op.stage, op.microbatch] for op in (forward, backward)]
            together = (numbers[0] + numbers[1]) / np.sqrt(2)
            return cast("Numbers", Shape.of_deviations([measured]).factors(together[np.newaxis])[0])
        works, of_item = self.schedule.pipeline.costs_by_class, self.schedule.pipeline.items.of
        lengths = [
            float(works[of_item[forward.microbatch]][forward.stage].forward),
            float(works[of_item[backward.microbatch]][backward.stage].backward),
        ]
        factors = [by_kind[op.kind][op.stage, op.microbatch] for op in (forward, backward)]
        both = sum(lengths)
        shares = (lengths[0] / both, lengths[1] / both) if both else (1.0, 0.0)
        return cast("Numbers", shares[0] * factors[0] + shares[1] * factors[1])

    def _block(self, stage: int) -> Deviations | None:
        assert self.noise.spreads is not None
        return self.noise.spreads.of(KEYS["block"], stage, self.stages)

    def _lags(self, luck: Luck) -> Numbers | None:
        """Draw the transfers, if they were measured."""
        latency = None if self.noise.spreads is None else self.noise.spreads.latency
        if latency is None or latency == _NEITHER:
            return None
        lags = np.repeat(self.replay.lags[:, np.newaxis], luck.draws, axis=1)
        places = np.flatnonzero(self.replay.lags).tolist()
        if places:
            precedences = self.schedule.problem.precedences
            ops = [cast("Op", precedences[place][0]) for place in places]
            senders = [(op.stage, int(op.kind != "F"), op.microbatch) for op in ops]
            numbers = luck.of_transfers(senders, self.stages)
            lags[places] *= Shape.of_deviations([latency]).factors(numbers[np.newaxis])[0]
        return lags
