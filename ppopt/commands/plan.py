"""``ppopt plan``."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from ppopt.commands.finite_number import FINITE, SEED
from ppopt.commands.grouped_help import GroupedCommand
from ppopt.commands.pipeline_options import FOR, OPTION_NAMES, pipeline_options, read_with_strategies
from ppopt.commands.reporting import DEFAULTS, command_line, load_page, tell_internal_errors
from ppopt.process.time_limit import REPORTING, Afterwards
from solver.errors import InputError
from strategies.model.placements import PLACEMENTS

if TYPE_CHECKING:
    from ppopt.planning.plans import Planning
    from strategies.model.pipeline import Pipeline
    from strategies.order_files.given_order import Named

FREE_PLACEMENTS = (*(name for name, rule in PLACEMENTS.items() if rule.copies == 1), "all")
RECOMPUTATIONS = ("none", "per-stage", "uniform-k")
NOTHING_FOUND = 4
"""The exit status if the time was too short to find a plan."""

_EPILOG = (
    "Strategies are named as for `ppopt evaluate`, with options after a colon; a name that ends in .csv is an order of "
    "your own. The configuration must describe the model as layers (see docs/how-to/plan.md)."
)


@click.command(cls=GroupedCommand, epilog=_EPILOG)
@click.argument("orders", nargs=-1, metavar="[STRATEGY|FILE.csv]...")
@pipeline_options
@click.option("--strategies", "named", multiple=True, metavar="A,B,…|all", help="Schedules to cut for.  [default: all]")
@click.option(
    "--stages-per-device",
    "stages_per_device",
    metavar="1,2,4",
    help="Stages on each device.  [default: as each schedule requires, else 2, 3 and 4]",
)
@FOR
@click.option("--free", is_flag=True, help="Search for the order together with the cut.")
@click.option(
    "--placement", type=click.Choice(FREE_PLACEMENTS), help="Placements that --free searches.  [default: all]"
)
@click.option(
    "--full-backward",
    is_flag=True,
    help="With --free: keep backwards whole (B) instead of splitting them into I and W.",
)
@click.option(
    "--recompute",
    type=click.Choice(RECOMPUTATIONS),
    help="What may be recomputed: nothing, any number of layers of each stage, or the first k of every stage.  "
    "[default: per-stage with a memory limit]",
)
@click.option("--no-empty-stages", is_flag=True, help="Give every stage at least one layer.")
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    metavar="TEXT",
    help="A layout of your own to compare with, in the notation of Megatron, torchtitan or DeepSpeed.",
)
@click.option("--time-limit", type=FINITE, default=60.0, show_default=True, metavar="S", help="Seconds.")
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Threads.  [default: at most 2]")
@SEED
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--save", metavar="FILE.yaml", help="Write the best plan as a configuration.")
@click.option("--export-layout", is_flag=True, help="Print the best plan for Megatron, torchtitan and DeepSpeed.")
@click.option("--report", metavar="FILE.html", help="Write a page with the cuts, timelines and where the time goes.")
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    orders: tuple[str, ...],
    named: tuple[str, ...],
    stages_per_device: str | None,
    full_backward: bool,
    no_empty_stages: bool,
    form: str,
    save: str | None,
    export_layout: bool,
    report: str | None,
    **options: Any,
) -> None:
    """Find which layers go on which stage, within your memory, and prove that no other cut is better.

    The table shows, for each schedule and number of stages, the makespan of the best cut and a bound over all cuts.
    Ctrl-C ends the search with the best so far.
    """
    from ppopt.process.whole_files import check_outputs

    order = str(Path(save).with_suffix(".csv")) if save and options["free"] else None
    check_outputs(
        {"--save": save, "--save, its order": order, "--report": report},
        [options["config"], options["lengths"], *orders],
    )
    config, stages = options["config"], options["stages"]
    pipeline, names = _read(orders, named, {name: options.pop(name) for name in OPTION_NAMES})
    options |= {
        "stages_per_device": _stages_per_device(pipeline, stages, _numbers(stages_per_device)),
        "split_backward": not full_backward,
        "empty_stages": not no_empty_stages,
        "framework": options.pop("runs_for"),
    }
    if report is not None:
        load_page()
        options["afterwards"] = Afterwards(bounded=True, per_schedule=REPORTING)
    ends = perf_counter() + options["time_limit"]
    planning = _planned(pipeline, names, options)

    from ppopt.commands.plan_printing import save_plan, show_planning
    from ppopt.commands.printing import tell_files

    show_planning(planning, form, export_layout=export_layout)
    saved = [] if planning.best is None or save is None else save_plan(save, order, planning.best)
    if planning.best is not None and report is not None:
        _write_page(report, config, planning, ends)
    tell_files(form, plan=saved[:1], order=saved[1:], report=[report] if report and planning.best else [])
    tell_internal_errors(ctx, planning.internal_errors)
    if planning.best is None:
        ctx.exit(3 if planning.infeasible is not None else NOTHING_FOUND)


def _read(
    orders: tuple[str, ...], named: tuple[str, ...], options: dict[str, Any]
) -> tuple[Pipeline, tuple[Named, ...] | None]:
    """Read the model and the orders to cut it for; None for all."""
    from ppopt.commands.compare import split_strategies

    listed = [*orders, *(name for text in named for name in split_strategies(text))]
    if named and not listed:
        raise InputError(f"--strategies: must name at least one; found {named[0][:40]!r}")
    everything = any(name.strip().lower() == "all" for name in listed)
    if everything:
        listed = [name for name in listed if name.strip().lower() != "all"]
    pipeline, names = read_with_strategies(listed, **options)
    if everything:
        from strategies.language.registry import all_strategies

        names = tuple(dict.fromkeys([*names, *all_strategies()]))
    return pipeline, names if listed or everything else None


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdecimal() and len(part) < 10 and int(part) > 0):
            raise InputError(
                f"--stages-per-device: must be whole numbers of at least 1, such as 1,2,4; found {part[:40]!r}"
            )
    return list(map(int, parts))


def _stages_per_device(pipeline: Pipeline, stages: int | None, numbers: list[int] | None) -> list[int] | None:
    """Read ``--stages``, the number of stages for all schedules."""
    if stages is None:
        return numbers
    number = stages // pipeline.devices
    if numbers not in (None, [number]):
        raise InputError(
            f"--stages: {stages} are {number} on each of {pipeline.devices} devices, but --stages-per-device says "
            f"{','.join(map(str, numbers or ()))}; give one of the two"
        )
    return [number]


def _planned(pipeline: Pipeline, names: tuple[Named, ...] | None, options: dict[str, Any]) -> Planning:
    from ppopt.commands.progress_line import ProgressLine
    from ppopt.planning.planning import plan as plan_one

    with ProgressLine() as line:
        return plan_one(pipeline, names, **options, progress=line.show, on_phase=line.say, raise_infeasible=False)


def _write_page(path: str, config: str | None, planning: Planning, deadline: float) -> None:
    from ppopt.commands.pages import readable, write_sections
    from ppopt.comparison.plan_section import plan_section

    write_sections(path, [plan_section(planning, readable(config or DEFAULTS), deadline=deadline)], command_line())
