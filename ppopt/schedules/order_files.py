"""Reads the schedules that users name: published ones, and files with orders of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppopt.process.garbage import collection_paused
from ppopt.schedules.communicator_verdicts import crossing_faults
from solver.errors import InputError
from strategies.faults.order_faults import CheckedFile, check_beside, check_communication, check_copies, check_file
from strategies.language.orders import parse_strategy
from strategies.lowering.as_program import as_programs, moves_at_once, unit_durations
from strategies.lowering.side_actions import GRADIENTS, SHARDS
from strategies.lowering.transfers import has_beside, is_lowered
from strategies.model.numbers import in_one_line
from strategies.order_files.given_order import GivenOrder, Named
from strategies.order_files.schedule_file import Aside, Fault, ScheduleFile, read_schedule_file

MOST_TOLD = 20
"""The most faults reported; only ``ppopt check`` reports more."""


def is_file(name: object) -> bool:
    """Return whether a name means a file: a path, or a text that ends in ``.csv`` or is an existing path."""
    if isinstance(name, os.PathLike):
        return True
    if not isinstance(name, str):
        return False
    if name.lower().endswith(".csv"):
        return True
    try:
        return ("/" in name or os.sep in name) and Path(name).exists()
    except (OSError, ValueError):
        return False


def read_named(name: Any) -> Named:
    """Read a name: return a file's order, or the name itself if it is a published schedule.

    Raises
    ------
    InputError
        If there is no such schedule, or with each fault of a file.
    """
    if isinstance(name, GivenOrder):
        return name
    if is_file(name):
        return read_given_order(name)
    if isinstance(name, str) and re.search(r"\.csv:\w*=", name):
        file, _, options = name.rpartition(":")
        raise InputError(f"{in_one_line(file)}: a schedule file takes no options; found {in_one_line(options)[:40]!r}")
    parse_strategy(name)
    assert isinstance(name, str)
    return name


def read_each(names: Iterable[Any]) -> tuple[Named, ...]:
    """Read several names as `read_named` does.

    Raises
    ------
    InputError
        With everything that is wrong with any of them.
    """
    read: list[Named] = []
    mistakes: list[str] = []
    for name in names:
        try:
            read.append(read_named(name))
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))
    return tuple(read)


@collection_paused()
def read_given_order(path: str | Path) -> GivenOrder:
    """Read an order from a file.

    Raises
    ------
    InputError
        If the file is not a schedule, or with each of its faults; if there are many, only the first are reported.
    """
    checked = check_file(read_schedule_file(path))
    file = checked.file
    if checked.placement is None:
        _refuse_faults(file.name, checked.faults)
        raise AssertionError("a file without a placement has faults")
    rows = file.rows if is_lowered(file.rows) else None
    beside = file.rows if has_beside(file.rows) else None
    return GivenOrder(file.name, checked.placement, file.orders, file.notes, rows, beside)


def _refuse_faults(name: str, faults: Sequence[Fault]) -> None:
    messages = [f"{name}: {fault}" for fault in faults[:MOST_TOLD]]
    if more := len(faults) - len(messages):
        messages.append(f"{name}: {more:,} more faults; `ppopt check` lists all")
    if messages:
        raise InputError("\n".join(messages))


def refuse_copy_faults(given: GivenOrder) -> None:
    """Refuse a file whose copies to the host cannot be: with each of the faults, or the first of many.

    Raises
    ------
    InputError
        With each of the faults.
    """
    if given.beside is not None:
        file = ScheduleFile(given.name, given.beside)
        _refuse_faults(given.name, check_copies(CheckedFile(file, (), given.placement)).faults)


def refuse_faults_beside(given: GivenOrder, *, sharded: bool) -> None:
    """Refuse a file that gathers, releases or reduces wrongly; if there are many faults, report only the first.

    Parameters
    ----------
    given : GivenOrder
        The file.
    sharded : bool
        Whether gathers and releases count.

    Raises
    ------
    InputError
        With each of the faults.
    """
    uncounted = () if sharded else SHARDS
    cells = [
        [None if isinstance(token, Aside) and token.kind in uncounted else token for token in row]
        for row in given.beside or ()
    ]
    kinds = {token.kind for row in cells for token in row if isinstance(token, Aside)}
    if not kinds & {GRADIENTS, *SHARDS}:
        return
    if len(given.placement.homes) > 1:
        raise InputError(
            f"{given.name}: is bidirectional, and says what is gathered or reduced when; ppopt places that by itself "
            "in such an order, so leave it out of the file"
        )
    file = ScheduleFile(given.name, cells)
    _refuse_faults(given.name, check_beside(CheckedFile(file, (), given.placement)).faults)


def refuse_communication_faults(given: GivenOrder) -> None:
    """Refuse a file whose communication is faulty or crossed; if there are many faults, report only the first.

    Raises
    ------
    InputError
        With each of the faults.
    """
    if given.lowered is None:
        return
    file = ScheduleFile(given.name, given.lowered)
    _refuse_faults(given.name, check_communication(CheckedFile(file, (), given.placement)).faults)
    lowered = as_programs(given.lowered, given.placement, unit_durations, moves_at_once)
    _refuse_faults(given.name, list(crossing_faults(lowered)))
