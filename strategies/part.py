"""What the parts of a configuration have in common: frozen, strict, and no unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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


class WrongKeyError(ValueError):
    """One key of a part is wrong beside others.

    Attributes
    ----------
    key : str
        Which key of the part.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)
