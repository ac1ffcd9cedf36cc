from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ppopt
from ppopt.commands.pages import write_report
from ppopt.comparison.comparison import Comparison
from reports.charts.bubbles import bubble_sentence, bubble_table
from reports.charts.losses import (
    devices_sentence,
    devices_table,
    idle_sentence,
    idle_table,
    ladder_sentence,
    ladder_table,
)
from reports.charts.records import label
from reports.charts.trade import memory_sentence, memory_table
from reports.content import Section
from reports.page import page, sentences, tables
from reports.page.bundle import vega_script
from reports.page.page import embedded, write_page
from reports.page.timelines import folding
from solver.errors import InputError
from tests.evaluated import pipeline

# ---- the script that draws


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ppopt"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder))
        script = vega_script()
    (file,) = (folder / "ppopt").iterdir()
    return script, file.name


@pytest.fixture
def script(made_once: tuple[str, str]) -> str:
    return made_once[0]


@pytest.fixture
def file_name(made_once: tuple[str, str]) -> str:
    return made_once[1]


def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.page.bundle._bundled", lambda: pytest.fail("the script was made again"))


@pytest.fixture
def making(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stub the making of the script, which otherwise takes a second each time."""
    monkeypatch.setattr("reports.page.bundle._bundled", lambda: script)


@pytest.mark.usefixtures("making")
def test_the_script_is_made_once_and_then_read_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = vega_script()
    assert [file.suffix for file in cache.iterdir()] == [".js"]
    nothing_is_made(monkeypatch)
    assert vega_script() == made


def test_the_script_cannot_end_the_element_it_stands_in(script: str) -> None:
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "vegaEmbed" in script


@pytest.mark.usefixtures("making")
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "vegaEmbed" in vega_script()
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.usefixtures("making")
@pytest.mark.parametrize("damage", ["half", "empty", "not text"])
def test_a_damaged_cache_is_made_anew(
    cache: Path, script: str, file_name: str, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    cache.mkdir(parents=True)
    file, content = cache / file_name, script.encode()
    file.write_bytes({"half": content[: len(content) // 2], "empty": b"", "not text": b"\xff\xfe" + content}[damage])
    assert vega_script() == script
    assert file.read_bytes() == content
    nothing_is_made(monkeypatch)
    assert vega_script() == script


# ---- data in the page

TEXTS = st.text() | st.sampled_from(["</script>", "<!--", "<script", "\u2028\u2029", "]]>", "\ud83d\ude80"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_embedded_data_cannot_end_the_element_and_read_back_as_they_were(data: Any) -> None:
    text = embedded(data)
    assert "</" not in text
    assert "<" not in text
    assert not {"\u2028", "\u2029"} & set(text)
    assert json.loads(text) == data


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded([value])


# ---- the file


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return ppopt.compare(pipeline(2, 4), ["1f1b", "zb-h1", "gpipe"], optimize=False, engine="graph")


def test_a_full_disk_is_one_line_about_the_file(comparison: Comparison) -> None:
    if not Path("/dev/full").exists():  # pragma: no cover
        pytest.skip("there is no /dev/full on this system; Linux has it")
    with pytest.raises(InputError) as caught:
        write_report("/dev/full", [comparison], ["a"], ["ppopt"])
    assert re.fullmatch(r"/dev/full: cannot be written: [^\n]+", str(caught.value))


def test_a_page_that_cannot_be_written_whole_is_not_there_at_all(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(file: io.TextIOBase, *_: Any, **__: Any) -> None:
        file.write("<!doctype html>" + "x" * 100_000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "write_page", write_half)
    (tmp_path / "old.html").write_text("the page before")
    for name in ("new.html", "old.html"):
        with pytest.raises(InputError, match="No space left on device"):
            write_report(str(tmp_path / name), [comparison], ["a"], ["ppopt"])
    assert [file.name for file in tmp_path.iterdir()] == ["old.html"]
    assert (tmp_path / "old.html").read_text() == "the page before"


def test_a_folder_that_does_not_exist_is_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_report(str(tmp_path / "nowhere" / "page.html"), [comparison], ["a"], ["ppopt"])


def written(*shown: Section, command: str = "ppopt compare") -> str:
    file = io.StringIO()
    write_page(file, shown, command=command, version="1.2.3")
    return file.getvalue()


def test_one_configuration_gives_the_page_its_title(comparison: Comparison) -> None:
    text = written(comparison.section("some & <file>.yaml"))
    assert "<title>some &amp; &lt;file&gt;.yaml – pipeline schedules</title>" in text
    assert re.search(r"<h1>.*some &amp; &lt;file&gt;\.yaml", text)
    assert "<nav" not in text


def test_several_configurations_are_listed_with_their_verdicts(comparison: Comparison) -> None:
    shown = [comparison.section(title) for title in ("one.yaml", "two.yaml")]
    text = written(*shown)
    assert "<title>pipeline schedules compared</title>" in text.lower()
    items = re.findall(r'<li><a href="#section-(\d)">.*?</li>', text)
    assert items == ["0", "1"]
    assert text.count(sentences.verdict(shown[0])) == 4


def test_a_page_says_what_made_it(comparison: Comparison, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_report(str(file), [comparison], ["a"], ["ppopt", "compare", "-c", "a file.yaml"])
    text = file.read_text(encoding="utf-8")
    assert "ppopt compare -c &#39;a file.yaml&#39;" in text
    assert f'content="ppopt {ppopt.__version__}"' in text


def test_a_file_whose_name_is_not_text_can_be_a_title(comparison: Comparison, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    title = b"caf\xe9.yaml".decode("utf-8", "surrogateescape")
    write_report(str(file), [comparison], [title], ["ppopt", "compare", "-c", title])
    assert "caf" in file.read_text(encoding="utf-8")


def test_the_same_comparison_makes_the_same_page(comparison: Comparison) -> None:
    assert written(comparison.section("a")) == written(comparison.section("a"))


@pytest.mark.parametrize(("limit", "expected"), [(None, False), (100, False), (4, True)])
def test_the_ladders_table_says_that_a_limit_is_exceeded_only_where_it_is(limit: int | None, expected: bool) -> None:
    shown = of(["1f1b", "zb-h2"], memory={} if limit is None else {"limit": limit})
    assert any("exceeded" in row[-1] for row in ladder_table(shown).rows) == expected


def test_the_tables_have_a_row_for_each_schedule_and_a_cell_for_each_column() -> None:
    shown = of(["1f1b", "zb-h2", "dualpipe"], memory={"limit": 4})
    for make in (bubble_table, memory_table, ladder_table, idle_table):
        table = make(shown)
        assert [row[0] for row in table.rows] == [label(each) for each in shown.schedules]
        assert {len(row) for row in table.rows} == {len(table.header)}
    assert len(devices_table(shown).rows) == 3 * 4
    assert {len(row) for row in tables.numbers(shown)} == {len(tables.number_titles(shown))}


def test_devices_that_idle_alike_are_shown_at_equal_distances() -> None:
    assert folding(ppopt.evaluate(pipeline(16, 3), "1f1b").presented()) == ""
    shown = ppopt.evaluate(pipeline(40, 3), "1f1b")
    idle = f"{100 * shown.bubble_ratio:.2f}%"
    expected = f"16 of 40 devices, at equal distances; each of the 40 idles for {idle} of the step."
    assert folding(shown.presented()) == expected


# ---- sentences


def of(strategies: list[str], **more: Any) -> Section:
    sizes = {"devices": 4, "microbatches": 8} | more
    return ppopt.compare(pipeline(**sizes), strategies, optimize=False, engine="graph").section("t")


def all_sentences(shown: Section) -> Iterator[str]:
    for make in (bubble_sentence, memory_sentence, ladder_sentence, idle_sentence, devices_sentence):
        yield make(shown)


def test_a_winner_as_short_as_the_bound_is_proven() -> None:
    shown = of(["zb-h2", "1f1b"])
    shown = replace(shown, bound=shown.schedules[0].summary.figures.makespan)
    assert (
        sentences.verdict(shown)
        == "zb-h2 is the fastest, 18.2% shorter than 1f1b, and it is proven that none is shorter on these placements."
    )


def test_a_winner_that_fits_is_said_to_and_how_far_it_is_from_the_bound() -> None:
    shown = of(["1f1b", "gpipe"], memory={"limit": 8})
    best = shown.schedules[0].summary
    shown = replace(shown, bound=best.figures.makespan / 1.25)
    expected = f"{best.name} is the fastest of all and fits the memory limit, 25.00% above the proven bound."
    assert sentences.verdict(shown) == expected


def test_a_faster_one_over_the_limit_is_named_with_what_it_needs() -> None:
    shown = of(["1f1b", "zb-h2"], memory={"limit": 4})
    over, best = shown.schedules[1].summary, shown.schedules[0].summary
    assert (over.name, best.name) == ("zb-h2", "1f1b")
    peak = over.figures.peak_memory[0]
    verdict = sentences.verdict(shown)
    assert verdict.startswith(f"zb-h2 is the fastest of all, but needs {peak:g} of 4 on device 0; 1f1b is the fastest")
    assert "1 of 2 schedules fits the memory limit" in memory_sentence(shown)
    assert f"needs {peak:g} of 4 on device 0" in sentences.timeline(shown.schedules[1])


def test_where_nothing_fits_no_winner_is_named() -> None:
    shown = of(["1f1b", "gpipe"], memory={"limit": 0.5})
    assert shown.winner is None
    assert sentences.verdict(shown).startswith("No schedule fits the memory limit.")
    assert "0 of 2 schedules fit the memory limit" in memory_sentence(shown)
    assert all(all_sentences(shown))


def test_a_single_schedule_is_not_compared() -> None:
    shown = of(["1f1b"])
    row = shown.schedules[0].summary
    assert sentences.verdict(shown).startswith("1f1b is the fastest")
    expected = f"1f1b leaves {100 * row.figures.bubble_ratio:.2f}% of the device time idle."
    assert bubble_sentence(shown) == expected
    for text in all_sentences(shown):
        assert not re.search(r"\b(all|of 1 schedules|than 1f1b)\b.*schedule", text), text


def test_schedules_that_idle_alike_are_said_to() -> None:
    assert bubble_sentence(of(["1f1b", "gpipe"], devices=1)) == "All schedules leave 0.00% of the device time idle."


def test_devices_that_never_wait_are_said_to() -> None:
    shown = of(["1f1b"], devices=1)
    assert idle_sentence(shown) == "The devices of 1f1b never wait."
    assert "1f1b loses nothing" in ladder_sentence(shown)


def test_without_schedules_there_is_still_a_verdict() -> None:
    empty = Section("t", {"devices": 2, "microbatches": 2}, [])
    assert sentences.verdict(empty) == "No schedule fits this pipeline."
    assert "No schedule fits this pipeline." in written(empty)


def test_every_sentence_names_the_numbers_of_its_winner() -> None:
    shown = of(["1f1b", "zb-h1", "dualpipe"], p2p_latency=0.5, memory={"static": 1})
    best = shown.schedules[0]
    idle = 100 * best.summary.figures.bubble_ratio
    assert f"{best.summary.name} leaves {idle:.2f}%" in bubble_sentence(shown)
    assert f"devices of {best.summary.name} idle {idle:.2f}% of the step" in idle_sentence(shown)
    timeline = sentences.timeline(best)
    assert timeline.startswith(f"Makespan {best.summary.figures.makespan:g}, {idle:.2f}% idle")
    assert f"peak memory {max(best.summary.figures.peak_memory):g}" in timeline
    for text in all_sentences(shown):
        assert re.fullmatch(r".+[.]", text)
        assert best.summary.name in text
