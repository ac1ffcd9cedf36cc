"""Gathers and reductions beside computing: golden figures, PyTorch's passes, and a replay of its own."""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Iterator
from dataclasses import astuple
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import Pipeline, Schedule
from solver.problem import Block
from strategies.language.registry import all_strategies
from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.side_actions import SideOrder
from strategies.model.actions import Op
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "fsdp_unshard.json").read_text())
UNIFORM = {"times": {"forward": 2, "backward": 4}}
SIDES = ("UNSHARD", "RESHARD", "REDUCE_GRAD")
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install 'ppopt[torch]'"
)


def evaluated(strategy: str | Path, **mapping: Any) -> Schedule:
    return ppopt.evaluate(Pipeline.from_mapping(UNIFORM | mapping), strategy, engine="graph")


@pytest.mark.parametrize("row", GOLDEN["gathers"], ids=lambda row: f"resident {row['max_active']}")
def test_gathers_of_each_stage_are_those_of_pytorchs_issue(row: dict[str, Any]) -> None:
    sizes = {"devices": row["p"], "stages": row["p"] * row["v"], "microbatches": row["m"]}
    made = evaluated("interleaved", **sizes, sharding={"bytes": 6, "bandwidth": 3, "resident": row["max_active"]})
    assert made.gathers == row["per_stage"]
    assert made.to_dict()["gathers"] == row["per_stage"]
    assert made.to_dict()["gathered_bytes"] == [6 * number for number in row["per_stage"]]
    assert sum(made.to_dict()["gathers_by_device"]) == sum(row["per_stage"])


def test_stage_15_is_gathered_four_times_by_default_and_once_with_four_resident() -> None:
    for resident, times in ((3, 4), (4, 1)):
        sharding = {"all_gather": 1, "resident": resident}
        made = evaluated("interleaved", devices=4, stages=16, microbatches=16, sharding=sharding)
        assert made.gathers[15] == times


@pytest.mark.parametrize("row", GOLDEN["losses"], ids=lambda row: f"gather {row['g_over_F']} F")
def test_losses_by_resident_stages(row: dict[str, Any]) -> None:
    sizes = {"devices": row["p"], "stages": row["p"] * row["v"], "microbatches": row["m"]}
    free = evaluated("interleaved", **sizes)
    for resident, loss in row["loss_percent"].items():
        sharding = {"all_gather": 2 * row["g_over_F"], "reduce_scatter": 0, "resident": int(resident)}
        made = evaluated("interleaved", **sizes, sharding=sharding)
        assert round(100 * (made.makespan / free.makespan - 1), 1) == loss


# ------------------------------------------------------------------------------------------- PyTorch's own passes


def random_order(draw: random.Random) -> tuple[list[Op | Block], int]:
    """Draw the order of one device, some of it in blocks; and the number of microbatches."""
    stages, microbatches = draw.sample(range(24), draw.randint(1, 6)), draw.randint(1, 6)
    kinds = draw.choice(["FB", "FIW"])
    ops = [Op(stage, kind, number) for stage in stages for kind in kinds for number in range(microbatches)]
    draw.shuffle(ops)
    order: list[Op | Block] = []
    while ops:
        op = ops.pop()
        partner = next((each for each in ops if {each.kind, op.kind} in ({"F", "B"}, {"F", "I"})), None)
        if partner is not None and draw.random() < 0.4:
            ops.remove(partner)
            order.append(Block(*sorted((op, partner), key=lambda each: each.kind != "F")))
        else:
            order.append(op)
    return order, microbatches


