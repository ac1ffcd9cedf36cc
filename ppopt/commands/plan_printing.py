"""The output and files of ``ppopt plan``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from ppopt.commands.printing import as_csv, table_width, together, wrapped
from ppopt.planning.plans import ComparedLayout, Plan, Planning, Unplanned
from ppopt.process.whole_files import written_whole
from ppopt.schedules.export import export
from reports.numbers import grouped, percent, with_unit
from reports.plan_table import PlanRow, plan_table
from strategies.given_model.stages import with_own_stages
from strategies.layouts.frameworks import FRAMEWORKS, planned_for
from strategies.model.communication import WAITING
from strategies.model.numbers import in_one_line

_NESTED = ("torchtitan_parts", "cannot_express", "megatron_options", "reasons", "notes")
"""Figures left out of CSV rows."""


def show_planning(planning: Planning, form: str, *, export_layout: bool) -> None:
    """Print plans: a table, JSON or CSV on standard output, notes on standard error."""
    notes = [(plan.label, note) for plan in planning for note in (*plan.notes, *plan.schedule.notes)]
    for note in together(notes, lambda name, note: f"{name}: {note}"):
        click.echo(f"note: {note}", err=True)
    for layout, reason in planning.layouts_left_out:
        click.echo(f"note: --layout {layout}: was not compared: {reason}", err=True)
    if planning.interrupted:
        click.echo("note: the search was interrupted; these are the best plans found so far", err=True)
    if form == "json":
        click.echo(json.dumps(planning.to_dict(), allow_nan=False))
    elif form == "csv" and planning.plans:
        click.echo(as_csv([_flat(plan) for plan in planning]), nl=False)
    elif form == "table" and planning.plans:
        click.echo(_text(planning, export_layout=export_layout))
    if planning.infeasible is not None:
        click.echo(str(planning.infeasible), err=True)
    elif planning.best is None:
        for line in _failed(planning.unplanned):
            click.echo(line, err=True)


def _failed(unplanned: Sequence[Unplanned]) -> list[str]:
    """Say why orders have no plan, grouped by reason."""
    named = [(each.name, f"{'infeasible' if each.is_proven else 'no plan'}: {each.reason}") for each in unplanned]
    return together(named, lambda name, text: f"{name}: {text}")


def _flat(plan: Plan) -> dict[str, Any]:
    return {key: value for key, value in plan.to_dict().items() if key not in _NESTED}


def _text(planning: Planning, *, export_layout: bool) -> str:
    best = planning.best
    assert best is not None
    rows = [_row(plan) for plan in planning]
    parts = [plan_table(rows, best.schedule.table_row().units, table_width())]
    parts.append("\n".join(wrapped(line) for line in (f"{best.label}:", *best.reasons)))
    if planning.layouts:
        parts.append("\n".join(wrapped(_compared(each)) for each in planning.layouts))
    if export_layout:
        parts.append("\n".join(line for framework in FRAMEWORKS for line in _exported(planning, best, framework)))
    left_out = [f"left out: {name}: {reason}" for name, reason in planning.left_out]
    unplanned = _failed(planning.unplanned)
    if left_out or unplanned:
        parts.append("\n".join(wrapped(line) for line in (*unplanned, *left_out)))
    return "\n\n".join(parts)


def _row(plan: Plan) -> PlanRow:
    return PlanRow(
        name=plan.name,
        stages_per_device=plan.stages_per_device,
        makespan=plan.makespan,
        bound=float(plan.bound) or None,
        status=plan.status,
        peak_memory=max(plan.peak_memory),
        layers=plan.layers_per_stage,
        recomputed=plan.recomputed_per_stage,
        runs_in=plan.schedule.table_row().runs_in or {},
        resident=plan.schedule.resident,
    )


def _compared(each: ComparedLayout) -> str:
    schedule = each.schedule
    time = with_unit(grouped(schedule.makespan), schedule.pipeline.unit)
    text = f"{each.layout}: {schedule.strategy} takes {time}"
    if schedule.over_limit:
        device = schedule.over_limit[0]
        peak = with_unit(grouped(schedule.peak_memory[device]), schedule.pipeline.memory.unit)
        text += f", over the memory limit on device {device} ({peak})"
    if each.plan is None or each.longer_by is None:
        return f"{text}."
    best = f"{grouped(each.plan.makespan)}, {each.plan.status}"
    if each.longer_by > 0:
        return f"{text}, {percent(each.longer_by)} longer than the best cut found ({best})."
    if each.longer_by < 0:
        keeps = ", which fits the limit" if schedule.over_limit else ""
        return f"{text}, {percent(-each.longer_by)} shorter than the plan{keeps} ({best})."
    return f"{text}, as the plan does ({best})."


def _exported(planning: Planning, best: Plan, framework: str) -> Iterator[str]:
    """Write the best plan that a framework can run, and what a better plan that it cannot run would save."""
    plan, better = planning.best_for(framework), best.exports[framework]
    if plan is None:
        yield f"{framework} runs none of these plans as a whole; from {best.label} it can take:"
        yield from (f"  {line}" for line in better.lines)
        yield from (f"  not expressed: {reason}" for reason in better.cannot)
        yield f"  for a plan that it can run, use {planned_for(framework)}"
        return
    yield f"{framework}: {plan.label}, {with_unit(grouped(plan.makespan), plan.pipeline.unit)}:"
    yield from (f"  {line}" for line in plan.exports[framework].lines)
    if plan.exact_makespan > best.exact_makespan:
        saved = percent(float(1 - best.exact_makespan / plan.exact_makespan))
        yield f"  not expressed: {best.label}, {saved} shorter: {'; '.join(better.cannot)}"


def save_plan(path: str, order: str | None, plan: Plan) -> list[str]:
    """Write a plan as a configuration that ``ppopt evaluate`` replays.

    Parameters
    ----------
    path : str
        The configuration.
    order : str or None
        A schedule file in the same folder, for a searched order.
    plan : Plan
        The plan.

    Returns
    -------
    list of str
        The files written.
    """
    mapping = plan.pipeline.to_mapping()
    if plan.is_free and order is not None:
        export(plan.schedule, order)
        mapping = as_searched(plan, mapping) | {"strategy": Path(order).name}
    else:
        order = None
    if not plan.is_free:
        mapping["strategy"] = plan.name if plan.strategy is None else with_own_stages(plan.name, plan.pipeline)
    with written_whole(path) as file:
        name = in_one_line(Path(path).name)
        file.write(f"# {plan.label}: `ppopt evaluate -c {name}` replays it\n")
        yaml.safe_dump(mapping, file, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return [path] if order is None else [path, order]


def as_searched(plan: Plan, mapping: dict[str, Any]) -> dict[str, Any]:
    """Write into a configuration that an order's communication is placed by time, as a search places it."""
    pipeline = plan.pipeline
    if pipeline.semantics not in ("rendezvous", "batched"):
        return mapping
    communicators = "rank" if pipeline.semantics == "batched" else pipeline.communicators
    placed = {"p2p": "rendezvous", "communicators": communicators, "lowering": "timed"}
    kept = {key: value for key, value in mapping.items() if key not in WAITING}
    return kept | {key: value for key, value in placed.items() if value is not None}
