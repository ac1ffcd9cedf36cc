"""``ppopt strategies``."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def strategies(form: str) -> None:
    """List the schedules and what they require of a pipeline (p devices, m microbatches, any whole k)."""
    from ppopt.evaluation.catalogue import strategies as known

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
    }
    widths = {key: max(len(str(row[key])) for row in [header, *listed]) for key in header}
    for row in [header, *listed]:
        click.echo("  ".join(str(row[key]).ljust(width) for key, width in widths.items()).rstrip())
    click.echo()
    for row in listed:
        options = f" (option: {', '.join(row['options'])})" if row["options"] else ""
        click.echo(click.wrap_text(f"{row['name']}: {row['summary']}{options}", 80, subsequent_indent="  "))
