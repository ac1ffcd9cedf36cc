"""Timers in a text that is not JSON as a whole: a log with other lines in between, or one object per step."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ppopt.profiling.files import READ_ERRORS, opened
from ppopt.profiling.megatron import TIMER_KEY
from solver.errors import InputError
from strategies.model.numbers import in_one_line

LARGEST_LOG = 200_000_000
"""Bytes; a log is read whole."""

_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_ENTRY = re.compile(
    rf"(?P<quote>[\"'])(?P<key>{TIMER_KEY.pattern})(?P=quote)"
    rf"(?:\s*[:=]\s*(?P<value>{_NUMBER}|\[\s*(?:{_NUMBER}(?:\s*,\s*{_NUMBER})*\s*)?\])(?=\s*[,}}]|[ \t]*\r?\n))?",
    re.ASCII,
)
_RANK = re.compile(
    r"^\W*(?:global_|local_)?(?:rank|default)\W{0,3}(\d{1,6})\b|^\s*(\d{1,6}):", re.ASCII | re.IGNORECASE
)
_PART = re.compile(r"[\s{}\[\],\d.eE+-]*", re.ASCII)


class TimersInText(NamedTuple):
    """The timers in a text.

    Attributes
    ----------
    content : dict
        Times by timer, as in a timer log; if a timer appears more than once, a list with one entry per step.
    notes : tuple of str
        Parts that were skipped.
    """

    content: dict[str, Any]
    notes: tuple[str, ...]


def timers_in_text(path: Path) -> TimersInText | None:
    """Extract the timers from a text.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    TimersInText or None
        None if the text has no timers.

    Raises
    ------
    InputError
        If the text is too large, a timer has no complete time, or the timers are of several ranks.
    """
    name, text = in_one_line(path), _text_of(path)
    content: dict[str, Any] = {}
    ranks: set[str] = set()
    for found in _ENTRY.finditer(text):
        start = text.rfind("\n", 0, found.start()) + 1
        if found["value"] is None:
            line = text.count("\n", 0, start) + 1
            raise InputError(f"{name}: line {line}: {found['key']} has no complete time; was the file cut off?")
        ranks |= _rank_before(text[start : min(start + 100, found.start())])
        read = json.loads(found["value"])
        content.setdefault(found["key"], []).extend(read if isinstance(read, list) else [read])
    if len(ranks) > 1:
        listed = ", ".join(sorted(ranks, key=int)[:4])
        raise InputError(f"{name}: has timers of several ranks ({listed} …); give one file for each rank")
    return TimersInText(content, tuple(_notes(name, text))) if content else None


def _text_of(path: Path) -> str:
    content = bytearray()
    with opened(path) as file, suppress(ValueError, *READ_ERRORS):  # an unreadable part has no timers
        while len(content) <= LARGEST_LOG and (part := file.read(1 << 20)):
            content += part
    if len(content) > LARGEST_LOG:
        raise InputError(f"{in_one_line(path)}: is larger than a timer log can be ({LARGEST_LOG:,} bytes)")
    return content.decode("utf-8", "replace")


def _rank_before(text: str) -> set[str]:
    """Read the rank from a launcher's line prefix: ``[rank1]:``, ``[default1]:`` or ``1:``."""
    found = _RANK.match(text)
    return {found[1] or found[2]} if found else set()


def _notes(name: str, text: str) -> list[str]:
    lines = text.split("\n")
    own = [line for line in lines if _PART.fullmatch(line) or _ENTRY.search(line)]
    others = len(lines) - len(own)
    counted = "1 other line was" if others == 1 else f"{others:,} other lines were"
    notes = [f"{name}: {counted} skipped"] if others else []
    if sum(line.count("{") - line.count("}") for line in own) > 0:
        notes.append(f"{name}: its JSON is cut off; the timers before that were used")
    return notes
