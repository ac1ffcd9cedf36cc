"""Sequences cut into slices: closed forms, published figures, what waits for what, and who cannot run them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import ppopt
from ppopt import InputError, Pipeline
from tests.running import call_ppopt

MEASURED = json.loads((Path(__file__).parents[2] / "data" / "sequence_slices.json").read_text())


def pipeline(devices: int, microbatches: int, slices: Any = None, *, attention: float = 0, **entry: Any) -> Pipeline:
    listed = {"count": microbatches, "documents": [4096]} | ({} if slices is None else {"slices": slices}) | entry
    return Pipeline.from_mapping(
        {
            "devices": devices,
            "tokens": 4096,
            "microbatches": [listed],
            "times": {"forward": 1, "backward": 2, "attention": attention},
        }
    )


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_the_closed_forms_of_equal_slices(devices: int) -> None:
    for microbatches in (2, 5, 16):
        for slices in (1, 2, 4, 8):
            made = ppopt.evaluate(pipeline(devices, microbatches, slices, cut="equal"), _name(slices))
            assert made.exact_makespan == 3 * (microbatches + Fraction(devices - 1, slices))
            held = [Fraction(min(devices - d - 1 + slices, microbatches * slices), slices) for d in range(devices)]
            assert list(made.figures.peaks) == held
            assert not ppopt.violations(made.problem, made.rows)


def _name(slices: int) -> str:
    return "seq1f1b" if slices > 1 else "1f1b"


@pytest.mark.parametrize("row", MEASURED["uneven"]["rows"][1:])
def test_uneven_costs_over_slices_of_equal_and_of_balanced_length(row: list[float]) -> None:
    slices, share, equal, balanced, whole = row
    costs = pipeline(8, 32, attention=share)
    for label, expected in (
        (f"seq1f1b:slices={slices},equal=1", equal),
        (f"seq1f1b:slices={slices}", balanced),
        ("1f1b", whole),
    ):
        assert ppopt.evaluate(costs, label).makespan / 96 == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", MEASURED["balanced_cuts"]["tokens"])
def test_published_cuts_are_balanced_to_within_two_per_cent(name: str) -> None:
    """The share of attention that makes the first two slices cost the same makes all of them."""
    length = int(name.split()[1])
    for tokens in MEASURED["balanced_cuts"]["tokens"][name].values():
        slices = [*tokens[:-1], length - sum(tokens[:-1])]
        first, second = slices[:2]
        # (1 − a)·x/L + a·pairs/L² is the same for both
        pairs = first**2, (first + second) ** 2 - first**2
        share = Fraction(first - second, length) / (
            Fraction(first - second, length) + Fraction(pairs[1] - pairs[0], length**2)
        )
        costs = pipeline_of(length, slices, share)
        mean = sum(costs) / len(costs)
        assert all(abs(cost / mean - 1) <= Fraction(2, 100) for cost in costs)
        ours = pipeline_of(length, len(slices), share)
        assert max(ours) / min(ours) <= 1 + Fraction(1, 1000)


def pipeline_of(length: int, slices: Any, share: Fraction) -> list[Fraction]:
    made = Pipeline.from_mapping(
        {
            "devices": 1,
            "stages": 1,
            "tokens": length,
            "microbatches": [{"slices": slices}],
            "times": {"forward": 1, "backward": 2, "attention": share},
        }
    )
    return [made.costs_by_class[each][0].forward for each in made.items.of]


def test_a_slice_waits_for_the_one_before_and_its_backward_for_the_one_after() -> None:
    made = ppopt.evaluate(pipeline(2, 2, 2), "seq1f1b")
    waits = {(str(before), str(after)) for before, after, _ in made.problem.precedences}
    assert {("0F0", "0F1"), ("1F2", "1F3"), ("0B1", "0B0"), ("1B3", "1B2")} <= waits
    assert ("0F1", "0F2") not in waits
    assert ("0B2", "0B1") not in waits


def test_others_run_whole_microbatches() -> None:
    cut, whole = pipeline(4, 8, 4, attention=0.25), pipeline(4, 8)
    for name in ("1f1b", "zb-h1", "interleaved", "dualpipe"):
        one, other = ppopt.evaluate(cut, name), ppopt.evaluate(whole, name)
        assert one.orders == other.orders
        assert one.exact_makespan == other.exact_makespan


def test_one_slice_each_is_1f1b() -> None:
    one, other = ppopt.evaluate(pipeline(4, 8), "seq1f1b"), ppopt.evaluate(pipeline(4, 8), "1f1b")
    assert one.orders == other.orders
    assert any("seq1f1b:slices=4 cuts them" in note for note in one.notes)


def test_an_order_that_ignores_what_slices_wait_for_deadlocks(tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    path.write_text("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n")
    with pytest.raises(InputError, match="deadlock"):
        ppopt.evaluate(pipeline(2, 1, 2), path)
    assert ppopt.evaluate(pipeline(2, 2), path).makespan > 0  # as whole microbatches


def test_slices_have_names_of_their_own_and_pytorch_cannot_run_them(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(pipeline(2, 2, 2).to_mapping()))
    drawn = call_ppopt("evaluate", "seq1f1b", "-c", str(config), "--draw", "--report", str(tmp_path / "page.html"))
    assert drawn.returncode == 0
    assert "F0.0" in drawn.stdout
    assert "B1.1" in drawn.stdout
    refused = call_ppopt("evaluate", "seq1f1b", "-c", str(config), "--export", str(tmp_path / "order.csv"))
    assert refused.returncode == 2
    assert "PyTorch runs whole microbatches" in refused.stderr
    made = ppopt.evaluate(pipeline(2, 2, 2), "seq1f1b")
    assert [framework.name for framework in made.runs_in] == ["zero-bubble"]


@pytest.mark.parametrize(
    ("strategy", "more", "message"),
    [
        ("seq1f1b:slices=2", {"microbatches": 4, "tokens": None}, "seq1f1b:slices: need tokens"),
        ("seq1f1b:slices=2", {"microbatches": [{"size": 2}]}, "seq1f1b:slices: need the documents"),
        ("seq1f1b:slices=20", {"microbatches": [{"documents": [10]}]}, "slices: must be at most the 10 tokens"),
        ("seq1f1b:equal=1", {"microbatches": [{"slices": 2}]}, "seq1f1b:equal: needs slices"),
        ("seq1f1b", {"microbatches": [{"slices": 2}, {}]}, "must all be cut into the same number of slices"),
    ],
)
def test_what_cannot_be_cut_says_so_in_one_line(strategy: str, more: dict[str, Any], message: str) -> None:
    costs = Pipeline.from_mapping(
        {"devices": 2, "tokens": 100, "times": {"forward": 1, "backward": 2}, "microbatches": 4} | more
    )
    with pytest.raises(InputError, match=message) as caught:
        ppopt.evaluate(costs, strategy)
    assert "\n" not in str(caught.value)


def test_a_comparison_tries_several_numbers_of_slices() -> None:
    found = ppopt.compare(pipeline(4, 8, 4, attention=0.5), optimize=False)
    names = {name for each in found.schedules for name in each.strategy.split(" = ")}
    assert {"1f1b", "interleaved", "seq1f1b", "seq1f1b:slices=8", "seq1f1b:slices=8,equal=1"} <= names
    whole = ppopt.compare(pipeline(4, 8), optimize=False)
    assert not any("seq1f1b" in each.strategy for each in whole.schedules)
    assert not any("seq1f1b" in name for name, _ in whole.left_out)