@needs_torch
def test_a_hundred_random_orders_are_lowered_as_pytorch_lowers_them() -> None:
    from torch.distributed.pipelining import schedules as pytorch

    as_torch = pytorch._Action.from_str
    draw = random.Random(24)
    for _ in range(100):
        order, microbatches = random_order(draw)
        resident = draw.randint(1, 7)
        actions = [as_torch(str(each)) for each in order]
        shards = list(map(str, with_shards(order, resident)))
        assert shards == list(map(str, pytorch._add_unshard_reshard(actions, resident)))
        both = list(map(str, with_reduced_gradients(with_shards(order, resident))))
        sharded = pytorch._add_unshard_reshard(actions, resident)
        assert both == list(map(str, pytorch._add_reduce_grad(sharded, microbatches)))


# ------------------------------------------------------------------------------------------------ memory by hand


def test_memory_of_one_device_is_the_sum_written_by_hand() -> None:
    memory = {"activation": 1, "static": 10}
    sharding = {"all_gather": 1, "reduce_scatter": 2, "weights": 5, "gradients": 3}
    made = evaluated("gpipe", devices=1, stages=1, microbatches=2, memory=memory, sharding=sharding)
    # gather 0–1, F0 1–3, F1 3–5, B0 5–9, B1 9–13, reduction 13–15
    assert made.makespan == 15
    # static, weights, both activations; the gradients are there from the start of the first backward
    assert made.peak_memory == (10 + 5 + 2 + 3,)


def test_weights_of_two_stages_are_held_only_as_long_as_both_are_resident() -> None:
    common = {"devices": 1, "stages": 2, "microbatches": 1, "memory": {"activation": 1}}
    for resident, makespan, peak in ((1, 16, 7), (2, 13, 12)):
        sharding = {"all_gather": 1, "reduce_scatter": 0, "weights": 5, "resident": resident}
        made = evaluated("looped-bfs:stages=2", **common, sharding=sharding)
        # 1: 0 is gathered, F0; 1 is gathered, F1, B1; 0 is gathered again, B0; each time the other one is released
        # 2: 0 and 1 are gathered, one after the other, and F0 hides the second
        assert made.orders == [["0F0", "1F0", "1B0", "0B0"]]
        assert (made.makespan, made.peak_memory) == (makespan - 1 if resident == 1 else makespan, (peak,))


# --------------------------------------------------------------------------------------------- nothing else changes


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize(
    "transfers",
    [{}, *({"communication": {"transfer": 0.5}, "p2p": p2p} for p2p in ("links", "rendezvous", "batched"))],
    ids=["async", "links", "rendezvous", "batched"],
)
def test_what_costs_nothing_changes_nothing(transfers: dict[str, Any]) -> None:
    for strategy in all_strategies():
        sizes = {"devices": 4, "microbatches": 8, "memory": {"activation": 1, "limit": 100}, **transfers}
        plain = evaluated(strategy, **sizes)
        for free in (
            {"sharding": {"all_gather": 0, "resident": 1}},
            {"data_parallel": {"all_reduce": 0}},
            {"data_parallel": {"all_reduce": 0, "overlap": False}},
        ):
            made = evaluated(strategy, **sizes, **free)
            assert list(made.rows) == list(plain.rows), (strategy, free)
            assert (made.exact_makespan, made.exact_span) == (plain.exact_makespan, plain.exact_span)
            assert (made.peak_memory, made.busy) == (plain.peak_memory, plain.busy)


# -------------------------------------------------------------------------------------------------- data_parallel


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("strategy", ["1f1b", "interleaved", "zb-v", "dualpipe", "gpipe"])
def test_a_stages_gradients_are_reduced_after_its_last_backward(strategy: str, overlap: bool) -> None:
    made = evaluated(strategy, devices=4, microbatches=8, data_parallel={"all_reduce": 5, "overlap": overlap})
    assert made.sides is not None
    last: dict[tuple[int, int], int] = {}
    over = [0] * 4
    for row in made.rows:
        over[row.device] = max(over[row.device], row.end)
        if row.task.kind in "BW":
            last[row.device, row.task.stage] = max(last.get((row.device, row.task.stage), 0), row.end)
    free = [0] * 4
    for row in made.sides.beside.rows:
        device, action, _ = row.task
        ready = last.pop((device, action.stage)) if overlap else over[device]
        assert row.start == max(ready, free[device])
        free[device] = row.end
    assert not last or not overlap
    ticks = made.problem.ticks_per_unit
    assert made.makespan == max(*free, *over) / ticks
    assert made.makespan > evaluated(strategy, devices=4, microbatches=8).makespan


