"""Predicted against measured steps of real GPUs, from published data: where predictions hold, and what improves them.

``python -m benchmarks.fidelity [steps] [second] [primus] [simumax] [rehearsals]`` prints these parts, all by default.
``--data FILE.json`` takes other rows of the same form for the first two.
docs/explanation/fidelity.md says what the figures mean.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ppopt
from ppopt import InputError, Pipeline
from ppopt.calibration.calibrate import fit_costs
from ppopt.calibration.measured_steps import FoundCosts, MeasuredStep

DATA = Path(__file__).parents[1] / "tests" / "data"
NAMES = {"1F1B": "1f1b", "1F1B-I": "interleaved", "ZB-1p": "zb-auto", "ZB-2p": "zb-auto"}
ACTIVATIONS = {"ZB-1p": 1, "ZB-2p": 2}
"""The memory limit of the zero-bubble heuristic, in activations for each device of the pipeline."""

NOTHING = FoundCosts(Fraction(0), Fraction(0), Fraction(0))
DIFFERENT, CLEARLY = 0.01, 0.02
"""Steps that differ by less are not a pair to rank; steps that differ by more are clearly different."""


class Row(NamedTuple):
    """A published step, and its replay."""

    model: str
    microbatches: int
    schedule: str
    step: MeasuredStep

    @property
    def set_up(self) -> tuple[str, int]:
        """The rows that are compared with each other have the same."""
        return self.model, self.microbatches


# ---- the Zero Bubble paper's steps


def read_rows(path: Path) -> tuple[list[Row], list[Row]]:
    """Read the rows with costs, and those with few microbatches, which take the costs of the smallest other step."""
    data = json.loads(path.read_text())
    rows = [made(row, row) for row in data["rows"]]
    profiles: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(data["rows"], key=lambda row: row["microbatches"]):
        profiles.setdefault((row["model"], row["schedule"]), row)
    return rows, [made(row, profiles[row["model"], row["schedule"]]) for row in data.get("few", [])]


def made(row: Mapping[str, Any], costs: Mapping[str, Any]) -> Row:
    """Make the replay of a row."""
    devices, schedule = row["devices"], row["schedule"]
    mapping: dict[str, Any] = {
        "devices": devices,
        "stages": devices,
        "microbatches": row["microbatches"],
        "unit": "ms",
        "times": {key: costs[f"{key}_ms"] for key in ("forward", "backward_input", "backward_weight")},
        "p2p_latency": costs["transfer_ms"],
    }
    if schedule in ACTIVATIONS:
        mapping["memory"] = {"limit": ACTIVATIONS[schedule] * devices}
    chunks = costs["stages_per_device"]
    name = NAMES[schedule] + (f":stages={chunks * devices}" if chunks > 1 else "")
    objective = "span" if schedule == "ZB-2p" else "makespan"  # its steps run into each other
    step = MeasuredStep(name, Fraction(str(row["step_ms"])), Pipeline.from_mapping(mapping), objective)  # type: ignore[arg-type]
    return Row(row["model"], row["microbatches"], schedule, step)


def batched(row: Row) -> Row:
    """Return a row of Megatron's schedules with its batches: a device waits for its transfers."""
    if row.schedule in ACTIVATIONS:
        return row
    given = row.step.pipeline
    waiting = given.model_copy(
        update={"p2p": "batched", "p2p_latency": 0, "communication": {"transfer": given.p2p_latency}}
    )
    return row._replace(step=MeasuredStep(row.step.name, row.step.length, waiting, row.step.objective))


class Outcome(NamedTuple):
    """How close predictions are, and which pairs they rank wrongly."""

    errors: list[float]
    wrong: list[tuple[str, float]]
    pairs: int

    def __str__(self) -> str:
        sizes = [abs(error) for error in self.errors]
        clearly = sum(difference > CLEARLY for _, difference in self.wrong)
        return (
            f"median {median(sizes):6.2%}  worst {max(sizes):6.2%}  mean {fmean(self.errors):+7.2%}  "
            f"wrong {len(self.wrong)} of {self.pairs} pairs, {clearly} of them by more than {CLEARLY:.0%}"
        )


def outcome(rows: Sequence[Row], costs: Callable[[Row], FoundCosts]) -> Outcome:
    """Predict rows with the costs for each, and compare."""
    predicted = {row: row.step.predicted(costs(row)) for row in rows}
    errors = [float(predicted[row] / row.step.length - 1) for row in rows]
    wrong, pairs = [], 0
    for one, two in combinations(rows, 2):
        difference = abs(float(one.step.length / two.step.length - 1))
        if one.set_up != two.set_up or difference < DIFFERENT:
            continue
        pairs += 1
        if (predicted[one] < predicted[two]) != (one.step.length < two.step.length):
            model, microbatches = one.set_up
            wrong.append((f"{model}, {microbatches} microbatches: {one.schedule} and {two.schedule}", difference))
    return Outcome(errors, wrong, pairs)


