"""Logs of AMD's Primus (``dump_pp_data``): one JSON per pipeline rank, with CUDA events of every iteration.

An iteration has the starts and ends of forwards, backwards and, if backwards are split, backwards for the weights, each
in the order in which the rank ran them. Primus' own schedules also name the microbatch and chunk of each; Megatron's do
not, and there they follow from Megatron's rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ppopt.profiling.recordings import Range, Recording, StepMark
from solver.counted import counted
from solver.errors import InputError
from strategies.model.actions import Op
from strategies.model.numbers import in_one_line, shown
from strategies.rules.interleaving import walk_of_groups

_LISTS = {"F": "fwd", "B": "bwd", "W": "wgrad"}
_RANK = re.compile(r"rank\D?(\d{1,6})", re.IGNORECASE)
_SIZES = {"pp_size": ("pp_size",), "vp_size": ("vp_size", "vpp_size"), "num_mbs": ("num_mbs", "micro_batches")}
PAUSE = 1000.0
"""Milliseconds between the iterations of a recording, whose clocks begin at 0 in each: more than clocks can differ."""


class _Ran(NamedTuple):
    """An operation of a rank: its times, and its microbatch and chunk if the log names them."""

    kind: str
    start: float
    end: float
    microbatch: int | None
    chunk: int | None


class _Log(NamedTuple):
    """The log of one rank: its iterations by number, and the most memory that it reserved."""

    path: str
    rank: int
    iterations: dict[int, list[_Ran]]
    memory: float | None


class _Sizes(NamedTuple):
    """What ``config.json`` says; None where it says nothing."""

    pp_size: int | None = None
    vp_size: int | None = None
    num_mbs: int | None = None


def is_primus_log(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is the log of a rank."""
    return any(isinstance(each, Mapping) and "fwd_start" in each for each in content.values())


