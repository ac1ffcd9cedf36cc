"""The order of feeding: the search's replay is the exact one, and what it finds is never worse than a rule's."""

from __future__ import annotations

import json
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline
from ppopt.feeding.feeding import search_feed, write_fed
from solver.search.feeding import Feeding
from tests.running import call_ppopt

NAMES = ("1f1b", "zb-h1", "interleaved", "1f1b-overlap", "dualpipe", "gpipe")


def pipeline(seed: int, number: int = 8, **more: Any) -> Pipeline:
    draw = random.Random(seed)
    sizes = [{"size": draw.randint(1, 30) / 10, "attention": draw.randint(1, 60) / 10} for _ in range(number)]
    costs: dict[str, Any] = {
        "devices": 4,
        "microbatches": sizes,
        "times": {"forward": [1, 2, 1.5, 1], "backward": 3, "attention": 0.25},
        "overhead": draw.choice([0, 0.25]),
        "slowdown": draw.choice([{0: 1}, {1: 1.5}]),
        "overlap": 0.5,
        "communication": {"bytes": 1, "bandwidth": 8, "latency": 0.25},
    }
    return Pipeline.from_mapping(costs | more)


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("name", NAMES)
def test_the_searchs_replay_is_the_exact_one(name: str) -> None:
    for seed in range(3):
        costs = pipeline(seed, memory={"limit": 5 + seed * 3})
        made = ppopt.evaluate(costs, name)
        for found in search_feed(made.pipeline, made.layout, made.actions):
            fed = ppopt.evaluate(costs.model_copy(update={"feed": found.feed}), name)
            assert fed.makespan == pytest.approx(found.makespan, rel=1e-9)
            assert fed.fits == found.fits


@pytest.mark.exhaustive(2)
@pytest.mark.parametrize("name", NAMES)
def test_the_best_is_never_worse_than_a_rule_and_keeps_the_limit(name: str) -> None:
    for seed in range(3):
        costs = pipeline(seed, memory={"limit": 9})
        best, pyramid, given = (
            ppopt.evaluate(costs.model_copy(update={"feed": feed}), name) for feed in ("best", "pyramid", "given")
        )
        rivals = [each.makespan for each in (pyramid, given) if each.fits]
        assert best.fits or not rivals
        assert all(best.makespan <= rival * (1 + 1e-12) for rival in rivals)


def test_of_few_microbatches_it_is_the_best_order() -> None:
    for seed in range(4):
        costs = pipeline(seed, number=4)
        least = min(
            ppopt.evaluate(costs.model_copy(update={"feed": feed}), "1f1b", "graph").exact_makespan
            for feed in permutations(range(4))
        )
        assert ppopt.evaluate(costs.model_copy(update={"feed": "best"}), "1f1b").exact_makespan == least


@pytest.mark.parametrize("overlap", [0.5, 1, 1.9])
def test_no_action_is_followed_by_less_than_its_tail(overlap: float) -> None:
    sizes = [{"size": 1 + each / 100} for each in range(10)]  # nearly alike, so that no action has much to spare
    for seed, times in enumerate(({"forward": 3, "backward": 3}, {"forward": [3, 2], "backward": [4, 2]})):
        costs = pipeline(seed, devices=2, microbatches=sizes, times=times, overlap=overlap)
        made = ppopt.evaluate(costs, "1f1b-overlap")
        fed = write_fed(made.pipeline, made.layout, made.actions)
        feeding = Feeding(fed, len(costs.items.classes), costs.items.of.tolist())
        for draw in range(20):
            found, last = feeding.makespan(random.Random(draw).sample(range(10), 10)), feeding._ends.max()
            assert found == pytest.approx(last), (seed, draw)
            assert (feeding._ends + fed.tail).max() <= last * (1 + 1e-9), (seed, draw)


def test_a_bound_stands_beside_it_and_the_same_seed_finds_the_same() -> None:
    costs = pipeline(3, number=12)
    made = ppopt.best_feed(costs, "1f1b", time_limit=1.0)
    assert made.bound is not None
    assert made.bound <= made.makespan
    assert any(note.startswith("feed: fed in the best order found") for note in made.notes)
    one, other = (ppopt.evaluate(costs.model_copy(update={"feed": "best"}), "1f1b") for _ in range(2))
    assert one.pipeline.feed == other.pipeline.feed


