"""Run an ablation: see `benchmarks.ablation`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.ablation.instances import FAMILIES
from benchmarks.ablation.methods import METHODS
from benchmarks.ablation.runs import BASELINE, Results, Row, families_of, run_all
from benchmarks.ablation.table import written


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="by default all; 'baseline' for none")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only these; may be given several times")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each instance")
    parser.add_argument("--seed", type=int, default=0, help="of the searches; instances stay the same")
    parser.add_argument("--jobs", type=int, default=2, help="how many run side by side, each on one core")
    parser.add_argument("--results", type=Path, help="a folder for rows; what is there is not run again")
    parser.add_argument("--table", type=Path, help="a Markdown file; by default the table is printed")
    parser.add_argument("--list", action="store_true", help="list the methods")
    given = parser.parse_args(arguments)
    unknown = set(given.methods) - {*METHODS, BASELINE}
    if unknown:
        parser.error(f"method: {', '.join(sorted(unknown))} not known; --list names all")
    if given.list:
        for each in METHODS.values():
            print(f"{each.name:44} {each.lines:5} lines  {', '.join(each.families)}")
        return
    methods = [METHODS[name] for name in given.methods if name != BASELINE] if given.methods else [*METHODS.values()]
    families = given.family or (families_of(methods) if methods else list(FAMILIES))
    compile_all()
    results, began = Results(given.results), perf_counter()

    def tell(row: Row, left: int) -> None:
        shown = "nothing found" if row.found is None else f"{row.found:.6g} gap {100 * row.gap:.2f} %"
        proven = f"proven after {row.closed:.1f} s" if row.closed is not None else "open"
        text = row.error or f"{shown} {proven} {row.copied}"
        spent = perf_counter() - began
        print(f"{spent:6.0f} s  {left:4} left  {row.method:30} {row.family:12} {row.number:2}  {text}", file=sys.stderr)

    def foresee(count: int, seconds: float) -> None:
        print(f"{count} to run with a method off, in about {seconds / 60:.0f} minutes", file=sys.stderr)

    how = {"seconds": given.seconds, "seed": given.seed, "jobs": given.jobs}
    run_all(methods, families, results, **how, tell=tell, foresee=foresee)
    table = written(methods, results, given.seconds, given.seed)
    if given.table is None:
        print(table)
    else:
        given.table.write_text(table, encoding="utf-8")


def compile_all() -> None:
    """Compile all inner loops before any clock runs."""
    from solver.search import compile_all as loops

    loops.compile_all()


if __name__ == "__main__":
    main()
