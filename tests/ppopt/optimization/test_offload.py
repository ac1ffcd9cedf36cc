"""Searches with copies to the host: nothing that exceeds the memory is shown as the best, and no bound is too high."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InfeasibleError, InputError, Pipeline, Schedule, TimeTooShortError
from tests.every_copy import Costs, Replay, Token, best_with_copies
from tests.running import call_ppopt

FOUR = {
    "devices": 4,
    "microbatches": 8,
    "times": {"forward": 1, "backward_input": 1, "backward_weight": 1},
    "memory": {"activation": 1, "limit": 2},
    "offload": {"time": 1.6},
}


def drawn(chance: random.Random, devices: int, microbatches: int) -> Costs:
    def numbers(low: int, high: int) -> list[Fraction]:
        return [Fraction(chance.randint(low, high)) for _ in range(devices)]

    return Costs(
        devices,
        microbatches,
        forward=numbers(1, 3),
        backward=numbers(1, 4),
        activation=numbers(1, 2) if chance.random() < 0.3 else [Fraction(1)] * devices,
        limit=Fraction(chance.randint(2, 2 * microbatches), 2),
        offload=Fraction(chance.randint(0, 4), 2),
        back=Fraction(chance.randint(0, 4), 2),
        share=Fraction(chance.choice([1, 2]), 2),
        streams=chance.choice(["one", "two"]),
        latency=Fraction(chance.choice([0, 0, 1, 2])),
    )


def tokens(made: Schedule) -> list[list[Token]]:
    assert made.sides is not None
    return [[(each.stage, each.kind, each.microbatch) for each in row] for row in made.sides.order.rows]  # type: ignore[union-attr, misc]


def searched(costs: Costs, *, offload: bool) -> Schedule | None:
    """Search, and check the result by another replay; None if nothing is found."""
    pipeline = Pipeline.from_mapping(costs.mapping)
    try:
        made = ppopt.optimize(pipeline, split_backward=False, time_limit=1, workers=1, offload=offload)
    except TimeTooShortError:
        return None
    replay = Replay(costs, tokens(made))
    assert replay.makespan == made.exact_makespan
    assert replay.peaks == list(made.figures.peaks)
    assert replay.fits
    return made


def check_against_all(costs: Costs, best: Fraction | None, *, offload: bool) -> Schedule | None:
    if best is None:
        with pytest.raises((InfeasibleError, TimeTooShortError)):
            ppopt.optimize(Pipeline.from_mapping(costs.mapping), time_limit=1, workers=1, offload=offload)
        return None
    made = searched(costs, offload=offload)
    if made is None:
        assert not offload
        return None
    assert made.proven is not None
    assert made.proven <= best <= made.exact_makespan
    assert made.status == ("optimal" if made.exact_makespan == made.proven else "feasible")
    return made


@pytest.mark.parametrize(
    ("devices", "microbatches", "count"),
    [
        (2, 2, 20),
        pytest.param(2, 2, 200, marks=pytest.mark.slow),
        pytest.param(3, 2, 30, marks=pytest.mark.slow),
        pytest.param(2, 3, 6, marks=pytest.mark.slow),
    ],
)
def test_no_choice_of_copies_is_better_and_no_bound_is_too_high(devices: int, microbatches: int, count: int) -> None:
    as_good = 0
    for seed in range(count):
        costs = drawn(random.Random(f"{devices} {microbatches} {seed}"), devices, microbatches)
        best = best_with_copies(costs)
        made = check_against_all(costs, best, offload=True)
        as_good += best is None or (made is not None and made.exact_makespan == best)
    assert as_good >= 0.9 * count


@pytest.mark.parametrize(("microbatches", "count"), [(3, 6), pytest.param(3, 60, marks=pytest.mark.slow)])
def test_copies_by_rule_fit_and_no_bound_is_too_high(microbatches: int, count: int) -> None:
    copies = 0
    for seed in range(count):
        chance = random.Random(f"rule {microbatches} {seed}")
        costs = drawn(chance, 2, microbatches)._replace(latency=Fraction(chance.randint(2, 4)))
        made = check_against_all(costs, best_with_copies(costs, lead=2), offload=False)
        copies += made is not None and any(made.offloaded)
    assert copies


def test_copies_are_chosen_where_the_rule_takes_longer() -> None:
    pipeline = Pipeline.from_mapping(FOUR)
    by_rule, chosen = (ppopt.optimize(pipeline, time_limit=2, workers=1, offload=each) for each in (False, True))
    without = ppopt.optimize(pipeline.model_copy(update={"offload": None}), time_limit=1, workers=1)
    assert chosen.makespan < min(by_rule.makespan, without.makespan)
    assert max(chosen.peak_memory) <= 2
    assert chosen.bound is not None
    assert without.bound is not None
    assert chosen.bound < without.bound  # what copies allow is no longer excluded
    count = sum(chosen.offloaded)
    assert chosen.to_dict()["offloaded"] == {
        "activations": count,
        "share_of_activations": count / 32,
        "by_stage": chosen.offloaded,
    }
    assert any(f"copies {count} of 32 activations to the host and back: " in note for note in chosen.notes)


def test_nothing_is_copied_where_all_fits() -> None:
    free = {**FOUR, "memory": {"activation": 1, "limit": 8}}
    made = ppopt.optimize(Pipeline.from_mapping(free), time_limit=4, workers=1, offload=True)
    assert made.status == "optimal"
    assert made.offloaded == [0, 0, 0, 0]


def test_a_bound_on_the_span_counts_only_what_stays() -> None:
    """Without copies, two microbatches at a time are in flight, and the span is 37 at least; with them it is less."""
    tight = {**FOUR, "offload": {"time": 1}}
    made = ppopt.optimize(Pipeline.from_mapping(tight), objective="span", time_limit=1, workers=1, offload=True)
    assert made.proven is not None
    assert made.proven <= made.exact_span < 37


def test_a_start_that_fits_with_its_own_copies_is_never_beaten_by_its_search() -> None:
    mapping = {
        **FOUR,
        "stages": 8,
        "memory": {"activation": 1, "limit": 6},
        "offload": {"time": 0.75, "streams": "two", "share": [1] * 4 + [0] * 4},
    }
    pipeline = Pipeline.from_mapping(mapping)
    start = ppopt.evaluate(pipeline, "pipeoffload:stages=8")
    assert start.fits
    for starts in ((), (start,)):
        made = ppopt.optimize(pipeline, placement="interleaved", time_limit=0, workers=1, starts=starts)
        assert made.fits
        assert made.makespan <= start.makespan


V = {**FOUR, "devices": 1, "stages": 2, "microbatches": 1, "offload": {"time": 1, "share": [1, 0.25]}}


@pytest.mark.parametrize(("limit", "fits"), [(4.9, False), (5, True), (6.9, True), (7, True)])
def test_what_is_copied_away_needs_no_room_beside_the_next_stage(limit: float, fits: bool) -> None:
    """Stage 0 (2) is away while stage 1 (5) is computed; without copies both are there."""
    pipeline = Pipeline.from_mapping({**V, "memory": {"activation": [2, 5], "limit": limit}})
    if fits:
        made = ppopt.optimize(pipeline, placement="interleaved", time_limit=1, workers=1, offload=True)
        assert made.peak_memory[0] <= limit
        return
    with pytest.raises(
        InfeasibleError, match=r"at least 5 for one microbatch of stages 0 and 1, although all that can"
    ):
        ppopt.optimize(pipeline, placement="interleaved", time_limit=1, workers=1, offload=True)


def test_the_status_tells_what_is_proven(tmp_path: Path) -> None:
    def run(limit: float, *more: str, **other: Any) -> Any:
        mapping = {**V, "memory": {"activation": [2, 5], "limit": limit}, **other}
        (tmp_path / "c.json").write_text(json.dumps(mapping))
        options = ["--placement", "interleaved", "--time-limit", "1", "--workers", "1"]
        return call_ppopt("optimize", "-c", "c.json", *options, *more, cwd=tmp_path)

    assert run(5, "--offload").returncode == 0
    undecided = run(5)  # the rule copies nothing where so few are in flight
    assert undecided.returncode == 4
    assert undecided.stderr.splitlines()[-1] == (
        "no schedule found on the interleaved placement that fits the memory limit with its copies: the closest holds "
        "7 on device 0, and the limit is 5; --offload chooses what is copied"
    )
    assert run(4, "--offload").returncode == 3
    refused = run(5, "--offload", offload=None)
    assert refused.returncode == 2
    assert "offload: chooses what is copied" in refused.stderr


def test_a_choice_needs_a_time_of_copies() -> None:
    pipeline = Pipeline.from_mapping({**FOUR, "offload": None})
    with pytest.raises(InputError, match=r"^offload: chooses what is copied"):
        ppopt.optimize(pipeline, offload=True, time_limit=1)


COMPARED = {**FOUR, "times": {"forward": 1, "backward": 2}, "memory": {"limit": 3}}


def test_a_comparison_lets_its_search_choose_what_is_copied() -> None:
    pipeline = Pipeline.from_mapping(COMPARED)
    copied, lengths = [], []
    for offload in (False, True):
        made = ppopt.compare(pipeline, ["1f1b"], placement="linear", offload=offload, time_limit=4, workers=1)
        (found,) = [each for each in made.schedules if each.is_searched]
        assert found.fits
        copied.append(sum(found.offloaded))
        lengths.append(found.makespan)
    assert copied[1] < copied[0]
    assert lengths[1] <= lengths[0]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"offload": None}, {}, r"offload: chooses what is copied to the host, so the configuration must say"),
        (
            {},
            {"optimize": False},
            r"offload: chooses the copies of a search, and there is none; allow it \(",
        ),
        ({}, {"framework": "megatron"}, r"offload: chooses the copies of any order, and .* loads none"),
        ({}, {"offload": "yes"}, r"offload: must be True or False; found 'yes'"),
    ],
)
def test_a_comparison_refuses_a_choice_of_copies_where_none_can_be_made(
    changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    pipeline = Pipeline.from_mapping({key: value for key, value in {**COMPARED, **changes}.items() if value})
    with pytest.raises(InputError, match=message):
        ppopt.compare(pipeline, ["1f1b"], **{"offload": True, "time_limit": 1, **options})