# ------------------------------------------------------------------------------------------------------ order files


@pytest.mark.parametrize("strategy", ["v-half", "interleaved", "zb-v", "zb-interleaved"])
@pytest.mark.parametrize("sharding", [{"resident": 1}, {"resident": 2, "lookahead": 1}, {"lookahead": "auto"}])
def test_an_exported_order_gathers_as_configured_and_replays_alike(
    tmp_path: Path, strategy: str, sharding: dict[str, Any]
) -> None:
    costs = {"all_gather": 3, "reduce_scatter": 2, "weights": 2, "gradients": 1}
    sizes = {"devices": 4, "stages": 8, "microbatches": 8}
    made = evaluated(strategy, **sizes, sharding=costs | sharding)
    ppopt.export(made, tmp_path / "o.csv", lowered=True, unshard=True)
    text = (tmp_path / "o.csv").read_text()
    assert text.count("UNSHARD") == sum(made.gathers)
    for other in (sharding, {"resident": 3}):  # the file says what is gathered when, whatever the configuration says
        again = evaluated(tmp_path / "o.csv", **sizes, sharding=costs | other)
        assert (again.makespan, again.peak_memory, again.gathers) == (made.makespan, made.peak_memory, made.gathers)
    waits = {"p2p": "rendezvous", "lowering": "given", "sharding": costs}
    assert evaluated(tmp_path / "o.csv", **sizes, **waits).gathers == made.gathers
    assert evaluated(tmp_path / "o.csv", **sizes).makespan == evaluated(strategy, **sizes).makespan


@pytest.mark.parametrize("devices", [1, 2])
def test_gathers_stand_alike_in_a_file_that_has_reductions_alone(tmp_path: Path, devices: int) -> None:
    sizes = {"devices": devices, "stages": 3 * devices, "microbatches": 3}
    sharding = {"all_gather": 3, "reduce_scatter": 2, "weights": 2, "gradients": 1, "resident": 2}
    made = evaluated("interleaved", **sizes, sharding=sharding)
    ppopt.export(made, tmp_path / "o.csv", lowered=True)
    again = evaluated(tmp_path / "o.csv", **sizes, sharding=sharding)
    assert (again.makespan, again.peak_memory, again.gathers) == (made.makespan, made.peak_memory, made.gathers)


