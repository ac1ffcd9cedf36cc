"""``ppopt frontier``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.finite_number import FINITE, SEED
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.optimize import PLACEMENTS_OR_ALL
from ppopt.commands.pipeline_options import FOR, OPTION_NAMES, pipeline_options, read_pipeline
from ppopt.commands.reporting import DEFAULTS, command_line, load_page, tell_internal_errors
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.memory_frontier.frontier_result import Frontier


@click.command(cls=GroupedCommand)
@pipeline_options
@click.option(
    "--placement", type=click.Choice(PLACEMENTS_OR_ALL), default="all", show_default=True, help="Placements to search."
)
@FOR
@click.option("--overlap", is_flag=True, help="Let any forward run in one block with any full backward on its device.")
@click.option("--offload", is_flag=True, help="Add the curve with copies, as offload in the configuration describes.")
@click.option("--limits", default="auto", show_default=True, metavar="A,B,…|auto", help="Memory limits to search at.")
@click.option("--points", type=click.IntRange(1, 1000), metavar="N", help="Number of limits to choose.  [default: 12]")
@click.option("--time-limit", type=FINITE, default=100.0, show_default=True, metavar="S", help="Seconds in total.")
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", help="Searches to run at once.  [default: one for each core]"
)
@SEED
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--save", metavar="FILE.json", help="Keep the results; if the file exists, continue from it.")
@click.option("--report", metavar="FILE.html", help="Write a page with the curve and all timelines.")
@click.option(
    "--chart",
    "charts",
    metavar="FILE.png|svg",
    multiple=True,
    help="Write the curve as an image for a slide, such as frontier.svg.",
)
@click.option("--from", "low", metavar="MEMORY", help="With --to: mark in the image what more memory saves.")
@click.option("--to", "high", metavar="MEMORY", help="The greater memory limit.")
@click.pass_context
def frontier(
    ctx: click.Context,
    /,
    *,
    limits: str,
    points: int | None,
    form: str,
    save: str | None,
    report: str | None,
    charts: tuple[str, ...],
    low: str | None,
    high: str | None,
    **options: Any,
) -> None:
    """Find what memory buys: the shortest step for each memory limit, with a proven bound.

    Published schedules are shown for comparison. Ctrl-C ends the search and keeps the results so far.
    """
    if points is not None and limits.strip().lower() != "auto":
        raise InputError("--points: lets ppopt choose limits, but --limits names them; give one of the two")
    if not charts and (low is not None or high is not None):
        raise InputError(f"--{'to' if low is None else 'from'}: marks memory limits in an image; add --chart FILE.svg")
    _check_files(save, report, charts, options["config"])
    pipeline, _ = read_pipeline(**{name: options[name] for name in OPTION_NAMES})
    if report is not None:
        load_page()

    from ppopt.commands.printing import show_frontier, tell_files
    from ppopt.commands.progress_line import ProgressLine
    from ppopt.memory_frontier.find import find_frontier
    from ppopt.memory_frontier.limits import POINTS, read_pair

    names = ("placement", "overlap", "offload", "time_limit", "workers", "seed")
    searched = {name: options[name] for name in names}
    with ProgressLine() as line:
        try:
            compared = read_pair(low, high)
            found, keep = find_frontier(
                pipeline,
                limits=limits,
                points=POINTS if points is None else points,
                save_to=save,
                on_progress=line.say_at_times,
                shown_afterwards=report is not None,
                framework=options["runs_for"],
                compared=compared or (),
                **searched,
            )
        except InputError as error:
            raise InputError(_with_option(str(error))) from None
    show_frontier(found, form)
    keep()
    _write_files(found, options["config"] or DEFAULTS, report, charts, compared)
    tell_files(form, saved=[] if save is None else [save], chart=charts, report=[] if report is None else [report])
    tell_internal_errors(ctx, found.internal_errors)


def _with_option(message: str) -> str:
    """Replace the argument's name in a message by the option's."""
    if message.startswith("framework: "):
        return f"--for: {message.removeprefix('framework: ')}"
    return f"--{message}" if message.startswith(("limits:", "points:", "from:", "to:", "offload:")) else message


def _check_files(save: str | None, report: str | None, charts: tuple[str, ...], config: str | None) -> None:
    """Refuse, before any work is done, files that cannot be written."""
    from ppopt.commands.pages import check_picture
    from ppopt.process.whole_files import check_outputs

    numbered = {f"--chart{f' ({place})' if place > 1 else ''}": path for place, path in enumerate(charts, 1)}
    check_outputs({"--save": save, "--report": report, **numbered}, [config])
    for path in charts:
        check_picture(path)


def _write_files(
    found: Frontier,
    title: str,
    report: str | None,
    charts: tuple[str, ...],
    compared: tuple[Fraction, Fraction] | None,
) -> None:
    if report is None and not charts:
        return
    from ppopt.commands.pages import readable, write_frontier, write_picture

    if report is not None:
        write_frontier(report, found, title, command_line())
    for path in charts:
        write_picture(path, found.slide(readable(Path(title).stem) if title != DEFAULTS else "", compared))
