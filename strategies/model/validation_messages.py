"""Turns Pydantic's errors into readable lines: the key, what was found, what is allowed, and the nearest valid key."""

from __future__ import annotations

import difflib
from typing import get_args

from pydantic import BaseModel, RootModel, ValidationError

from strategies.model.numbers import in_one_line, shown

_WRITTEN: dict[int | str, str] = {"entries": "microbatches"}
"""Fields that a configuration writes as something else."""


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Write all errors of a validation, one line each."""
    lines: list[str] = []
    for found in error.errors(include_url=False):
        place = [_WRITTEN.get(part, part) for part in found["loc"]]
        where = ".".join(shown(part) if not isinstance(part, str) else in_one_line(part[:60]) for part in place)
        message = _message(found["type"], found["msg"], found["loc"], found["input"], model)
        if cause := found.get("ctx", {}).get("error"):
            message = str(cause)
            where = ".".join(part for part in (where, getattr(cause, "key", "")) if part)
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
    """List the keys that a model accepts at a place."""
    inner: type[BaseModel] | None = model
    for part in where:
        if inner is not None and isinstance(part, str) and part in inner.model_fields:
            inner = _model_in(inner.model_fields[part].annotation) or inner
    return [key for key in inner.model_fields if key not in _WRITTEN] if inner is not None else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Find the model that an annotation names, also inside a list or a root."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (
            _model_in(annotation.model_fields["root"].annotation) if issubclass(annotation, RootModel) else annotation
        )
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
