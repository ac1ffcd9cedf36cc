"""``ppopt profile``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reports.numbers import milliseconds
from solver.counted import counted
from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.profiling.profile_result import Profile


@click.command()
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...")
@click.option("-o", "--output", metavar="FILE.yaml", help="Write the configuration there.  [default: standard output]")
@click.option("--spread", metavar="FILE", help="Write how much the times vary, as .yaml or .csv.")
@click.option("--order", metavar="FILE.csv", help="Write the order that was run, in PyTorch's format.")
@click.option("--skip", type=click.IntRange(min=0), metavar="N", help="Leave out the first N steps.  [default: 1]")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), help="Format of the configuration.")
def profile(
    traces: tuple[str, ...],
    output: str | None,
    spread: str | None,
    order: str | None,
    skip: int | None,
    form: str | None,
) -> None:
    """Derive costs from traces of a real run.

    TRACE is a file or a folder, one file per rank: traces of torch.profiler (plain or gzipped), Megatron timer logs,
    logs of Primus, or what `ppopt rehearse` wrote. The result is a configuration in milliseconds. A trace that
    ppopt wrote gives back the configuration that it was made from.
    """
    from ppopt.process.whole_files import check_outputs

    check_outputs({"--output": output, "--spread": spread, "--order": order}, traces)
    form = _form(form, output)
    spread_form = _spread_form(spread)

    from ppopt.process.whole_files import written_whole
    from ppopt.profiling.profile_result import profile as take_profile

    found = take_profile(traces, skip=skip)
    files = {
        "costs": (output, found.to_yaml() if form == "yaml" else _json(found)),
        "spread": (spread, _spread(found, spread_form) if spread is not None else ""),
        "order": (order, found.order_csv()),
    }
    if output is None:
        click.echo(files["costs"][1], nl=False)
    _report(found, to_errors=output is None)
    for what, (path, text) in files.items():
        if path is not None:
            with written_whole(path) as file:
                file.write(text)
            click.echo(f"{what}: {path}", err=output is None)


def _form(form: str | None, output: str | None) -> str:
    """Choose the format by the file's name, as reading a configuration does."""
    named = "json" if output is not None and output.lower().endswith(".json") else "yaml"
    if output is not None and form is not None and form != named:
        ending = "a name that ends in .json" if form == "json" else "one that does not end in .json"
        raise InputError(f"--format: {form} does not go with {output!r}, which would be read as {named}; take {ending}")
    return form or named


def _spread_form(spread: str | None) -> str:
    if spread is not None and not spread.lower().endswith((".csv", ".yaml", ".yml")):
        raise InputError(f"--spread: {spread!r} must end in .csv or .yaml")
    return "csv" if spread is not None and spread.lower().endswith(".csv") else "yaml"


def _spread(found: Profile, form: str) -> str:
    return found.spread_csv() if form == "csv" else found.spread_yaml()


def _json(found: Profile) -> str:
    import json

    return json.dumps(found.pipeline.to_mapping(), indent=2) + "\n"


def _report(found: Profile, *, to_errors: bool) -> None:
    sizes = found.measurement
    devices, stages = counted(sizes.devices, "device"), counted(sizes.stages, "stage")
    lines = [
        f"{devices}, {stages} ({found.placement}), {counted(sizes.microbatches, 'microbatch')}",
        *(_measured(found) if sizes.configured is None else ()),
    ]
    for line in lines:
        click.echo(line, err=to_errors)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _measured(found: Profile) -> Iterator[str]:
    steps, skipped = len(found.steps), found.measurement.skipped
    yield f"steps: {steps} of {steps + len(skipped)} count; one takes {milliseconds(found.step_time)} ms"
    yield from (f"step {step} is left out: {why}" for step, why in sorted(skipped.items()))
    overhead = ", ".join(f"{key} {milliseconds(value)}" for key, value in found.overhead_by_key.items())
    yield from (f"{key}: {_listed(found, key)} ms" for key in found.spreads)
    if overhead:
        yield f"overhead: {overhead} ms"
    latency = f"{milliseconds(found.latency.median)} ms ({found.latency})" if found.latency else "not measured"
    yield f"p2p_latency: {latency}"
    if found.pipeline.after:
        yield f"step.after: {milliseconds(float(found.pipeline.after))} ms"


def _listed(found: Profile, key: str) -> str:
    medians = [milliseconds(each.median) for each in found.spreads[key].values()]
    return ", ".join(medians[:16]) + (f" and {len(medians) - 16} more" if len(medians) > 16 else "")