def test_a_file_without_transfers_says_what_is_gathered_when(tmp_path: Path) -> None:
    file = tmp_path / "o.csv"
    rows = "0UNSHARD,0F0,0F1,0RESHARD,0UNSHARD,0B0,0B1,0RESHARD,0REDUCE_GRAD", "1UNSHARD,1F0,1B0,1F1,1B1,1RESHARD"
    file.write_text("\n".join(rows) + ",1REDUCE_GRAD\n")
    sharding = {"all_gather": 3, "reduce_scatter": 2, "weights": 2, "gradients": 1}
    made = evaluated(file, devices=2, stages=2, microbatches=2, sharding=sharding)
    assert made.gathers == [2, 1]
    assert made.to_dict()["resident"] is None
    # gather 0–3, F0 3–5, F1 5–7, gather 7–10; device 1: F0 5–7, B0 7–11, F1 11–13, B1 13–17; B0 11–15, B1 17–21
    assert made.makespan == 23
    compared = ppopt.compare(made.pipeline, [file], optimize=False)
    assert "resident" not in compared.verdict


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0RESHARD,0UNSHARD,0F0,0F1,0B0,0B1,0RESHARD", "0RESHARD has no 0UNSHARD before it"),
        ("0UNSHARD,0UNSHARD,0F0,0F1,0B0,0B1,0RESHARD", "0UNSHARD comes again before a RESHARD"),
        ("0F0,0UNSHARD,0F1,0B0,0B1,0RESHARD", "0F0 computes without its parameters: no 0UNSHARD is in force"),
        ("0UNSHARD,0F0,0F1,0B0,0B1", "0UNSHARD has no 0RESHARD behind it"),
        ("0UNSHARD,1UNSHARD,0F0,0F1,0B0,0B1,0RESHARD", "1UNSHARD is on the wrong device: stage 1 belongs to device 1"),
        ("0UNSHARD,0F0,0F1,0B0,0REDUCE_GRAD,0B1,0RESHARD", "0REDUCE_GRAD comes before 0B1"),
        ("0UNSHARD,0F0,0F1,0B0,0B1,0RESHARD,0REDUCE_GRAD,0REDUCE_GRAD", "0REDUCE_GRAD appears twice"),
    ],
)
@pytest.mark.parametrize("transfers", [False, True])
def test_faults_of_a_file_are_named(tmp_path: Path, row: str, message: str, transfers: bool) -> None:
    text = f"{row}\n1UNSHARD,1F0,1B0,1F1,1B1,1RESHARD\n"
    if "REDUCE" in row:
        text = text.replace("1RESHARD", "1RESHARD,1REDUCE_GRAD")
    if transfers:
        text = text.replace("0F0", "0F0,0SEND_F0")
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ppopt.InputError) as error:
        evaluated(tmp_path / "bad.csv", devices=2, stages=2, microbatches=2, sharding={"all_gather": 3})
    assert message in str(error.value)


