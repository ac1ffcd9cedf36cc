"""Finds the true optimum of a small pipeline by trying every order: no symmetry, no bound, no shared code."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import NamedTuple

from ppopt import Pipeline

Task = tuple[int, str, int]


class Action(NamedTuple):
    """A possible next action of a device: one task, a full backward, or a forward and a full backward together."""

    tasks: tuple[Task, ...]
    device: int
    duration: Fraction


def homes_of(placement: str, devices: int, stages: int) -> list[list[int]]:
    there, back = list(range(devices)), list(reversed(range(devices)))
    return {
        "linear": [there],
        "v": [there + back],
        "bidirectional": [there, back],
        "interleaved": [[stage % devices for stage in range(stages)]],
    }[placement]


def optimum(pipeline: Pipeline, placement: str, *, split: bool, overlap: bool) -> Fraction | None:
    """Return the least makespan; None if the memory is too small for any order."""
    return World(pipeline, placement, split, overlap).explored().best


class World:
    def __init__(self, pipeline: Pipeline, placement: str, split: bool, overlap: bool) -> None:
        self.pipeline = pipeline
        self.best: Fraction | None = None
        self.best_run: list[tuple[Action, Fraction]] = []
        self.run: list[tuple[Action, Fraction]] = []
        self.seen: dict[int, list[tuple[Fraction, ...]]] = {}
        homes = homes_of(placement, pipeline.devices, pipeline.stages or 0)
        self.static = [
            sum(
                (pipeline.costs[stage].static for way in homes for stage, home in enumerate(way) if home == device),
                Fraction(0),
            )
            for device in range(pipeline.devices)
        ]
        first = -(-pipeline.microbatches // len(homes))
        self.home = {
            (stage, microbatch): homes[0 if microbatch < first else 1][stage]
            for stage, microbatch in product(range(pipeline.stages or 0), range(pipeline.microbatches))
        }
        kinds = "FIW" if split else "FB"
        self.tasks: list[Task] = [(stage, kind, k) for stage, k in self.home for kind in kinds]
        self.bit = {task: 1 << place for place, task in enumerate(self.tasks)}
        self.waits = {task: self._waits(task) for task in self.tasks}
        self.actions = self._actions(split, overlap)

    def explored(self) -> World:
        devices = self.pipeline.devices
        self.explore(0, (Fraction(0),) * devices, {}, [Fraction(0)] * devices)
        return self

    def _waits(self, task: Task) -> list[tuple[Task, Fraction]]:
        stage, kind, k = task
        last = (self.pipeline.stages or 0) - 1
        back = "I" if (stage, "I", k) in self.bit_names else "B"
        if kind == "W":
            return [((stage, "I", k), Fraction(0))]
        if kind == "F":
            return [((stage - 1, "F", k), self._lag(stage - 1, stage, k))] if stage else []
        own = [((stage, "F", k), Fraction(0))]
        return own if stage == last else [*own, ((stage + 1, back, k), self._lag(stage, stage + 1, k))]

    @property
    def bit_names(self) -> set[Task]:
        return set(self.tasks)

    def _lag(self, stage: int, other: int, k: int) -> Fraction:
        if self.home[stage, k] == self.home[other, k]:
            return Fraction(0)
        given = self.pipeline.communication
        if given is None:
            return self.pipeline.p2p_latency
        transfer = given.transfer or Fraction(0)
        return given.latency + (transfer[min(stage, other)] if isinstance(transfer, tuple) else transfer)

    def _actions(self, split: bool, overlap: bool) -> list[Action]:
        costs = self.pipeline.costs
        single = {"F": "forward", "B": "backward", "I": "backward_input", "W": "backward_weight"}
        actions = [
            Action((task,), self.home[task[0], task[2]], getattr(costs[task[0]], single[task[1]]))
            for task in self.tasks
        ]
        wholes = {
            key: ((key[0], "I", key[1]), (key[0], "W", key[1])) if split else ((key[0], "B", key[1]),)
            for key in self.home
        }
        if split:
            actions += [Action(whole, self.home[key], costs[key[0]].backward) for key, whole in wholes.items()]
        if overlap:
            actions += [
                Action(((stage, "F", k), *whole), self.home[stage, k], self._block(stage, key[0]))
                for stage, k in self.home
                for key, whole in wholes.items()
                if self.home[key] == self.home[stage, k] and key != (stage, k)
            ]
        return actions

    def _block(self, stage: int, other: int) -> Fraction:
        """Return the duration of a block of a forward on one stage and a backward on another."""
        given = self.pipeline.times.overlapped_forward_backward
        if given is not None:
            return given[stage] if isinstance(given, tuple) else given
        forward, backward = self.pipeline.costs[stage].forward, self.pipeline.costs[other].backward
        longer, shorter = max(forward, backward), min(forward, backward)
        return longer + shorter * (1 - (self.pipeline.overlap or Fraction(0)))

    def explore(
        self, done: int, free: tuple[Fraction, ...], ends: dict[Task, Fraction], levels: list[Fraction]
    ) -> None:
        if self.best is not None and max(free) >= self.best:
            return
        if done == (1 << len(self.tasks)) - 1:
            self.best = max(free)
            self.best_run = list(self.run)
            return
        if self._dominated(done, free, ends):
            return
        for action in self.actions:
            start = self._start(action, done, free, ends)
            if start is None or not self._fits(action, levels):
                continue
            end = start + action.duration
            later = list(levels)
            later[action.device] += self._change(action)
            self.run.append((action, start))
            self.explore(
                done | sum(self.bit[task] for task in action.tasks),
                (*free[: action.device], end, *free[action.device + 1 :]),
                {**ends, **dict.fromkeys(action.tasks, end)},
                later,
            )
            self.run.pop()

    def _start(
        self, action: Action, done: int, free: tuple[Fraction, ...], ends: dict[Task, Fraction]
    ) -> Fraction | None:
        start = free[action.device]
        for task in action.tasks:
            if done & self.bit[task]:
                return None
            for before, lag in self.waits[task]:
                if before in action.tasks and (before[1], task[1]) == ("I", "W"):
                    continue
                if not done & self.bit[before]:
                    return None
                start = max(start, ends[before] + lag)
        return start

    def _fits(self, action: Action, levels: list[Fraction]) -> bool:
        limit = self.pipeline.limits[action.device]
        taken = sum(
            (self.pipeline.costs[stage].activation for stage, kind, _ in action.tasks if kind == "F"), Fraction(0)
        )
        return limit is None or self.static[action.device] + levels[action.device] + taken <= limit

    def _change(self, action: Action) -> Fraction:
        change = Fraction(0)
        for stage, kind, _ in action.tasks:
            cost = self.pipeline.costs[stage]
            held = cost.held_for_weight
            change += {"F": cost.activation, "B": -cost.activation, "I": held - cost.activation, "W": -held}[kind]
        return change

    def _dominated(self, done: int, free: tuple[Fraction, ...], ends: dict[Task, Fraction]) -> bool:
        """Return whether the same tasks were done before, with every device free and every result there no later."""
        ready = tuple(
            max(
                (ends[before] + lag for before, lag in self.waits[task] if done & self.bit[before]), default=Fraction(0)
            )
            for task in self.tasks
            if not done & self.bit[task]
        )
        vector = (*free, *ready)
        known = self.seen.setdefault(done, [])
        if any(all(old <= new for old, new in zip(other, vector, strict=True)) for other in known):
            return True
        known.append(vector)
        return False
