"""The independent checker of runs: finds wrong times of programs and their transfers.

It shares no code with `solver.rendezvous`, which computes the times, and checks the rules one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

from solver.checker import Violation
from solver.problem import Key
from solver.programs import Compute, End, Post, Program, Queues, Transfer
from solver.rendezvous import ProgramTimes


def run_violations(
    programs: Sequence[Program],
    transfers: Mapping[Key, Transfer],
    queue_of: Queues,
    run: ProgramTimes,
) -> list[Violation]:
    """List every rule that a run breaks.

    Parameters
    ----------
    programs, transfers, queue_of
        The arguments of the run; see `solver.rendezvous.run`.
    run : ProgramTimes
        The times. A time later than necessary is not a violation.

    Returns
    -------
    list of Violation
        Empty for a valid run; kinds are ``missing``, ``duration``, ``order``, ``posted``, ``queue`` and ``wait``.
    """
    found = list(_everything_happens(programs, transfers, run))
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
    return found


def _everything_happens(
    programs: Sequence[Program], transfers: Mapping[Key, Transfer], run: ProgramTimes
) -> Iterator[Violation]:
    for key in transfers:
        if key not in run.transfers:
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
                done = run.transfers[end.transfer].end + (0 if end.is_send else transfers[end.transfer].latency)
                if after < done:
                    yield Violation("wait", f"device {device} goes on at {after}, but {end.transfer} is done at {done}")


def _ends_wait_for_their_posts(programs: Sequence[Program], run: ProgramTimes) -> Iterator[Violation]:
    for device, program in enumerate(programs):
        for place, instruction in enumerate(program):
            for end in instruction.ends if isinstance(instruction, Post) else ():
                start = run.transfers[end.transfer].start
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
            for end in instruction.ends:
                together[queue_of(end.transfer, transfers[end.transfer])].append(end)
            for queue, ends in together.items():
                for end in ends:
                    start = run.transfers[end.transfer].start
                    if start < over[queue]:
                        text = f"{end.transfer} starts at {start}, but device {device}'s queue is busy until"
                        yield Violation("queue", f"{text} {over[queue]}")
                over[queue] = max([over[queue], *(run.transfers[end.transfer].end for end in ends)])
