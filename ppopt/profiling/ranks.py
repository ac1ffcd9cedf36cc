"""Finding the pipeline's ranks among data- and tensor-parallel copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ppopt.profiling.files import number_in
from ppopt.profiling.recordings import OF_THE_RANK, Range, Recording
from solver.errors import InputError
from strategies.model.actions import Op


class Devices(NamedTuple):
    """The runs of one pipeline, device by device, with notes on the choice."""

    runs: list[Recording]
    notes: list[str]


def choose_devices(runs: Sequence[Recording]) -> Devices:
    """Choose one pipeline: one of the ranks that ran the same stages and microbatches.

    Copies run in step with each other, since they meet at every collective. So one of them represents all, and its
    times are consistent, which pooled times are not.

    Raises
    ------
    InputError
        If a rank appears twice, or no rank ran a stage.
    """
    ordered = _by_rank(runs)
    copies = _group(ordered)
    chosen = _one_pipeline(copies, ordered)
    _number_stages(chosen)
    _refuse_gaps(chosen)
    return Devices(chosen, _tell_copies(copies, chosen))


def _by_rank(runs: Sequence[Recording]) -> list[Recording]:
    """Sort runs by rank: as the files say, or else as their names say, or else in the given order."""
    seen: dict[int, Recording] = {}
    for run in (run for run in runs if run.rank is not None):
        other = seen.setdefault(run.rank or 0, run)
        if other is not run:
            raise InputError(
                f"{run.path}: is from rank {run.rank}, and so is {other.path}; give one file per rank, all from one run"
            )
    if len(seen) < len(runs):
        _guess_ranks(runs)
    return sorted(runs, key=lambda run: run.rank or 0)


def _guess_ranks(runs: Sequence[Recording]) -> None:
    numbers = [number_in(run.path) if run.rank is None else run.rank for run in runs]
    are_ranks = None not in numbers and len(set(numbers)) == len(numbers)
    for place, (run, number) in enumerate(zip(runs, numbers, strict=True)):
        run.rank = number if are_ranks else place
    if not are_ranks and len(runs) > 1:
        runs[0].notes.append(
            "neither the files nor their names say which rank each is from; they were taken in the order given"
        )


def _group(runs: Sequence[Recording]) -> list[list[Recording]]:
    """Group copies: ranks with the same stages and common microbatches.

    The two devices of a bidirectional pipeline that hold the same stages have no microbatch in common.
    """
    groups: list[tuple[frozenset[int], set[tuple[int, int]], list[Recording]]] = []
    for run in runs:
        ops = [op for each in run.ranges for op in each.ops]
        stages, work = frozenset(op.stage for op in ops), {(op.stage, op.microbatch) for op in ops}
        home = next((group for group in groups if group[0] == stages and group[1] & work), None)
        if home is None or stages == {OF_THE_RANK}:
            groups.append((stages, work, [run]))
            continue
        home[1].update(work)
        home[2].append(run)
    return [members for _, _, members in groups]


def _one_pipeline(copies: Sequence[Sequence[Recording]], runs: Sequence[Recording]) -> list[Recording]:
    """Choose a process group with one rank per device, or else the first copy of each device."""
    for group in dict.fromkeys(group for run in runs for group in run.groups):
        members = [[run for run in each if run.rank in group] for each in copies]
        if all(len(each) == 1 for each in members):
            return [each[0] for each in members]
    return [each[0] for each in copies]


def _number_stages(runs: Sequence[Recording]) -> None:
    """If ranges name no stage, give each rank one stage, in the order of the ranks."""
    unnumbered = [any(op.stage == OF_THE_RANK for each in run.ranges for op in each.ops) for run in runs]
    if not any(unnumbered):
        return
    if not all(unnumbered):
        named, unnamed = runs[unnumbered.index(False)].path, runs[unnumbered.index(True)].path
        raise InputError(f"{unnamed}: its ranges name no stage, those of {named} do; give traces from a single run")
    for stage, run in enumerate(runs):
        run.ranges = [_on_stage(each, stage) for each in run.ranges]
    runs[0].notes.append(
        "the ranges (Forward 0, Backward 0) name no stage; each rank was taken to be one stage, in rank order"
    )


def _on_stage(each: Range, stage: int) -> Range:
    return each._replace(ops=tuple(Op(stage, op.kind, op.microbatch) for op in each.ops))


def _refuse_gaps(runs: Sequence[Recording]) -> None:
    work: dict[int, set[int]] = {}
    for run in runs:
        for op in (op for each in run.ranges for op in each.ops):
            work.setdefault(op.stage, set()).add(op.microbatch)
    known = max(max(work), *(stage for run in runs for stage in (run.neighbours or {0})))
    missing = [stage for stage in range(min(known + 1, len(work) + 100)) if stage not in work]
    if missing:
        raise InputError(
            f"{_files(runs)}: no rank ran stage {_listed(missing)} of 0 to {known}; add the trace of the rank "
            "that holds it"
        )
    if all(run.is_whole for run in runs):
        _refuse_half_pipelines(runs, work)


def _refuse_half_pipelines(runs: Sequence[Recording], work: Mapping[int, set[int]]) -> None:
    """Refuse a bidirectional pipeline in which a device's partner, which runs the other microbatches, is missing."""
    microbatches = set().union(*work.values())
    half = len(microbatches) // 2
    halves = [set(range(half)), set(range(half, 2 * half))]
    for stage, have in sorted(work.items()):
        if have in halves and microbatches == halves[0] | halves[1] and microbatches in work.values():
            raise InputError(
                f"{_files(runs)}: stage {stage} ran only {len(have)} of {len(microbatches)} microbatches; add the "
                "trace of the other rank that holds it"
            )


def _files(runs: Sequence[Recording]) -> str:
    return runs[0].path if len(runs) == 1 else f"{runs[0].path} and {len(runs) - 1} more"


def _listed(numbers: Sequence[int]) -> str:
    text = ", ".join(str(number) for number in numbers[:8])
    return text if len(numbers) <= 8 else f"{text} and {len(numbers) - 8} more"


def _tell_copies(copies: Sequence[Sequence[Recording]], chosen: Sequence[Recording]) -> list[str]:
    ranks = ", ".join(str(run.rank) for run in chosen)
    most = Counter(len(each) for each in copies).most_common(1)[0][0]
    if max(len(each) for each in copies) > 1:
        return [f"ranks {ranks} were taken as devices 0 to {len(chosen) - 1}; the others are copies ({most} of each)"]
    if [run.rank for run in chosen] != list(range(len(chosen))):
        return [f"ranks {ranks} are devices 0 to {len(chosen) - 1}"]
    return []
