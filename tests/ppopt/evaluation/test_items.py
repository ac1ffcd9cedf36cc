"""Schedules of microbatches that differ, against a replay of its own, known results, and the number of equal ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline, Schedule
from ppopt.commands.pages import write_report
from strategies.language.registry import all_strategies

MEASURED = json.loads((Path(__file__).parents[2] / "data" / "microbatches_that_differ.json").read_text())


class Replay:
    """A replay straight from the formulas, action by action; it shares no code with the one that it checks."""

    def __init__(self, mapping: dict[str, Any], schedule: Schedule) -> None:
        self.mapping, self.orders, self.layout = mapping, schedule.orders, schedule.layout
        self.parts = (schedule.pipeline.stages or 0) // mapping["stages"]  # an even cut of each stage
        self.stages = schedule.pipeline.stages or 0
        self.items = [each for each in mapping["microbatches"] for _ in range(each.get("count", 1))]

    def number(self, group: str, key: str, stage: int) -> Fraction:
        value = self.mapping[group][key]
        return Fraction(str(value[stage // self.parts] if isinstance(value, list) else value)) / self.parts

    def factors(self, item: int) -> tuple[Fraction, Fraction]:
        each, tokens = self.items[item], self.mapping["tokens"]
        if "documents" in each:
            lengths = each["documents"]
            return Fraction(sum(lengths), tokens), Fraction(sum(one**2 for one in lengths), tokens**2)
        size = Fraction(str(each.get("size", 1)))
        return size, Fraction(str(each.get("attention", each.get("size", 1))))

    def work(self, kind: str, stage: int, item: int) -> Fraction:
        size, attention = self.factors(item)
        share = self.mapping["times"]["attention"]
        share = Fraction(str(share[stage // self.parts] if isinstance(share, list) else share))
        forward, backward = (self.number("times", key, stage) for key in ("forward", "backward"))
        whole = backward * ((1 - share) * size + share * attention)
        to_weight = backward / 2  # W is half of the backward, and what I has no room for
        of_weight = max(Fraction(0), share * backward - backward / 2)
        weight = size * (to_weight - of_weight) + attention * of_weight
        return {
            "F": forward * ((1 - share) * size + share * attention),
            "B": whole,
            "I": whole - weight,
            "W": weight,
        }[kind]

    def lasts(self, ops: list[tuple[int, str, int]], device: int) -> Fraction:
        pace = Fraction(str(self.mapping["slowdown"].get(device, 1)))
        works = [self.work(kind, stage, item) for stage, kind, item in ops]
        saved = Fraction(str(self.mapping["overlap"])) * min(works) if len(works) == 2 else 0
        return pace * (sum(works) - saved) + Fraction(str(self.mapping["overhead"]))

    def lag(self, sender: int, item: int, here: int, there: int) -> Fraction:
        if here == there:
            return Fraction(0)
        given = self.mapping["communication"]
        size, _ = self.factors(item)
        return size * given["bytes"] / Fraction(given["bandwidth"]) + Fraction(str(given["latency"]))

    def run(self) -> tuple[Fraction, list[Fraction]]:
        """Return the makespan and the peak of each device."""
        ends: dict[tuple[int, str, int], Fraction] = {}
        changes: list[list[tuple[Fraction, bool, Fraction]]] = [[] for _ in self.orders]
        places, free = [0] * len(self.orders), [Fraction(0)] * len(self.orders)
        while any(place < len(order) for place, order in zip(places, self.orders, strict=True)):
            for device, order in enumerate(self.orders):
                while places[device] < len(order):
                    ops = [_parsed(each) for each in _halves(order[places[device]])]
                    waits = [each for op in ops for each in self.waits(op, device)]
                    if any(op not in ends for op, _ in waits):
                        break
                    start = max([free[device], *(ends[op] + lag for op, lag in waits)])
                    free[device] = start + self.lasts(ops, device)
                    for op in ops:
                        ends[op] = free[device]
                        changes[device].append(self.change(op, start, free[device]))
                    places[device] += 1
        peaks = []
        for each in changes:
            level, peak = Fraction(0), Fraction(0)
            for _, _, amount in sorted(each):
                level += amount
                peak = max(peak, level)
            peaks.append(peak)
        return max(free), peaks

    def waits(self, op: tuple[int, str, int], device: int) -> Iterator[tuple[tuple[int, str, int], Fraction]]:
        stage, kind, item = op
        if kind == "W":
            yield (stage, "I", item), Fraction(0)
        elif kind == "F" and stage:
            before = self.layout.device_of(stage - 1, item)
            yield (stage - 1, "F", item), self.lag(stage - 1, item, before, device)
        elif kind != "F":
            yield (stage, "F", item), Fraction(0)
            if stage < self.stages - 1:
                after = self.layout.device_of(stage + 1, item)
                split = any(f"{stage + 1}I{item}" in order for order in self.orders)
                yield (stage + 1, "I" if split else "B", item), self.lag(stage + 1, item, after, device)

    def change(self, op: tuple[int, str, int], start: Fraction, end: Fraction) -> tuple[Fraction, bool, Fraction]:
        stage, kind, item = op
        size, _ = self.factors(item)
        activation, held = (size * self.number("memory", key, stage) for key in ("activation", "held_for_weight"))
        if kind == "F":
            return start, True, activation
        return end, False, -{"B": activation, "I": activation - held, "W": held}[kind]


def _halves(action: str) -> list[str]:
    return action.removesuffix("OVERLAP_F_B").strip("()").split(";")


def _parsed(text: str) -> tuple[int, str, int]:
    kind = next(letter for letter in "FBIW" if letter in text)
    stage, item = text.split(kind)
    return int(stage), kind, int(item)


def drawn(seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    devices = draw.choice([2, 4])

    def some(low: int, high: int) -> Any:
        numbers = [draw.randint(low, high) / draw.choice([1, 2, 10]) for _ in range(devices)]
        return draw.choice([numbers, numbers[0]])

    listed: list[dict[str, Any]] = []
    while sum(each.get("count", 1) for each in listed) < 2 * devices:
        listed.append(
            draw.choice(
                [
                    {"count": draw.randint(1, 2)},
                    {"size": draw.randint(1, 30) / 10, "attention": draw.randint(1, 50) / 10},
                    {"size": draw.randint(1, 30) / 10},
                    {"documents": [draw.randint(1, 900) for _ in range(draw.randint(1, 3))], "count": 2},
                ]
            )
        )
    if sum(each.get("count", 1) for each in listed) % 2:
        listed.append({"size": 2})
    return {
        "devices": devices,
        "stages": devices,
        "microbatches": listed,
        "tokens": 1000,
        "times": {
            "forward": some(1, 9),
            "backward": some(5, 20),
            "attention": some(0, 1) if draw.random() < 0.3 else 0.25,
        },
        "overlap": draw.choice([0, 0.5]),
        "overhead": draw.choice([0, 0.25]),
        "slowdown": draw.choice([{}, {1: 1.5}]),
        "communication": {"bytes": draw.choice([0, 3]), "bandwidth": 4, "latency": draw.choice([0, 0.5])},
        "memory": {"activation": 4, "held_for_weight": draw.choice([0, 1, 4])},
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("family", range(30))
def test_every_schedule_equals_a_replay_of_its_own(family: int) -> None:
    ran = 0
    for seed in range(10 * family, 10 * family + 10):
        mapping = drawn(seed)
        pipeline = Pipeline.from_mapping(mapping)
        for name in all_strategies():
            try:
                schedule = ppopt.evaluate(pipeline, name, "graph")
            except InputError:
                continue  # it needs more microbatches, or deadlocks
            makespan, peaks = Replay(mapping, schedule).run()
            assert schedule.exact_makespan == makespan, (seed, name)
            assert list(schedule.figures.peaks) == peaks, (seed, name)
            assert not ppopt.violations(schedule.problem, schedule.rows)
            ran += 1
    assert ran > 100


def test_dynapipes_simulator_gives_the_same() -> None:
    rows = [row for row in MEASURED["golden_dynapipe_simulator"]["rows"] if row["schedule"] == "1F1B"]
    assert rows
    for row in rows:
        pipeline = Pipeline.from_mapping(
            {
                "devices": row["p"],
                "microbatches": [{"size": each} for each in row["multipliers"]],
                "times": {"forward": row["forward"], "backward": row["backward"]},
            }
        )
        assert ppopt.evaluate(pipeline, "1f1b").exact_makespan == Fraction(str(row["makespan"]))


def test_gpipe_takes_the_same_whatever_the_order() -> None:
    draw = random.Random(5)
    for _ in range(20):
        devices, sizes = draw.randint(1, 5), [draw.randint(1, 99) for _ in range(draw.randint(1, 9))]
        expected = 3 * sum(sizes) + (devices - 1) * 3 * max(sizes)
        for _ in range(3):
            draw.shuffle(sizes)
            pipeline = Pipeline.from_mapping(
                {
                    "devices": devices,
                    "microbatches": [{"size": each} for each in sizes],
                    "times": {"forward": 1, "backward": 2},
                }
            )
            assert ppopt.evaluate(pipeline, "gpipe").exact_makespan == expected


def test_cpsat_and_the_graph_give_the_same() -> None:
    for seed in range(4):
        pipeline = Pipeline.from_mapping(drawn(seed))
        for name in ("1f1b", "zb-h1", "interleaved", "1f1b-overlap"):
            one, other = (ppopt.evaluate(pipeline, name, engine) for engine in ("graph", "cpsat"))
            assert one.exact_makespan == other.exact_makespan


def test_a_page_names_their_number_and_says_that_it_has_no_sliders(tmp_path: Path) -> None:
    pipeline = Pipeline.from_mapping(drawn(3))
    found = ppopt.compare(pipeline, ["1f1b", "zb-h1"], optimize=False)
    page = tmp_path / "page.html"
    write_report(str(page), [found], ["items"], ["ppopt", "compare"])
    assert f"{pipeline.microbatches}, not all as measured" in page.read_text()
    assert any("no What if sliders" in note for note in found.notes)
    assert "not all as measured" in repr(pipeline)
