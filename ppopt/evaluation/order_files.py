"""Orders that users give as files, beside the published ones that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ppopt.garbage import collection_paused
from solver.errors import InputError
from strategies.actions import PipelineAction
from strategies.model_notes import recut_notes
from strategies.numbers import in_one_line
from strategies.order_faults import check_file
from strategies.orders import least_stages, parse_strategy
from strategies.pipeline import Pipeline
from strategies.placements import Placement
from strategies.schedule_file import read_schedule_file

MOST_TOLD = 20
"""More faults than this are reported by ``ppopt check`` alone."""


@dataclass(frozen=True)
class GivenOrder:
    """An order that was read from a file and found to be without fault.

    Attributes
    ----------
    name : str
        The file, as it was named.
    placement : Placement
        Which device holds which stage, read off the file.
    orders : list of list of (Op or Block)
        The actions of each device.
    notes : tuple of str
        What of the file was left out.
    """

    name: str
    placement: Placement
    orders: Sequence[Sequence[PipelineAction]]
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """How many devices, stages and microbatches the file has."""
        placement = self.placement
        return {
            "devices": placement.devices,
            "stages": len(placement.homes[0]),
            "microbatches": placement.microbatches,
        }

    def __str__(self) -> str:
        return self.name


Named: TypeAlias = str | GivenOrder
"""A published schedule by its name with options, or an order from a file."""


def is_file(name: object) -> bool:
    """Return whether a name means a file: a path, or text that ends in ``.csv`` or is the path of something."""
    if isinstance(name, os.PathLike):
        return True
    if not isinstance(name, str):
        return False
    if name.lower().endswith(".csv"):
        return True
    try:
        return ("/" in name or os.sep in name) and Path(name).exists()
    except (OSError, ValueError):
        return False


def read_named(name: Any) -> Named:
    """Read what a name means: a file's order, or the name itself of a published schedule.

    Raises
    ------
    InputError
        If there is no such schedule, or for each fault of a file.
    """
    if isinstance(name, GivenOrder):
        return name
    if is_file(name):
        return read_given_order(name)
    if isinstance(name, str) and re.search(r"\.csv:\w*=", name):
        file, _, options = name.rpartition(":")
        raise InputError(f"{in_one_line(file)}: a schedule file takes no options; found {in_one_line(options)[:40]!r}")
    parse_strategy(name)
    assert isinstance(name, str)
    return name


def read_each(names: Iterable[Any]) -> tuple[Named, ...]:
    """Read what each of several names means, as `read_named` does.

    Raises
    ------
    InputError
        With all that is wrong with any of them.
    """
    read: list[Named] = []
    mistakes: list[str] = []
    for name in names:
        try:
            read.append(read_named(name))
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))
    return tuple(read)


@collection_paused()
def read_given_order(path: str | Path) -> GivenOrder:
    """Read an order from a file.

    Raises
    ------
    InputError
        If it is no schedule, or for each of its faults; of many, only the first are reported.
    """
    checked = check_file(read_schedule_file(path))
    name = checked.file.name
    if checked.placement is None:
        messages = [f"{name}: {fault}" for fault in checked.faults[:MOST_TOLD]]
        if more := len(checked.faults) - len(messages):
            messages.append(f"{name}: {more:,} more faults; `ppopt check` lists all")
        raise InputError("\n".join(messages))
    return GivenOrder(name, checked.placement, checked.file.orders, checked.file.notes)


def stages_meant(names: Iterable[Named], devices: int) -> int:
    """Return for how many stages times are meant where that is left open: the least that anything shown takes.

    Parameters
    ----------
    names : iterable of str or GivenOrder
        At least one.
    devices : int
        How many devices there are.
    """
    every = list(names)
    published = [name for name in every if isinstance(name, str)]
    least = [name.sizes["stages"] for name in every if isinstance(name, GivenOrder)]
    return min([*least, *([least_stages(published, devices)] if published else [])])


def refuse_contradictions(pipeline: Pipeline, named: Iterable[Named]) -> None:
    """Refuse files whose sizes are not the pipeline's.

    Raises
    ------
    InputError
        With a line for each that differs.
    """
    found = [
        f"{key}: the pipeline has {own}, but {name} has {size}"
        for name in named
        if isinstance(name, GivenOrder)
        for key, size in name.sizes.items()
        if (own := getattr(pipeline, key)) is not None and own != size
    ]
    if found:
        raise InputError("\n".join(found))


def cut_for_file(pipeline: Pipeline, given: GivenOrder, base: int | None) -> tuple[Pipeline, tuple[str, ...]]:
    """Settle a pipeline's open number of stages for a file.

    Parameters
    ----------
    pipeline : Pipeline
        The model.
    given : GivenOrder
        The file.
    base : int or None
        For how many stages the times are meant where the pipeline leaves that open; None for as many as the file has.

    Returns
    -------
    pipeline : Pipeline
        With the file's number of stages.
    notes : tuple of str
        That the model was re-partitioned, if it was.

    Raises
    ------
    InputError
        If the file's sizes are not the pipeline's.
    """
    refuse_contradictions(pipeline, [given])
    stages = given.sizes["stages"]
    if pipeline.stages is not None or base is None or base == stages:
        return pipeline.with_stages(stages), ()
    before = pipeline.with_stages(base)
    return before.recut(stages), tuple(recut_notes(given.name, before, given.placement))


def settle_sizes(
    mapping: dict[str, Any], sources: Mapping[str, str], named: Sequence[Named], *, recut: bool = False
) -> dict[str, Any]:
    """Take from files what a configuration leaves open, and refuse what contradicts it.

    Parameters
    ----------
    mapping : dict
        The configuration.
    sources : mapping of str to str
        Where its ``devices``, ``stages``, ``microbatches`` and all else (``""``) come from.
    named : sequence of str or GivenOrder
        What is to be run.
    recut : bool
        Whether the model may be re-partitioned, so that another number of stages is no contradiction.

    Raises
    ------
    InputError
        With a line for each contradiction: both values, and where each comes from.
    """
    files = [name for name in named if isinstance(name, GivenOrder)]
    if not files:
        return mapping
    settled, mistakes = dict(mapping), list[str]()
    for key in ("devices", "stages", "microbatches"):
        given = list(_given(key, mapping, sources))
        if not given and key != "stages":
            given = [(key, files[0].sizes[key], files[0].name)]
        mistakes += [
            f"{what}: {value} from {source}, but {each.sizes[key]} from {each.name}" + _WAY_OUT.get(key, "")
            for what, value, source in given
            for each in files
            if value != each.sizes[key] and not (recut and key == "stages")
        ]
        # beside published schedules, or files with other numbers, open stages stay open: all are cuts of one model
        if recut and key == "stages" and given:
            continue
        alone = len(files) == len(named) and len({each.sizes[key] for each in files}) == 1
        if given or alone:
            settled.setdefault(key, files[0].sizes[key])
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))
    return settled


_WAY_OUT = {"stages": "; --recut re-partitions the model into as many"}


def _given(key: str, mapping: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """List what a configuration says of a size: its name, the number, and where that comes from."""
    if key in mapping:
        value = mapping[key]
        if isinstance(value, int) and not isinstance(value, bool):  # else refused when the whole is read
            yield key, value, sources.get(key, sources[""])
        return
    if key != "stages":
        return
    if isinstance(cut := mapping.get("layers_per_stage"), (list, tuple)):
        yield "stages (the entries of layers_per_stage)", len(cut), sources[""]
    for part in ("times", "memory"):
        entries = mapping.get(part)
        for name, value in entries.items() if isinstance(entries, Mapping) else ():
            if name != "limit" and isinstance(value, (list, tuple, Mapping)):
                yield f"stages (the entries of {part}.{in_one_line(name)})", len(value), sources[""]
