"""Writes orders as files for PyTorch: a single file, or a folder of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ppopt.process.whole_files import written_whole
from solver.errors import InputError
from solver.problem import Block, Placed
from strategies.lowering.by_time import lower_by_time
from strategies.lowering.gradients_and_shards import with_reduced_gradients, with_shards
from strategies.lowering.side_actions import GRADIENTS, SHARDS
from strategies.model.actions import PipelineAction
from strategies.model.numbers import in_one_line
from strategies.model.pipeline import Pipeline
from strategies.model.placements import Placement
from strategies.order_files.exported_order import ExportedOrder, export_order
from strategies.order_files.schedule_file import COPIES, Aside, Token, is_copy

if TYPE_CHECKING:
    from ppopt.schedules.communicated import SideRun


class NamedOrder(Protocol):
    """An exportable order: the actions of each device, under a name, as in a `Schedule`."""

    @property
    def strategy(self) -> str:
        """The name."""

    @property
    def actions(self) -> Sequence[Sequence[PipelineAction]]:
        """The actions of each device."""

    @property
    def layout(self) -> Placement:
        """Which device holds which stage."""

    @property
    def rows(self) -> Sequence[Placed]:
        """When each operation runs."""


@runtime_checkable
class HasPipeline(Protocol):
    """An order that knows its pipeline."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline as it was run."""


@runtime_checkable
class HasSides(Protocol):
    """An order that knows what its devices do beside computing."""

    @property
    def sides(self) -> SideRun | None:
        """The side actions; None if there are none."""


@dataclass(frozen=True)
class ExportOptions:
    """How orders are written.

    Attributes
    ----------
    force_order_only : bool
        Whether to write a bidirectional order anyway, although PyTorch cannot run it.
    lowered : bool
        Whether to place and write its communication as well.
    unshard : bool
        Whether a lowered order gathers and releases the parameters of its stages, as FSDP modules require.
    """

    force_order_only: bool = False
    lowered: bool = False
    unshard: bool = False

    def __post_init__(self) -> None:
        if self.unshard and not self.lowered:
            raise InputError("--unshard: applies to --lowered (lowered=True in Python); give that as well")
        if self.force_order_only and self.lowered:
            raise InputError(
                "--lowered: is for PyTorch's runtime, which cannot run files of --force-order-only; give only one"
            )


AS_THEY_ARE = ExportOptions()


def exported(schedule: NamedOrder, options: ExportOptions = AS_THEY_ARE) -> ExportedOrder:
    """Prepare a schedule's order for a file; the notes name the schedule.

    Raises
    ------
    InputError
        If PyTorch's runtime cannot run the order, and the export is not forced.
    """
    refuse_slices(schedule, force_order_only=options.force_order_only)
    try:
        rows = lowered_rows(schedule, unshard=options.unshard) if options.lowered else schedule.actions
        exported = export_order(rows, schedule.layout, force_order_only=options.force_order_only)
    except InputError as error:
        raise InputError(f"{schedule.strategy}: {error}") from None
    noted = [*exported.notes, *_notes_on_copies(schedule, lowered=options.lowered)]
    notes = tuple(f"{schedule.strategy}: {note}" for note in noted)
    return FedOrder(exported.orders, notes, exported.numbers, _feed(schedule, exported.numbers))


def _notes_on_copies(schedule: NamedOrder, *, lowered: bool) -> Iterator[str]:
    """Say whether the file has a schedule's copies to the host, if it has any, and who reads them."""
    sides = schedule.sides if isinstance(schedule, HasSides) else None
    if sides is None or not any(is_copy(token) for row in sides.order.rows for token in row):
        return
    if lowered:
        yield "OFFLOAD, RELEASE and RELOAD are ppopt's own: PyTorch cannot load the file"
    else:
        yield "its copies to the host are not in the file; --lowered writes them"


def _feed(schedule: NamedOrder, numbers: Mapping[int, int]) -> tuple[int, ...] | None:
    """Return which of the listed microbatches is fed as which of the file; None if all are alike."""
    if not isinstance(schedule, HasPipeline) or schedule.pipeline.entries is None or schedule.pipeline.are_sliced:
        return None
    feed = schedule.pipeline.items.feed
    return tuple(feed[old] for old in sorted(range(len(feed)), key=lambda old: numbers.get(old, old)))


@dataclass(frozen=True)
class FedOrder(ExportedOrder):
    """An order to be written, with the order in which its microbatches are fed if they differ."""

    feed: tuple[int, ...] | None = None

    def feed_path(self, path: str | Path) -> Path:
        """Name the file of the feeding order, beside that of the order."""
        return Path(path).with_suffix(".feed.json")

    @property
    def feed_text(self) -> str:
        """The text of that file."""
        return json.dumps({"feed": self.feed}) + "\n"


def refuse_slices(schedule: NamedOrder, *, force_order_only: bool) -> None:
    """Refuse an order of slices of microbatches, which PyTorch's runtime cannot run."""
    if isinstance(schedule, HasPipeline) and schedule.pipeline.are_sliced and not force_order_only:
        raise InputError(
            f"{schedule.strategy}: is an order of slices of sequences, and PyTorch runs whole microbatches; "
            "--force-order-only writes it anyway, with slices numbered through"
        )


