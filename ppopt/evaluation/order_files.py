"""Reading what users name: published schedules, and files with orders of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ppopt.garbage import collection_paused
from solver.errors import InputError
from strategies.given_order import GivenOrder, Named
from strategies.numbers import in_one_line
from strategies.order_faults import check_file
from strategies.orders import parse_strategy
from strategies.schedule_file import read_schedule_file

MOST_TOLD = 20
"""More faults than this are reported by ``ppopt check`` alone."""


def is_file(name: object) -> bool:
    """Return whether a name means a file: a path, or text that ends in ``.csv`` or is the path of something."""
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
    """Read what a name means: a file's order, or the name itself of a published schedule.

    Raises
    ------
    InputError
        If there is no such schedule, or for each fault of a file.
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
    """Read what each of several names means, as `read_named` does.

    Raises
    ------
    InputError
        With all that is wrong with any of them.
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
        If it is no schedule, or for each of its faults; of many, only the first are reported.
    """
    checked = check_file(read_schedule_file(path))
    name = checked.file.name
    if checked.placement is None:
        messages = [f"{name}: {fault}" for fault in checked.faults[:MOST_TOLD]]
        if more := len(checked.faults) - len(messages):
            messages.append(f"{name}: {more:,} more faults; `ppopt check` lists all")
        raise InputError("\n".join(messages))
    return GivenOrder(name, checked.placement, checked.file.orders, checked.file.notes)
