"""Builds ZB-V from times as its authors' repository does (Qi et al. 2023, arXiv 2401.10241, for a V of stages)."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import product
from statistics import median

from solver.exact import common_scale, in_ticks
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.building_blocks import F0, F1, I0, I1, input_of
from strategies.rules.timed_device import DeviceCosts, TimedDevice

_KIND_AND_CHUNK = {F0: ("F", 0), F1: ("F", 1), I1: ("I", 1), I0: ("I", 0)}


@lru_cache(maxsize=2)
def zero_bubble_v_orders(pipeline: Pipeline) -> tuple[list[Step], ...]:
    """Build the heuristic's variants and keep the one whose most idle device idles least.

    The heuristic uses one F, I and W for all stages: the median over devices of the average of a device's two. Its
    memory is 2p activations on every device, whatever the pipeline's limit.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with two stages per device.

    Returns
    -------
    tuple of list of Step
        The steps of each device.
    """
    costs, latency = _typical(pipeline)
    best: _Attempt | None = None
    for before_backward, before_forward in product((True, False), repeat=2):
        run = _best_allowances(costs, latency, pipeline, before_backward, before_forward)
        if best is None or run.worst < best.worst:
            best = run
    assert best is not None
    return tuple(device.steps for device in best.devices)


def _typical(pipeline: Pipeline) -> tuple[DeviceCosts, int]:
    """Return typical costs that stand for all stages, in whole ticks and units, and the latency."""
    there = range(pipeline.devices)
    costs_at_home = pipeline.costs_at([*there, *reversed(there)])

    def typical(column: str) -> Fraction:
        values: list[Fraction] = [getattr(cost, column) for cost in costs_at_home]
        return median((near + far) / 2 for near, far in zip(values, reversed(values), strict=True))

    times = {"F": typical("forward"), "I": typical("backward_input"), "W": typical("backward_weight")}
    held = {column: typical(column) for column in ("activation", "held_for_weight")}
    changes = pipeline.costs[0]._replace(**held).changes
    ticks, units = common_scale([pipeline.longest_lag, *times.values()]), common_scale(changes.values())
    costs = DeviceCosts(
        {kind: in_ticks(value, ticks) for kind, value in times.items()},
        {kind: in_ticks(value, units) for kind, value in changes.items() if kind in times},
    )
    return costs, in_ticks(pipeline.longest_lag, ticks)


def _best_allowances(
    costs: DeviceCosts, latency: int, pipeline: Pipeline, before_backward: bool, before_forward: bool
) -> _Attempt:
    """Build again with each device's idle time of the last attempt as its allowance, as long as that helps."""

    def run(allowances: list[int]) -> _Attempt:
        built = _Attempt(costs, latency, pipeline, allowances, before_backward, before_forward)
        built.build()
        return built

    best = run([-1] * pipeline.devices)
    helped = True
    while helped:
        again = run([device.idle for device in best.devices])
        helped = again.worst < best.worst
        best = again if helped else best
    return best


