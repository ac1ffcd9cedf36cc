"""Help of a command with many options: under headings, the same option under the same heading everywhere."""

from __future__ import annotations

import click

GROUPS = {
    "Model and training": (*("--seq", "--microbatch-size", "--dtype", "--optimizer", "--flash", "--causal"),),
    "Parallelism": (
        *("--tensor-parallel", "--context-parallel", "--expert-parallel", "--data-parallel", "--pipeline-parallel"),
    ),
    "GPU": ("--gpu", "--efficiency", "--tflops"),
    "All splits of a cluster": ("--gpus", "--global-batch", "--max-tensor-parallel"),
    "Pipeline": (
        *("--config", "--devices", "--stages", "--microbatches", "--lengths", "--tokens", "--time", "--p2p-latency"),
        *("--overhead", "--slowdown", "--framework", "--memory-limit"),
    ),
    "Cut and recomputation": (
        "--recut",
        "--cut",
        "--layout",
        "--stages-per-device",
        "--recompute",
        "--no-empty-stages",
    ),
    "Schedules": ("--strategies", "--exclude", "--baseline", "--for"),
    "Search and replay": (
        *(
            "--optimize",
            "--placement",
            "--full-backward",
            "--overlap",
            "--offload",
            "--feed",
            "--free",
            "--objective",
            "--limits",
        ),
        *("--points", "--time-limit", "--workers", "--engine", "--seed"),
    ),
    "Noise": ("--noise", "--spread", "--noise-device", "--noise-lengths", "--samples", "--robust"),
    "Measured steps": (
        *("--measured", "--against", "--processes", "--steps", "--timeout", "--communicators", "--unit"),
    ),
    "Export": ("--export", "--export-dir", "--export-layout", "--force-order-only", "--lowered", "--unshard"),
    "Output": (
        *("--explain", "--format", "--output", "--save", "--trace", "--trace-dir", "--report", "--open", "--chart"),
        *("--from", "--to", "--draw", "--help"),
    ),
}
"""Every option of the commands that use `GroupedCommand`, under its heading, in the order in which help lists them."""

MOST_IN_ONE_LIST = 12
"""Options that a reader can take in without headings."""


def long_name(option: click.Parameter) -> str:
    """Return the name of an option that begins with two dashes."""
    return next(name for name in option.opts if name.startswith("--"))


class GroupedCommand(click.Command):
    """A command whose help lists its options under the headings of `GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each heading."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        records = {long_name(each): each.get_help_record(ctx) for each in options}
        known = {name for names in GROUPS.values() for name in names}
        others = {"Others": [name for name in records if name not in known]}  # rather than hidden
        for heading, names in (GROUPS | others).items():
            rows = [record for name in names if (record := records.get(name)) is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
