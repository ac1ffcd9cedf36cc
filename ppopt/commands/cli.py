"""The command line. Commands are loaded only when they run, so ``--help`` and usage errors are fast."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
import traceback
import warnings
from typing import Any, NoReturn

import click

from ppopt.process.processes import take_termination_as_interrupt
from ppopt.process.version import __version__

_COMMANDS = {
    "atlas": "Show the best known makespans on a grid of pipelines, and where your order stands.",
    "calibrate": "Find the overhead with which replays take as long as measured steps.",
    "check": "Check schedule files and list every fault with its place.",
    "compare": "Rank published and searched schedules on your costs, and say where the time goes.",
    "doctor": "Print what a bug report needs: versions, cores, compiled loops, extras, folders.",
    "estimate": "Estimate the costs of training a model from its config.json.",
    "evaluate": "Replay published schedules on your costs and print exact figures.",
    "frontier": "Find the shortest step for each memory limit, with a proven bound.",
    "measure": "Measure the costs of training a model on the device that is there.",
    "optimize": "Search for the best schedule on your costs and prove how good it is.",
    "plan": "Find which layers go on which stage, within your memory, and prove it.",
    "profile": "Derive costs from traces of a real run.",
    "rehearse": "Run a schedule in PyTorch's pipeline runtime on local processes, and compare.",
    "strategies": "List the schedules and what they require of a pipeline.",
    "sweep": "Run schedules and searches on a grid of configurations, here or on a cluster.",
}


_FIRST = {
    "Try first, without any file": "ppopt compare --devices 8 --microbatches 32 --time-limit 10",
    "Then with your costs, and a page to show": "ppopt compare -c costs.yaml --report page.html",
}


class LazyGroup(click.Group):
    """A group whose commands live in ``ppopt.commands``, one module each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"ppopt.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a typo, suggest the nearest one."""
        name = args[0]
        near = difflib.get_close_matches(name, _COMMANDS, n=1)
        if name not in _COMMANDS and near:
            ctx.fail(f"No such command {name[:40]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the first commands below the description."""
        super().format_help_text(ctx, formatter)
        for heading, command in _FIRST.items():
            with formatter.section(heading):
                formatter.write_text(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; report a user's mistake in plain lines, not as a traceback."""
        from ppopt.process.internal_error import InternalError
        from solver.errors import InputError, TimeTooShortError

        warnings.showwarning = _show_warning
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except InputError as error:
            from ppopt.commands.reporting import tell_mistakes

            tell_mistakes(str(error).split("\n"))
            ctx.exit(2)
        except InternalError as error:
            from ppopt.commands.reporting import tell_internal_errors

            tell_internal_errors(ctx, str(error).split("\n"))
        except TimeTooShortError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(4)
        except RecursionError:
            click.echo("error: the input is nested too deeply", err=True)
            ctx.exit(2)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"warning: {message}", err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ppopt")
def cli() -> None:
    """Find out how good pipeline-parallel schedules are at your costs."""


def main(prog_name: str | None = None) -> None:
    """Run ppopt; the entry point."""
    take_termination_as_interrupt()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads would only wait for each other
    try:
        cli.main(prog_name=prog_name, standalone_mode=True)
    except OSError as error:
        if _is_of_output(error):
            _tell_output_error(error)
        from strategies.model.numbers import in_one_line

        click.echo(f"error: {in_one_line(error)}", err=True)
        sys.exit(1)
    finally:
        gc.freeze()  # otherwise a last collection at exit takes a quarter of a second


def _is_of_output(error: OSError) -> bool:
    """Return whether the error comes from printing, which only click.echo does here."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _tell_output_error(error: OSError) -> NoReturn:
    """Report that standard output cannot be written, and keep Python from retrying at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    click.echo(f"error: standard output: {error.strerror or error}", err=True)
    sys.exit(1)
