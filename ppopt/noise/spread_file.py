"""The file of spreads that ``ppopt profile --spread`` writes: how every measured time varies."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, log
from pathlib import Path
from typing import Any, NamedTuple

from solver.errors import InputError
from strategies.model.numbers import as_said, in_one_line, shown
from strategies.model.text_file import read_text_file

LARGEST_FILE = 20_000_000
"""Bytes; enough for one row per kind of operation of a million stages."""

NINETIETH = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""

LATENCY = "p2p_latency"
KEYS = ("forward", "backward", "backward_input", "backward_weight", "overlapped_forward_backward", LATENCY)
COLUMNS = ("key", "stage", "p10", "median", "p90")


class Deviations(NamedTuple):
    """The spread of a time below and above its median, as standard deviations of its logarithm."""

    below: float
    above: float


@dataclass(frozen=True)
class Spreads:
    """Measured spreads.

    Attributes
    ----------
    name : str
        The file.
    by_key : mapping of str to (mapping of int to Deviations)
        Spreads by the configuration's key and by stage.
    latency : Deviations or None
        The spread of a transfer.
    """

    name: str
    by_key: Mapping[str, Mapping[int, Deviations]]
    latency: Deviations | None

    @property
    def stages(self) -> int:
        """The number of stages measured."""
        return 1 + max(stage for each in self.by_key.values() for stage in each)

    def of(self, key: str, stage: int, stages: int) -> Deviations | None:
        """Look up how a time of a stage varies.

        Parameters
        ----------
        key : str
            The configuration's key.
        stage, stages : int
            The stage, and the number of stages; if another number was measured, the measured stage that contains this
            one's middle is used.
        """
        measured = self.by_key.get(key, {})
        return measured.get((2 * stage + 1) * self.stages // (2 * stages))


def read_spreads(path: str | Path) -> Spreads:
    """Read a file of spreads, CSV or YAML.

    Raises
    ------
    InputError
        If the file cannot be read, or with each wrong row.
    """
    name = in_one_line(path)
    text = read_text_file(path, "a file of spreads", LARGEST_FILE)
    rows = _yaml_rows(name, text) if name.lower().endswith((".yaml", ".yml")) else _csv_rows(name, text)
    by_key: dict[str, dict[int, Deviations]] = {}
    latency: Deviations | None = None
    mistakes: list[str] = []
    for place, row in enumerate(rows, 1):
        try:
            key, stage, found = _read_row(row)
        except ValueError as error:
            mistakes.append(f"{name}: row {place}: {error}")
            continue
        if key == LATENCY:
            latency = found
        else:
            by_key.setdefault(key, {})[stage] = found
    if mistakes:
        raise InputError("\n".join(mistakes[:20]))
    if not by_key:
        raise InputError(f"{name}: holds no spread; `ppopt profile TRACES --spread {name}` writes such a file")
    return Spreads(name, by_key, latency)


def _csv_rows(name: str, text: str) -> list[Mapping[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{name}: must have the columns {', '.join(COLUMNS)}, as `ppopt profile --spread` writes them; "
            f"{missing[0]} is missing"
        )
    try:
        return list(reader)
    except csv.Error as error:
        raise InputError(f"{name}: is not CSV: {error}") from None


def _yaml_rows(name: str, text: str) -> list[Mapping[str, Any]]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: is not YAML: {as_said(error)[:200]}") from None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(
            f"{name}: must be a list of rows with {', '.join(COLUMNS)}, as `ppopt profile --spread` writes"
        )
    return rows


def _read_row(row: Mapping[str, Any]) -> tuple[str, int, Deviations]:
    key = row.get("key")
    if key not in KEYS:
        near = get_close_matches(str(key), KEYS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"key: {shown(key)} is not known{hint} Allowed are {', '.join(KEYS)}")
    stage = 0 if key == LATENCY else _stage(row.get("stage"))
    low, middle, high = (_time(name, row.get(name)) for name in ("p10", "median", "p90"))
    if not low <= middle <= high:
        raise ValueError(f"p10, median and p90 must satisfy p10 ≤ median ≤ p90; found {low:g}, {middle:g}, {high:g}")
    if not middle:
        return str(key), stage, Deviations(0.0, 0.0)
    least = middle / 1000  # with a 10th percentile of 0, most draws would be about 0
    return str(key), stage, Deviations(log(middle / max(low, least)) / NINETIETH, log(high / middle) / NINETIETH)


def _stage(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise ValueError(f"stage: must be a whole number from 0; found {shown(value)}")
    return int(text)


def _time(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not (isfinite(number) and number >= 0):
        raise ValueError(f"{name}: must be a finite number of at least 0; found {shown(value)}")
    return number
