"""How far a verdict holds: at every margin the lead changes, and nowhere else, as replays at other costs show."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import ppopt
from ppopt import InputError, Pipeline, Schedule
from ppopt.commands.cli import cli
from ppopt.comparison import margins as finding
from ppopt.comparison.margins import margins_of
from ppopt.noise.luck import Cells, Luck
from reports.charts.margins import margins_chart, margins_table
from reports.margins import Margin, Margins
from reports.page.section_view import SectionView
from solver.problem import Block
from solver.replay import timeline
from solver.sampled_replay import SampledReplay
from strategies.problem.dependencies import build_problem, split_as_in

TINY = Fraction(1, 10**7)
NAMES = ["1f1b", "zb-h1", "zb-v", "interleaved", "gpipe", "dualpipe", "dualpipe-v", "1f1b-overlap"]


def drawn(seed: int) -> Pipeline:
    """Draw a small pipeline: stages or layers, uneven or not, with latency, transfers, links, overhead or a limit."""
    draw = random.Random(seed)
    devices = draw.choice([2, 4])
    mapping: dict[str, Any] = {"devices": devices, "microbatches": draw.choice([4, 6, 8])}
    kind = draw.choice(["even", "uneven", "layers", "blocks"])
    if kind == "layers":
        times = {"forward": draw.randint(1, 5), "backward_input": 3, "backward_weight": draw.randint(1, 3)}
        head = {"name": "head", "count": 1, "forward": 4, "backward_input": 4, "backward_weight": 2}
        mapping["layers"] = [{"name": "block", "count": draw.choice([5, 12]), **times}, head]
    else:
        times = {"backward_input": draw.randint(2, 9), "backward_weight": draw.randint(1, 9)}
        forward = [draw.randint(3, 9) for _ in range(devices)] if kind == "uneven" else draw.randint(3, 9)
        mapping["times"] = {"forward": forward, **times}
        mapping["stages"] = devices
        mapping |= {"overlap": 0.5} if kind == "blocks" else {}
    mapping |= draw.choice(
        [
            {},
            {"p2p_latency": draw.choice([0.25, 1, 3])},
            {"communication": {"latency": 0.5, "transfer": 0.75}},
            {"communication": {"latency": 0.5, "transfer": 0.75}, "p2p": "links"},
        ]
    )
    mapping |= draw.choice([{}, {}, {"overhead": 0.25}, {"overhead": {"forward": 1, "backward": 0.5}}])
    if kind != "layers":
        mapping |= draw.choice([{}, {"memory": {"limit": devices}}])
    return Pipeline.from_mapping(mapping)


def contenders_of(pipeline: Pipeline) -> list[Schedule]:
    made = []
    for name in NAMES:
        try:
            made += ppopt.evaluate_all(pipeline, [name])
        except InputError:
            continue
    return sorted((each for each in made if each.fits), key=lambda each: (each.makespan, each.memory_taken))


def with_cost(pipeline: Pipeline, margin: Margin, value: Fraction) -> Pipeline:
    """Change the configuration to have a cost."""
    given = pipeline.communication
    if margin.cost == "overhead":
        if not margin.is_added:
            return pipeline.model_copy(update={"overhead": value})
        assert pipeline.overhead is not None
        kinds = ("forward", "backward", "backward_input", "backward_weight")
        return pipeline.model_copy(
            update={"overhead": {kind: getattr(pipeline.overhead, kind) + value for kind in kinds}}
        )
    if given is None:
        return pipeline.model_copy(update={"p2p_latency": value})
    key = "latency" if margin.cost == "latency" else "transfer"
    return pipeline.model_copy(update={"communication": given.model_copy(update={key: value})})


def replayed(schedule: Schedule, margin: Margin, value: Fraction) -> Fraction:
    """Replay an order as it stands at another cost."""
    pipeline = with_cost(schedule.pipeline, margin, value)
    problem = build_problem(pipeline, schedule.layout, split_as_in(schedule.actions))
    return Fraction(max(row.end for row in timeline(problem, schedule.actions)), problem.ticks_per_unit)


def spans(margins: Sequence[Margin], cost: str, end: float) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Yield who leads from where to where."""
    own = [each for each in margins if each.cost == cost]
    for one, other in pairwise([*own, None]):
        assert one is not None
        yield one.overtaken_by, Fraction(one.value), Fraction(end if other is None else other.value)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(20))