def lowered_rows(schedule: NamedOrder, *, unshard: bool = False) -> list[list[Token]]:
    """Place the communication of a schedule by time, so that it can neither deadlock nor cross; see `lower_by_time`.

    What its devices do beside computing stands where the schedule has it.
    """
    ends = {row.task: row.end for row in schedule.rows}
    actions = (action for order in schedule.actions for action in order)
    by_action = {action: ends[action.first if isinstance(action, Block) else action] for action in actions}
    beside = _beside(schedule, unshard=unshard)
    return lower_by_time(schedule.actions, schedule.layout, by_action, shards=unshard, beside=beside)


def _beside(schedule: NamedOrder, *, unshard: bool) -> list[list[Token]] | None:
    """Return the actions of each device with its gathers, reductions and copies, where its pipeline places them."""
    if not isinstance(schedule, HasSides) or schedule.sides is None:
        return None
    kinds = {GRADIENTS, *(SHARDS if unshard else ()), *COPIES}
    rows = [
        [token for token in row if not isinstance(token, Aside) or token.kind in kinds]
        for row in schedule.sides.order.rows
    ]
    found = {token.kind for row in rows for token in row if isinstance(token, Aside)}
    if unshard and not found & set(SHARDS):
        rows = [with_shards(row) for row in rows]
    return rows if GRADIENTS in found else [with_reduced_gradients(row) for row in rows]


def export(
    schedule: NamedOrder,
    path: str | Path,
    *,
    force_order_only: bool = False,
    lowered: bool = False,
    unshard: bool = False,
) -> tuple[str, ...]:
    """Write a schedule's order as a file that PyTorch's pipeline runtime loads.

    Microbatches are renumbered if the last stage does not take them in order, since PyTorch would compute wrong
    gradients. No time changes.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    path : str or Path
        The file; it appears only when it is complete.
    force_order_only : bool
        Whether to write a bidirectional order anyway, although PyTorch cannot run it.
    lowered : bool
        Whether to write sends, receives and REDUCE_GRAD as well, such that the order cannot deadlock or cross with any
        communicators; PyTorch loads it with ``format="compute_comms"``. Otherwise PyTorch places them itself.
    unshard : bool
        Whether to write UNSHARD and RESHARD in a lowered file, for FSDP modules.

    Returns
    -------
    tuple of str
        Notes on the file.

    Raises
    ------
    InputError
        If the order is bidirectional and the export is not forced, the options contradict each other, or the file
        cannot be written.
    """
    order = exported(schedule, ExportOptions(force_order_only, lowered, unshard))
    write_order(path, order)
    return order.notes


def write_order(path: str | Path, order: ExportedOrder) -> None:
    """Write a prepared order; the file appears only when it is complete.

    Where microbatches differ, a JSON file beside it, ``order.feed.json``, has the order in which they are fed: the
    numbers of the listed ones.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with written_whole(path) as file:
        file.write(order.text)
    if isinstance(order, FedOrder) and order.feed is not None:
        with written_whole(order.feed_path(path)) as file:
            file.write(order.feed_text)


def check_folder(option: str, path: str) -> None:
    """Refuse, before any work is done, a folder that cannot be created or written to.

    Raises
    ------
    InputError
        If the path is a file, its parent folder does not exist, or it is not writable.
    """
    name, folder = in_one_line(path), Path(path)
    if not path:
        raise InputError(f"{option}: {path!r} names no folder")
    try:
        there, is_folder, has_parent = folder.exists(), folder.is_dir(), folder.absolute().parent.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{option}: {name}: cannot be created: {error}") from None
    if there and not is_folder:
        raise InputError(f"{option}: {name}: is a file; name a folder")
    if not there and not has_parent:
        raise InputError(f"{option}: {name}: the folder {in_one_line(folder.absolute().parent)} does not exist")
    if not os.access(folder if there else folder.absolute().parent, os.W_OK):
        raise InputError(f"{option}: {name}: cannot be written to")


def write_orders(
    folder: str, schedules: Iterable[tuple[str, NamedOrder]], options: ExportOptions = AS_THEY_ARE
) -> tuple[list[str], list[str]]:
    """Write a file for each schedule that PyTorch's runtime can run; create the folder if it does not exist.

    Parameters
    ----------
    folder : str
        The folder; files with the same names are replaced.
    schedules : iterable of (str, NamedOrder)
        Each schedule with a prefix for its file's name; empty for none.
    options : ExportOptions
        Options of the export.

    Returns
    -------
    paths : list of str
        The files.
    notes : list of str
        Notes on the files, and which schedules were not written.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    paths: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    _make(folder)
    for prefix, schedule in schedules:
        try:
            order = exported(schedule, options)
        except InputError as error:
            notes.append(f"not written: {error}")
            continue
        name = _free_name([prefix, schedule.strategy], taken)
        path = str(Path(folder) / name)
        write_order(path, order)
        paths.append(path)
        notes += order.notes
    return paths, notes


def _make(folder: str) -> None:
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{in_one_line(folder)}: cannot be created: {error.strerror or error}") from None


def _free_name(parts: Sequence[str], taken: set[str]) -> str:
    """Make a free file name from letters, digits, dots, hyphens and underscores."""
    stems = [Path(part).stem if part.lower().endswith((".csv", ".yaml", ".yml", ".json")) else part for part in parts]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:100] for stem in stems]
    stem = "-".join(filter(None, plain)) or "schedule"
    name, count = f"{stem}.csv", 1
    while name.lower() in taken:
        count += 1
        name = f"{stem}-{count}.csv"
    taken.add(name.lower())
    return name
