from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ppopt
from ppopt import InputError, Noise, Pipeline, Schedule
from ppopt.noise import under_noise as module
from ppopt.noise.luck import Cells, Luck
from ppopt.noise.under_noise import sampled_makespans, seconds_needed
from strategies.language.registry import all_strategies
from tests.evaluated import evaluated, pipeline

UNEVEN = {"forward": [1, 1, 1, 1.7], "backward_input": [1, 1.1, 1, 1.5], "backward_weight": [0.9, 0.8, 1, 1.4]}


def uneven(**more: object) -> Pipeline:
    return Pipeline.from_mapping({"devices": 4, "microbatches": 8, "times": UNEVEN, "p2p_latency": 0.1, **more})


def catalogue(costs: Pipeline) -> list[Schedule]:
    schedules = ppopt.compare(costs, optimize=False).schedules
    assert len(schedules) > 0.8 * len(all_strategies())
    return list(schedules)


def test_without_noise_every_schedule_is_its_exact_replay() -> None:
    for schedule in ppopt.under_noise(catalogue(uneven()), Noise(samples=4)):
        noise = schedule.noise
        assert noise is not None
        assert noise.mean == noise.low == noise.high == pytest.approx(schedule.makespan, rel=1e-15)
        assert noise.standard_error < 1e-12


@pytest.mark.parametrize("noise", [Noise(operation=0.05), Noise(operation=0.3), Noise(operation=0.1, device=0.1)])
def test_no_mean_is_below_the_makespan_without_noise_which_is_convex_in_its_times(noise: Noise) -> None:
    for schedule in ppopt.under_noise(catalogue(uneven(overlap=0.4)), noise):
        assert schedule.noise is not None
        assert schedule.noise.mean >= schedule.makespan - 4 * schedule.noise.standard_error
        assert schedule.noise.low <= schedule.noise.mean <= schedule.noise.high


def test_how_often_each_is_the_best_adds_up_to_all_draws_and_counts_what_fits() -> None:
    schedules = ppopt.under_noise(catalogue(uneven(memory={"limit": 5})), Noise(operation=0.2, samples=200))
    shares = [schedule.noise.best for schedule in schedules if schedule.noise]
    assert sum(share for share in shares if share is not None) == pytest.approx(1)
    may_win = [schedule.fits and not schedule.lacks_second_copy for schedule in schedules]
    assert [share is not None for share in shares] == may_win
    assert None in shares


def test_schedules_that_are_the_same_share_the_draws_that_they_win() -> None:
    twins = [evaluated("zb-h1", uneven()), evaluated("zb-h1", uneven()), evaluated("gpipe", uneven())]
    noises = [each.noise for each in ppopt.under_noise(twins, Noise(operation=0.1, samples=100))]
    assert [each.best for each in noises if each] == [0.5, 0.5, 0]


def test_one_device_varies_as_much_as_was_asked() -> None:
    times = {"forward": 1, "backward": 1e-9}
    alone = [evaluated("gpipe", pipeline(1, 1, stages=1, times=times))]
    drawn = sampled_makespans(alone, Noise(operation=0.2, samples=20_000))[0]
    assert drawn.std() / drawn.mean() == pytest.approx(0.2, rel=0.03)
    assert drawn.mean() == pytest.approx(1, rel=0.002)
    together = sampled_makespans(alone, Noise(operation=0.2, device=0.3, samples=20_000))[0]
    assert together.std() / together.mean() == pytest.approx(np.sqrt(1.04 * 1.09 - 1), rel=0.05)


def test_no_draw_changes_an_overhead() -> None:
    noise = Noise(operation=0.2, device=0.3, samples=200)
    plain, more = (
        sampled_makespans([evaluated("1f1b", pipeline(1, 5, stages=1, overhead=overhead))], noise)[0]
        for overhead in (0, {"forward": 2, "backward": 0.5})
    )
    assert more == pytest.approx(plain + 5 * 2.5)


def test_a_slow_device_slows_all_that_it_runs_and_nothing_else() -> None:
    schedule = evaluated("1f1b", pipeline(4, 64))
    every = sampled_makespans([schedule], Noise(device={2: 0.5}, samples=2000))[0]
    luck = Luck(Cells([4]), 64, 4, 0, range(2000), with_transfers=False).of_device(2)
    slower = luck > 0.5
    assert every[slower].min() > schedule.makespan
    fast = every[luck < -1]
    assert np.ptp(fast) < 0.05 * schedule.makespan  # the other times are unchanged


