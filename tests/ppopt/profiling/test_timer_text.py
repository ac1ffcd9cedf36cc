"""Timer logs with other lines in between give the same times as without, or one clear line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppopt
from ppopt import InputError, Pipeline
from ppopt.profiling.timer_text import timers_in_text
from tests.evaluated import evaluated
from tests.examples import examples
from tests.ppopt.profiling.made_traces import COSTS

OTHERS = [
    "[2024-05-01 10:00:00] iteration        1/      10 | consumed samples: 64 | lm loss: 1.08E+01 |",
    "(min, max) time across ranks (ms):",
    "    forward-compute ................................: (1224.14, 1226.67)",
    "WARNING: forward-0-start is enabled, [nested {brackets",
    "Traceback (most recent call last):",
    "",
    "\N{SNOWMAN} 3, 4]",
]


def logs(steps: int = 3) -> list[dict[str, list[float]]]:
    """Return the logs of two ranks, with one list per timer."""
    mapping = {"devices": 2, "stages": 2, "microbatches": 3, "times": COSTS, "p2p_latency": 0.5}
    made = evaluated("1f1b", Pipeline.from_mapping(mapping))
    found: list[dict[str, list[float]]] = [{}, {}]
    names = {"F": "forward", "B": "backward"}
    for step in range(steps):
        for row in made.timeline.itertuples():
            for end, moment in (("start", row.start), ("end", row.end)):
                key = f"{names[row.op]}-{row.microbatch}-{end}"
                found[row.device].setdefault(key, []).append(100.0 * step + moment)
    return found


def by_step(log: dict[str, list[float]]) -> list[str]:
    """Write a log as lines, with one object per step and one entry per line."""
    lines: list[str] = []
    for step in range(3):
        entries = [f'"{key}": {values[step]!r}' for key, values in log.items()]
        lines += ["{", *(f"{entry}," for entry in entries[:-1]), entries[-1], "}"]
    return lines


def write(folder: Path, texts: list[str]) -> list[Path]:
    paths = [folder / f"rank{rank}.log" for rank in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ppopt.Profile:
    return ppopt.profile(write(tmp_path_factory.mktemp("plain"), [json.dumps(log) for log in logs()]))


@settings(max_examples=examples(25), deadline=None)
@given(st.data())
def test_other_lines_between_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, plain: ppopt.Profile, data: st.DataObject
) -> None:
    texts, others = [], []
    for log in logs():
        lines, added = [], 0
        for line in by_step(log):
            between = data.draw(st.lists(st.sampled_from(OTHERS), max_size=2))
            added += sum(1 for each in between if each)
            lines += [*between, line]
        texts.append("\n".join(lines) + data.draw(st.sampled_from(["", "\n", "\r\n"])))
        others.append(added)
    found = ppopt.profile(write(tmp_path_factory.mktemp("mixed"), texts))
    assert found.measurement.actions == plain.measurement.actions
    assert found.pipeline == plain.pipeline
    told = [note for note in found.notes if "skipped" in note]
    assert len(told) == sum(1 for count in others if count)
    assert all(f" {count} other line" in " ".join(told) for count in others if count)


@pytest.mark.parametrize("how", ["lines", "single quotes", "packed", "after", "before"])
def test_other_forms(how: str, tmp_path: Path, plain: ppopt.Profile) -> None:
    texts = []
    for log in logs():
        steps = [json.dumps({key: values[step] for key, values in log.items()}) for step in range(3)]
        whole = json.dumps(log)
        texts.append(
            {
                "lines": "\n".join(steps),
                "single quotes": "\n".join(steps).replace('"', "'"),
                "packed": "\n".join(steps),
                "after": f"{whole}\n{OTHERS[0]}\n",
                "before": f"{OTHERS[1]}\n{whole}",
            }[how]
        )
    paths = write(tmp_path, texts)
    if how == "packed":
        for path in paths:
            path.write_bytes(gzip.compress(path.read_bytes()))
    assert ppopt.profile(paths).measurement.actions == plain.measurement.actions


def refusal(tmp_path: Path, text: str) -> str:
    (tmp_path / "rank0.log").write_text(text)
    with pytest.raises(InputError) as caught:
        ppopt.profile(tmp_path / "rank0.log")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path / 'rank0.log'}: ")


ENTRIES = '{"forward-0-start": 0.25, "forward-0-end": 1.75, "backward-0-start": 2.5, "backward-0-end": 13.75}'


def test_a_log_that_is_cut_anywhere_never_gives_a_wrong_time(tmp_path: Path) -> None:
    path, whole = tmp_path / "rank0.log", json.loads(ENTRIES)
    refused = 0
    for length in range(len(ENTRIES)):
        path.write_text(ENTRIES[:length])
        try:
            found = timers_in_text(path)
        except InputError:
            refused += 1
            continue
        read = {} if found is None else found.content
        assert read == {key: [whole[key]] for key in read}
        assert found is None or found.notes == (f"{path}: its JSON is cut off; the timers before that were used",)
    assert refused > 20


def test_timers_of_several_ranks_in_one_file_are_refused(tmp_path: Path) -> None:
    for prefix in ("[rank{}]: ", "[default{}]:", "{}: "):
        lines = "\n".join(prefix.format(rank) + ENTRIES for rank in (0, 1, 0))
        assert refusal(tmp_path, lines) == "has timers of several ranks (0, 1 …); give one file for each rank"
    (tmp_path / "rank0.log").write_text("\n".join("[rank3]: " + ENTRIES for _ in range(2)))
    assert ppopt.profile(tmp_path / "rank0.log").measurement.devices == 1


@pytest.mark.parametrize("value", ["nan", "null", '"x"', "[1, nan]", "[1, [2]]", "1.2.3", "--1", "1e", "[1,,2]", "[]"])
def test_times_that_are_none(value: str, tmp_path: Path) -> None:
    told = refusal(tmp_path, "a log\n" + ENTRIES.replace("0.25", value))
    assert "line 2: forward-0-start has no complete time" in told or "has 0 starts and 1 ends" in told


def test_a_log_that_is_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ppopt.profiling.timer_text.LARGEST_LOG", 1000)
    assert "is larger than a timer log can be (1,000 bytes)" in refusal(tmp_path, "a log\n" * 1000 + ENTRIES)


def test_a_log_without_timers_is_no_trace(tmp_path: Path) -> None:
    assert "is not a trace: lexical error" in refusal(tmp_path, "\n".join(OTHERS[2:]))
    assert "is not a trace: parse error" in refusal(tmp_path, '{"a": 1}\nand so on')