def is_primus_config(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is the ``config.json`` beside such logs."""
    return "pp_size" in content


def read_primus_logs(files: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Recording]:
    """Read the logs of all ranks.

    Parameters
    ----------
    files : iterable of (str, mapping)
        The path and the content of each file, with or without ``config.json``.

    Raises
    ------
    InputError
        If a rank is missing, or a log is malformed or does not agree with the others.
    """
    notes: list[str] = []
    files = list(files)
    sizes = _read_sizes([file for file in files if not is_primus_log(file[1])])
    logs = [_read_log(path, content, notes) for path, content in files if is_primus_log(content)]
    if not logs:
        raise InputError(
            f"{in_one_line(files[0][0])}: is Primus' config.json; give the pp_rank_*.json beside it as well"
        )
    logs.sort(key=lambda log: log.rank)
    if sizes.pp_size:
        _refuse_missing_ranks(logs, sizes.pp_size, "pp_size in config.json is")
    chunks = _count_chunks(logs, sizes)
    if not sizes.pp_size:
        _refuse_missing_ranks(logs, _ranks_by_warmup(logs, chunks), "the number of ranks in these logs is")
    _refuse_uneven(logs)
    begins = _begins(logs)
    stage_of = _stages(logs, chunks)
    recordings = [_recording(log, begins, chunks, stage_of) for log in logs]
    found = len({op.microbatch for each in recordings[0].ranges for op in each.ops})
    if sizes.num_mbs not in (None, found):
        notes.append(f"config.json says num_mbs {sizes.num_mbs}, but the logs have {counted(found, 'microbatch')}")
    recordings[0].notes += notes
    return recordings


def _read_sizes(configs: Sequence[tuple[str, Mapping[str, Any]]]) -> _Sizes:
    if len(configs) > 1:
        raise InputError(
            f"{in_one_line(configs[1][0])}: is a second config.json, beside {in_one_line(configs[0][0])}; give the "
            "files of one run"
        )
    if not configs:
        return _Sizes()
    path, content = configs[0]
    return _Sizes(*(_size(path, content, names) for names in _SIZES.values()))


def _size(path: str, content: Mapping[str, Any], names: Sequence[str]) -> int | None:
    for name in names:
        value = content.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{in_one_line(path)}: {name}: must be a whole number of at least 1; found {shown(value)}")
        return value
    return None


def _read_log(path: str, content: Mapping[str, Any], notes: list[str]) -> _Log:
    name = in_one_line(path)
    number = _RANK.search(Path(path).name)
    if number is None:
        raise InputError(f"{name}: its name must say which pipeline rank it is from, as in pp_rank_3.json")
    iterations: dict[int, list[_Ran]] = {}
    evaluations: list[int] = []
    memory: list[float] = []
    for key, each in content.items():
        if not (key.isascii() and key.isdecimal() and len(key) < 10 and isinstance(each, Mapping)):
            raise InputError(f"{name}: must map iterations to their events; found {shown(key)}: {shown(each)}")
        where = f"{name}: iteration {key}"
        ran = [one for kind in _LISTS for one in _operations(where, each, kind)]
        if any(one.kind == "B" for one in ran):
            iterations[int(key)] = _with_halves(where, ran)
            memory += [each["memory"]] if _is_time(each.get("memory")) and each["memory"] > 0 else []
        else:
            evaluations.append(int(key))
    if not iterations:
        raise InputError(f"{name}: no iteration has a backward; record whole training steps")
    if evaluations:
        listed = ", ".join(map(str, sorted(evaluations)[:8])) + (" …" if len(evaluations) > 8 else "")
        notes.append(f"{name}: iterations without a backward were left out: {listed}")
    return _Log(path, int(number[1]), iterations, max(memory, default=None))


def _operations(where: str, events: Mapping[str, Any], kind: str) -> list[_Ran]:
    """Read the operations of one kind."""
    prefix = _LISTS[kind]
    starts, ends = (_times(where, f"{prefix}_{edge}", events) for edge in ("start", "end"))
    if len(starts) != len(ends):
        raise InputError(
            f"{where}: {prefix}_start has {counted(len(starts), 'time')} and {prefix}_end {len(ends)}; each start "
            "needs its end"
        )
    late = next((place for place, (start, end) in enumerate(zip(starts, ends, strict=True)) if end < start), None)
    if late is not None:
        raise InputError(f"{where}: {prefix}_end[{late}] is {ends[late]:g}, before its start at {starts[late]:g}")
    microbatches, chunks = (_numbers(where, f"{prefix}_{what}", events, len(starts)) for what in ("minibatch", "chunk"))
    return [_Ran(kind, *each) for each in zip(starts, ends, microbatches, chunks, strict=True)]


def _times(where: str, key: str, events: Mapping[str, Any]) -> list[float]:
    values = events.get(key) or []
    if not isinstance(values, list) or not all(map(_is_time, values)):
        raise InputError(f"{where}: {key}: must be a list of milliseconds; found {shown(values)}")
    return [float(value) for value in values]


def _numbers(where: str, key: str, events: Mapping[str, Any], length: int) -> Sequence[int | None]:
    values = events.get(key)
    if not values:
        return [None] * length
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        raise InputError(f"{where}: {key}: must be a list of whole numbers; found {shown(values)}")
    if len(values) != length:
        raise InputError(f"{where}: {key}: must have one entry for each of {length} operations; found {len(values)}")
    return values


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _with_halves(where: str, ran: Sequence[_Ran]) -> list[_Ran]:
    """Call backwards I if their weights' part ran on its own."""
    forwards, backwards, weights = ([one for one in ran if one.kind == kind] for kind in "FBW")
    if not weights:
        return [*forwards, *backwards]
    named = all(one.microbatch is not None for one in (*backwards, *weights))
    if not named and len(weights) != len(backwards):
        raise InputError(
            f"{where}: {len(backwards)} backwards and {len(weights)} backwards for the weights cannot be matched "
            "without bwd_minibatch and wgrad_minibatch"
        )
    split = {(one.microbatch, one.chunk) for one in weights}
    halves = [one._replace(kind="I") if (one.microbatch, one.chunk) in split else one for one in backwards]
    return [*forwards, *halves, *weights]


def _count_chunks(logs: Sequence[_Log], sizes: _Sizes) -> int:
    """Count the chunks of a rank: as named, as configured, or as the forwards before the first backward tell."""
    named = [one.chunk for log in logs for each in log.iterations.values() for one in each if one.chunk is not None]
    if named:
        return 1 + max(named)
    return sizes.vp_size or _chunks_by_warmup(logs)


def _chunks_by_warmup(logs: Sequence[_Log]) -> int:
    """Infer the number of chunks from Megatron's rule: the last rank begins with (v − 1) · p + 1 forwards, or all."""
    last, ranks = logs[-1], 1 + logs[-1].rank
    warmup, forwards = _warmup(last), _counts(last)["F"]
    is_plain = len(logs) > 1 and _warmup(logs[-2]) - warmup == last.rank - logs[-2].rank
    if warmup == 1 or is_plain or ranks == 1:
        return 1
    if warmup == forwards and forwards % ranks == 0:  # Megatron runs all forwards first if m = p
        return forwards // ranks
    chunks, rest = divmod(warmup - 1, ranks)
    if rest or forwards % (chunks + 1):
        raise InputError(
            f"{in_one_line(last.path)}: begins with {warmup} of {forwards} forwards, which tells neither the number of "
            "chunks nor whether it is the last rank; give config.json as well"
        )
    return chunks + 1


def _whole(log: _Log) -> list[_Ran]:
    """Return the longest iteration, in order of time."""
    longest = max(log.iterations, key=lambda number: len(log.iterations[number]))
    return sorted(log.iterations[longest], key=lambda one: (one.start, one.end))


def _warmup(log: _Log) -> int:
    """Count the forwards before the first backward."""
    return next(place for place, one in enumerate(_whole(log)) if one.kind != "F") or 1


def _counts(log: _Log) -> dict[str, int]:
    kinds = [one.kind for one in _whole(log)]
    return {kind: kinds.count(kind) for kind in "FBIW"}


def _ranks_by_warmup(logs: Sequence[_Log], chunks: int) -> int:
    """Infer the number of ranks: in 1F1B, rank r begins with p − r forwards; for others, trust the files."""
    last = logs[-1]
    names_chunks = any(one.chunk is not None for one in _whole(last))
    is_cut_short = _warmup(last) == _counts(last)["F"]
    return last.rank + (1 if chunks > 1 or names_chunks or is_cut_short else _warmup(last))


def _refuse_missing_ranks(logs: Sequence[_Log], ranks: int, why: str) -> None:
    have = {log.rank for log in logs}
    missing = [rank for rank in range(ranks) if rank not in have]
    folder = Path(logs[0].path).parent
    if missing:
        names = ", ".join(f"pp_rank_{rank}.json" for rank in missing[:8]) + (" …" if len(missing) > 8 else "")
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(
            f"{in_one_line(folder)}: {names} {verb} missing: {why} {ranks}; add the logs of all pipeline ranks"
        )
    if max(have) >= ranks:
        raise InputError(
            f"{in_one_line(logs[-1].path)}: is from rank {max(have)}, but {why} {ranks}; give the files of one run"
        )


def _refuse_uneven(logs: Sequence[_Log]) -> None:
    first = _counts(logs[0])
    for log in logs:
        found = _counts(log)
        if found["F"] != first["F"] or found["B"] + found["I"] != found["F"]:
            raise InputError(
                f"{in_one_line(log.path)}: has {counted(found['F'], 'forward')} and "
                f"{counted(found['B'] + found['I'], 'backward')} in an iteration, but {in_one_line(logs[0].path)} "
                f"{counted(first['F'], 'forward')}; each rank runs the same number of both"
            )


def _begins(logs: Sequence[_Log]) -> dict[int, float]:
    """Choose when each iteration begins, the same for all ranks."""
    begins: dict[int, float] = {}
    begin = 0.0
    for number in sorted(set().union(*(log.iterations for log in logs))):
        begins[number] = begin
        begin += PAUSE + max(max(one.end for one in log.iterations[number]) for log in logs if number in log.iterations)
    return begins


def _stages(logs: Sequence[_Log], chunks: int) -> list[list[int]]:
    """List the stages of each rank's chunks: interleaved, or a V if the last rank runs a second chunk first."""
    ranks = len(logs)
    if chunks == 2 and ranks > 1:
        begin = [
            median(
                min((one.start for one in each if one.chunk == 1), default=math.inf) for each in log.iterations.values()
            )
            for log in (logs[0], logs[-1])
        ]
        if begin[1] < begin[0]:
            return [[rank, 2 * ranks - 1 - rank] for rank in range(ranks)]
    return [[ranks * chunk + rank for chunk in range(chunks)] for rank in range(ranks)]


def _recording(log: _Log, begins: Mapping[int, float], chunks: int, stages: Sequence[Sequence[int]]) -> Recording:
    ranges: list[Range] = []
    marks: list[StepMark] = []
    group = _group(log, len(stages), chunks)
    for number, ran in sorted(log.iterations.items()):
        begin = begins[number]
        of_iteration = list(_ranges(_named(log, number, ran, chunks, group), stages[log.rank], begin))
        marks.append(StepMark(number - 1, begin - PAUSE / 2, of_iteration[-1].end + PAUSE / 2))
        ranges += of_iteration
    return Recording(log.path, log.rank, ranges, marks=marks, clock_restarts=True, memory=log.memory)


def _group(log: _Log, ranks: int, chunks: int) -> int:
    """Infer how many microbatches Megatron takes chunk by chunk: p, unless the first forwards say otherwise."""
    if chunks == 1:
        return ranks
    warmup, microbatches = _warmup(log), _counts(log)["F"] // chunks
    group, rest = divmod(warmup - 1 - 2 * (ranks - 1 - log.rank), chunks - 1)
    return group if not rest and ranks <= group <= microbatches else min(ranks, microbatches)


def _named(log: _Log, number: int, ran: Sequence[_Ran], chunks: int, group: int) -> Iterator[_Ran]:
    """Name the microbatch and the chunk of each operation: as the log does, or else by Megatron's rule."""
    for kinds in ("F", "BI", "W"):
        ones = [one for one in ran if one.kind in kinds]
        if not ones or ones[0].microbatch is not None:
            yield from (one._replace(chunk=one.chunk or 0) for one in ones)
            continue
        microbatches, rest = divmod(len(ones), chunks)
        if rest:
            raise InputError(
                f"{in_one_line(log.path)}: iteration {number}: {len(ones)} operations are no multiple of {chunks} "
                "chunks"
            )
        for one, (microbatch, chunk) in zip(ones, walk_of_groups(microbatches, chunks, group), strict=True):
            yield one._replace(microbatch=microbatch, chunk=chunk if kinds == "F" else chunks - 1 - chunk)


def _ranges(ran: Iterable[_Ran], stages: Sequence[int], begin: float) -> Iterator[Range]:
    """Make the ranges of an iteration in order of time; F and B with the same start and end are a block."""
    in_time = sorted(ran, key=lambda one: (one.start, one.end, one.kind != "F"))
    ops = [Op(stages[one.chunk or 0], one.kind, one.microbatch or 0) for one in in_time]
    is_second = [False] + [
        (first.start, first.end, first.kind) == (second.start, second.end, "F") and second.kind in "BI"
        for first, second in pairwise(in_time)
    ]
    for place, (op, one) in enumerate(zip(ops, in_time, strict=True)):
        if is_second[place]:
            continue
        both = (op, ops[place + 1]) if place + 1 < len(ops) and is_second[place + 1] else (op,)
        yield Range(both, begin + one.start, begin + one.end)
