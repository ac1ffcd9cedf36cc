"""The verdict names the fastest schedule that each framework runs."""

from __future__ import annotations

import ppopt
from reports.page.sentences import frameworks
from tests.evaluated import pipeline


def test_it_names_the_fastest_of_each_framework() -> None:
    made = ppopt.compare(pipeline(4, 16), ["1f1b", "gpipe", "zb-h1", "dualpipe"], optimize=False)
    expected: dict[str, list[str]] = {}
    for name in ("deepspeed", "megatron", "primus", "pytorch", "zero-bubble"):
        best = min(
            (each for each in made.schedules if name in each.to_dict()["runs_in"]), key=lambda each: each.makespan
        )
        expected.setdefault(best.strategy, []).append(name)
    assert expected == {"1f1b": ["deepspeed", "megatron", "zero-bubble"], "zb-h1": ["primus", "pytorch"]}
    sentence = made.verdict.partition("Fastest of these by framework: ")[2]
    assert sentence == "primus and pytorch zb-h1; deepspeed, megatron and zero-bubble 1f1b (11.8% longer)."
    assert "dualpipe" not in sentence  # it lacks its second copy
    assert frameworks(made.section()) == f"Fastest of these by framework: {sentence}"


def test_it_says_where_nothing_of_a_framework_fits() -> None:
    made = ppopt.compare(pipeline(4, 16, memory={"limit": 3}), ["1f1b", "v-half"], optimize=False)
    assert made.verdict.endswith("deepspeed and megatron nothing that fits.")


def test_one_schedule_alone_has_no_such_sentence() -> None:
    assert "framework" not in ppopt.compare(pipeline(4, 16), ["1f1b"], optimize=False).verdict
