"""Pydantic's errors as lines for people: the key, what was found, what is allowed, and the nearest valid key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from strategies.numbers import in_one_line, shown


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Write all errors of a validation, a line each."""
    lines: list[str] = []
    for found in error.errors(include_url=False):
        where = ".".join(shown(part) if not isinstance(part, str) else in_one_line(part[:60]) for part in found["loc"])
        message = _message(found["type"], found["msg"], found["loc"], found["input"], model)
        if cause := found.get("ctx", {}).get("error"):
            message = str(cause)
        lines.append(f"{where}: {message}" if where else message)
    return "\n".join(lines)


def _message(kind: str, text: str, where: tuple[int | str, ...], value: object, model: type[BaseModel]) -> str:
    if kind in ("extra_forbidden", "invalid_key"):
        return _unknown_key(str(where[-1]), keys_at(model, where[:-1]))
    if kind == "missing":
        return "is missing"
    if kind in ("model_type", "model_attributes_type"):
        return f"must be a mapping of {', '.join(keys_at(model, where))}; found {shown(value)}"
    return f"{text}; found {shown(value)}"


def _unknown_key(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"is not a known key; {hint}Allowed are {', '.join(allowed)}"


def keys_at(model: type[BaseModel], where: tuple[int | str, ...]) -> list[str]:
    """List the keys that a model takes at a place."""
    fields: Mapping[str, object] = model.model_fields
    for part in where:
        inner = model.model_fields[str(part)].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            fields = inner.model_fields
    return list(fields)
