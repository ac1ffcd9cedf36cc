"""The options with which commands write orders, and what they say of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from solver.errors import InputError

if TYPE_CHECKING:
    from ppopt.result import Schedule
    from strategies.exported_order import ExportedOrder

export_option = click.option("--export", metavar="FILE.csv", help="Write the order for PyTorch (see docs/orders.md).")
force_option = click.option(
    "--force-order-only", "forced", is_flag=True, help="Export a bidirectional order, too, which PyTorch cannot run."
)


def check_forced(option: str, target: str | None, forced: bool) -> None:
    """Refuse to force an export that nobody asked for."""
    if forced and target is None:
        raise InputError(f"--force-order-only: applies to {option}; give that as well")


def prepared(schedule: Schedule, *, forced: bool) -> ExportedOrder:
    """Prepare the export of a schedule; refuse what PyTorch cannot run."""
    from ppopt.evaluation.export import exported
    from ppopt.optimization.periodic import PeriodicSchedule

    try:
        whole = schedule.whole() if isinstance(schedule, PeriodicSchedule) else schedule
        return exported(whole, force_order_only=forced)
    except InputError as error:
        raise InputError(f"--export: {error}") from None


def write_prepared(path: str, order: ExportedOrder, form: str) -> None:
    """Write one prepared order, with its notes on standard error."""
    from ppopt.commands.printing import tell_files
    from ppopt.evaluation.export import write_order

    write_order(path, order)
    tell_notes(order.notes)
    tell_files(form, export=[path])


def tell_notes(notes: Iterable[str]) -> None:
    """Print on standard error what users should know about exported files."""
    for note in dict.fromkeys(notes):
        click.echo(f"note: {note}", err=True)
