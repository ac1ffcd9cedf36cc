"""``ppopt estimate --gpus``: the ways to split GPUs, with a plan for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppopt.commands.printing import table_width, tell_files, wrapped
from ppopt.commands.reporting import command_line, load_page
from ppopt.process.whole_files import check_writable, written_whole
from reports.numbers import number, percent
from reports.table import aligned
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.estimation.assumptions import Assumptions
    from ppopt.estimation.counts import CountedModel
    from ppopt.estimation.shortlist import Shortlist, Shortlisted
    from ppopt.estimation.splits import Cluster

_TITLES = ("", "split", "mbatch", "schedule", "step", "bound", "tokens/s", "MFU", "memory")
_UNITS = ("", "", "", "", "ms", "ms", "", "", "GB")
DRAWN = 3
"""The best splits that a page shows in full."""


def list_splits(
    model: CountedModel,
    assumed: Assumptions,
    cluster: Cluster,
    *,
    config: str,
    output: str | None,
    report: str | None,
    form: str | None,
    framework: str | None,
    time_limit: float,
) -> Shortlist:
    """Find the shortlist and show it.

    Parameters
    ----------
    model, assumed, cluster
        As for `ppopt.estimation.shortlist.shortlist`.
    config : str
        What the user called the model.
    output, report : str or None
        The folder for layers files, and the page.
    form : {"table", "json"} or None
        What to print.
    framework : str or None
        The framework that must run the schedules.
    time_limit : float
        Seconds.
    """
    from ppopt.commands.progress_line import ProgressLine
    from ppopt.estimation.shortlist import shortlist

    folder = None if output is None else _folder(output)
    if report is not None:
        check_writable(report)
        load_page()
    with ProgressLine() as line:
        found = shortlist(
            model, assumed, cluster, title=config, framework=framework, time_limit=time_limit, say=line.say
        )
    click.echo(json.dumps(found.to_dict(), allow_nan=False) if form == "json" else _text(found))
    files = [] if folder is None else _hand_on(found, folder)
    if report is not None and found.found:
        _write_page(report, found)
    tell_files(form or "table", costs=files, report=[report] if report and found.found else [])
    return found


def _folder(output: str) -> Path:
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output: {output} is a file; with --gpus, name a folder for the layers files")
    return folder


def _text(found: Shortlist) -> str:
    lines = [wrapped(found.verdict, indent="")]
    if found.found:
        rows = [_row(each, is_best=place == 0) for place, each in enumerate(found.found)]
        lines += ["", *aligned([_TITLES, _UNITS, *rows], table_width())]
    return "\n".join(lines)


def _row(each: Shortlisted, *, is_best: bool) -> tuple[str, ...]:
    best = each.best
    return (
        "*" if is_best else "",
        each.split.name,
        str(each.split.microbatches),
        f"{best.name} v{best.stages_per_device}",
        number(best.makespan),
        number(float(best.bound)) if best.bound else "–",
        f"{each.tokens_per_second:,.0f}",
        percent(each.utilization),
        number(max(best.peak_memory), 4),
    )


def _hand_on(found: Shortlist, folder: Path) -> list[str]:
    """Write the layers files of the best splits, with their sizes."""
    from ppopt.estimation.shortlist import HANDED_ON

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output: {folder}: cannot be made: {error.strerror or error}") from None
    written = []
    for each in found.found[:HANDED_ON]:
        path = folder / f"{each.split.name}.yaml"
        with written_whole(path) as file:
            file.write(each.file.to_yaml())
        written.append(str(path))
    return written


def _write_page(path: str, found: Shortlist) -> None:
    """Write a page: all splits in words above the best, and the plans of the best few."""
    from ppopt.commands.pages import write_sections
    from ppopt.comparison.plan_section import plan_section

    sections = [plan_section(each.planning, each.split.name) for each in found.found[:DRAWN]]
    listed = [_sentence(each) for each in found.found]
    sections[0] = replace(sections[0], headline=found.verdict, reasons=[*listed, *sections[0].reasons])
    write_sections(path, sections, command_line())


def _sentence(each: Shortlisted) -> str:
    best = each.best
    memory = number(max(best.peak_memory), 4)
    return (
        f"{each.split.name}: {best.label}, a step of {number(best.makespan)} ms, "
        f"{each.tokens_per_second:,.0f} tokens/s, MFU {percent(each.utilization)}, {memory} GB."
    )
