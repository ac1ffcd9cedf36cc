"""Dotted keys of a configuration: ``memory.limit``, ``times.forward.7``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from types import NoneType
from typing import Any

from solver.errors import InputError
from strategies.model.numbers import in_one_line, shown
from strategies.model.pipeline import Pipeline
from strategies.model.streams import STREAMS
from strategies.model.validation_messages import keys_at

PARTS = ("times", "memory")
"""Parts with keys of their own; each key has one number, or one for each stage or device."""

OTHER_PARTS = ("overhead", "step", *STREAMS)
"""Parts with keys of one value each."""

UNIT_TIMES = {"forward": 1, "backward_input": 1, "backward_weight": 1}
"""The times of a configuration without times."""


def check_key(key: object, where: str) -> str:
    """Refuse anything that is not a key of a configuration.

    Parameters
    ----------
    key : object
        The key as written.
    where : str
        Its place, for the message.

    Raises
    ------
    InputError
        With the nearest key.
    """
    if not isinstance(key, str):
        raise InputError(f"{where}: must be a key of a configuration; found {shown(key)}")
    first, _, rest = key.partition(".")
    named = [f"{part}.{name}" for part in (*PARTS, *OTHER_PARTS) for name in keys_at(Pipeline, (part,))]
    known = [*keys_at(Pipeline, ()), *named]
    if first in PARTS and rest:
        name, dot, place = rest.partition(".")
        if f"{first}.{name}" in known and (not dot or _is_place(place)):
            return key
    elif first == "slowdown" and rest:
        if _is_place(rest):
            return key
    elif first == "layers" and rest.count(".") == 1:
        _, field = rest.split(".")
        if field in keys_at(Pipeline, ("layers", 0)):
            return key
        known = [f"layers.{rest.split('.')[0]}.{name}" for name in keys_at(Pipeline, ("layers", 0))]
    elif key in known and key not in (*PARTS, "layers"):
        return key
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; allowed are {', '.join(keys_at(Pipeline, ()))}"
    raise InputError(f"{where}: {in_one_line(key[:60])} is not a key of a configuration{hint}")


def is_key(key: object) -> bool:
    """Return whether `check_key` allows a key."""
    with suppress(InputError):
        return bool(check_key(key, ""))
    return False


def _is_place(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 8


def with_value(mapping: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Copy a configuration with one key changed.

    Parameters
    ----------
    mapping : mapping
        The configuration, in ppopt's own keys.
    key : str
        As `check_key` allows.
    value : object
        The new value.

    Raises
    ------
    InputError
        If the configuration has no such key to change.
    """
    changed = dict(mapping)
    first, *rest = key.split(".")
    if not rest:
        changed[first] = value
    elif first == "slowdown":
        given = changed.get(first)
        factors = dict(enumerate(given)) if isinstance(given, (list, tuple)) else dict(_mapping(key, given))
        changed[first] = {int(each) if str(each).isdecimal() else each: factor for each, factor in factors.items()}
        changed[first][int(rest[0])] = value
    elif first == "layers":
        changed["layers"] = _with_layer(changed.get("layers"), rest[0], rest[1], value)
    else:
        given = changed.get(first)
        if first == "overhead" and not isinstance(given, (Mapping, NoneType)):
            given = dict.fromkeys(("forward", "backward"), given)  # one number is that of all operations
        part = dict(_mapping(key, given))
        part[rest[0]] = value if len(rest) == 1 else _with_place(changed, first, rest[0], int(rest[1]), value)
        changed[first] = part
    return changed


def _mapping(key: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{key}: {key.partition('.')[0]} must be a mapping; found {shown(value)}")
    return value


def _with_place(mapping: Mapping[str, Any], part: str, name: str, place: int, value: Any) -> Any:
    """Change one entry of a key's value, which may be one number for all."""
    key = f"{part}.{name}"
    current = _mapping(key, mapping.get(part)).get(name)
    if current is None and part == "times" and name in UNIT_TIMES and "backward" not in (mapping.get(part) or {}):
        current = UNIT_TIMES[name]
    if current is None:
        raise InputError(f"{key}.{place}: the others have no {name}; give base {key}")
    if isinstance(current, Mapping):
        return {**current, next((each for each in current if str(each) == str(place)), place): value}
    if isinstance(current, Sequence) and not isinstance(current, str):
        entries = list(current)
    else:
        size = mapping.get("devices") if name == "limit" else mapping.get("stages", mapping.get("devices"))
        entries = [current] * (size if isinstance(size, int) else 0)
    if place >= len(entries):
        what = "devices" if name == "limit" else "stages"
        raise InputError(f"{key}.{place}: there are only {len(entries)} {what}, 0 to {len(entries) - 1}")
    entries[place] = value
    return entries


def _with_layer(layers: object, which: str, field: str, value: Any) -> list[Any]:
    """Change a row of layers, given by its position or by its name (all rows of that name)."""
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise InputError(f"layers.{which}.{field}: the base has no layers")
    copied = deepcopy(list(layers))
    rows = [row for place, row in enumerate(copied) if isinstance(row, dict) and which in (str(place), row.get("name"))]
    if not rows:
        names = ", ".join(str(row.get("name")) for row in copied if isinstance(row, dict))
        raise InputError(f"layers.{which}.{field}: there is no such row; the base has {names}")
    for row in rows:
        row[field] = value
    return copied