def fitted(rows: Sequence[Row], second: str | None = None) -> FoundCosts:
    """Fit an overhead to rows, and a second number."""
    return fit_costs([row.step for row in rows], NOTHING, second)


def smallest(rows: Sequence[Row], model: str) -> list[Row]:
    """Return the rows of a model with its smallest number of microbatches."""
    own = [row for row in rows if row.model == model]
    return [row for row in own if row.microbatches == min(row.microbatches for row in own)]


def steps(path: Path) -> None:
    """Print predictions without overhead, and with one calibrated on a row, on a set-up of each model, and on all."""
    rows, few = read_rows(path)
    models = list(dict.fromkeys(row.model for row in rows))
    starts = {model: smallest(rows, model) for model in models}
    one_row = {model: fitted([row for row in starts[model] if row.schedule == "1F1B"]) for model in models}
    one_set_up = {model: fitted(starts[model]) for model in models}
    for_all = fitted(rows)
    ways: dict[str, Callable[[Row], FoundCosts]] = {
        "no overhead": lambda _: NOTHING,
        "one row": lambda row: one_row[row.model],
        "one set-up": lambda row: one_set_up[row.model],
        "one for all": lambda _: for_all,
    }
    print(f"{'model':6} {'m':>4}  {'schedule':8} {'measured':>9}" + "".join(f"{way:>18}" for way in ways))
    for row in rows:
        cells = [row.step.predicted(costs(row)) for costs in ways.values()]
        texts = [f"{float(cell):9.1f} {float(cell / row.step.length - 1):+7.2%}" for cell in cells]
        print(f"{_named(row)} {' '.join(texts)}", flush=True)
    print(f"overhead for all: {float(for_all.overhead):.3f} ms")
    print("of one row (1F1B, smallest m): " + _listed(one_row))
    print("of one set-up (four schedules, smallest m): " + _listed(one_set_up))
    for way, costs in ways.items():
        print(f"{way:12} all rows  {outcome(rows, costs)}")
    larger = [row for row in rows if row not in starts[row.model]]
    print(f"{'one set-up':12} larger m  {outcome(larger, ways['one set-up'])}")
    for way, costs in ways.items():
        for pair, difference in outcome(rows, costs).wrong:
            print(f"ranked wrongly, {way}: {pair} ({difference:.1%} apart)")
    print("few microbatches, with the overhead for all:")
    for row in few:
        try:
            print(f"{_named(row)} {float(row.step.predicted(for_all) / row.step.length - 1):+7.2%}")
        except InputError as refused:
            print(f"{_named(row)} not made: {refused}")


def _named(row: Row) -> str:
    return f"{row.model:6} {row.microbatches:4}  {row.schedule:8} {float(row.step.length):9.1f}"


def _listed(costs: Mapping[str, FoundCosts]) -> str:
    return ", ".join(f"{model} {float(found.overhead):.3f} ms" for model, found in costs.items())


def second(path: Path) -> None:
    """Print what a second number improves, each fitted on four schedules at the smallest m, for the larger m."""
    rows, _ = read_rows(path)
    models = list(dict.fromkeys(row.model for row in rows))
    with_batches = [batched(row) for row in rows]
    tried: list[tuple[str, Sequence[Row], str | None]] = [
        ("overhead alone", rows, None),
        ("and transfers that are waited for", rows, "transfer"),
        ("and step.after", rows, "after"),
        ("Megatron's schedules batched", with_batches, None),
    ]
    print("fitted on four schedules at the smallest m, predicting the larger m")
    for what, taken, number in tried:
        found = {model: fitted(smallest(taken, model), number) for model in models}
        larger = [row for row in taken if row not in smallest(taken, row.model)]
        print(f"{what:34} {outcome(larger, lambda row, found=found: found[row.model])}")  # type: ignore[misc]
        for model, costs in found.items():
            print(f"  {model}: overhead {float(costs.overhead):.3f}, " + _second(costs, number), flush=True)


def _second(costs: FoundCosts, name: str | None) -> str:
    return f"{name} {float(getattr(costs, name)):.3f}" if name else "nothing else"


# ---- other measurements