def test_a_stage_that_is_split_elsewhere_has_the_luck_of_its_halves() -> None:
    luck = Luck(Cells([2, 4, 3]), 2, 1, 7, range(20_000), with_transfers=False)
    whole, halves, thirds = (luck.of_kind("F", stages) for stages in (2, 4, 3))
    assert np.allclose(whole[0], (halves[0] + halves[1]) / np.sqrt(2))
    for numbers in (whole, halves, thirds, luck.of_kind("B", 3)):
        assert numbers.std(axis=-1) == pytest.approx(np.ones(numbers.shape[:2]), rel=0.03)
    assert abs(np.corrcoef(halves[0, 0], halves[1, 0])[0, 1]) < 0.03
    assert np.corrcoef(whole[0, 0], thirds[0, 0])[0, 1] == pytest.approx(np.sqrt(2 / 3), abs=0.03)
    assert np.allclose(luck.of_kind("B", 4), (luck.of_kind("I", 4) + luck.of_kind("W", 4)) / np.sqrt(2))


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = [evaluated("zb-v", uneven()), evaluated("dualpipe", uneven())]
    noise = Noise(operation=0.1, device=0.05, samples=50, seed=3)
    at_once = sampled_makespans(schedules, noise)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 2000)
    assert np.allclose(sampled_makespans(schedules, noise), at_once, rtol=1e-14)
    assert np.allclose(
        sampled_makespans(schedules, Noise(operation=0.1, device=0.05, samples=20, seed=3)), at_once[:, :20]
    )
    other = sampled_makespans(schedules, Noise(operation=0.1, device=0.05, samples=50, seed=4))
    assert not np.isclose(other, at_once).any()


def test_behind_the_deadline_there_is_one_batch_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 20 * 64)
    schedules = ppopt.under_noise([evaluated("1f1b", uneven())], Noise(operation=0.1), deadline=0.0)
    assert schedules[0].noise is not None
    assert schedules[0].noise.samples == 20
    assert schedules[0].notes[-1] == "only 20 of 1,000 draws were made: the time was up"
    assert seconds_needed(schedules, Noise(operation=0.1)) > 0


SPREAD = """key,stage,p10,median,p90,times
forward,0,0.9,1,1.3,50
forward,1,2,2,2,50
backward,0,1.9,2,2.1,50
backward,1,3.9,4,4.4,50
p2p_latency,,0.5,1,3,50
"""


@pytest.fixture
def spread(tmp_path: Path) -> Path:
    path = tmp_path / "spread.csv"
    path.write_text(SPREAD)
    return path


def test_measured_spreads_come_back(spread: Path) -> None:
    noise = Noise(spreads=ppopt.read_spreads(spread), samples=20_000)
    tiny = {"forward": 1e-9, "backward": 1e-9}
    forward = Pipeline.from_mapping({"devices": 2, "microbatches": 1, "times": tiny | {"forward": [1, 1e-9]}})
    drawn = sampled_makespans([evaluated("gpipe", forward)], noise)[0]
    assert np.percentile(drawn, [10, 50, 90]) == pytest.approx([0.9, 1, 1.3], rel=0.01)
    # the middle of the other cut's only stage lies on the second stage, which did not vary
    drawn = sampled_makespans([evaluated("gpipe", pipeline(1, 1, stages=1, times=tiny | {"forward": 1}))], noise)[0]
    assert drawn == pytest.approx(np.ones(20_000))


def test_transfers_vary_as_they_were_measured(spread: Path) -> None:
    noise = Noise(spreads=ppopt.read_spreads(spread), samples=20_000)
    tiny = {"forward": 1e-9, "backward": 1e-9}
    costs = Pipeline.from_mapping({"devices": 2, "microbatches": 1, "times": tiny, "p2p_latency": 1})
    drawn = sampled_makespans([evaluated("gpipe", costs)], noise)[0]  # one hop each way, independent
    single = np.random.default_rng(0).standard_normal((2, 200_000))
    expected = np.exp(single * np.where(single < 0, np.log(2), np.log(3)) / 1.2815515655446004).sum(axis=0)
    assert np.percentile(drawn, [10, 50, 90]) == pytest.approx(np.percentile(expected, [10, 50, 90]), rel=0.03)


