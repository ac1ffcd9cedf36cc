"""A layers file: what a configuration says, with a comment beside each number."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 118
"""Columns of a comment."""

DIGITS = 4
"""Significant digits of what is estimated or measured."""


@dataclass(frozen=True)
class Entry:
    """A value, and where it comes from."""

    key: str
    value: float | int | str
    why: str = ""


@dataclass(frozen=True)
class Layer:
    """A row of equal layers, and what changes if one is recomputed."""

    name: str
    count: int
    entries: Sequence[Entry]
    recompute: Sequence[Entry] = ()


@dataclass(frozen=True)
class LayersFile:
    """A configuration of a model's layers, which leaves the numbers of devices and microbatches open.

    Attributes
    ----------
    about : sequence of str
        Paragraphs for the top.
    values : sequence of Entry
        The values that stand alone.
    parts : mapping of str to sequence of Entry
        The parts of several values, by key; those without a value are left out.
    layers : sequence of Layer
        The layers, in the order of the model.
    memory : sequence of Entry
        The part ``memory``, which comes last.
    """

    about: Sequence[str]
    values: Sequence[Entry]
    layers: Sequence[Layer]
    parts: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    memory: Sequence[Entry] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Return what it says, without comments."""
        return {
            **_values(self.values),
            **{key: _values(part) for key, part in self.parts.items() if part},
            "layers": [
                {"name": each.name, "count": each.count, **_values(each.entries)}
                | ({"recompute": _values(each.recompute)} if each.recompute else {})
                for each in self.layers
            ],
            "memory": _values(self.memory),
        }

    def to_yaml(self) -> str:
        """Write it."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        for text in self.about:
            for line in textwrap.wrap(text, WIDTH) or [""]:
                yield f"# {line}".rstrip()
        yield from _written(self.values, "")
        for key, part in self.parts.items():
            if part:
                yield f"{key}:"
                yield from _written(part, "  ")
        yield "layers:"
        for each in self.layers:
            yield from (f"  - name: {each.name}", f"    count: {each.count}", *_written(each.entries, "    "))
            if each.recompute:
                yield from ("    recompute:", *_written(each.recompute, "      "))
        yield from ("memory:", *_written(self.memory, "  "))


def _values(entries: Sequence[Entry]) -> dict[str, Any]:
    return {each.key: each.value for each in entries}


def _written(entries: Sequence[Entry], indent: str) -> Iterator[str]:
    for each in entries:
        text = f"{indent}{each.key}: {each.value}"
        yield f"{text:<38}  # {each.why}" if each.why else text


def rounded(value: float) -> float | int:
    """Round to the digits that such a file holds."""
    found = float(f"{value:.{DIGITS}g}")
    return int(found) if found.is_integer() else found
