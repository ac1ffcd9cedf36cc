"""``ppopt strategies``."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def strategies(form: str) -> None:
    """List the schedules and what they require of a pipeline (p devices, m microbatches, any whole k)."""
    from ppopt.evaluation.catalogue import strategies as known
    from reports.table import RUNS_IN, legend, letters
    from strategies.layouts.runs_in import FRAMEWORKS

    listed = known()
    if form == "json":
        click.echo(json.dumps(listed, indent=2))
        return
    header = {
        "name": "strategy",
        "placement": "placement",
        "devices": "devices",
        "stages": "stages",
        "microbatches": "mbatches",
        "runs_in": RUNS_IN,
    }
    lettered = [{each.letter: each.name for each in FRAMEWORKS if each.name in row["runs_in"]} for row in listed]
    lines = [header, *({**row, "runs_in": letters(each)} for row, each in zip(listed, lettered, strict=True))]
    widths = {key: max(len(str(row[key])) for row in lines) for key in header}
    for row in lines:
        click.echo("  ".join(str(row[key]).ljust(width) for key, width in widths.items()).rstrip())
    click.echo("\n".join(["", *legend(lettered), ""]))
    for row in listed:
        options = f" (option: {', '.join(row['options'])})" if row["options"] else ""
        click.echo(click.wrap_text(f"{row['name']}: {row['summary']}{options}", 80, subsequent_indent="  "))