def test_spreads_apply_to_blocks_and_halves(spread: Path) -> None:
    noise = Noise(spreads=ppopt.read_spreads(spread), samples=100)
    schedules = [evaluated(name, uneven()) for name in ("dualpipe", "zb-v", "1f1b-overlap")]
    assert all(schedule.noise for schedule in ppopt.under_noise(schedules, noise))
    spread.write_text(SPREAD + "overlapped_forward_backward,0,3,3,3,9\noverlapped_forward_backward,1,3,3,3,9\n")
    assert ppopt.under_noise(schedules, Noise(spreads=ppopt.read_spreads(spread), samples=10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,stage,p10,median\n", "p90 is missing"),
        (
            SPREAD.replace("0.9,1,1.3", "0.9,0.8,1.3"),
            "row 1: p10, median and p90 must satisfy p10 ≤ median ≤ p90; found 0.9, 0.8, 1.3",
        ),
        (SPREAD.replace("forward,0", "forwards,0"), "row 1: key: 'forwards' is not known; did you mean forward?"),
        (SPREAD.replace("forward,0", "forward,-1"), "row 1: stage: must be a whole number from 0; found '-1'"),
        (SPREAD.replace("1.3", "nan"), "row 1: p90: must be a finite number of at least 0; found 'nan'"),
        ("key,stage,p10,median,p90\n", "holds no spread"),
    ],
)
def test_files_of_spreads_with_mistakes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spread.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        ppopt.read_spreads(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_spreads_that_lack_a_time_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spread.yaml"
    path.write_text("- {key: forward, stage: 0, p10: 1, median: 1, p90: 1.5}\n")
    noise = Noise(spreads=ppopt.read_spreads(path))
    with pytest.raises(InputError, match="has no backward or backward_input of stage 0"):
        ppopt.under_noise([evaluated("1f1b", uneven())], noise)
    path.write_text("- 3\n")
    with pytest.raises(InputError, match="must be a list of rows"):
        ppopt.read_spreads(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operation": -0.1}, "noise: must be a coefficient of variation from 0 to 10"),
        ({"operation": 50.0}, "noise: must be a coefficient"),
        ({"device": {1: float("nan")}}, "noise_device: must be a coefficient"),
        ({"device": {-1: 0.1}}, "noise_device: must name a device by a whole number from 0; found -1"),
        ({"samples": 0}, "samples: must be a whole number from 1"),
        ({"seed": 1.5}, "seed: must be a whole number"),
    ],
)
def test_wrong_noise_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Noise(**arguments)  # type: ignore[arg-type]


def test_what_does_not_go_together_is_refused() -> None:
    schedule = evaluated("1f1b", pipeline(4, 8))
    with pytest.raises(InputError, match="there is no device 4; the devices are 0 to 3"):
        ppopt.under_noise([schedule], Noise(device={4: 0.1}))
    with pytest.raises(InputError, match="must have the same devices and microbatches"):
        ppopt.under_noise([schedule, evaluated("1f1b", pipeline(4, 9))], Noise())
    with pytest.raises(InputError, match=r"noise: must be a Noise; found 0\.05"):
        ppopt.under_noise([schedule], 0.05)  # type: ignore[arg-type]


def test_transfers_that_wait_are_refused() -> None:
    waiting = evaluated("1f1b", pipeline(4, 8, p2p="rendezvous"))
    with pytest.raises(InputError, match=r"^noise: needs transfers that wait for nothing .* found p2p: rend"):
        ppopt.under_noise([waiting], Noise(operation=0.1))


def test_the_robust_schedule_has_the_least_mean_of_those_met() -> None:
    costs = uneven(memory={"limit": 6})
    noise = Noise(operation=0.3, samples=400)
    plain = ppopt.optimize(costs, time_limit=2, workers=1)
    robust = ppopt.optimize(costs, time_limit=2, workers=1, robust=noise)
    means = [each.noise.mean for each in ppopt.under_noise([plain, robust], noise) if each.noise]
    assert means[1] <= means[0] * 1.002
    assert robust.fits
    assert robust.bound is not None
    assert robust.bound <= plain.makespan <= robust.makespan * (1 + 1e-9)
    assert any(note.startswith("robust: of the ") for note in robust.notes)
    with pytest.raises(InputError, match="robust: minimises the mean makespan"):
        ppopt.optimize(costs, robust=noise, objective="span")
