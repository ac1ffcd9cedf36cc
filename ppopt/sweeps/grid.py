"""The grid of a sweep: a base configuration, axes over its keys, and the runs at each point."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any

from ppopt.sweeps.keys import UNIT_TIMES, check_key, is_key, with_value
from ppopt.sweeps.runs import Effort, SweepRun, read_runs
from solver.errors import InputError
from strategies.model.configuration import read_configuration, split_strategy
from strategies.model.lengths_file import read_lengths
from strategies.model.numbers import check_seed, in_one_line, read_number, shown
from strategies.model.pipeline import Pipeline

KEYS = ("base", "axes", "run", "time_limit", "seed")
USUAL_SECONDS = 10.0
MOST_ON_AN_AXIS = 100_000
MOST_JOBS = 1_000_000
MOST_TRIED = 50
"""The most values of an axis to try when checking whether the base is wrong."""


@dataclass(frozen=True)
class Axis:
    """One axis of a grid.

    Attributes
    ----------
    name : str
        The key, or a name for several keys that change together.
    points : tuple of mapping of str to object
        For each position, the keys that are set there, with their values.
    labels : tuple of str or None
        How each position is shown, if not by its values.
    """

    name: str
    points: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...] | None = None

    def shown(self, place: int) -> Any:
        """Return the value at a position as plain data: a number, a text, or a list; several keys become one text."""
        if self.labels is not None:
            return self.labels[place]
        values = {key: _plain(value) for key, value in self.points[place].items()}
        if list(values) == [self.name]:
            value = values[self.name]
            if not isinstance(value, Mapping):
                return value
            values = dict(value)
        return ", ".join(f"{key}={_written(value)}" for key, value in values.items())


@dataclass(frozen=True)
class Point:
    """One configuration of a grid.

    Attributes
    ----------
    values : dict of str to object
        The point's position: for each axis, its value as shown.
    mapping : dict or None
        The configuration; None if the base has no key that could be set this way.
    fault : str
        The reason for None.
    """

    values: dict[str, Any]
    mapping: dict[str, Any] | None
    fault: str = ""


@dataclass(frozen=True)
class Grid:
    """The grid of a sweep.

    Attributes
    ----------
    base : dict
        The configuration that all points share.
    axes : tuple of Axis
        At least one.
    runs : tuple of SweepRun
        The runs at each point.
    effort : Effort
        The time limit and seed of searches.
    """

    base: dict[str, Any]
    axes: tuple[Axis, ...]
    runs: tuple[SweepRun, ...]
    effort: Effort

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return math.prod(len(axis.points) for axis in self.axes) * len(self.runs)

    def points(self) -> Iterator[Point]:
        """Yield the points; the last axis changes fastest."""
        for places in itertools.product(*(range(len(axis.points)) for axis in self.axes)):
            yield self.point(places)

    def point(self, places: Sequence[int]) -> Point:
        """Make the point at the given position on each axis."""
        pairs = list(zip(self.axes, places, strict=True))
        values = {axis.name: axis.shown(place) for axis, place in pairs}
        mapping = self.base
        try:
            for key, value in self._settings(pairs):
                mapping = with_value(mapping, key, value)
            if "times" not in self.base and "times" in mapping:
                mapping["times"] = _completed(mapping["times"])
        except InputError as error:
            return Point(values, None, str(error))
        return Point(values, mapping)

    def _settings(self, pairs: Sequence[tuple[Axis, int]]) -> Iterator[tuple[str, Any]]:
        """Yield the settings; keys of one stage or device come after those of all."""
        every = [setting for axis, place in pairs for setting in axis.points[place].items()]
        yield from sorted(every, key=lambda setting: setting[0].count("."))


def _completed(times: dict[str, Any]) -> dict[str, Any]:
    """If the base gives no times, set those that no axis sets to 1."""
    known = ("forward",) if "backward" in times else tuple(UNIT_TIMES)
    return {key: UNIT_TIMES[key] for key in known} | times


def read_grid(grid: str | os.PathLike[str] | Mapping[str, Any], *, time_limit: float | None = None) -> Grid:
    """Read a grid from a file (YAML or JSON), or from a mapping of the same form.

    Parameters
    ----------
    grid : str, path or mapping
        The grid.
    time_limit : float, optional
        Seconds for each search, instead of the grid's value.

    Raises
    ------
    InputError
        With one line per mistake.
    """
    folder = Path()
    if isinstance(grid, (str, os.PathLike)):
        folder, name = Path(grid).parent, in_one_line(grid)
        try:
            return _read(read_configuration(Path(grid)), folder, time_limit)
        except InputError as error:
            lines = str(error).split("\n")
            raise InputError(
                "\n".join(line if line.startswith(name) else f"{name}: {line}" for line in lines)
            ) from None
    return _read(grid, folder, time_limit)


def _read(grid: Any, folder: Path, time_limit: float | None) -> Grid:
    if not isinstance(grid, Mapping):
        raise InputError(f"a grid must be a mapping of {', '.join(KEYS)}; found {shown(grid)}")
    mistakes = [_unknown(key) for key in grid if key not in KEYS]
    found: dict[str, Any] = {}
    readers: dict[str, Callable[[], Any]] = {
        "base": lambda: _read_base(grid.get("base"), folder),
        "axes": lambda: _read_axes(grid.get("axes"), folder),
        "runs": lambda: read_runs(grid.get("run")),
        "effort": lambda: _read_effort(grid, time_limit),
    }
    for part, read in readers.items():
        try:
            found[part] = read()
        except InputError as error:
            mistakes += str(error).split("\n")
    if mistakes:
        raise InputError("\n".join(mistakes))
    made = Grid(**found)
    _refuse_hopeless(made)
    if made.jobs > MOST_JOBS:
        raise InputError(f"axes: are {made.jobs:,} jobs; at most {MOST_JOBS:,} are taken")
    return made


def _refuse_hopeless(grid: Grid) -> None:
    """Refuse a grid whose base is wrong: with no value of any axis can a pipeline be read.

    Raises
    ------
    InputError
        With the mistakes at the first point.
    """
    first: InputError | None = None
    start = [0] * len(grid.axes)
    for side, axis in enumerate(grid.axes):
        for place in range(min(len(axis.points), MOST_TRIED)):
            point = grid.point([*start[:side], place, *start[side + 1 :]])
            try:
                if point.mapping is None:
                    raise InputError(point.fault)
                Pipeline.from_mapping(point.mapping)
            except InputError as error:
                first = first or error
                continue
            return
    if first is not None:
        raise first


def _unknown(key: object) -> str:
    near = get_close_matches(str(key), KEYS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{in_one_line(str(key)[:40])}: is not a known key; {hint}Allowed are {', '.join(KEYS)}"


def _read_base(base: Any, folder: Path) -> dict[str, Any]:
    if base is None:
        raise InputError("base: is missing; give a configuration, or the path of one")
    if isinstance(base, (str, os.PathLike)):
        base = read_configuration(folder / base)
    split = split_strategy(base)
    return split.mapping


def _read_effort(grid: Mapping[str, Any], time_limit: float | None) -> Effort:
    seconds = grid.get("time_limit", USUAL_SECONDS) if time_limit is None else time_limit
    try:
        limit = float(read_number(seconds))
    except ValueError as error:
        raise InputError(f"time_limit: {error}") from None
    if limit < 0:
        raise InputError(f"time_limit: must be at least 0 seconds; found {shown(seconds)}")
    seed = grid.get("seed", 0)
    check_seed(seed)
    return Effort(limit, seed)


def _read_axes(axes: Any, folder: Path) -> tuple[Axis, ...]:
    if not isinstance(axes, Mapping) or not axes:
        found = "" if axes is None else f"; found {shown(axes)}"
        raise InputError(f"axes: must name at least one key that varies, such as microbatches: [16, 32, 64]{found}")
    read: list[Axis] = []
    mistakes: list[str] = []
    for name, value in axes.items():
        try:
            read.append(_read_axis(name, value, folder))
        except InputError as error:
            mistakes += str(error).split("\n")
    taken: dict[str, str] = {}
    for axis in read:
        for key in dict.fromkeys(key for point in axis.points for key in point):
            if (other := taken.setdefault(key, axis.name)) != axis.name:
                mistakes.append(f"axes.{axis.name}: sets {key}, as axis {other} does")
    if mistakes:
        raise InputError("\n".join(mistakes))
    return tuple(read)


def _read_axis(name: Any, value: Any, folder: Path) -> Axis:
    where = f"axes.{in_one_line(str(name)[:60])}"
    if isinstance(value, Mapping):
        values = _spaced(where, value) if {"from", "to", "steps"} & value.keys() else _together(where, value)
    else:
        values = value
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"{where}: must be a list of values, or {{from, to, steps}}; found {shown(value)}")
    if not values:
        raise InputError(f"{where}: must have at least one value; found none")
    if len(values) > MOST_ON_AN_AXIS:
        raise InputError(f"{where}: has {len(values):,} values; at most {MOST_ON_AN_AXIS:,} are taken")
    if name == "lengths":
        _refuse_repeated(where, values)
        return _of_files(where, values, folder)
    if all(isinstance(each, Mapping) for each in values) and not _are_of_key(name, values):
        return Axis(str(name), tuple(_joint_points(where, values)))
    key = check_key(name, "axes")
    _refuse_repeated(where, values)
    return Axis(key, tuple({key: each} for each in values))


def _of_files(where: str, values: Sequence[Any], folder: Path) -> Axis:
    """Read files of lengths, each a list of microbatches."""
    if wrong := [each for each in values if not isinstance(each, str)]:
        raise InputError(f"{where}: must be the paths of files of lengths; found {shown(wrong[0])}")
    points = tuple({"microbatches": read_lengths(folder / each)} for each in values)
    return Axis("lengths", points, tuple(values))


def _are_of_key(name: Any, values: Sequence[Mapping[Any, Any]]) -> bool:
    """Return whether mappings are values of a key, such as ``slowdown: [{1: 1.25}, {2: 1.5}]``."""
    return is_key(name) and not any(is_key(each) for value in values for each in value)


def _joint_points(where: str, values: Sequence[Mapping[Any, Any]]) -> Iterator[Mapping[str, Any]]:
    """Read points that set several keys, the same ones at each point."""
    keys = list(values[0])
    for place, point in enumerate(values, 1):
        missing, more = [key for key in keys if key not in point], [key for key in point if key not in keys]
        if missing or more or not point:
            which = (
                f"{missing[0]} is missing" if missing else f"{more[0]} is not in the first" if more else "it is empty"
            )
            raise InputError(f"{where}: entry {place} must set the same keys as the first; {which}")
        yield {check_key(key, where): value for key, value in point.items()}


def _together(where: str, value: Mapping[Any, Any]) -> list[dict[Any, Any]]:
    """Turn lists that change together into a list of mappings."""
    if not value or not all(isinstance(each, Sequence) and not isinstance(each, str) for each in value.values()):
        raise InputError(f"{where}: must be a list of values, or {{from, to, steps}}; found {shown(dict(value))}")
    lengths = {key: len(each) for key, each in value.items()}
    first, length = next(iter(lengths.items()))
    for key, other in lengths.items():
        if other != length:
            raise InputError(f"{where}.{key}: must have as many values as {first}, {length}; found {other}")
    return [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]


def _spaced(where: str, value: Mapping[Any, Any]) -> list[Any]:
    """List exact, evenly spaced values from one number to another."""
    if unknown := [key for key in value if key not in ("from", "to", "steps")]:
        raise InputError(f"{where}.{unknown[0]}: is not a known key; allowed are from, to, steps")
    numbers: dict[str, Fraction] = {}
    for key in ("from", "to", "steps"):
        if key not in value:
            raise InputError(f"{where}.{key}: is missing; from, to and steps go together")
        try:
            numbers[key] = read_number(value[key])
        except ValueError as error:
            raise InputError(f"{where}.{key}: {error}") from None
    steps = numbers["steps"]
    if steps.denominator != 1 or not 2 <= steps <= MOST_ON_AN_AXIS:
        raise InputError(
            f"{where}.steps: must be a whole number from 2 to {MOST_ON_AN_AXIS:,}; found {shown(value['steps'])}"
        )
    start, end = numbers["from"], numbers["to"]
    every = (start + (end - start) * place / (steps - 1) for place in range(int(steps)))
    return [int(each) if each.denominator == 1 else each for each in every]


def _refuse_repeated(where: str, values: Sequence[Any]) -> None:
    seen: set[str] = set()
    for each in values:
        text = repr(_plain(each))
        if text in seen:
            raise InputError(f"{where}: names {shown(each)} twice")
        seen.add(text)


def _plain(value: Any) -> Any:
    """Turn exact numbers into plain ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (bool, str, int)) or value is None:
        return value
    try:
        number = read_number(value)
    except ValueError:
        return shown(value)
    return int(number) if number.denominator == 1 else float(number)


def _written(value: Any) -> str:
    return "[" + " ".join(map(_written, value)) + "]" if isinstance(value, list) else f"{value}"
