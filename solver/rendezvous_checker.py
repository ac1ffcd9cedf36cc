"""The independent checker of runs: finds wrong times of programs and their transfers.

It shares no code with `solver.rendezvous`, which computes the times, and checks the rules one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

from solver.checker import Violation
from solver.problem import Key
from solver.programs import NO_SIDES, Compute, End, Post, Program, Queues, SideAction, Transfer
from solver.rendezvous import ProgramTimes


def run_violations(
    programs: Sequence[Program],
    transfers: Mapping[Key, Transfer],
    queue_of: Queues,
    run: ProgramTimes,
    sides: Mapping[Key, SideAction] = NO_SIDES,
) -> list[Violation]:
    """List every rule that a run breaks.

    Parameters
    ----------
    programs, transfers, queue_of, sides
        The arguments of the run; see `solver.rendezvous.run`.
    run : ProgramTimes
        The times. A time later than necessary is not a violation.

    Returns
    -------
    list of Violation
        Empty for a valid run; kinds are ``missing``, ``duration``, ``order``, ``posted``, ``queue``, ``wait`` and
        ``follows``.
    """
    found = list(_everything_happens(programs, [*transfers, *sides], run))
    if found:
        return found
    for device, program in enumerate(programs):
        found += _program_is_kept(device, program, transfers, run)
    found += _ends_wait_for_their_posts(programs, run)
    for key, transfer in transfers.items():
        moved = run.transfers[key]
        if moved.end - moved.start != transfer.duration:
            found.append(Violation("duration", f"{key} moves {moved.end - moved.start}, but takes {transfer.duration}"))
    found += _queues_take_one_after_the_other(programs, transfers, queue_of, run)
    found += _sides_follow(sides, run)
    found += _streams_take_one_after_the_other(programs, sides, run)
    return found


def _times(key: Key, run: ProgramTimes) -> tuple[int, int]:
    """Return when a transfer or a side action starts and ends."""
    each = run.sides[key] if key in run.sides else run.transfers[key]
    return each.start, each.end


def _everything_happens(programs: Sequence[Program], moving: Sequence[Key], run: ProgramTimes) -> Iterator[Violation]:
    for key in moving:
        if key not in run.transfers and key not in run.sides:
            yield Violation("missing", f"{key} never moves")
    for device, program in enumerate(programs):
        due = [instruction.name for instruction in program if isinstance(instruction, Compute)]
        done = [each.name for each in run.computed[device]]
        if due != done or len(run.points[device]) != len(program) + 1:
            yield Violation("missing", f"device {device} does not run its program to its end")


def _program_is_kept(
    device: int, program: Program, transfers: Mapping[Key, Transfer], run: ProgramTimes
) -> Iterator[Violation]:
    points = run.points[device]
    computed = iter(run.computed[device])
    for place, instruction in enumerate(program):
        before, after = points[place], points[place + 1]
        if after < before:
            yield Violation("order", f"device {device} is at {after} behind instruction {place}, which begins {before}")
        if isinstance(instruction, Compute):
            each = next(computed)
            if each.start < before or after < each.end:
                yield Violation("order", f"device {device} does not run {each.name} where its program has it")
            if each.end - each.start != instruction.duration:
                text = f"{each.name} lasts {each.end - each.start}, but takes {instruction.duration}"
                yield Violation("duration", text)
        elif not isinstance(instruction, Post):
            group = program[instruction.post]
            assert isinstance(group, Post)
            for end in group.ends:
                done = _times(end.transfer, run)[1] + (0 if end.is_send else transfers[end.transfer].latency)
                if after < done:
                    yield Violation("wait", f"device {device} goes on at {after}, but {end.transfer} is done at {done}")


def _ends_wait_for_their_posts(programs: Sequence[Program], run: ProgramTimes) -> Iterator[Violation]:
    for device, program in enumerate(programs):
        for place, instruction in enumerate(program):
            for end in instruction.ends if isinstance(instruction, Post) else ():
                start, _ = _times(end.transfer, run)
                if start < run.points[device][place]:
                    text = f"{end.transfer} starts at {start}, but is posted at {run.points[device][place]}"
                    yield Violation("posted", f"{text} on device {device}")


def _queues_take_one_after_the_other(
    programs: Sequence[Program],
    transfers: Mapping[Key, Transfer],
    queue_of: Queues,
    run: ProgramTimes,
) -> Iterator[Violation]:
    """Find transfers that start before everything posted earlier on their queues has ended."""
    for device, program in enumerate(programs):
        over: dict[Hashable, int] = defaultdict(int)
        for instruction in program:
            if not isinstance(instruction, Post):
                continue
            together: dict[Hashable, list[End]] = defaultdict(list)
            for end in (each for each in instruction.ends if each.transfer in transfers):
                together[queue_of(end.transfer, transfers[end.transfer])].append(end)
            for queue, ends in together.items():
                for end in ends:
                    start = run.transfers[end.transfer].start
                    if start < over[queue]:
                        text = f"{end.transfer} starts at {start}, but device {device}'s queue is busy until"
                        yield Violation("queue", f"{text} {over[queue]}")
                over[queue] = max([over[queue], *(run.transfers[end.transfer].end for end in ends)])


def _sides_follow(sides: Mapping[Key, SideAction], run: ProgramTimes) -> Iterator[Violation]:
    for key, side in sides.items():
        start, end = _times(key, run)
        if end - start != side.duration:
            yield Violation("duration", f"{key} lasts {end - start}, but takes {side.duration}")
        for other in side.follows:
            if start < run.sides[other].end:
                yield Violation("follows", f"{key} starts at {start}, but {other} ends at {run.sides[other].end}")


def _streams_take_one_after_the_other(
    programs: Sequence[Program], sides: Mapping[Key, SideAction], run: ProgramTimes
) -> Iterator[Violation]:
    """Find side actions that start before one that was posted earlier on their stream has ended."""
    posted: dict[Hashable, list[tuple[int, Key]]] = defaultdict(list)
    for device, program in enumerate(programs):
        own: dict[Hashable, list[Key]] = defaultdict(list)
        for place, instruction in enumerate(program):
            for key in (end.transfer for end in (instruction.ends if isinstance(instruction, Post) else ())):
                if key in sides:
                    posted[sides[key].stream].append((run.points[device][place], key))
                    own[sides[key].stream].append(key)
        for stream, keys in own.items():
            yield from _one_after_the_other(stream, keys, run)
    for stream, each in posted.items():  # of different devices, those posted at one moment may go in any order
        in_time = sorted(each, key=lambda entry: (entry[0], *_times(entry[1], run)))
        yield from _one_after_the_other(stream, [key for _, key in in_time], run)


def _one_after_the_other(stream: Hashable, keys: Sequence[Key], run: ProgramTimes) -> Iterator[Violation]:
    over = 0
    for key in keys:
        start, end = _times(key, run)
        if start < over:
            yield Violation("queue", f"{key} starts at {start}, but stream {stream} is busy until {over}")
        over = max(over, end)
