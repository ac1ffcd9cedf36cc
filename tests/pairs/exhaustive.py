"""Tries all orders to find one that is shorter than a claimed bound.

It leaves out only three things: copies of an order in which equal microbatches have swapped their numbers; states that
cannot end in time even if no device waited again; and states reached before with nothing later.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, lcm
from typing import NamedTuple

from tests.pairs.costs import Costs
from tests.pairs.replay import Action

MOST_STATES = 20_000
"""Most states visited; beyond it, the claim is not judged."""


class Freedom(NamedTuple):
    """The placement, and what an order may use."""

    placement: str
    split: bool
    overlap: bool


class TooManyStatesError(Exception):
    """The model is too large to try all orders."""


class Shorter(NamedTuple):
    """An order that ends earlier than should be possible."""

    makespan: Fraction
    actions: tuple[tuple[int, Action], ...]


def homes_of(placement: str, devices: int, stages: int) -> list[list[int]]:
    """Return the device of each stage for each direction."""
    there, back = list(range(devices)), list(reversed(range(devices)))
    if placement == "bidirectional":
        return [there, back]
    if placement in ("v", "wave"):
        return [(there + back) * (stages // (2 * devices))]
    return [[stage % devices for stage in range(stages)]]


def fits_one_microbatch(costs: Costs, freedom: Freedom) -> bool:
    """Return whether one microbatch at a time fits the memory: an order exists exactly then."""
    homes = homes_of(freedom.placement, len(costs.limits), len(costs.stages))
    for device, limit in enumerate(costs.limits):
        here = [[costs.stages[stage] for stage, home in enumerate(way) if home == device] for way in homes]
        static = sum((stage.static for way in here for stage in way), Fraction(0))
        used = here[: costs.microbatches]
        if limit is not None and static + max(sum((s.activation for s in way), Fraction(0)) for way in used) > limit:
            return False
    return True


def shorter_order(costs: Costs, freedom: Freedom, than: Fraction) -> Shorter | None:
    """Find an order that fits the memory and ends before ``than``; None if there is none, however transfers wait."""
    if not fits_one_microbatch(costs, freedom):
        return None
    return _Trial(costs, freedom, than).run()


class _State(NamedTuple):
    """The tasks done, and the moments at which devices are free and results are there.

    Attributes
    ----------
    places : tuple of int
        The progress of each microbatch, forwards and then backwards through all stages.
    weights : int
        The W's still to come, one bit each.
    free, left : tuple of int
        The moment at which each device is free, and the least work that it has left.
    ready : tuple of int
        The moment at which the input of each microbatch's next step is there.
    levels : tuple of Fraction
        The memory that each device holds.
    """

    places: tuple[int, ...]
    weights: int
    free: tuple[int, ...]
    ready: tuple[int, ...]
    left: tuple[int, ...]
    levels: tuple[Fraction, ...]


_Next = tuple[int, Action, _State]


class _Trial:
    def __init__(self, costs: Costs, freedom: Freedom, than: Fraction) -> None:
        self.costs, self.freedom = costs, freedom
        self.devices, self.count, self.last = len(costs.limits), costs.microbatches, 2 * len(costs.stages)
        stages = costs.stages
        blocks = (
            {
                (d, f, b): costs.block(f, b, d)
                for d in range(self.devices)
                for f in range(len(stages))
                for b in range(len(stages))
            }
            if freedom.overlap
            else {}
        )
        lasts = {
            kind: [[costs.lasts(kind, s, d) for s in range(len(stages))] for d in range(self.devices)]
            for kind in "FBIW"
        }
        times = [
            *(value for devices in lasts.values() for row in devices for value in row),
            *(value for hop in costs.hops for value in hop),
            *blocks.values(),
        ]
        self.scale = lcm(*(value.denominator for value in times))
        self.blocks = {pair: self._ticks(value) for pair, value in blocks.items()}
        self.than = ceil((than - costs.after) * self.scale)
        self.stages = len(stages)
        self.f, self.b, self.i, self.w = (
            [[self._ticks(value) for value in row] for row in devices] for devices in lasts.values()
        )
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
        """Compute the least work that a task adds to its device, and the least time from its start to the end."""
        stages, devices = range(self.stages), range(self.devices)
        least_f = [list(row) for row in self.f]
        self.work_f = [list(row) for row in self.f]
        self.work_b = [[min(self.b[d][s], self.i[d][s] + self.w[d][s]) for s in stages] for d in devices]
        for (d, f, b), length in self.blocks.items():
            least_f[d][f] = min(least_f[d][f], length)
            # a block does the work of two halves, so each half counts for at most half of its shortest block
            self.work_f[d][f] = min(self.work_f[d][f], length // 2)
            self.work_b[d][b] = min(self.work_b[d][b], length // 2)
        least_i = [
            [
                min(
                    [
                        self.b[d][s],
                        *([self.i[d][s]] if self.freedom.split else []),
                        *(n for (device, _, b), n in self.blocks.items() if b == s and device == d),
                    ]
                )
                for s in stages
            ]
            for d in devices
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
                least = least_f if place < self.stages else least_i
                tail[place] = least[self.homes[k][stage]][stage] + lag + tail[place + 1]
            self.tails.append(tail)

    def _stage(self, place: int) -> int:
        return place if place < self.stages else self.last - 1 - place

    def run(self) -> Shorter | None:
        left = [0] * self.devices
        for k in range(self.count):
            for stage, device in enumerate(self.homes[k]):
                left[device] += self.work_f[device][stage] + self.work_b[device][stage]
        nothing = (0,) * self.count
        found = self._explore(_State(nothing, 0, (0,) * self.devices, nothing, tuple(left), tuple(self.static)))
        return None if found is None else Shorter(Fraction(found, self.scale), tuple(self.path))

    def _explore(self, state: _State) -> int | None:
        """Continue from a state, and return the end of everything; None if every continuation ends too late."""
        if self._is_too_late(state):
            return None
        if not state.weights and all(place == self.last for place in state.places):
            return max(state.free)
        if self._was_reached(state):
            return None
        self.states += 1
        if self.states > MOST_STATES:
            raise TooManyStatesError
        following = [*self._next_on_its_way(state), *self._next_weights(state)]
        for device, action, after in sorted(following, key=lambda each: each[2].free[each[0]]):
            self.path.append((device, action))
            found = self._explore(after)
            if found is not None:
                return found
            self.path.pop()
        return None

    def _is_too_late(self, state: _State) -> bool:
        if any(free + left >= self.than for free, left in zip(state.free, state.left, strict=True)):
            return True
        return any(
            max(state.ready[k], state.free[self.homes[k][self._stage(place)]]) + self.tails[k][place] >= self.than
            for k, place in enumerate(state.places)
            if place < self.last
        )

    def _was_reached(self, state: _State) -> bool:
        """Return whether the same tasks were done before, with every device free and every result there no later."""
        known = self.seen.setdefault((state.places, state.weights), [])
        vector = (*state.free, *state.ready)
        if any(all(one <= two for one, two in zip(other, vector, strict=True)) for other in known):
            return True
        known.append(vector)
        return False

    def _next_on_its_way(self, state: _State) -> Iterator[_Next]:
        """Yield the forwards and backwards that may come next, and their blocks."""
        for k, place in enumerate(state.places):
            if place == self.last:
                continue
            stage = self._stage(place)
            at = self.homes[k][stage]
            if place >= self.stages:
                yield from self._backwards(state, k, stage)
            elif not self._has_an_equal_before(state, k) and self._fits(state, k, stage):
                taken = self.costs.stages[stage].activation
                one: Action = ((stage, "F", k),)
                yield self._after(state, one, (k,), self.f[at][stage], self.work_f[at][stage], taken)
                yield from self._with_a_backward(state, k, stage)

    def _has_an_equal_before(self, state: _State, k: int) -> bool:
        """Return whether an equal microbatch with a smaller number has not begun either."""
        return state.places[k] == 0 and any(
            state.places[other] == 0 and self.way[other] == self.way[k] for other in range(k)
        )

    def _fits(self, state: _State, k: int, stage: int) -> bool:
        device = self.homes[k][stage]
        limit = self.costs.limits[device]
        return limit is None or state.levels[device] + self.costs.stages[stage].activation <= limit

    def _backwards(self, state: _State, k: int, stage: int) -> Iterator[_Next]:
        here, at = self.costs.stages[stage], self.homes[k][stage]
        whole: Action = ((stage, "B", k),)
        yield self._after(state, whole, (k,), self.b[at][stage], self.work_b[at][stage], -here.activation)
        if self.freedom.split:
            half: Action = ((stage, "I", k),)
            later = state._replace(weights=state.weights | 1 << (k * self.stages + stage))
            work = self.work_b[at][stage] - min(self.w[at][stage], self.work_b[at][stage])
            yield self._after(later, half, (k,), self.i[at][stage], work, here.held - here.activation)

    def _with_a_backward(self, state: _State, k: int, stage: int) -> Iterator[_Next]:
        for j, place in enumerate(state.places):
            if not self.blocks or not self.stages <= place < self.last:
                continue
            other, at = self._stage(place), self.homes[k][stage]
            if self.homes[j][other] == at:
                block: Action = ((stage, "F", k), (other, "B", j))
                change = self.costs.stages[stage].activation - self.costs.stages[other].activation
                work = self.work_f[at][stage] + self.work_b[at][other]
                yield self._after(state, block, (k, j), self.blocks[at, stage, other], work, change)

    def _next_weights(self, state: _State) -> Iterator[_Next]:
        rest = state.weights
        while rest:
            bit = rest & -rest
            rest ^= bit
            k, stage = divmod(bit.bit_length() - 1, self.stages)
            at = self.homes[k][stage]
            one: Action = ((stage, "W", k),)
            later = state._replace(weights=state.weights ^ bit)
            work = min(self.w[at][stage], self.work_b[at][stage])
            yield self._after(later, one, (), self.w[at][stage], work, -self.costs.stages[stage].held)

    def _after(
        self, state: _State, action: Action, moved: tuple[int, ...], length: int, work: int, change: Fraction
    ) -> _Next:
        """Run an action as early as possible; ``moved`` are the microbatches that it advances by one step."""
        device = self.homes[action[0][2]][action[0][0]]
        end = max([state.free[device], *(state.ready[k] for k in moved)]) + length
        places, ready = list(state.places), list(state.ready)
        for k in moved:
            stage = self._stage(places[k])
            places[k] += 1
            other = self._stage(places[k]) if places[k] < self.last else stage
            ready[k] = end if other == stage else end + self.lags[k][min(stage, other)]
            if places[k] == self.last:
                ready[k] = 0
        free, left, levels = list(state.free), list(state.left), list(state.levels)
        free[device] = end
        left[device] -= work
        levels[device] += change
        after = _State(tuple(places), state.weights, tuple(free), tuple(ready), tuple(left), tuple(levels))
        return device, action, after
