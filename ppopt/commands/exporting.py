"""The options for exporting orders, and the notes printed about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.schedules.export import ExportOptions
    from ppopt.schedules.schedule import Schedule
    from strategies.order_files.exported_order import ExportedOrder

Command = TypeVar("Command", bound=Callable[..., Any])

export_option = click.option("--export", metavar="FILE.csv", help="Write the order (see docs/reference/orders.md).")
force_option = click.option(
    "--force-order-only", "forced", is_flag=True, help="Export a bidirectional order, although PyTorch cannot run it."
)
lowered_option = click.option(
    "--lowered", is_flag=True, help="Export the order with its sends and receives, so that it cannot hang."
)
unshard_option = click.option("--unshard", is_flag=True, help="Also write UNSHARD and RESHARD, for FSDP modules.")


def how_to_export(command: Command) -> Command:
    """Add the options for how orders are exported."""
    return force_option(lowered_option(unshard_option(command)))


def read_export_options(
    option: str, target: str | None, *, forced: bool, lowered: bool, unshard: bool
) -> ExportOptions:
    """Read how orders are exported; refuse these options without an export."""
    for flag, given in (("--force-order-only", forced), ("--lowered", lowered), ("--unshard", unshard)):
        if given and target is None:
            raise InputError(f"{flag}: applies to {option}; give that as well")
    from ppopt.schedules.export import ExportOptions

    return ExportOptions(forced, lowered, unshard)


def prepared(schedule: Schedule, options: ExportOptions) -> ExportedOrder:
    """Prepare the export of a schedule; refuse a schedule that PyTorch cannot run."""
    from ppopt.optimization.periodic import PeriodicSchedule
    from ppopt.process.garbage import collection_paused
    from ppopt.schedules.export import exported

    try:
        with collection_paused():
            if isinstance(schedule, PeriodicSchedule):
                schedule = schedule.whole(timed=options.lowered)
            return exported(schedule, options)
    except InputError as error:
        raise InputError(f"--export: {error}") from None


def write_prepared(path: str, order: ExportedOrder, form: str) -> None:
    """Write one prepared order; print its notes on standard error."""
    from ppopt.commands.printing import tell_files
    from ppopt.schedules.export import FedOrder, write_order

    write_order(path, order)
    tell_notes(order.notes)
    feed = [str(order.feed_path(path))] if isinstance(order, FedOrder) and order.feed is not None else []
    tell_files(form, export=[path, *feed])


def tell_notes(notes: Iterable[str]) -> None:
    """Print the notes about exported files on standard error."""
    for note in dict.fromkeys(notes):
        click.echo(f"note: {note}", err=True)