def primus() -> None:
    """Print a run of eight GPUs whose costs ``ppopt profile`` read, with and without the overhead."""
    found = ppopt.profile([DATA / "primus_pp8"])
    lengths = _steps_of(found)
    measured = median(lengths)
    bare = found.pipeline.model_copy(update={"overhead": None, "step": None})
    print(f"Primus, 8 GPUs, 1F1B, {len(lengths)} steps: median {measured:.1f} ms, mean {fmean(lengths):.1f} ms")
    for what, pipeline in (
        ("medians of times and latency", bare),
        ("with the overhead", found.pipeline.model_copy(update={"step": None})),
        ("as profiled (overhead and step.after)", found.pipeline),
    ):
        predicted = ppopt.evaluate(pipeline, "1f1b", engine="graph").makespan
        print(f"  {what:38} {predicted:8.1f} ms {predicted / measured - 1:+7.2%} of the median")
    noisy = _mean_under_spread(found)
    print(f"  {'mean under the measured spread':38} {noisy:8.1f} ms {noisy / fmean(lengths) - 1:+7.2%} of the mean")


def _mean_under_spread(found: ppopt.Profile) -> float:
    """Return the mean step of draws that vary as the times of the trace do."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "spread.csv"
        file.write_text(found.spread_csv())
        noise = ppopt.Noise(spreads=ppopt.read_spreads(file))
    (noisy,) = ppopt.under_noise([ppopt.evaluate(found.pipeline, "1f1b", engine="graph")], noise)
    assert noisy.noise is not None
    return noisy.noise.mean


def _steps_of(found: ppopt.Profile) -> list[float]:
    """Return the length of each step of a measurement that counts."""
    steps: dict[int, list[tuple[float, float]]] = {}
    for action in found.measurement.actions:
        if action.step in found.steps:
            steps.setdefault(action.step, []).append((action.start, action.end))
    return [max(end for _, end in each) - min(start for start, _ in each) for each in steps.values()]


def simumax(path: Path = DATA / "simumax_b200_pp2.csv") -> None:
    """Print steps of two stages on B200s: their length is linear in m, and their memory does not depend on it."""
    by_model: dict[str, dict[int, dict[str, str]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["parallel"].endswith("pp2"):
                by_model.setdefault(row["model"], {})[int(row["microbatches"])] = row
    print("SimuMax, B200, 2 devices, 1F1B: costs from the two smallest m, predicting the largest")
    for model, rows in by_model.items():
        one, two, largest = sorted(rows)
        short, longer, measured = (float(rows[m]["real_ms"]) for m in (one, two, largest))
        work = (longer - short) / (two - one)  # of a microbatch on a device
        pipeline = Pipeline.from_mapping(
            {"devices": 2, "stages": 2, "microbatches": one, "times": {"forward": work / 3, "backward": 2 * work / 3}}
        )
        after = short - ppopt.evaluate(pipeline, "1f1b", engine="graph").makespan
        made = ppopt.evaluate(pipeline.model_copy(update={"microbatches": largest}), "1f1b", engine="graph")
        peaks = {rows[m]["real_alloc_gib"] for m in rows}
        print(
            f"  {model:11} m = {largest}: measured {measured:7.1f}, predicted {made.makespan + after:7.1f} ms "
            f"{(made.makespan + after) / measured - 1:+7.2%}; microbatches held {made.peak_memory[0]:g} and "
            f"{made.peak_memory[1]:g} for each m, measured peak {' or '.join(sorted(peaks))} GiB for each m"
        )


def rehearsals() -> None:
    """Print schedules in PyTorch's runtime on local processes; `benchmarks.rehearsal` has many more."""
    pipeline = Pipeline.from_mapping(
        {
            "devices": 2,
            "microbatches": 8,
            "times": {"forward": 20, "backward_input": 22, "backward_weight": 18},
            "unit": "ms",
        }
    )
    print("rehearsals on 2 local processes (python -m benchmarks.rehearsal has 25)")
    try:
        for made in ppopt.rehearse_all(pipeline, ["1f1b", "interleaved", "zb-h1"], steps=4):
            print(
                f"  {made.schedule.strategy:12} measured {made.median:7.1f} ms, from given costs "
                f"{made.errors['nominal']:+7.2%}, calibrated {made.errors['calibrated']:+7.2%}"
            )
    except InputError as refused:
        print(f"  not run: {refused}")


def main(arguments: Sequence[str]) -> None:
    """Print the parts that are named, or all."""
    path = DATA / "zero_bubble_steps.json"
    names = list(arguments)
    if "--data" in names:
        at = names.index("--data")
        path = Path(names[at + 1])
        del names[at : at + 2]
    parts: dict[str, Callable[[], None]] = {
        "steps": lambda: steps(path),
        "second": lambda: second(path),
        "primus": primus,
        "simumax": simumax,
        "rehearsals": rehearsals,
    }
    for name in names or parts:
        if name not in parts:
            sys.exit(f"error: {name!r} is not a part; allowed are {', '.join(parts)}")
        print(f"== {name}")
        parts[name]()
        print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
