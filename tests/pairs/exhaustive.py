"""Whether any order is shorter than a time that is said to be a bound: all orders are tried.

Three things are left out, and no more: the copies of an order in which equal microbatches have changed their numbers;
what cannot end in time even if no device ever waited again; and what was reached before with nothing later.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, lcm
from typing import NamedTuple

from tests.pairs.costs import Costs
from tests.pairs.replay import Action

MOST_STATES = 20_000
"""More are not looked at: what is asked is then not judged."""


class Freedom(NamedTuple):
    """Where the stages lie, and what an order may use."""

    placement: str
    split: bool
    overlap: bool


class TooManyStatesError(Exception):
    """The model is too large to try everything."""


class Shorter(NamedTuple):
    """An order that ends before it should be possible."""

    makespan: Fraction
    actions: tuple[tuple[int, Action], ...]


def homes_of(placement: str, devices: int, stages: int) -> list[list[int]]:
    """List for each direction the device of each stage."""
    there, back = list(range(devices)), list(reversed(range(devices)))
    if placement == "bidirectional":
        return [there, back]
    if placement in ("v", "wave"):
        return [(there + back) * (stages // (2 * devices))]
    return [[stage % devices for stage in range(stages)]]


def fits_one_microbatch(costs: Costs, freedom: Freedom) -> bool:
    """Whether one microbatch at a time fits the memory; then some order exists, and else none."""
    homes = homes_of(freedom.placement, len(costs.limits), len(costs.stages))
    for device, limit in enumerate(costs.limits):
        here = [[costs.stages[stage] for stage, home in enumerate(way) if home == device] for way in homes]
        static = sum((stage.static for way in here for stage in way), Fraction(0))
        used = here[: costs.microbatches]
        if limit is not None and static + max(sum((s.activation for s in way), Fraction(0)) for way in used) > limit:
            return False
    return True


def shorter_order(costs: Costs, freedom: Freedom, than: Fraction) -> Shorter | None:
    """Find an order that fits the memory and ends before ``than``; None if there is none, whatever the transfers."""
    if not fits_one_microbatch(costs, freedom):
        return None
    return _Trial(costs, freedom, than).run()


class _Trial:
    def __init__(self, costs: Costs, freedom: Freedom, than: Fraction) -> None:
        self.costs, self.freedom = costs, freedom
        self.devices, self.count, self.last = len(costs.limits), costs.microbatches, 2 * len(costs.stages)
        stages = costs.stages
        blocks = (
            {(f, b): costs.block(f, b) for f in range(len(stages)) for b in range(len(stages))}
            if freedom.overlap
            else {}
        )
        times = [
            *(value for stage in stages for value in stage[:4]),
            *(value for hop in costs.hops for value in hop),
            *blocks.values(),
        ]
        self.scale = lcm(*(value.denominator for value in times))
        self.blocks = {pair: self._ticks(value) for pair, value in blocks.items()}
        self.than = ceil(than * self.scale)
        self.f = [self._ticks(stage.forward) for stage in stages]
        self.b = [self._ticks(stage.backward) for stage in stages]
        self.i = [self._ticks(stage.to_input) for stage in stages]
        self.w = [self._ticks(stage.to_weight) for stage in stages]
        homes = homes_of(freedom.placement, self.devices, len(stages))
        first = -(-self.count // len(homes))
        self.way = [0 if k < first else 1 for k in range(self.count)]
        self.homes = [homes[way] for way in self.way]
        self.lags = [
            [0 if home[s] == home[s + 1] else self._ticks(sum(costs.hops[s])) for s in range(len(stages) - 1)]
            for home in self.homes
        ]
        self.static = [
            sum((stages[s].static for way in homes for s, home in enumerate(way) if home == d), Fraction(0))
            for d in range(self.devices)
        ]
        self._least()
        self.seen: dict[tuple[tuple[int, ...], int], list[tuple[int, ...]]] = {}
        self.states = 0
        self.path: list[tuple[int, Action]] = []

    def _ticks(self, value: Fraction) -> int:
        return int(value * self.scale)

    def _least(self) -> None:
        """Set the least that a task adds to the work of its device, and the least that must follow its start."""
        stages = range(len(self.f))
        least_f, least_b = list(self.f), [min(self.b[s], self.i[s] + self.w[s]) for s in stages]
        self.work_f, self.work_b = list(least_f), list(least_b)
        for f, b in self.blocks:
            length = self.blocks[f, b]
            least_f[f] = min(least_f[f], length)
            # one block does the work of two halves, so each counts for at most half of the least of its blocks
            self.work_f[f] = min(self.work_f[f], length // 2)
            self.work_b[b] = min(self.work_b[b], length // 2)
        least_i = [
            min(
                [
                    self.b[s],
                    *([self.i[s]] if self.freedom.split else []),
                    *(n for (_, b), n in self.blocks.items() if b == s),
                ]
            )
            for s in stages
        ]
        self.tails: list[list[int]] = []
        for k in range(self.count):
            tail = [0] * (self.last + 1)
            for place in reversed(range(self.last)):
                stage = self._stage(place)
                lag = 0
                if place + 1 < self.last:
                    other = self._stage(place + 1)
                    lag = 0 if other == stage else self.lags[k][min(stage, other)]
                tail[place] = (least_f if place < len(self.f) else least_i)[stage] + lag + tail[place + 1]
            self.tails.append(tail)

    def _stage(self, place: int) -> int:
        return place if place < len(self.f) else self.last - 1 - place

    def run(self) -> Shorter | None:
        left = [0] * self.devices
        for k in range(self.count):
            for stage, device in enumerate(self.homes[k]):
                left[device] += self.work_f[stage] + self.work_b[stage]
        found = self._explore(
            (0,) * self.count, 0, (0,) * self.devices, (0,) * self.count, tuple(left), tuple(self.static)
        )
        if found is None:
            return None
        return Shorter(Fraction(found, self.scale), tuple(self.path))

    def _explore(
        self,
        places: tuple[int, ...],
        weights: int,
        free: tuple[int, ...],
        ready: tuple[int, ...],
        left: tuple[int, ...],
        levels: tuple[Fraction, ...],
    ) -> int | None:
        """Go on from what is done: how far each microbatch is on its way, and which W are still to come (a bit each)."""
        for device in range(self.devices):
            if free[device] + left[device] >= self.than:
                return None
        for k, place in enumerate(places):
            if place < self.last:
                start = max(ready[k], free[self.homes[k][self._stage(place)]])
                if start + self.tails[k][place] >= self.than:
                    return None
        if not weights and all(place == self.last for place in places):
            return max(free)
        known = self.seen.setdefault((places, weights), [])
        vector = (*free, *ready)
        for other in known:
            if all(one <= two for one, two in zip(other, vector, strict=True)):
                return None
        known.append(vector)
        self.states += 1
        if self.states > MOST_STATES:
            raise TooManyStatesError
        for device, action, start, end, after in sorted(
            self._next(places, weights, free, ready, left, levels), key=lambda each: each[3]
        ):
            self.path.append((device, action))
            found = self._explore(*after)
            if found is not None:
                return found
            self.path.pop()
        return None

    def _next(self, places, weights, free, ready, left, levels) -> Iterator[tuple]:  # type: ignore[no-untyped-def,type-arg]
        stages = len(self.f)
        backs = [k for k in range(self.count) if stages <= places[k] < self.last]
        for k in range(self.count):
            place = places[k]
            if place == self.last:
                continue
            stage = self._stage(place)
            device = self.homes[k][stage]
            start = max(free[device], ready[k])
            if place >= stages:
                if self.freedom.split:
                    bit = 1 << (k * stages + stage)
                    change = self.costs.stages[stage].held - self.costs.stages[stage].activation
                    work = self.work_b[stage] - min(self.w[stage], self.work_b[stage])
                    yield self._after(
                        places,
                        weights | bit,
                        free,
                        ready,
                        left,
                        levels,
                        device,
                        ((stage, "I", k),),
                        start,
                        self.i[stage],
                        (k,),
                        work,
                        change,
                    )
                yield self._after(
                    places,
                    weights,
                    free,
                    ready,
                    left,
                    levels,
                    device,
                    ((stage, "B", k),),
                    start,
                    self.b[stage],
                    (k,),
                    self.work_b[stage],
                    -self.costs.stages[stage].activation,
                )
                continue
            if place == 0 and any(places[other] == 0 and self.way[other] == self.way[k] for other in range(k)):
                continue
            taken = self.costs.stages[stage].activation
            limit = self.costs.limits[device]
            if limit is not None and levels[device] + taken > limit:
                continue
            yield self._after(
                places,
                weights,
                free,
                ready,
                left,
                levels,
                device,
                ((stage, "F", k),),
                start,
                self.f[stage],
                (k,),
                self.work_f[stage],
                taken,
            )
            for j in backs if self.blocks else ():
                other = self._stage(places[j])
                if self.homes[j][other] == device:
                    yield self._after(
                        places,
                        weights,
                        free,
                        ready,
                        left,
                        levels,
                        device,
                        ((stage, "F", k), (other, "B", j)),
                        max(start, ready[j]),
                        self.blocks[stage, other],
                        (k, j),
                        self.work_f[stage] + self.work_b[other],
                        taken - self.costs.stages[other].activation,
                    )
        rest = weights
        while rest:
            bit = rest & -rest
            rest ^= bit
            k, stage = divmod(bit.bit_length() - 1, stages)
            device = self.homes[k][stage]
            yield self._after(
                places, weights ^ bit, free, ready, left, levels,
                device, ((stage, "W", k),), free[device], self.w[stage], (), min(self.w[stage], self.work_b[stage]),
                -self.costs.stages[stage].held,
            )  # fmt: skip

    def _after(  # type: ignore[no-untyped-def]
        self, places, weights, free, ready, left, levels, device, action, start, length, moved, work, change
    ):
        end = start + length
        new_places, new_ready = list(places), list(ready)
        for k in moved:
            stage = self._stage(places[k])
            new_places[k] += 1
            if new_places[k] < self.last:
                other = self._stage(new_places[k])
                new_ready[k] = end if other == stage else end + self.lags[k][min(stage, other)]
            else:
                new_ready[k] = 0
        return (
            device,
            action,
            start,
            end,
            (
                tuple(new_places),
                weights,
                (*free[:device], end, *free[device + 1 :]),
                tuple(new_ready),
                (*left[:device], left[device] - work, *left[device + 1 :]),
                (*levels[:device], levels[device] + change, *levels[device + 1 :]),
            ),
        )
