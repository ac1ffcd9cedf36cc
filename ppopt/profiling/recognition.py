"""Recognizes a file's kind by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import ijson  # type: ignore[import-untyped]
from ijson.common import ObjectBuilder  # type: ignore[import-untyped]

from ppopt.profiling.files import READ_ERRORS, opened
from ppopt.profiling.megatron import is_timer_log
from ppopt.profiling.own_traces import is_own_trace
from ppopt.profiling.primus import is_primus_config, is_primus_log
from ppopt.profiling.timer_text import timers_in_text
from solver.errors import InputError
from strategies.model.numbers import in_one_line

TRACE, TIMERS, REHEARSAL = "torch.profiler trace", "Megatron timer log", "rehearsal of ppopt"
PRIMUS = "Primus log"
OWN = "trace of ppopt"
REHEARSAL_FORMAT = "ppopt-rehearsal-1"
MOST_PARTS = 20_000_000
"""The most JSON tokens in a file that is not a trace; such a file is read whole."""

_ALLOWED = (
    "allowed are traces of torch.profiler (export_chrome_trace), Megatron timer logs (forward-0-start …), logs of "
    "Primus (pp_rank_0.json …), the JSON of `ppopt rehearse` and traces of ppopt (--trace)"
)


class Recognised(NamedTuple):
    """A file and its kind.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        `TRACE`, `TIMERS`, `PRIMUS`, `REHEARSAL` or `OWN`.
    head : dict
        For a trace, the part before its events; otherwise the whole content.
    prefix : str
        The JSON path of a trace's events.
    notes : tuple of str
        Parts of the file that were skipped.
    """

    path: Path
    kind: str
    head: dict[str, Any]
    prefix: str = ""
    notes: tuple[str, ...] = ()


def recognise(path: Path) -> Recognised:
    """Find a file's kind.

    Raises
    ------
    InputError
        If the kind is unknown, or the file cannot be read.
    """
    try:
        return _recognise_json(path)
    except _NotJsonError as error:
        timers = timers_in_text(path) if error.may_hold_timers else None
        if timers is None:
            raise InputError(str(error)) from None
        return Recognised(path, TIMERS, timers.content, notes=timers.notes)


class _NotJsonError(Exception):
    """The file is not JSON; the message says why."""

    def __init__(self, message: str, *, may_hold_timers: bool = True) -> None:
        super().__init__(message)
        self.may_hold_timers = may_hold_timers


def _recognise_json(path: Path) -> Recognised:
    name = in_one_line(path)
    with opened(path) as file:
        builder = ObjectBuilder()
        try:
            prefix = _read_head(file, builder)
        except ijson.IncompleteJSONError as error:
            raise _NotJsonError(f"{name}: {_broken(builder, error)}; {_ALLOWED}") from None
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise _NotJsonError(f"{name}: is not a trace: {_one_line(error)}; {_ALLOWED}") from None
        except (*READ_ERRORS, ValueError, RecursionError, OverflowError) as error:
            text = f"{name}: is not a trace: {_one_line(error)}; {_ALLOWED}"
            raise _NotJsonError(text, may_hold_timers=False) from None
    head = getattr(builder, "value", None)
    if prefix is not None:
        head = head if isinstance(head, dict) else {}
        return Recognised(path, OWN if is_own_trace(head) else TRACE, head, prefix)
    if isinstance(head, dict) and head.get("format") == REHEARSAL_FORMAT:
        return Recognised(path, REHEARSAL, head)
    if isinstance(head, dict) and is_timer_log(head):
        return Recognised(path, TIMERS, head)
    if isinstance(head, dict) and (is_primus_log(head) or is_primus_config(head)):
        return Recognised(path, PRIMUS, head)
    raise InputError(f"{name}: is JSON, but not a trace; {_ALLOWED}")


def _read_head(file: Any, builder: ObjectBuilder) -> str | None:
    """Build the part before the events; return the path of the events, or None if there are none."""
    depth = 0
    is_list = False
    for count, (event, value) in enumerate(ijson.basic_parse(file, use_float=True)):
        if count == 0 and event == "start_array":
            is_list = True
            continue
        if is_list and event in ("start_map", "start_array", "end_array"):
            return "item"
        if is_list:  # a log line may begin with a bracket
            raise ijson.JSONError("it begins with a list of something other than events")
        if depth == 1 and event == "map_key" and value == "traceEvents":
            return "traceEvents.item"
        if count > MOST_PARTS:
            raise ValueError("it is too large for anything else")
        depth += {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}.get(event, 0)
        builder.event(event, value)
    return None


def _broken(builder: ObjectBuilder, error: Exception) -> str:
    if not getattr(builder, "value", None):
        text = _one_line(error)
        return "is empty" if "premature EOF" in text or "Incomplete" in text else f"is not a trace: {text}"
    text = _one_line(error)
    is_cut = "premature EOF" in text or "ncomplete" in text
    return f"{'ends too early, before its first event' if is_cut else 'is not a trace'}: {text}"


def _one_line(error: object) -> str:
    text = str(error.args[0]) if isinstance(error, Exception) and error.args else str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:120]
