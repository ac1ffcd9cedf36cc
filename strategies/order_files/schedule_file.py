"""Schedule files: PyTorch's CSV, a row per device and an action per cell, read into tokens and written back exactly."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from solver.errors import InputError
from solver.problem import Block
from strategies.model.actions import KINDS, Op, PipelineAction, parse_action
from strategies.model.numbers import in_one_line, shown
from strategies.model.pipeline_fields import MOST_OPS
from strategies.model.text_file import read_text_file

LARGEST_FILE = 100_000_000
"""Largest file in bytes; the most operations that are accepted need less."""

MOST_CELLS = 3 * MOST_OPS
"""Most cells of a file, including blanks and cells that are set aside."""

TRANSFERS = ("SEND_F", "RECV_F", "SEND_B", "RECV_B")
WAITS = ("WAIT_SEND_F", "WAIT_SEND_B")
"""The waits for a send of pytorch#194121; PyTorch 2.13 does not have them."""

_SHARDING = ("UNSHARD", "RESHARD", "REDUCE_GRAD")
COPIES = ("OFFLOAD", "RELEASE", "RELOAD")
"""An activation is copied to the host, its memory given back, and copied back. PyTorch's grammar has none of these."""

_WITH_MICROBATCH = (*TRANSFERS, *WAITS, *COPIES)
_KNOWN = (*_WITH_MICROBATCH, *_SHARDING)
_ASIDE = re.compile(rf"(\d{{1,9}})(?:({'|'.join(_WITH_MICROBATCH)})(\d{{1,9}})|({'|'.join(_SHARDING)}))", re.ASCII)
_NAMED = re.compile(r"(\d{1,9})([A-Z][A-Z0-9_]*[A-Z])(\d{1,9})?", re.ASCII)
_COMMUNICATES = {
    *("SEND", "RECV", "WAIT", "POST", "SYNC", "BROADCAST"),
    *("GATHER", "SCATTER", "REDUCE", "SHARD", "UNSHARD", "RESHARD"),
}
"""An unknown action whose name has one of these words is taken for communication; any other might compute."""

_PYTORCHS = re.compile(rf"(\d{{1,9}})(F|I|B|W|{'|'.join((*_SHARDING, *TRANSFERS))})(\d{{0,9}})", re.ASCII)
_LOOSE_OP = re.compile(r"(\d{1,9})([FBIW])(\d{1,9})(?!\d)", re.ASCII)
_LOOSE = re.compile(r"(\d{1,9})([A-Z_]+)(\d{0,9})(?!\d)", re.ASCII)
_LOOSE_BLOCK = re.compile(r"(\d{1,9}F\d{1,9})\W+(\d{1,9})[BI](\d{1,9})(?!\d)", re.ASCII)
_ALLOWED = "allowed are e.g. 2F0, 2B0, 2I0, 2W0 and (0F1;7B0)OVERLAP_F_B"


class Aside(NamedTuple):
    """An action that computes nothing: communication, sharding, reducing gradients, copies to the host and back.

    An action that PyTorch 2.13 does not know is one as well if its name says that it communicates.

    Attributes
    ----------
    stage : int
        The stage.
    kind : str
        ``SEND_F``, ``RECV_F``, ``SEND_B``, ``RECV_B``, ``WAIT_SEND_F``, ``WAIT_SEND_B``, ``UNSHARD``, ``RESHARD``,
        ``REDUCE_GRAD``, ``OFFLOAD``, ``RELEASE``, ``RELOAD``, or an unknown name.
    microbatch : int or None
        The microbatch; of the known kinds, only transfers, waits and copies have one.
    """

    stage: int
    kind: str
    microbatch: int | None

    def __str__(self) -> str:
        return f"{self.stage}{self.kind}{'' if self.microbatch is None else self.microbatch}"

    @property
    def is_known(self) -> bool:
        """Whether PyTorch 2.13 or pytorch#194121 has such an action."""
        return self.kind in _KNOWN


