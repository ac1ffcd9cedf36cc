"""``ppopt doctor``."""

from __future__ import annotations

import click


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(form: str) -> None:
    """Print what a bug report needs: versions, cores, compiled loops, extras, folders."""
    from ppopt.process.versions import find_versions, lines_of

    found = find_versions()
    if form == "json":
        import json

        click.echo(json.dumps(found, indent=2))
        return
    click.echo("\n".join(lines_of(found)))
