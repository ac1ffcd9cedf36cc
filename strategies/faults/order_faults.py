"""Finds every fault in the order of a schedule file, each with its place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from solver.counted import counted
from solver.errors import InputError
from strategies.faults.communication_faults import communication_faults, faults_beside
from strategies.faults.copy_faults import copy_faults
from strategies.faults.deadlock import Place, find_deadlock, find_inversions
from strategies.model.actions import Op
from strategies.model.placements import Placement, recognise_placement
from strategies.order_files.schedule_file import Fault, ScheduleFile, Token, ops_of

_WEIGHTS = {"F": 2, "B": 2, "I": 1, "W": 1}  # a whole microbatch on a stage counts 4, split or not

_MOST_PLACES = 5
"""Places listed for one repeated action."""


@dataclass(frozen=True)
class CheckedFile:
    """A schedule file, checked against the rules.

    Attributes
    ----------
    file : ScheduleFile
        The file.
    faults : tuple of Fault
        Every fault, row by row.
    placement : Placement or None
        Which device holds which stage; None if there are faults.
    """

    file: ScheduleFile
    faults: tuple[Fault, ...]
    placement: Placement | None


def check_file(file: ScheduleFile) -> CheckedFile:
    """Check a schedule file against the rules: every operation once, on its device, and no deadlock.

    Parameters
    ----------
    file : ScheduleFile
        As `read_schedule_file` returns it.

    Raises
    ------
    InputError
        If it holds no action that computes.
    """
    reading = _Reading(file)
    faults = sorted({*file.faults, *reading.faults()}, key=_by_place)
    return CheckedFile(file, tuple(faults), None if faults else reading.placement)


def check_communication(checked: CheckedFile) -> CheckedFile:
    """Check the communication in a file as well: each result that crosses devices is sent and received once, in order.

    Two further checks follow elsewhere, for files without faults: whether receives stand in the order of their sends,
    and which communicators the file needs.

    Parameters
    ----------
    checked : CheckedFile
        A file that holds sends or receives, as `check_file` returns it.
    """
    unreadable = [(fault.row, fault.column) for fault in checked.file.faults]
    return _with_faults(checked, communication_faults(checked.file.rows, unreadable, _Reading(checked.file)))


def check_beside(checked: CheckedFile) -> CheckedFile:
    """Check what a file says of gathers, releases and reductions, whether or not it holds transfers.

    Parameters
    ----------
    checked : CheckedFile
        A file, as `check_file` returns it.
    """
    return _with_faults(checked, faults_beside(checked.file.rows, _Reading(checked.file)))


def _with_faults(checked: CheckedFile, more: Iterable[Fault]) -> CheckedFile:
    faults = sorted({*checked.faults, *more}, key=_by_place)
    return CheckedFile(checked.file, tuple(faults), None if faults else checked.placement)


def check_copies(checked: CheckedFile) -> CheckedFile:
    """Check the copies of activations to the host and back in a file as well.

    Parameters
    ----------
    checked : CheckedFile
        As `check_file` or `check_communication` returns it.
    """
    return _with_faults(checked, copy_faults(checked.file.rows, _Reading(checked.file)))


def _by_place(fault: Fault) -> tuple[float, float, str]:
    last = float("inf")
    return (
        last if fault.row is None else fault.row,
        last if fault.column is None else fault.column,
        fault.token + fault.message,
    )


class _Reading:
    """The contents of a file, as far as they can be understood."""

    def __init__(self, file: ScheduleFile) -> None:
        self.file = file
        self.devices = len(file.rows)
        self.repeated: dict[Op, list[Place]] = defaultdict(list)
        self.all_places: dict[Op, Place] = {}
        for op, place in _ops(file.rows):
            if op in self.all_places:
                self.repeated[op].append(place)
            else:
                self.all_places[op] = place
        if not self.all_places:
            raise InputError(
                f"{file.name}: holds no F, B, I or W; it must have one row per device and one action per cell"
            )
        self.stages = _extent((op.stage, op.kind) for op in self.all_places)
        self.microbatches = _extent((op.microbatch, op.kind) for op in self.all_places)

    @cached_property
    def places(self) -> dict[Op, Place]:
        """The first place of each operation, without operations of stages or microbatches that do not exist."""
        return {
            op: place
            for op, place in self.all_places.items()
            if op.stage < self.stages and op.microbatch < self.microbatches
        }

    @cached_property
    def homes(self) -> tuple[dict[int, int], ...]:
        """For each direction, the device of each stage."""
        counts: dict[int, Counter[int]] = defaultdict(Counter)
        for op, place in self.places.items():
            counts[op.stage][place.row] += 1
        single = {stage: counter.most_common(1)[0][0] for stage, counter in sorted(counts.items())}
        if self.stages != self.devices or self.stages < 2:
            return (single,)
        there_and_back = ({stage: stage for stage in counts}, {stage: self.stages - 1 - stage for stage in counts})
        at_home = sum(place.row == single[op.stage] for op, place in self.places.items())
        in_both = sum(place.row == there_and_back[self._direction(op)][op.stage] for op, place in self.places.items())
        return there_and_back if in_both > at_home else (single,)

    def _direction(self, op: Op) -> int:
        return int(op.microbatch >= -(-self.microbatches // 2))

    def home(self, op: Op) -> int:
        """Return the device that an operation belongs on."""
        return self.homes[self._direction(op) if len(self.homes) > 1 else 0][op.stage]

    @property
    def placement(self) -> Placement:
        """The placement of a file without faults."""
        homes = tuple(tuple(homes[stage] for stage in range(self.stages)) for homes in self.homes)
        return recognise_placement(self.devices, self.microbatches, homes)

    def faults(self) -> Iterator[Fault]:
        """Yield every fault that involves more than a single cell."""
        yield from self._empty_rows()
        yield from self._repetitions()
        yield from self._out_of_range()
        yield from self._on_wrong_devices()
        yield from self._incomplete()
        inverted = list(find_inversions(self.places, self.stages))
        yield from (fault for _, fault in inverted)
        yield from find_deadlock(self.file.rows, self.places, self.stages, {pair for pair, _ in inverted})

    def _empty_rows(self) -> Iterator[Fault]:
        for device, order in enumerate(self.file.orders):
            if not order:
                yield Fault(device, None, "", "holds no F, B, I or W; every device must run some stage")

    def _repetitions(self) -> Iterator[Fault]:
        for op, places in self.repeated.items():
            times = "twice" if len(places) == 1 else f"{len(places) + 1:,} times"
            also = "".join(f"; also in {_where(place)}" for place in places[1:_MOST_PLACES])
            also += " …" if len(places) > _MOST_PLACES else ""
            first = _where(self.all_places[op])
            yield Fault(*places[0], str(op), f"appears {times}; the first is in {first}{also}")

    def _out_of_range(self) -> Iterator[Fault]:
        sizes = (("stage", self.stages), ("microbatch", self.microbatches))
        for op, place in self.all_places.items():
            for what, size in sizes:
                if getattr(op, what) >= size:
                    allowed = f"the file's own are 0 to {size - 1}" if size > 1 else "the file's only one is 0"
                    yield Fault(*place, str(op), f"is of {what} {getattr(op, what)}, which is out of range; {allowed}")
        for what, size in sizes:
            present = sorted({getattr(op, what) for op in self.places})
            for before, after in pairwise([-1, *present, size]):
                if after > before + 1:
                    yield Fault(None, None, "", _gap(what, before + 1, after - 1, size))

    def _on_wrong_devices(self) -> Iterator[Fault]:
        for op, place in self.places.items():
            home = self.home(op)
            if home != place.row:
                half = f" for microbatch {op.microbatch} of a bidirectional order" if len(self.homes) > 1 else ""
                yield Fault(*place, str(op), f"is on the wrong device: stage {op.stage} belongs to device {home}{half}")

    def _incomplete(self) -> Iterator[Fault]:
        """Yield missing operations, and backwards that are both whole and split."""
        stages = sorted({op.stage for op in self.places})
        microbatches = sorted({op.microbatch for op in self.places})
        if len(stages) * len(microbatches) > 4 * len(self.places) + 1000:
            needed = 2 * len(stages) * len(microbatches)
            text = f"{counted(len(stages), 'stage')} and {counted(len(microbatches), 'microbatch')}"
            yield Fault(None, None, "", f"{text} need at least {needed:,} actions; there are {len(self.places):,}")
            return
        missing: dict[tuple[int, int, str], list[int]] = defaultdict(list)
        for stage in stages:
            whole = Op(stage, "B", 0)
            split_usual = sum(Op(stage, "I", each) in self.places for each in microbatches) * 2 > len(microbatches)
            for microbatch in microbatches:
                here = whole._replace(microbatch=microbatch)
                for kind in _missing_kinds(here, self.places, split_usual=split_usual):
                    missing[self.home(here), stage, kind].append(microbatch)
                yield from _mixed(here, self.places)
        for (device, stage, kind), absent in missing.items():
            yield from _missing(device, stage, kind, absent)


def _where(place: Place) -> str:
    return f"row {place.row + 1}, column {place.column + 1}"


def _ops(rows: Sequence[Sequence[Token | None]]) -> Iterator[tuple[Op, Place]]:
    for row, cells in enumerate(rows):
        for column, token in enumerate(cells):
            yield from ((op, Place(row, column)) for op in ops_of(token))


def _extent(numbers: Iterable[tuple[int, str]]) -> int:
    """Return one more than the highest number with at least half the most actions; higher ones are taken for typos."""
    counts: Counter[int] = Counter()
    for number, kind in numbers:
        counts[number] += _WEIGHTS[kind]
    most = max(counts.values())
    return 1 + max(number for number, count in counts.items() if 2 * count >= most)


def _gap(what: str, first: int, last: int, size: int) -> str:
    plural = "es" if what.endswith("ch") else "s"
    which = f"{what} {first} is" if first == last else f"{what}{plural} {first} to {last} are"
    return f"{which} missing; with {what} {size - 1} there must be all of 0 to {size - 1}"


def _missing_kinds(whole: Op, places: Mapping[Op, Place], *, split_usual: bool) -> Iterator[str]:
    if whole._replace(kind="F") not in places:
        yield "F"
    to_input, to_weight = (whole._replace(kind=kind) in places for kind in "IW")
    if whole in places or (to_input and to_weight):
        return
    if not to_input and not to_weight and not split_usual:
        yield "B"
        return
    if not to_input:
        yield "I"
    if not to_weight:
        yield "W"


def _mixed(whole: Op, places: Mapping[Op, Place]) -> Iterator[Fault]:
    if whole not in places:
        return
    for kind in "IW":
        half = whole._replace(kind=kind)
        if half in places:
            place = places[whole]
            text = f"is beside {whole} ({_where(place)}); a backward is B, or I and W"
            yield Fault(*places[half], str(half), text)


def _missing(device: int, stage: int, kind: str, microbatches: Sequence[int]) -> Iterator[Fault]:
    """Report each consecutive run of microbatches that lack an operation."""
    instead = f" (or {stage}I and {stage}W of the same)" if kind == "B" else ""
    first = 0
    for place, microbatch in enumerate(microbatches):
        if place + 1 < len(microbatches) and microbatches[place + 1] == microbatch + 1:
            continue
        names = f"{stage}{kind}{microbatches[first]}"
        if place > first:
            names += f" to {stage}{kind}{microbatch}"
        yield Fault(device, None, names, f"{'are' if place > first else 'is'} missing{instead}")
        first = place + 1