Token: TypeAlias = PipelineAction | Aside


def is_copy(token: Token | None) -> bool:
    """Return whether a cell copies an activation to the host or back, or gives its memory back."""
    return isinstance(token, Aside) and token.kind in COPIES


def ops_of(token: Token | None) -> tuple[Op, ...]:
    """Return the operations of a cell: one, the two halves of a block, or none."""
    if isinstance(token, Op):
        return (token,)
    return tuple(token) if isinstance(token, Block) else ()  # type: ignore[arg-type]  # a Block's keys are Op here


class Fault(NamedTuple):
    """A fault in a schedule file.

    Attributes
    ----------
    row, column : int or None
        The place, counted from 0; the row is the device. None if the fault has no single place.
    token : str
        The action at fault; empty if it is no action.
    message : str
        What is wrong, and what is allowed.
    """

    row: int | None
    column: int | None
    token: str
    message: str

    def __str__(self) -> str:
        parts = [] if self.row is None else [f"row {self.row + 1} (device {self.row})"]
        if self.column is not None:
            parts.append(f"column {self.column + 1}")
        where = ", ".join(parts)
        text = f"{self.token} {self.message}" if self.token else self.message
        return f"{where}: {text}" if where else text


@dataclass(frozen=True)
class ScheduleFile:
    """A schedule file as read.

    Attributes
    ----------
    name : str
        Its name in messages.
    rows : sequence of sequence of (Op, Block, Aside or None)
        The cells of each device; None for a blank or unreadable one.
    faults : tuple of Fault
        The cells that hold no valid action.
    set_aside : tuple of str
        Notes on communication and sharding, which an order of computations leaves out.
    remarks : tuple of str
        Notes on anything else that was left out.
    """

    name: str
    rows: Sequence[Sequence[Token | None]]
    faults: tuple[Fault, ...] = ()
    set_aside: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on everything that an order of computations leaves out."""
        return (*self.set_aside, *self.remarks)

    @property
    def orders(self) -> list[list[PipelineAction]]:
        """The computations of each device, in order."""
        return [[token for token in row if token is not None and not isinstance(token, Aside)] for row in self.rows]


def read_schedule_file(path: str | Path) -> ScheduleFile:
    """Read a schedule file.

    Parameters
    ----------
    path : str or Path
        A CSV file as PyTorch writes and reads it: no header, row i for rank i, one action per cell.

    Raises
    ------
    InputError
        If the file cannot be read or is no schedule at all. Single cells without a valid action become its faults.
    """
    return parse_schedule(read_text_file(path, "a schedule", LARGEST_FILE, _nearest_file), in_one_line(path))


def _nearest_file(path: Path) -> str:
    """Return the file next to a missing one whose name is most similar."""
    try:
        beside = [each.name for each in path.parent.glob("*.csv")]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"; did you mean {in_one_line(path.with_name(near[0]))}?" if near and near[0] != path.name else ""


def parse_schedule(text: str, name: str) -> ScheduleFile:
    """Read a schedule from the text of a file; `schedule_as_text` is the inverse.

    Parameters
    ----------
    text : str
        The file's text.
    name : str
        Its name in messages.

    Raises
    ------
    InputError
        If the text is no schedule at all.
    """
    cells, notes = _cells(text, name)
    faults: list[Fault] = []
    rows = [_tokens(device, row, faults) for device, row in enumerate(cells)]
    filled = sum(1 for row in cells for cell in row if cell)
    if not filled:
        raise InputError(f"{name}: is empty; it must have one row per device and one action per cell")
    if len(faults) > 20 and 2 * len(faults) > filled:
        raise InputError(
            f"{name}: is not a schedule: {len(faults):,} of its {filled:,} cells are not actions; the first: "
            f"{faults[0]}"
        )
    asides = [token for row in rows for token in row if isinstance(token, Aside)]
    notes += _notes_on_waits([token for token in asides if token.kind in WAITS], name)
    counts = Counter(token.kind for token in asides)
    return ScheduleFile(name, rows, tuple(faults), tuple(_notes_on_set_aside(counts, name)), tuple(notes))


def _notes_on_waits(waits: Sequence[Aside], name: str) -> Iterable[str]:
    """Say whose actions waits for sends are."""
    if waits:
        kinds = Counter(token.kind for token in waits)
        yield (
            f"{name}: {', '.join(f'{kinds[kind]} {kind}' for kind in WAITS if kinds[kind])}: a newer PyTorch has these "
            f"(pytorch#194121); PyTorch 2.13 reads {waits[0]} as {waits[0].stage}W without a microbatch, and fails "
            "when it runs"
        )


def _cells(text: str, name: str) -> tuple[list[list[str]], list[str]]:
    """Split a text into stripped cells; drop blank lines at the end, with a note."""
    if text.count(",") > MOST_CELLS:
        raise InputError(f"{name}: has {text.count(','):,} cells; at most {MOST_CELLS:,} are taken")
    _refuse_other_separator(text, name)
    lines = csv.reader(io.StringIO(text, newline=None))
    rows: list[list[str]] = []
    try:
        rows += ([cell.strip() for cell in row] for row in lines)
    except csv.Error as error:
        raise InputError(f"{name}: line {lines.line_num}: {_csv_problem(error)}") from None
    given = len(rows)
    while rows and not any(rows[-1]) and len(rows[-1]) <= 1:
        rows.pop()
    ignored = f"{name}: a blank line at the end was ignored; PyTorch's loader takes it for a rank and refuses the file"
    return rows, [ignored] if len(rows) < given else []


def _refuse_other_separator(text: str, name: str) -> None:
    """Refuse separators that spreadsheets use in some languages; the ; within a block is not a separator."""
    sign = next((sign for sign in (";", "\t") if sign in text), None)
    if sign is None or "," in text:
        return
    between = re.sub(r"\([^()]*\)", "", text)
    actions = [cell for cell in re.split(rf"[{sign}\r\n]", between) if _LOOSE_OP.fullmatch(cell.strip())]
    if sign in between and len(actions) > 1:
        signs = "tabs" if sign == "\t" else "semicolons"
        raise InputError(
            f"{name}: saved by a spreadsheet? Its columns are separated by {signs}; save it with commas, as PyTorch "
            "reads it"
        )


def _csv_problem(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"has a cell of more than {csv.field_size_limit():,} characters; an action is a few, e.g. 2F0"
    return f"is not CSV: {error}"


def _tokens(device: int, cells: Iterable[str], faults: list[Fault]) -> list[Token | None]:
    tokens: list[Token | None] = []
    for column, cell in enumerate(cells):
        try:
            tokens.append(parse_token(cell) if cell else None)
        except InputError:
            tokens.append(None)
            faults.append(unreadable(device, column, cell))
    return tokens


def unreadable(row: int, column: int, text: str) -> Fault:
    """Return the fault of a cell that holds no action, or one that is not known."""
    return Fault(row, column, shown(text), f"is not an action; {_hint(text)}")


def parse_token(text: str) -> Token:
    """Read one cell; the exact inverse of ``str``.

    Raises
    ------
    InputError
        If it is no valid action.
    """
    aside = _ASIDE.fullmatch(text)
    unknown = _NAMED.fullmatch(text)
    token: Token
    if aside:
        token = _aside(*aside.groups())
    elif unknown and unknown[2] not in _KNOWN and _COMMUNICATES & set(unknown[2].split("_")):
        token = _aside(unknown[1], unknown[2], unknown[3], None)
    else:
        token = parse_action(text)
    if str(token) != text:
        raise InputError(f"{shown(text)} is not an action: a number begins with 0; {_ALLOWED}")
    return token


def _aside(stage: str, kind: str | None, microbatch: str | None, sharding: str | None) -> Aside:
    return Aside(int(stage), kind or sharding or "", None if microbatch is None else int(microbatch))


def _hint(text: str) -> str:
    if text.count(";") > 1 or "\t" in text:
        return "cells are separated by commas"
    near = nearest_token(text)
    hint = f"did you mean {near}?" if near else f"{_ALLOWED};"
    named = _NAMED.fullmatch(text)
    if not near and named and named[2] not in _KNOWN:
        hint = f"neither PyTorch 2.13 nor pytorch#194121 has {shown(named[2])}; {hint}"
    return " ".join([hint, *_as_pytorch_reads(text)]).removesuffix(";")


def _as_pytorch_reads(text: str) -> Iterable[str]:
    """Warn if PyTorch's loader silently reads a cell as something other than it looks like."""
    found = _PYTORCHS.match(text)
    if found is None or not re.search("_|SHARD", text):  # for other cells, the suggested action is enough
        return
    stage, kind, microbatch = found.groups()
    read = f"{int(stage)}{kind}{int(microbatch) if microbatch else ''}"
    if not microbatch and kind not in _SHARDING:
        yield f"PyTorch reads it as {read} without a microbatch, and fails when it runs"
    elif microbatch and kind in _SHARDING:
        yield f"PyTorch reads it as {read}, with a microbatch that means nothing"
    elif found.end() < len(text):
        yield f"PyTorch reads it as {read} and overlooks the rest"
    else:
        yield f"PyTorch reads it as {read}"


