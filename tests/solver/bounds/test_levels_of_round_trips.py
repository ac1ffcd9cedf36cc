"""In every schedule of a row, what `solver.bounds.round_trips` says of places and levels is true, job by job."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from tests.solver.bounds.test_round_trips import levels_after


@dataclass
class Trips:
    """A schedule of a row, drawn at random: the starts of F and I by device and job, those of W by job."""

    devices: int
    live: int
    jobs: int
    forward: int
    to_input: int
    to_weight: int
    latency: int

    def run(self, draw: random.Random) -> None:
        """Start what can start in a random order, now and then later than it could."""
        devices, jobs = range(self.devices), self.jobs
        self.f: list[list[int]] = [[] for _ in devices]
        self.i: list[list[int]] = [[] for _ in devices]
        self.w: list[int] = []
        free, slack = [0] * self.devices, draw.choice([0, 0, 1, 3])
        lasts = {"F": self.forward, "I": self.to_input, "W": self.to_weight}
        while len(self.w) < jobs:
            able = [each for each in self._able() if each[0] is not None]
            start, device, kind, to = min(
                able, key=lambda each: max(free[each[1]], each[0] or 0) + draw.random() * slack * self.forward
            )
            begin = max(free[device], start or 0) + (draw.randint(0, 9) if draw.random() < 0.1 * slack else 0)
            to.append(begin)
            free[device] = begin + lasts[kind]

    def _able(self) -> list[tuple[int | None, int, str, list[int]]]:
        """List what comes next of each kind on each device: its earliest start, None while it waits for another."""
        able: list[tuple[int | None, int, str, list[int]]] = []
        for d in range(self.devices):
            if len(self.f[d]) < self.jobs:
                able.append((self._after_forward(d), d, "F", self.f[d]))
            if len(self.i[d]) < self.jobs:
                able.append((self._after_input(d), d, "I", self.i[d]))
        if len(self.w) < self.jobs:
            able.append((_behind(self.i[0], len(self.w), self.to_input), 0, "W", self.w))
        return able

    def _after_forward(self, device: int) -> int | None:
        job = len(self.f[device])
        if device:
            return _behind(self.f[device - 1], job, self.forward + self.latency)
        return 0 if job < self.live else _behind(self.w, job - self.live, self.to_weight)

    def _after_input(self, device: int) -> int | None:
        job = len(self.i[device])
        if device == self.devices - 1:
            return _behind(self.f[device], job, self.forward)
        return _behind(self.i[device + 1], job, self.to_input + self.latency)


def _behind(starts: list[int], job: int, after: int) -> int | None:
    return starts[job] + after if job < len(starts) else None


def drawn(seed: int) -> Trips:
    draw = random.Random(seed)
    devices, latency = draw.randint(2, 6), draw.randint(0, 2)
    live, times = draw.randint(2, devices), (draw.randint(1, 9), draw.randint(1, 9))
    trips = Trips(devices, live, draw.randint(live, 5 * live), *times, 2 * latency + draw.randint(1, 8), latency)
    trips.run(draw)
    return trips


def hops_of(trips: Trips) -> tuple[int, int]:
    """Follow places and levels, and hold levels against phases; return how many hops out and back there were."""
    p, c, lag = trips.devices, trips.live, 2 * trips.latency
    place = trips.forward + trips.to_input + lag
    growth = min(trips.to_weight - lag, trips.forward)
    began = trips.f[0][0]

    def out(job: int, device: int) -> int:
        return trips.f[device][job] - device * (trips.forward + trips.latency) - began

    def back(job: int, device: int) -> int:
        least = trips.forward + (p - 1) * place
        return trips.i[device][job] + device * (trips.to_input + trips.latency) - least - began

    def at_its_end(job: int, other: int) -> int:
        after = job + c
        return (
            out(after, 0) - p * place - growth if after < trips.jobs else max(back(job, 0), out(other, 0) - p * place)
        )

    ends: list[int] = []
    levels, hops, returns = (-growth,) * c, 0, 0
    for job in range(trips.jobs):
        ends.append(ends[job - c] + p if job >= c else 0)
        here: list[int] = []
        real, any_back = {}, False
        for other in range(max(0, job - c + 1), job):
            met = sum(trips.i[d][other] < trips.f[d][job] for d in range(p))
            short = ends[other] + met - ends[job]
            ends[job] += max(0, short)
            ends[other] += max(0, -short)
            here += [job - other] * short
            any_back |= short < 0
            returns += max(0, -short)
            phase = back(other, p - 1 - met) if met < p else at_its_end(other, job)
            real[job - other] = phase - place * ends[other]
        real[0] = back(job, p - 1) - place * ends[job]
        hops += len(here)
        levels = levels_after(levels, tuple(here), place, lag, growth)
        assert list(levels) == sorted(levels)
        levels = tuple(level - lag * any_back for level in levels)
        assert all(level >= levels[distance] for distance, level in real.items()), (trips, job)
    return hops, returns


@pytest.mark.parametrize("block", range(4))
def test_levels_are_what_the_argument_says(block: int) -> None:
    hops, returns = zip(*(hops_of(drawn(seed)) for seed in range(200 * block, 200 * (block + 1))), strict=True)
    assert sum(hops) > 500
    assert sum(returns) > 20