def test_gathers_of_a_file_have_no_faults_where_nothing_is_gathered(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("0RESHARD,0F0,0B0,0REDUCE_GRAD\n1UNSHARD,1F0,1B0,1REDUCE_GRAD\n")
    sizes = {"devices": 2, "stages": 2, "microbatches": 1}
    made = evaluated(tmp_path / "bad.csv", **sizes, data_parallel={"all_reduce": 3})
    assert made.makespan == evaluated("1f1b", **sizes, data_parallel={"all_reduce": 3}).makespan


# ------------------------------------------------------------------------------------------------------ idle causes


@pytest.mark.parametrize("strategy", ["1f1b", "interleaved", "zb-v", "dualpipe", "looped-bfs"])
@pytest.mark.parametrize(
    "waits", [{}, {"p2p": "rendezvous", "communication": {"transfer": 1}}], ids=["async", "queues"]
)
def test_idle_causes_add_up_to_the_step_and_gathers_count_as_latency(strategy: str, waits: dict[str, Any]) -> None:
    sharding = {"all_gather": 3, "reduce_scatter": 2, "resident": 1}
    made = evaluated(strategy, devices=4, microbatches=8, sharding=sharding, **waits)
    ticks = made.problem.ticks_per_unit
    for device, idle in enumerate(made.waiting.devices):
        assert sum(astuple(idle)) == (made.makespan - made.busy[device]) * ticks
        assert min(astuple(idle)) >= 0
        assert idle.filling >= 3 * ticks  # the first gather is before the first computation
    assert ppopt.violations(made.problem_as_run, made.rows, memory=False) == []


def test_ladders_add_up_to_the_step_and_name_what_it_costs() -> None:
    sharding = {"all_gather": 3, "reduce_scatter": 2, "weights": 1, "resident": 1}
    mapping = {"devices": 4, "stages": 8, "microbatches": 8, "sharding": sharding, "step": {"after": 1}}
    compared = ppopt.compare(Pipeline.from_mapping(UNIFORM | mapping), optimize=False)
    assert len(compared.schedules) > 20
    for made, ladder in zip(compared.schedules, compared.ladders, strict=True):
        assert ladder.makespan == made.exact_makespan
        assert ladder.communication == made.exact_makespan - made.unhindered_makespan > 0
        assert ladder.order >= 0
        assert ladder.bound <= made.unhindered_makespan


def test_waiting_for_parameters_is_latency_not_order() -> None:
    sharding = {"all_gather": 1, "reduce_scatter": 0, "resident": 1}
    made = evaluated("looped-bfs:stages=2", devices=1, stages=2, microbatches=1, sharding=sharding)
    ticks = made.problem.ticks_per_unit
    # gathers of stage 0, 1 and 0 again: before 0F0, 1F0 and 0B0
    assert [each / ticks for each in astuple(made.waiting.devices[0])] == [1, 0, 2, 0, 0, 0]


# ----------------------------------------------------------------------------------------- a replay that shares nothing


class Replay:
    """Replays orders with gathers and reductions straight from rules S1 to S3."""

    def __init__(self, mapping: dict[str, Any], made: Schedule) -> None:
        self.mapping, self.made = mapping, made
        self.stages = made.pipeline.stages
        self.parts = Fraction(self.stages, mapping["stages"])  # of each given stage, if it is cut further
        self.beside = mapping.get("sharding") or mapping["data_parallel"]
        self.shards = "sharding" in mapping
        self.rows = [self.lowered(list(map(_halves, order)), device) for device, order in enumerate(made.orders)]
        self.split = any("I" in token for token in chain(*made.orders))

    def lowered(self, order: list[list[str]], device: int) -> list[list[str]]:
        """Write gathers, releases and reductions between computations."""
        stages = [[_parsed(op)[0] for op in ops] for ops in order]
        keep = self.beside.get("resident", 3)
        ahead = self.beside.get("lookahead", "full")
        ahead = min(keep, device + 2 if ahead == "auto" else keep if ahead == "full" else ahead)
        held: list[int] = []
        row: list[list[str]] = []
        for place, ops in enumerate(order):
            if self.shards:
                released = [stage for stage in held if stage not in _coming(stages[place:], keep)]
                row += [[f"{stage}RESHARD"] for stage in released]
                held = [stage for stage in held if stage not in released]
                wanted = [stage for stage in _coming(stages[place:], ahead) if stage not in held]
                row += [[f"{stage}UNSHARD"] for stage in wanted]
                held += wanted
            row.append(ops)
            if self.beside.get("overlap", True):
                row += self.reductions(order[place + 1 :], ops)
        if not self.beside.get("overlap", True):
            row += self.reductions([], list(chain(*order)))
        return row + [[f"{stage}RESHARD"] for stage in held]

    def reductions(self, later: list[list[str]], ops: list[str]) -> list[list[str]]:
        left = {_parsed(op)[0] for op in chain(*later) if _parsed(op)[1] in "BW"}
        done = [_parsed(op)[0] for op in ops if _parsed(op)[1] in "BW"]
        last = list(dict.fromkeys(reversed(done)))[::-1]
        return [[f"{stage}REDUCE_GRAD"] for stage in last if stage not in left]

    def cost(self, key: str, stage: int) -> Fraction:
        value = self.beside.get(key, 0)
        return _part(value, stage, self.parts)

    def run(self) -> tuple[Fraction, list[Fraction]]:
        """Return the length of the step and the peak of each device."""
        ends: dict[str, Fraction] = {}
        changes: list[list[tuple[Fraction, bool, Fraction]]] = [[] for _ in self.rows]
        places, free = [0] * len(self.rows), [Fraction(0)] * len(self.rows)
        streams: dict[tuple[int, str], Fraction] = {}
        gathered: dict[tuple[int, int], Fraction] = {}
        moved = True
        while moved:
            moved = False
            for device, row in enumerate(self.rows):
                while places[device] < len(row):
                    tokens = row[places[device]]
                    if tokens[0].endswith(SIDES):
                        self.step(tokens[0], device, free[device], streams, gathered, changes[device])
                    else:
                        waits = [each for op in tokens for each in self.waits(op, device)]
                        if any(op not in ends for op, _ in waits):
                            break
                        stages = {_parsed(op)[0] for op in tokens}
                        there = [gathered[device, stage] for stage in stages if self.shards]
                        start = max([free[device], *there, *(ends[op] + lag for op, lag in waits)])
                        free[device] = start + sum(self.lasts(op) for op in tokens)
                        ends |= dict.fromkeys(tokens, free[device])
                        changes[device] += [self.change(op, start, free[device]) for op in tokens]
                        changes[device] += self.gradients(tokens, places[device], row, start)
                    places[device] += 1
                    moved = True
        assert all(place == len(row) for place, row in zip(places, self.rows, strict=True))
        return max(*free, *streams.values()), [self.peak(device, each) for device, each in enumerate(changes)]

    def step(self, token: str, device: int, now: Fraction, streams: Any, gathered: Any, changes: Any) -> None:
        kind = next(kind for kind in SIDES if token.endswith(kind))
        stage = int(token.removesuffix(kind))
        own = not self.shards or self.beside.get("reduce_stream") == "own"
        stream = device, "reduce" if own and kind == "REDUCE_GRAD" else "gather"
        weights = self.cost("weights", stage)
        if kind == "RESHARD":
            changes.append((max(now, gathered[device, stage]), False, -weights))
            return
        start = max(now, streams.get(stream, Fraction(0)))
        if kind == "UNSHARD":
            gathered[device, stage] = streams[stream] = start + self.cost("all_gather", stage)
            changes.append((start, True, weights))
            return
        key = next(key for key in ("all_reduce", "reduce_scatter", "all_gather") if key in self.beside)
        streams[stream] = start + self.cost(key, stage)
        changes.append((streams[stream], False, -self.cost("gradients", stage)))

    def gradients(self, ops: list[str], place: int, row: list[list[str]], start: Fraction) -> Iterator[Any]:
        before = {_parsed(op)[0] for op in chain(*row[:place]) if not op.endswith(SIDES) and _parsed(op)[1] in "BW"}
        for stage in {_parsed(op)[0] for op in ops if _parsed(op)[1] in "BW"} - before:
            yield start, True, self.cost("gradients", stage)

    def lasts(self, op: str) -> Fraction:
        stage, kind, _ = _parsed(op)
        forward, backward = (_part(self.mapping["times"][key], stage, self.parts) for key in ("forward", "backward"))
        return {"F": forward, "B": backward, "I": backward / 2, "W": backward / 2}[kind]

    def waits(self, op: str, device: int) -> Iterator[tuple[str, Fraction]]:
        stage, kind, number = _parsed(op)
        if kind == "W":
            yield f"{stage}I{number}", Fraction(0)
        elif kind == "F" and stage:
            yield f"{stage - 1}F{number}", self.lag(stage - 1, number, device)
        elif kind != "F":
            yield f"{stage}F{number}", Fraction(0)
            if stage < self.stages - 1:
                others = (f"{stage + 1}{kind}{number}" for kind in "BI")
                other = next(each for each in others if any(each in _flat(row) for row in self.rows))
                yield other, self.lag(stage + 1, number, device)

    def lag(self, stage: int, number: int, device: int) -> Fraction:
        there = self.made.layout.device_of(stage, number)
        return Fraction(str(self.mapping["p2p_latency"])) if there != device else Fraction(0)

    def change(self, op: str, start: Fraction, end: Fraction) -> tuple[Fraction, bool, Fraction]:
        stage, kind, _ = _parsed(op)
        activation, held = (_part(self.mapping["memory"][key], stage, self.parts) for key in MEMORY)
        if kind == "F":
            return start, True, activation
        return end, False, -{"B": activation, "I": activation - held, "W": held}[kind]

    def peak(self, device: int, changes: list[tuple[Fraction, bool, Fraction]]) -> Fraction:
        static = _part(self.mapping["memory"]["static"], 0, self.parts)
        level = peak = static * len(self.made.layout.local_stages[device])
        for _, _, amount in sorted(changes):
            level += amount
            peak = max(peak, level)
        return peak


MEMORY = ("activation", "held_for_weight")


def _flat(row: list[list[str]]) -> set[str]:
    return set(chain(*row))


def _coming(stages: list[list[int]], number: int) -> list[int]:
    """List the next stages; both of a block come together."""
    found: list[int] = []
    for each in stages:
        for stage in each:
            if stage not in found and (len(each) > 1 or len(found) < number):
                found.append(stage)
        if len(found) >= number:
            break
    return found


def _part(value: Any, stage: int, parts: Fraction) -> Fraction:
    """Return the part of a stage, where given stages are cut evenly or equal stages are joined."""
    if isinstance(value, list):
        assert parts.denominator == 1
        value = value[stage // int(parts)]
    return Fraction(str(value)) / parts


def _halves(action: str) -> list[str]:
    return action.removesuffix("OVERLAP_F_B").strip("()").split(";")


def _parsed(text: str) -> tuple[int, str, int]:
    kind = next(letter for letter in "FBIW" if letter in text)
    stage, number = text.split(kind)
    return int(stage), kind, int(number)


FAMILIES = sorted(all_strategies())


def drawn(seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    devices = draw.choice([2, 4])

    def some(low: int, high: int) -> Any:
        numbers = [draw.randint(low, high) / draw.choice([1, 2, 10]) for _ in range(devices)]
        return draw.choice([numbers, numbers[0]])

    sharding = {
        "all_gather": some(0, 9),
        "reduce_scatter": some(0, 9),
        "weights": some(0, 9),
        "gradients": some(0, 9),
        "resident": draw.randint(1, 4),
        "lookahead": draw.choice(["full", "auto", 1, 2]),
        "reduce_stream": draw.choice(["same", "own"]),
    }
    if draw.random() < 0.3:
        del sharding["reduce_scatter"]
    beside = {"sharding": sharding}
    if draw.random() < 0.3:
        beside = {"data_parallel": {"all_reduce": some(0, 20), "overlap": draw.choice([True, False])}}
    return {
        "devices": devices,
        "stages": devices,
        "microbatches": draw.choice([4, 8]) * devices // 2,
        "times": {"forward": some(1, 9), "backward": some(2, 20)},
        "p2p_latency": draw.choice([0, 0.5, 2]),
        "memory": {"activation": some(10, 20), "held_for_weight": some(0, 1), "static": draw.choice([0, 3])},
        **beside,
    }


@pytest.mark.exhaustive(30)
@pytest.mark.parametrize("seed", range(150))
def test_times_and_peaks_equal_those_of_a_replay_that_shares_nothing(seed: int) -> None:
    mapping = drawn(seed)
    made = ppopt.evaluate(Pipeline.from_mapping(mapping), FAMILIES[seed % len(FAMILIES)], engine="graph")
    makespan, peaks = Replay(mapping, made).run()
    assert (made.makespan, made.peak_memory) == (float(makespan), tuple(map(float, peaks))), made.strategy


@pytest.mark.parametrize("seed", range(0, 150, 6))
def test_programs_and_the_graph_say_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline.from_mapping(drawn(seed))
    made = ppopt.evaluate(pipeline, FAMILIES[seed % len(FAMILIES)], engine="graph")
    monkeypatch.setattr(SideOrder, "as_one_problem", lambda *_: None)
    again = ppopt.evaluate(pipeline, FAMILIES[seed % len(FAMILIES)], engine="graph")
    assert list(made.rows) == list(again.rows)
    assert made.sides is not None
    assert again.sides is not None
    assert sorted(made.sides.beside.rows, key=str) == sorted(again.sides.beside.rows, key=str)
    assert made.peak_memory == again.peak_memory