def test_slices_are_fed_together() -> None:
    listed = [{"documents": [length], "slices": 2} for length in (90, 30, 60, 10, 80)]
    costs = Pipeline.from_mapping(
        {
            "devices": 3,
            "tokens": 100,
            "microbatches": listed,
            "feed": "best",
            "times": {"forward": 1, "backward": 2, "attention": 0.5},
        }
    )
    made = ppopt.evaluate(costs, "seq1f1b")
    assert sorted(made.pipeline.items.feed) == [0, 1, 2, 3, 4]
    assert made.makespan <= ppopt.evaluate(costs.model_copy(update={"feed": "given"}), "seq1f1b").makespan
    assert not ppopt.violations(made.problem, made.rows)


def test_the_permutation_is_written_beside_the_order(tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.txt"
    lengths.write_text("4096 1200\n8192\n100,200,900\n5000\n")
    given = ("--lengths", str(lengths), "--tokens", "8192", "--time", "attention=0.25")
    order = tmp_path / "order.csv"
    done = call_ppopt("optimize", "--feed", "1f1b", *given, "--time-limit", "1", "--export", str(order))
    assert done.returncode == 0, done.stderr
    feed = json.loads((tmp_path / "order.feed.json").read_text())["feed"]
    assert sorted(feed) == [0, 1, 2, 3]
    config = tmp_path / "config.json"
    listed = [{"documents": each} for each in ([4096, 1200], [8192], [100, 200, 900], [5000])]
    times = {"forward": 1, "backward_input": 1, "backward_weight": 1, "attention": 0.25}
    mapping = {"devices": 4, "tokens": 8192, "microbatches": listed, "feed": feed, "times": times}
    config.write_text(json.dumps(mapping))
    again = call_ppopt("evaluate", str(order), "-c", str(config), "--format", "json")
    found = call_ppopt("optimize", "--feed", "1f1b", *given, "--time-limit", "1", "--format", "json")
    values = [json.loads(each.stdout)["schedules"][0]["makespan"] for each in (again, found)]
    assert values[0] == pytest.approx(values[1])


def test_feeding_that_cannot_be_searched_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1f1b: feed: best needs transfers that wait for nothing"):
        ppopt.evaluate(pipeline(1, feed="best", p2p="links"), "1f1b")
    alike = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "feed": "best"})
    assert ppopt.evaluate(alike, "1f1b").makespan == 15


def test_the_order_may_be_drawn_at_random_and_by_hand() -> None:
    costs = pipeline(1)
    one, other, again = (costs.model_copy(update={"feed": f"random:{seed}"}) for seed in (1, 2, 1))
    assert one.items.feed == again.items.feed != other.items.feed
    assert sorted(one.items.feed) == list(range(8))


def test_drawn_lengths_are_fed_in_three_ways(tmp_path: Path) -> None:
    draw = random.Random(2)
    lengths = tmp_path / "lengths.txt"
    lengths.write_text("".join(f"{draw.randint(1, 200)} {draw.randint(1, 90)}\n" for _ in range(30)))
    times = {"forward": 1, "backward": 2, "attention": 0.25}
    costs = Pipeline.from_mapping({"devices": 3, "microbatches": 6, "tokens": 100, "times": times})
    found = ppopt.under_lengths(costs, "1f1b", lengths, samples=20)
    assert [each.feed for each in found] == ["at random", "pyramid", "best"]
    at_random, by_size, best = found
    assert best.mean <= min(by_size.mean, at_random.mean)
    assert all(each.low <= each.mean <= each.high for each in found)
    assert found == ppopt.under_lengths(costs, "1f1b", lengths, samples=20)
    with pytest.raises(InputError, match="has 30 microbatches, and a step needs 31"):
        ppopt.under_lengths(costs.model_copy(update={"microbatches": 31}), "1f1b", lengths)


def test_lengths_that_are_all_the_same_give_the_exact_step(tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.json"
    lengths.write_text("[100, 100, 100, 100]")
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "tokens": 100, "step": {"after": 3}})
    found = ppopt.under_lengths(costs, "1f1b", lengths, samples=3)
    assert {each.mean for each in found} == {ppopt.evaluate(costs, "1f1b").makespan}
