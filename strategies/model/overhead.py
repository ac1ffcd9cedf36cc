"""What a step costs besides the work of its stages: overhead of operations, slow devices, and an end of its own."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import PlainValidator, model_validator

from strategies.model.numbers import read_amount, read_number, refusal, shown
from strategies.model.part import Part, WrongKeyError

MOST_DEVICES = 1_000_000
"""A slowdown of a device beyond this is surely a typo."""


class Overhead(Part):
    """The time before each operation in which its device does nothing else.

    Attributes
    ----------
    forward : number
        Before each F, and before each block.
    backward : number
        Before each B outside a block; if absent, as before I.
    backward_input, backward_weight : number
        Before each I and each W; if absent, as before B.
    """

    forward: Annotated[Fraction, PlainValidator(read_amount)]
    backward: Annotated[Fraction, PlainValidator(read_amount)]
    backward_input: Annotated[Fraction, PlainValidator(read_amount)]
    backward_weight: Annotated[Fraction, PlainValidator(read_amount)]

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        if isinstance(value, (Overhead, Mapping)):
            return cls._filled_in(value) if isinstance(value, Mapping) else value
        try:
            number = read_amount(value)
        except ValueError as error:
            raise ValueError(f"{error}; or give a mapping of {', '.join(cls.model_fields)}") from None
        return dict.fromkeys(cls.model_fields, number)

    @classmethod
    def _filled_in(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values = {key: value for key, value in given.items() if value is not None}
        whole = values.get("backward", values.get("backward_input"))
        if whole is None:
            raise WrongKeyError("backward", "is missing; give it (0 for none), or one number for all operations")
        return dict.fromkeys(("backward", "backward_input", "backward_weight"), whole) | values

    @model_validator(mode="after")
    def _contains_its_halves(self) -> Self:
        for key in ("backward_input", "backward_weight"):
            if getattr(self, key) > self.backward:
                raise WrongKeyError(
                    key,
                    f"must be at most that of backward, which contains it; found {float(getattr(self, key)):g} beside "
                    f"{float(self.backward):g}",
                )
        return self

    @property
    def each(self) -> tuple[Fraction, ...]:
        """The overhead of F, B, I and W."""
        return self.forward, self.backward, self.backward_input, self.backward_weight

    @property
    def written(self) -> Fraction | Self:
        """One number if all are the same."""
        return self.forward if len(set(self.each)) == 1 else self


class Step(Part):
    """What a step takes besides its operations.

    Attributes
    ----------
    after : number
        The time after its last operation: the optimizer, data.
    """

    after: Annotated[Fraction, PlainValidator(read_amount)] = Fraction(0)


class Slowdown(tuple[Fraction, ...]):
    """How many times as long each device takes, from device 0; `is_list` if every device was named."""

    is_list = True


class _Partial(Slowdown):
    """The devices up to the last one that a mapping names."""

    is_list = False


def read_slowdown(value: object) -> Slowdown:
    """Read a list with a factor for each device, or a mapping from some devices to factors."""
    if isinstance(value, Mapping):
        factors: dict[int, Fraction] = {}
        for key, factor in value.items():
            device = _read_device(key)
            if device in factors:
                raise ValueError(f"must name each device once; device {device} appears twice")
            factors[device] = _read_factor(device, factor)
        last = max(factors, default=-1)
        return _Partial(factors.get(device, Fraction(1)) for device in range(last + 1))
    if not isinstance(value, (list, tuple)) or not value:
        raise refusal("must be a mapping from device to factor, such as {3: 1.08}, or a list of all", value)
    return Slowdown(_read_factor(device, factor) for device, factor in enumerate(value))


def _read_device(key: object) -> int:
    device = int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 10 else key
    if isinstance(device, bool) or not isinstance(device, int) or not 0 <= device < MOST_DEVICES:
        raise ValueError(f"must name each device by a whole number from 0; found {shown(key)}")
    return device


def _read_factor(device: int, value: object) -> Fraction:
    try:
        factor = read_number(value)
        if factor < 1:
            raise refusal("must be at least 1; give times as the fastest device takes them", value)
    except ValueError as error:
        raise ValueError(f"device {device}: {error}") from None
    return factor