def nearest_token(text: str) -> str | None:
    """Return the action that a cell was probably meant to be."""
    plain = re.sub(r"[^0-9A-Z_;()]", "", text[:200].upper())
    plain = re.sub(r"(?<!\d)0+(?=\d)", "", plain)  # numbers have no leading zeros
    if block := _LOOSE_BLOCK.search(plain):
        return f"({block[1]};{block[2]}B{block[3]})OVERLAP_F_B"
    if op := _LOOSE_OP.search(plain):
        return op[0]
    loose = _LOOSE.search(plain)
    kind = _nearest_kind(loose[2]) if loose else None
    if not loose or not kind or (kind not in _SHARDING and not loose[3]):
        return None
    return f"{loose[1]}{kind}{'' if kind in _SHARDING else loose[3]}"


def _nearest_kind(text: str) -> str | None:
    if text.endswith(tuple(f"_{kind}" for kind in (*TRANSFERS, *_SHARDING))):
        return None  # a remark on an action that stands elsewhere: suggesting that would duplicate it
    near = difflib.get_close_matches(text, [*KINDS, *TRANSFERS, *_SHARDING, *COPIES], n=1)
    return near[0] if near else text[0] if text[0] in KINDS else None


def _notes_on_set_aside(counts: Counter[str], name: str) -> Iterable[str]:
    unknown = sorted(set(counts) - set(_KNOWN))
    for kinds, what in (
        ((*TRANSFERS, *WAITS), "were set aside: ppopt places communication by itself"),
        (_SHARDING[:2], "count only where the configuration has sharding"),
        (_SHARDING[2:], "count only where the configuration has sharding or data_parallel"),
        (COPIES, "were set aside unless the configuration counts them (offload)"),
        (unknown, "were set aside: neither PyTorch 2.13 nor pytorch#194121 has them; by their names they communicate"),
    ):
        found = [f"{counts[kind]} {kind}" for kind in kinds if counts[kind]]
        if found:
            yield f"{name}: {', '.join(found)} {what}"


def schedule_as_text(rows: Iterable[Iterable[Token | None]]) -> str:
    """Write a schedule file: one line per device, each with a line end, and no blank line.

    Parameters
    ----------
    rows : iterable of iterable of (Op, Block, Aside or None)
        The cells of each device; None for a blank.
    """
    return "".join(",".join("" if token is None else str(token) for token in row) + "\n" for row in rows)
