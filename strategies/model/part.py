"""The base class of a configuration's parts: frozen, strict, without unknown keys."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel


class Part(BaseModel):
    """A part of a configuration."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield the given values as plain numbers."""
        yield from plain_values(self).items()


class WrongKeyError(ValueError):
    """One key of a part is wrong in view of the others.

    Attributes
    ----------
    key : str
        The key of the part.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


def plain_values(value: Any) -> Any:
    """Turn models into mappings and exact numbers into plain ones."""
    if isinstance(value, RootModel):
        return plain_values(value.root)
    if isinstance(value, BaseModel):
        items = ((key, getattr(value, key)) for key in type(value).model_fields)
        return {key: plain_values(inner) for key, inner in items if inner is not None}
    if isinstance(value, dict):
        return {key: plain_values(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [plain_values(inner) for inner in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value