class _Attempt:
    """One attempt: the state of each device, the end of each F and I, and the idle time of the most idle device."""

    def __init__(
        self,
        costs: DeviceCosts,
        latency: int,
        pipeline: Pipeline,
        allowances: list[int],
        before_backward: bool,
        before_forward: bool,
    ) -> None:
        self.costs, self.latency = costs, latency
        self.microbatches, self.last = pipeline.microbatches, pipeline.devices - 1
        self.limit = 2 * pipeline.devices * costs.changes["F"]
        self.spared = [max(allowances) - allowance for allowance in allowances]
        self.before_backward, self.before_forward = before_backward, before_forward
        self.devices = [TimedDevice(costs) for _ in range(pipeline.devices)]
        self.ends: dict[int, list[list[int]]] = {kind: [[] for _ in self.devices] for kind in _KIND_AND_CHUNK}
        self.worst = 0

    def build(self) -> None:
        """Build the whole schedule."""
        self.fill_pipeline()
        self.even_out()
        for _ in range(2 * self.microbatches):
            self.run_backwards()
            self.run_forwards()
        for device in self.devices:
            device.run_all_weights()

    def done(self, kind: int, place: int) -> int:
        return len(self.ends[kind][place])

    def fill_pipeline(self) -> None:
        """Run the first microbatch out and back, and as many more forwards as memory and time allow meanwhile."""
        lasts, takes = self.costs.durations["F"], self.costs.changes["F"]
        for place in range(self.last + 1):
            self.run(F0, place)
        for place in reversed(range(self.last + 1)):
            device = self.devices[place]
            returned = self.ends[F1][place + 1][0] + self.latency if place < self.last else 0
            while (
                device.memory + takes * (2 + 2 * place) <= self.limit
                and device.free + lasts <= returned
                and self.done(F0, place) < self.microbatches
            ):
                for each in range(place + 1):
                    self.run(F0, each)
            self.run(F1, place)

    def even_out(self) -> None:
        """Run forwards, alternating the two kinds, until each device is as far as the one before it."""
        turn = F0
        for place in range(1, self.last + 1):
            while self.is_behind(place):
                for each in range(self.last, place - 1, -1):
                    if self.done(turn, each) < self.microbatches:
                        self.run(turn, each)
                turn = F1 if turn == F0 else F0

    def is_behind(self, place: int) -> bool:
        here = self.done(F0, place) + self.done(F1, place)
        before = self.done(F0, place - 1) + self.done(F1, place - 1)
        return here < before or self.done(F1, place) <= self.done(F1, place - 1) < self.microbatches

    def run_backwards(self) -> None:
        """Run one backward on each device: first those that wait for the next device."""
        for device in self.devices:
            device.make_room("I", self.limit)
        chosen = [self.choose_backward(place) for place in range(self.last + 1)]
        for place in reversed(range(self.last + 1)):
            if chosen[place] == I0:
                self.fill(I0, place, even_late=True)
                self.run(I0, place)
        for place in range(self.last + 1):
            if chosen[place] == I1:
                self.fill(I1, place, even_late=self.before_backward)
                self.run(I1, place)

    def choose_backward(self, place: int) -> int:
        if self.done(I0, place) == self.done(I1, place):
            return I1
        is_ready = place == self.last or self.done(I0, place + 1) > self.done(I0, place)
        return I0 if is_ready or self.done(I1, place) == self.microbatches else I1

    def run_forwards(self) -> None:
        """Run a forward on each device that has one ready."""
        for place, device in enumerate(self.devices):
            kind = self.choose_forward(place)
            if kind is not None:
                device.make_room("F", self.limit)
                self.fill(kind, place, even_late=self.before_forward)
                self.run(kind, place)

    def choose_forward(self, place: int) -> int | None:
        there, back = self.done(F0, place), self.done(F1, place)
        if back == self.microbatches:
            return None
        if back == there:
            return F0
        if place == self.last or self.done(F1, place + 1) > back:
            return F1
        is_ready = there < self.microbatches and (place == 0 or self.done(F0, place - 1) > there)
        return F0 if is_ready else None

    def arrival(self, kind: int, place: int) -> int | None:
        """Return when a device's next action receives its input from another device; None if it comes from its own."""
        source = input_of(kind, place, self.last + 1)
        if source is None or source[1] == place:
            return None
        return self.ends[source[0]][source[1]][self.done(kind, place)] + self.latency

    def fill(self, kind: int, place: int, *, even_late: bool) -> None:
        """Run W's while a device waits; with ``even_late``, one more if the device would otherwise idle too long."""
        arrival = self.arrival(kind, place)
        if arrival is None:
            return
        device = self.devices[place]
        wait = device.fill(arrival)
        if even_late and device.owed and wait > max(self.worst, self.spared[place]) - device.idle:
            device.run_weight()

    def run(self, kind: int, place: int) -> None:
        device = self.devices[place]
        self.ends[kind][place].append(device.run(*_KIND_AND_CHUNK[kind], self.arrival(kind, place) or 0))
        self.worst = max(self.worst, device.idle)
