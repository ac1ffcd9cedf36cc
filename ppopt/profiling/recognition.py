"""Telling by its content what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import ijson  # type: ignore[import-untyped]
from ijson.common import ObjectBuilder  # type: ignore[import-untyped]

from ppopt.profiling.files import READ_ERRORS, opened
from ppopt.profiling.megatron import is_timer_log
from solver.errors import InputError
from strategies.numbers import in_one_line

TRACE, TIMERS, REHEARSAL = "torch.profiler trace", "Megatron timer log", "rehearsal of ppopt"
REHEARSAL_FORMAT = "ppopt-rehearsal-1"
MOST_PARTS = 20_000_000
"""A file that is no trace is read whole; it may not have more JSON tokens than this."""

_ALLOWED = (
    "allowed are traces of torch.profiler (export_chrome_trace), Megatron timer logs (forward-0-start …) and the "
    "JSON of `ppopt rehearse`"
)


class Recognised(NamedTuple):
    """A file with what it is.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        `TRACE`, `TIMERS` or `REHEARSAL`.
    head : dict
        For a trace what it says about itself before its events, else its whole content.
    prefix : str
        Where a trace has its events.
    """

    path: Path
    kind: str
    head: dict[str, Any]
    prefix: str = ""


def recognise(path: Path) -> Recognised:
    """Tell what a file is.

    Raises
    ------
    InputError
        If it is nothing that is known, or cannot be read.
    """
    name = in_one_line(path)
    with opened(path) as file:
        builder = ObjectBuilder()
        try:
            prefix = _read_head(file, builder)
        except ijson.IncompleteJSONError as error:
            raise InputError(f"{name}: {_broken(builder, error)}; {_ALLOWED}") from None
        except (ijson.JSONError, UnicodeDecodeError, *READ_ERRORS) as error:
            raise InputError(f"{name}: is not a trace: {_one_line(error)}; {_ALLOWED}") from None
        except (ValueError, RecursionError, OverflowError) as error:
            raise InputError(f"{name}: is not a trace: {_one_line(error)}; {_ALLOWED}") from None
    head = getattr(builder, "value", None)
    if prefix is not None:
        return Recognised(path, TRACE, head if isinstance(head, dict) else {}, prefix)
    if isinstance(head, dict) and head.get("format") == REHEARSAL_FORMAT:
        return Recognised(path, REHEARSAL, head)
    if isinstance(head, dict) and is_timer_log(head):
        return Recognised(path, TIMERS, head)
    raise InputError(f"{name}: is JSON, but not a trace; {_ALLOWED}")


def _read_head(file: Any, builder: ObjectBuilder) -> str | None:
    """Build what stands before the events; the answer is where the events are, or None if there are none."""
    depth = 0
    for count, (event, value) in enumerate(ijson.basic_parse(file, use_float=True)):
        if count == 0 and event == "start_array":
            return "item"
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
    return f"ends too early, before its first event: {_one_line(error)}"


def _one_line(error: object) -> str:
    text = str(error.args[0]) if isinstance(error, Exception) and error.args else str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:120]
