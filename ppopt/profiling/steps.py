"""Separates steps, and chooses those that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from ppopt.profiling.recordings import Range, Recording
from reports.numbers import milliseconds
from strategies.model.actions import Op

OUTLIER = 1.5
"""Steps longer than the median by more than this factor, or shorter by more than it, are left out."""

Step = list[Range]


def cut_steps(ranges: Sequence[Range]) -> list[Step]:
    """Cut a rank's actions into steps, where one of them repeats.

    A trace can begin in the middle of a step; the first repeat is then not a border. So the first border is chosen such
    that, as far as possible, within a step each backward follows its forward and microbatches start in ascending order.
    """
    first = _first_border(ranges)
    steps = [list(ranges[:first])] if first else []
    seen: set[tuple[Op, ...]] = set()
    current: Step = []
    for each in ranges[first:]:
        if each.ops in seen:
            steps.append(current)
            current, seen = [], set()
        current.append(each)
        seen.add(each.ops)
    return [*steps, current] if current else steps


def _first_border(ranges: Sequence[Range]) -> int:
    period = len({each.ops for each in ranges})
    starts = [0]
    for place, each in enumerate(ranges[:period]):
        if each.ops[0].kind == "F" and each.ops[0].microbatch == 0:
            starts.append(place)
    return min(starts, key=lambda place: (_disorder(ranges[place : place + period]), place))


def _disorder(ranges: Sequence[Range]) -> int:
    """Count what is impossible or rare within a step: backwards before forwards, microbatches out of order."""
    begun: set[tuple[int, int]] = set()
    latest: dict[int, int] = {}
    ended: set[tuple[int, int]] = set()
    count = 0
    for op in (op for each in ranges for op in each.ops):
        work = (op.stage, op.microbatch)
        if op.kind != "F":
            ended.add(work)
            continue
        count += (work in begun) + (work in ended) * len(ranges) + (latest.get(op.stage, -1) > op.microbatch)
        begun.add(work)
        latest[op.stage] = op.microbatch
    return count


def number_steps(runs: Sequence[Recording]) -> tuple[list[dict[int, Step]], list[str]]:
    """Assign numbers to the steps of all ranks, so that the same number means the same step.

    Returns
    -------
    steps : list of dict
        For each rank, its steps by number.
    notes : list of str
        Notes for the reader.
    """
    cut = [cut_steps(run.ranges) for run in runs]
    marked = [_marked(run, steps) for run, steps in zip(runs, cut, strict=True)]
    lengths = [len(steps) for steps in cut]
    notes = []
    if len(set(lengths)) > 1:
        notes.append(
            f"the ranks have different numbers of steps ({_counts(lengths)}); the steps that all have were used"
        )
    numbered = [each for each in marked if each is not None]
    if len(numbered) == len(runs):
        first = min(min(each) for each in numbered)
        return [{number - first: step for number, step in each.items()} for each in numbered], notes
    return [dict(enumerate(steps)) for steps in _aligned(runs, cut)], notes


def _counts(lengths: Sequence[int]) -> str:
    return ", ".join(f"{length} on {count}" for length, count in sorted(Counter(lengths).items()))


def _marked(run: Recording, steps: Sequence[Step]) -> dict[int, Step] | None:
    """Assign the profiler's numbers to a rank's steps, if each lies in its own profiler step."""
    numbers = []
    for step in steps:
        middle = (step[0].start + step[-1].end) / 2
        inside = [mark.number for mark in run.marks if mark.start <= middle <= mark.end]
        numbers += inside[:1]
    if len(numbers) != len(steps) or len(set(numbers)) != len(steps):
        return None
    return dict(zip(numbers, steps, strict=True))


def _aligned(runs: Sequence[Recording], cut: list[list[Step]]) -> list[list[Step]]:
    """Align a rank that missed the first steps with the others, if the clocks allow it."""
    if len({len(steps) for steps in cut}) == 1 or not share_clock(runs):
        return cut
    most = max(cut, key=len)
    return [_padded(steps, most) for steps in cut]


def _padded(steps: list[Step], most: list[Step]) -> list[Step]:
    def distance(shift: int) -> float:
        return sum(abs(step[-1].end - other[-1].end) for step, other in zip(steps, most[shift:], strict=False))

    shift = min(range(len(most) - len(steps) + 1), key=distance)
    return [[] for _ in range(shift)] + steps


def share_clock(runs: Sequence[Recording]) -> bool:
    """Return whether all ranks ran on one computer and count their times from known moments."""
    return all(run.has_base for run in runs) and len({run.host for run in runs}) == 1 and runs[0].host is not None


def first_is_the_first(runs: Sequence[Recording]) -> bool:
    """Return whether the first recorded step may be the first of the run; step marks can say otherwise."""
    return any(not run.marks or min(mark.number for mark in run.marks) == 0 for run in runs)


def choose_steps(
    steps: Sequence[Mapping[int, Step]], *, skip: int | None, may_warm_up: bool
) -> tuple[dict[int, str], list[str]]:
    """Find the steps that do not count.

    Parameters
    ----------
    steps : sequence of mapping
        For each device, its steps by number.
    skip : int or None
        The number of warm-up steps at the start; None for one, if another is left.
    may_warm_up : bool
        Whether the first step may be the first of the run.

    Returns
    -------
    skipped : dict of int to str
        The steps, with the reason.
    notes : list of str
        Notes for the reader.
    """
    numbers = sorted(set().union(*steps))
    skipped = _incomplete(steps, numbers)
    usable = [number for number in numbers if number not in skipped]
    if not usable:
        return {}, ["no step is complete on all ranks; the costs come from parts of steps"]
    notes: list[str] = []
    warm_up = numbers[: (1 if may_warm_up else 0) if skip is None else skip]
    kept = [number for number in usable if number not in warm_up]
    if kept:
        why = "warm-up: the first step infers shapes and allocates memory" if skip is None else "warm-up, as asked"
        skipped |= {number: why for number in usable if number in warm_up}
    elif warm_up:
        why = "all of them are warm-up" if skip is not None else "it is the only complete step"
        notes.append(f"step {usable[0]} may include warm-up, but was used anyway: {why}")
        kept = usable
    return skipped | outliers({number: _duration(steps, number) for number in kept}), notes


def _incomplete(steps: Sequence[Mapping[int, Step]], numbers: Sequence[int]) -> dict[int, str]:
    whole = [set().union(*(_ops(step) for step in each.values())) for each in steps]
    found: dict[int, str] = {}
    for number in numbers:
        lacking = [device for device, each in enumerate(steps) if not each.get(number)]
        partial = [device for device, each in enumerate(steps) if _ops(each.get(number, [])) != whole[device]]
        if lacking:
            found[number] = f"was not recorded on device {lacking[0]}"
        elif partial:
            found[number] = f"is incomplete on device {partial[0]}"
    return found


def _ops(step: Step) -> set[tuple[Op, ...]]:
    return {each.ops for each in step}


def _duration(steps: Sequence[Mapping[int, Step]], number: int) -> float:
    return max(each[number][-1].end - each[number][0].start for each in steps)


def outliers(durations: Mapping[int, float]) -> dict[int, str]:
    """Find steps whose duration is far from the others'."""
    if len(durations) < 3:
        return {}
    usual = median(durations.values())
    return {
        number: f"outlier: it lasts {milliseconds(duration)} ms, the median is {milliseconds(usual)} ms"
        for number, duration in durations.items()
        if not usual / OUTLIER <= duration <= usual * OUTLIER
    }
