"""The Zero Bubble heuristic on p stages under a memory limit, from times (Qi et al. 2023, arXiv 2401.10241).

The rules follow the authors' repository; section 3.1 of the paper describes them in words.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from solver.errors import InputError
from solver.exact import common_scale, in_ticks
from strategies.language.steps import Step
from strategies.model.pipeline import Pipeline
from strategies.rules.timed_device import DeviceCosts, TimedDevice


@lru_cache(maxsize=2)
def zero_bubble_orders(pipeline: Pipeline) -> tuple[list[Step], ...]:
    """Build the heuristic's eight variants and keep the one with the shortest span.

    The limit is the pipeline's on each device. If stages differ much, a variant can order an action before its input:
    the authors' code stops there, while this one skips the variant.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with one stage per device.

    Returns
    -------
    tuple of list of Step
        The steps of each device.

    Raises
    ------
    InputError
        If a device's limit is below one activation, or no variant can be completed.
    """
    for device, (limit, cost) in enumerate(zip(pipeline.limits, pipeline.costs, strict=True)):
        if limit is not None and limit < cost.activation + cost.static:
            static = f" beside {float(cost.static):g} of static memory" if cost.static else ""
            raise InputError(
                f"memory.limit: device {device} cannot hold one activation, {float(cost.activation):g}{static}; "
                f"found {float(limit):g}"
            )
    runs = []
    for early, hold, greedy in product((True, False), repeat=3):
        run = _Variant(pipeline, early=early, hold=hold, greedy=greedy)
        try:
            run.build()
        except _IncompleteError:
            continue
        runs.append(run)
    if not runs:
        raise InputError(
            "none of the heuristic's eight variants is complete on these uneven times (its authors' code stops "
            "here, too); a lower memory.limit may help, and `ppopt optimize` finds a schedule"
        )
    return tuple(device.steps for device in min(runs, key=lambda run: run.span).devices)


class _IncompleteError(Exception):
    """A variant orders an action before its input, or cannot keep the limit."""


class _Variant:
    """One variant: the state of each device, and the end of each F and I."""

    def __init__(self, pipeline: Pipeline, *, early: bool, hold: bool, greedy: bool) -> None:
        self.early, self.hold, self.greedy = early, hold, greedy
        self.microbatches = pipeline.microbatches
        self.devices, self.latency, self.limits = _timed(pipeline)
        self.last = len(self.devices) - 1
        self.forwards: list[list[int]] = [[] for _ in self.devices]
        self.backwards: list[list[int]] = [[] for _ in self.devices]
        self.largest_idle = 0

    @property
    def span(self) -> int:
        return max(device.free - (device.begun or 0) for device in self.devices)

    def build(self) -> None:
        """Build the whole variant."""
        everywhere = range(self.last + 1)
        for place in everywhere:
            self.forward(place)
        for place, extra in enumerate(self.extra_forwards()):
            for _ in range(extra):
                self.forward(place)
        for place in reversed(everywhere):
            self.backward(place)
        for _ in range(1, self.microbatches):
            self.run_forwards()
            self.run_backwards()
        for device in self.devices:
            device.run_all_weights()

    def run_forwards(self) -> None:
        """Run one forward on each device that wants one, after W's that make room for it or fill the wait."""
        for place, wanted in enumerate(self.wanted()):
            if wanted:
                self.make_room(place)
                self.fill(place, self.forward_arrival(place) if place else None)
                self.forward(place)

    def run_backwards(self) -> None:
        """Run one backward on each device, after W's that fill the wait."""
        for place in reversed(range(self.last + 1)):
            self.fill(place, self.backward_arrival(place) if place < self.last else None)
            if place == 0 and len(self.forwards[0]) == self.microbatches:
                self.devices[0].run_all_weights()
            self.backward(place)

    def extra_forwards(self) -> list[int]:
        """Choose how many forwards each device runs before its first backward, besides its first forward."""
        extra = [0] * (self.last + 1)
        returned = self.forwards[self.last][0] + self.devices[self.last].costs.durations["I"]
        for place in reversed(range(self.last)):
            device, limit = self.devices[place], self.limits[place]
            lasts, takes = device.costs.durations["F"], device.costs.changes["F"]
            end = device.free
            while 1 + extra[place] < self.microbatches:
                full = limit is not None and device.memory + takes * (extra[place] + 1) > limit
                late = end + lasts > returned + self.latency if self.early else end >= returned + self.latency
                if full or late:
                    break
                extra[place] += 1
                end += lasts
            returned = max(end, returned + self.latency) + device.costs.durations["I"]
        for place in range(1, self.last + 1):
            while extra[place] and extra[place] >= extra[place - 1] and 1 + extra[place] < self.microbatches:
                extra[place] -= 1
        return extra

    def wanted(self) -> list[bool]:
        """Choose the devices that run a forward before the next backward; one that runs none stops all before it."""
        wanted = [self.wants(place) for place in range(self.last + 1)]
        for place in reversed(range(self.last)):
            wanted[place] = wanted[place] and wanted[place + 1]
        return wanted

    def wants(self, place: int) -> bool:
        """Return whether a device runs a forward; it may hold one back while the next device is busy anyway."""
        if len(self.forwards[place]) >= self.microbatches:
            return False
        if not self.hold or place == self.last:
            return True
        if len(self.forwards[place]) < len(self.forwards[place + 1]) + 2:
            return True
        device, after = self.devices[place], self.devices[place + 1]
        needed = after.free + after.costs.durations["F"] + after.costs.durations["I"] + self.latency
        if device.free >= needed:
            return False
        end = device.free + device.costs.durations["F"] + self.weights_for_room(place) * device.costs.durations["W"]
        return end <= needed or needed - device.free > self.largest_idle - device.idle

    def weights_for_room(self, place: int) -> int:
        """Count the W's that must run before a forward fits the limit."""
        device, limit = self.devices[place], self.limits[place]
        held = device.memory + device.costs.changes["F"]
        weights = 0
        while limit is not None and held > limit and weights < len(device.owed):
            held += device.costs.changes["W"]
            weights += 1
        return weights

    def make_room(self, place: int) -> None:
        if not self.devices[place].make_room("F", self.limits[place]):
            raise _IncompleteError

    def fill(self, place: int, arrival: int | None) -> None:
        """Run W's while a device waits for an input from another device."""
        if arrival is None:
            return
        device = self.devices[place]
        wait = device.fill(arrival)
        if device.owed and wait > 0 and (self.greedy or wait > self.largest_idle - device.idle):
            device.run_weight()

    def forward(self, place: int) -> None:
        arrival = self.forward_arrival(place) if place else 0
        self.forwards[place].append(self.run("F", place, arrival))

    def backward(self, place: int) -> None:
        if len(self.forwards[place]) <= len(self.backwards[place]):
            raise _IncompleteError
        arrival = self.backward_arrival(place) if place < self.last else 0
        self.backwards[place].append(self.run("I", place, arrival))

    def run(self, kind: str, place: int, arrival: int) -> int:
        end = self.devices[place].run(kind, 0, arrival)
        self.largest_idle = max(self.largest_idle, self.devices[place].idle)
        return end

    def forward_arrival(self, place: int) -> int:
        return self.arrival(self.forwards[place - 1], len(self.forwards[place]))

    def backward_arrival(self, place: int) -> int:
        return self.arrival(self.backwards[place + 1], len(self.backwards[place]))

    def arrival(self, ends: list[int], microbatch: int) -> int:
        if len(ends) <= microbatch:
            raise _IncompleteError
        return ends[microbatch] + self.latency


def _timed(pipeline: Pipeline) -> tuple[list[TimedDevice], int, list[int | None]]:
    """Return the devices, the latency and the limits in whole ticks and whole units of memory."""
    costs = pipeline.costs_at(range(pipeline.devices))
    ticks = common_scale([pipeline.longest_lag, *(value for cost in costs for value in cost if value is not None)])
    units = common_scale(
        [
            *filter(None, pipeline.limits),
            *(value for each in costs for value in (each.activation, each.held_for_weight, each.static)),
        ]
    )
    devices = []
    for cost in costs:
        durations = {"F": cost.forward, "I": cost.backward_input, "W": cost.backward_weight}
        devices.append(
            TimedDevice(
                DeviceCosts(
                    {kind: in_ticks(value, ticks) for kind, value in durations.items()},
                    {kind: in_ticks(value, units) for kind, value in cost.changes.items() if kind in durations},
                )
            )
        )
    limits = [
        None if limit is None else in_ticks(limit - cost.static, units)
        for limit, cost in zip(pipeline.limits, costs, strict=True)
    ]
    return devices, in_ticks(pipeline.longest_lag, ticks), limits
