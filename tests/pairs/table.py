"""The table of all pairs: ``python -m tests.pairs.table [--models N] [--processes N] [--only TEXT]``.

It runs every command on models of every kind, with every rule of waiting, and with numbers of few and of sixteen
digits. It prints each false claim with the code that reproduces it, and then exits with status 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import NamedTuple

from tests.pairs.command_line import command_line_faults
from tests.pairs.commands import COMMANDS, Verdict, judge
from tests.pairs.drawn_models import FEATURES, NUMBERS, SEMANTICS, draw_model


class Cell(NamedTuple):
    """One combination of all axes, and the number of its model."""

    feature: str
    semantics: str
    command: str
    numbers: str
    model: int

    def __str__(self) -> str:
        return "-".join(map(str, self))


class Judged(NamedTuple):
    """A cell, its verdict, and the time that it took."""

    cell: Cell
    verdict: Verdict
    seconds: float


def judge_model(kind: tuple[str, str, str, int], commands: tuple[str, ...] = tuple(COMMANDS)) -> list[Judged]:
    """Run all commands on one model, so that they share its exhaustive searches."""
    warnings.simplefilter("error")
    feature, semantics, numbers, number = kind
    model = draw_model(feature, semantics, numbers, number)
    found: list[Judged] = []
    for command in commands:
        started = time.process_time()
        verdict = judge(command, model)
        if number % 5 == 0:
            verdict = with_faults(verdict, list(command_line_faults(command, model)))
        found.append(Judged(Cell(feature, semantics, command, numbers, number), verdict, time.process_time() - started))
    return found


def with_faults(verdict: Verdict, faults: list[str]) -> Verdict:
    """Add the faults of the command line."""
    if not faults:
        return verdict
    before = verdict.messages if verdict.outcome == "FAULT" else ()
    return Verdict("FAULT", (*before, *faults), verdict.call)


def kinds(models: int) -> Iterator[tuple[str, str, str, int]]:
    """Yield all kinds of models, with their numbers."""
    return ((*kind, number) for number in range(models) for kind in product(FEATURES, SEMANTICS, NUMBERS))


def main() -> int:
    """Judge all cells, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10, help="how many models of each kind")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="a part of a kind, such as glue-async or digits")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    chosen = parser.parse_args()
    commands = tuple(chosen.commands.split(","))
    wanted = [kind for kind in kinds(chosen.models) if chosen.only in "-".join(map(str, kind))]
    judged: list[Judged] = []
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        for found in pool.map(judge_model, wanted, [commands] * len(wanted)):
            judged += found
            for each in found:
                if each.verdict.outcome == "FAULT":
                    print(f"\n{each.cell}: FAULT", *each.verdict.messages, each.verdict.call, sep="\n  ", flush=True)
    print_table(judged)
    return int(any(each.verdict.outcome == "FAULT" for each in judged))


def print_table(judged: list[Judged]) -> None:
    """Print the verdict of each cell, the refusals, and the time taken."""
    cells: dict[tuple[str, str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for cell, verdict, _ in judged:
        cells[cell.feature, cell.semantics, cell.numbers][cell.command][verdict.outcome] += 1
    commands = list(dict.fromkeys(each.cell.command for each in judged))
    print("\n| model | p2p | numbers |", " | ".join(commands), "|")
    print("| --- | --- | --- |", " | ".join("---" for _ in commands), "|")
    for key, row in sorted(cells.items()):
        texts = [", ".join(f"{count} {outcome}" for outcome, count in row[name].most_common()) for name in commands]
        print("|", " | ".join([*key, *texts]), "|")
    said = Counter(
        (each.cell.command, each.verdict.outcome, each.verdict.messages[0][:110])
        for each in judged
        if each.verdict.outcome not in ("ok", "FAULT")
    )
    print("\nwithout a result:")
    for (command, outcome, text), count in said.most_common(25):
        print(f"  {count} × {command}, {outcome}: {text}")
    faults = sum(each.verdict.outcome == "FAULT" for each in judged)
    print(f"\n{faults} of {len(judged)} with a fault; seconds of a processor:", end=" ")
    seconds = Counter[str]()
    for each in judged:
        seconds[each.cell.command] += each.seconds  # type: ignore[assignment]
    print(", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    longest = sorted(judged, key=lambda each: -each.seconds)[:8]
    print("the longest:", ", ".join(f"{each.cell} {each.seconds:.1f}" for each in longest))


if __name__ == "__main__":
    sys.exit(main())