def test_the_lead_changes_at_every_margin_and_nowhere_else(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 200 random pipelines, replayed just below, just above, and between the margins."""
    monkeypatch.setattr(finding, "DRAWS", 2)
    seen: set[tuple[str, bool]] = set()
    for seed in range(10 * part, 10 * part + 10):
        pipeline = drawn(seed)
        ranked = contenders_of(pipeline)
        found = margins_of(ranked)
        assert not found.notes
        named = {each.strategy: each for each in reversed(ranked)}
        work = float(ranked[0].pipeline.ideal / pipeline.microbatches)
        assert found.margins.work == work
        costs = [each for each in found.margins.margins if each.cost != "noise"]
        for each in costs:
            seen.add((each.cost, each.is_added))
            value = Fraction(each.value)
            leader = named[each.leader]
            if not each.is_present:
                below = {name: replayed(one, each, value - TINY) for name, one in named.items()}
                assert below[each.leader] == min(below.values()), (seed, each)
            beyond = {name: replayed(one, each, value + TINY) for name, one in named.items()}
            assert beyond[each.overtaken_by] == min(beyond.values()) < beyond[leader.strategy], (seed, each)
        for each in {each.cost: each for each in costs}.values():
            for name, low, high in spans(costs, each.cost, work):
                for share in (Fraction(1, 3), Fraction(4, 5)):
                    value = low + share * (high - low)
                    all_there = [replayed(one, each, value) for one in ranked]
                    assert replayed(named[name], each, value) == min(all_there), (seed, each)
        for cost in found.margins.unchanged:
            if cost != "noise":
                as_if = Margin(cost, 0.0, "", "", 0.0, is_added=cost == "overhead" and found.margins.added)
                at_last = [replayed(one, as_if, Fraction(work)) for one in ranked]
                assert at_last[0] == min(at_last), (seed, cost)
    assert {cost for cost, _ in seen} >= {"overhead"}


@pytest.mark.slow
def test_noise_is_the_mean_of_the_same_draws_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "DRAWS", 4)
    checked = 0
    for seed in range(40):
        pipeline = drawn(seed)
        if pipeline.semantics == "links" or checked == 2:
            continue  # the replay in floats knows no links
        ranked = contenders_of(pipeline)[:4]
        margins = [each for each in margins_of(ranked).margins.margins if each.cost == "noise"]
        checked += bool(margins)
        first = pipeline
        cells = Cells(each.pipeline.stages or 1 for each in ranked)
        luck = Luck(cells, first.microbatches, first.devices, 0, range(finding.DRAWS), with_transfers=False)
        named = {each.strategy: each for each in reversed(ranked)}
        for each in margins:
            low = {name: mean_of(one, luck, each.value - 1e-5) for name, one in named.items()}
            high = {name: mean_of(one, luck, each.value + 1e-5) for name, one in named.items()}
            if not each.is_present:
                assert low[each.leader] <= min(low.values()) + 1e-9
            assert high[each.overtaken_by] <= min(high.values()) + 1e-9
            assert high[each.overtaken_by] < high[each.leader]
    assert checked == 2


def mean_of(schedule: Schedule, luck: Luck, variation: float) -> float:
    """Replay an order in floats, with each time multiplied by 1 + variation · luck, and take the mean."""
    replay, stages = SampledReplay(schedule.problem, schedule.actions), schedule.pipeline.stages or 1
    tasks = schedule.problem.tasks
    rows = []
    for action in replay.actions:
        ops: Any = action if isinstance(action, Block) else (action,)
        lengths = [tasks[op].duration for op in ops]
        parts = [luck.of_kind(op.kind, stages)[op.stage, op.microbatch] for op in ops]
        weighted = sum(part * length for part, length in zip(parts, lengths, strict=True)) / (sum(lengths) or 1)
        rows.append(1 + variation * np.rint(np.clip(weighted, -4, 4) * 1024) / 1024)
    makespans = replay.makespans(replay.durations[:, np.newaxis] * np.array(rows))
    return float(makespans.mean()) / schedule.problem.ticks_per_unit


UNIFORM = {"devices": 4, "microbatches": 8, "unit": "ms", "times": {"forward": 10, "backward": 20}}


def test_the_verdict_says_how_far_it_holds() -> None:
    made = ppopt.compare(Pipeline.from_mapping(UNIFORM), ["zb-v", "1f1b", "zb-h1"], optimize=False)
    first = next(each for each in made.margins if each.cost == "overhead")
    assert made.winner is not None
    assert first.leader == made.winner.strategy
    assert f"{first.leader} leads until an operation's overhead is {first.value:.4g}"[:50] in made.verdict
    assert f"% of F + B); beyond, {first.overtaken_by}." in made.verdict
    plain = json.loads(json.dumps(made.to_dict()))["margins"]
    assert plain[0] == {
        "cost": "overhead",
        "value": first.value,
        "leader": first.leader,
        "overtaken_by": first.overtaken_by,
    }
    assert sum(each["cost"] == "overhead" for each in plain) == len(made.reach.curves) - 1
    section = made.section()
    view = SectionView(section, 0)
    assert " ".join([view.lead, view.margin, view.frameworks]) == made.verdict
    assert [row[1:] for row in margins_table(section).rows] == [
        [each.leader, each.overtaken_by] for each in made.margins
    ]
    spec = margins_chart(section).to_dict()
    assert set(spec["layer"][1]["encoding"]["strokeDash"]["scale"]["domain"]) == {
        each.leader for each in made.margins if each.cost == "overhead"
    } | {each.overtaken_by for each in made.margins if each.cost == "overhead"}
    curve = made.reach.curves[0]
    assert curve.points[0] == (0, made.winner.makespan)


def test_the_sentences() -> None:
    margins = Margins(
        margins=(
            Margin("overhead", 1.73, "zb-v-auto", "zb-h1", 0.038),
            Margin("overhead", 9.5, "zb-h1", "1f1b", 0.21),
            Margin("latency", 2.5, "zb-v-auto", "1f1b", 0.055, is_added=True),
        ),
        unchanged=("noise",),
        most_noise=0.25,
        level=("a", "b", "c", "d", "e"),
        winner="zb-v-auto",
    )
    assert margins.sentences("ms") == (
        "zb-v-auto, a, b, c, d and 1 more are level, within 1%. "
        "zb-v-auto leads until an operation's overhead is 1.73 ms (3.80% of F + B); beyond, zb-h1. "
        "It leads until the latency is 2.5 ms more (5.50% of F + B); beyond, 1f1b. "
        "No noise up to 25% changes which schedule leads."
    )
    level = Margins((Margin("overhead", 0.0, "x", "y", 0.0, is_present=True),), ("latency", "noise"), 45.6, 0.25)
    assert level.sentences("") == (
        "y is as long as x, and leads with any more overhead. "
        "No latency up to F + B (45.6) and no noise up to 25% changes which schedule leads."
    )
    assert Margins().sentences("ms") == ""


def test_a_lead_among_level_schedules_is_no_end_of_the_verdict() -> None:
    """What ends it is a schedule that is not level, whoever of the level ones leads by then."""
    margins = Margins(
        margins=(
            Margin("overhead", 0.0, "x", "y", 0.0, is_present=True),
            Margin("overhead", 0.5, "y", "z", 0.01),
            Margin("overhead", 9.5, "z", "far", 0.21),
            Margin("latency", 2.5, "x", "far", 0.055),
            Margin("transfer", 0.5, "x", "y", 0.01),
            Margin("noise", 0.0, "x", "y", 0.0, is_present=True),
            Margin("noise", 0.0317, "y", "z", 0.0317),
        ),
        work=45.6,
        most_noise=0.25,
        level=("y", "z"),
        winner="x",
    )
    assert margins.sentences("") == (
        "x, y and z are level, within 1%. "
        "y is as long as x, and leads with any more overhead or noise. "
        "One of them leads until an operation's overhead is 9.5 (21.00% of F + B); beyond, far. "
        "x leads until the latency is 2.5 (5.50% of F + B); beyond, far. "
        "No transfer up to F + B (45.6) and no noise up to 25% gives the lead to one that is not level."
    )


def test_a_margin_of_noise_has_no_more_digits_than_a_few_draws_give() -> None:
    noise = [Margin("noise", value, "x", "y", value) for value in (0.18249, 0.0317, 0.002)]
    assert [each.where("ms") for each in noise] == [
        "times vary by about 18%",
        "times vary by about 3.2%",
        "times vary by about 0.2%",
    ]


def test_schedules_within_a_hundredth_are_level() -> None:
    made = ppopt.compare(Pipeline.from_mapping(UNIFORM), NAMES, optimize=False)
    assert made.winner is not None
    near = {each.strategy for each in made.contenders[1:] if each.makespan <= 1.01 * made.winner.makespan}
    assert {name for names in made.shown.reach.level for name in names.split(" = ")} == near - {made.winner.strategy}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"p2p": "rendezvous"}, "no margins: with p2p: rendezvous, the order of transfers depends on times"),
        ({"p2p": "batched"}, "no margins: with p2p: batched, the order of transfers depends on times"),
    ],
)
def test_where_times_decide_the_order_of_transfers_there_are_no_margins(more: dict[str, Any], reason: str) -> None:
    transfers = {"communication": {"transfer": 1}, **more}
    made = ppopt.compare(Pipeline.from_mapping(UNIFORM | transfers), ["1f1b", "gpipe"], optimize=False)
    assert made.margins == ()
    assert reason in made.notes
    assert "leads until" not in made.verdict


def test_one_schedule_alone_has_no_margins() -> None:
    made = ppopt.compare(Pipeline.from_mapping(UNIFORM), ["1f1b"], optimize=False)
    assert made.margins == ()
    assert made.to_dict()["margins"] == []
    assert made.notes == ()


def test_schedules_over_the_limit_take_no_part() -> None:
    limited = Pipeline.from_mapping(UNIFORM | {"memory": {"limit": 4}})
    made = ppopt.compare(limited, ["gpipe", "1f1b", "zb-h1"], optimize=False)
    assert not {"gpipe"} & {name for each in made.margins for name in (each.leader, each.overtaken_by)}


def test_time_that_is_up_leaves_margins_out_by_name() -> None:
    ranked = contenders_of(Pipeline.from_mapping(UNIFORM))
    found = margins_of(ranked, deadline=0.0)
    assert found.margins.margins == found.margins.unchanged == ()
    assert found.notes == ["not all margins of overhead, latency, noise were found: the time was up"]
    assert found.margins.level == margins_of(ranked).margins.level


def test_ctrl_c_keeps_the_margins_found_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    ranked = contenders_of(Pipeline.from_mapping(UNIFORM))
    whole = margins_of(ranked)
    monkeypatch.setattr(finding._Hop, "curve", press)
    found = margins_of(ranked)
    assert found.interrupted
    assert found.notes == ["not all margins of latency, noise were found: interrupted"]
    assert found.margins.margins == tuple(each for each in whole.margins.margins if each.cost == "overhead")


def test_margins_are_a_phase_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPOPT_DEBUG_CLOCK", "1")
    arguments = ["compare", "--devices", "2", "--microbatches", "4", "--strategies", "1f1b,zb-h1", "--no-optimize"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "clock: margins: had" in result.stderr
