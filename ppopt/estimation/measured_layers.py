"""Makes a layers file of measured times, with the spread beside each."""

from __future__ import annotations

from collections.abc import Iterator

from ppopt.estimation.counts import Count, CountedModel, Row
from ppopt.estimation.division import Division, bytes_per_parameter
from ppopt.estimation.gpus import GIGA
from ppopt.estimation.layers_file import Entry, Layer, LayersFile, rounded
from ppopt.estimation.measuring import MeasuredModel, MeasuredPiece
from ppopt.profiling.costs import SHORTEST, Spread
from reports.numbers import milliseconds, number
from strategies.model.backward_halves import SPLIT_TOLERANCE

LEAST_GAP = 0.001
"""Gaps shorter than this share of the shortest operation are no overhead."""

HALVES = ("backward_input", "backward_weight")
PINS = {"embedding": [Entry("latest_stage", 0)], "head": [Entry("earliest_stage", -1)]}


def measured_layers(
    model: CountedModel,
    measured: MeasuredModel,
    *,
    title: str,
    dtype: str,
    optimizer: str,
    recompute: str,
    together: int,
) -> LayersFile:
    """Make the file.

    Parameters
    ----------
    model : CountedModel
        The model, which says what its rows are.
    measured : MeasuredModel
        The times of its rows.
    title : str
        What the first line calls the model.
    dtype, optimizer : str
        The data type that ran, and the optimizer that will.
    recompute : {"none", "full"}
        What a layer may make again for its backward.
    together : int
        The layers that ran as one.
    """
    rows = [row for row in model.rows if row.name in measured.pieces]
    return LayersFile(
        about=list(_about(model, measured, title, dtype, together)),
        values=[
            Entry("unit", "ms"),
            Entry("source", "measured"),
            Entry("tokens", model.microbatch_size * model.seq, "of a microbatch"),
            *_overhead(measured),
        ],
        layers=[_layer(row, measured.pieces[row.name], dtype, optimizer, recompute) for row in rows],
        memory=[Entry("unit", "GB")],
    )


def _about(model: CountedModel, measured: MeasuredModel, title: str, dtype: str, together: int) -> Iterator[str]:
    yield f"{title}: {model.architecture}, {model.parameters:,} parameters."
    yield (
        f"MEASURED on {measured.device}, in {dtype}: medians of one layer of each kind with random weights. Times are "
        "in ms, memory in GB."
    )
    if measured.device.startswith("a CPU"):
        yield "These are times of a CPU: they say nothing about a GPU."
    if not measured.is_precise:
        yield "Time was up before all medians were precise: look at their spread."
    if together > 1:
        yield f"{together} layers of a kind ran as one; the times are of one of them."
    yield f"A microbatch has {model.microbatch_size} × {model.seq:,} tokens. The model was not divided over devices."
    yield (
        "Kept memory is that of PyTorch's own operations. Transfers were not measured: a boundary passes "
        f"{model.rows[1].cost.passed:,} bytes; give p2p_latency or communication."
    )
    if any(row.name == "mtp" for row in model.rows):
        yield "Multi-token prediction was not measured, since transformers leaves it out."
    yield "No limit of memory is known: add memory.limit where it matters."


def _overhead(measured: MeasuredModel) -> list[Entry]:
    shortest = min(each.median for piece in measured.pieces.values() for each in piece.spreads.values())
    if measured.gap.median < LEAST_GAP * shortest:
        return []
    return [Entry("overhead", rounded(measured.gap.median), f"the gap between operations: {measured.gap}")]


def _layer(row: Row, piece: MeasuredPiece, dtype: str, optimizer: str, recompute: str) -> Layer:
    cost = row.cost
    static = Division().static_bytes(cost, optimizer, dtype)
    size = bytes_per_parameter(optimizer, dtype, 1)
    has_input = "backward_input" in piece.spreads
    peak = "" if piece.peak is None else f"; {number(piece.peak / GIGA, 4)} GB at its peak"
    entries = [
        *_times(piece.spreads),
        Entry("activation", rounded(piece.kept / GIGA), f"{piece.kept:,} bytes{peak}"),
        Entry("held_for_weight", rounded((piece.held_for_weight if has_input else piece.kept) / GIGA)),
        Entry("static", rounded(static / GIGA), f"{cost.parameters + cost.shared:,} parameters × {number(size)} bytes"),
        *PINS.get(row.name, []),
    ]
    may_recompute = recompute == "full" and row.name not in PINS and cost.passed < piece.kept
    return Layer(row.name, row.count, entries, _recompute(cost) if may_recompute else [])


def _recompute(cost: Count) -> list[Entry]:
    return [Entry("activation", rounded(cost.passed / GIGA), "its input; its forward again")]


def _times(spreads: dict[str, Spread]) -> Iterator[Entry]:
    """Yield the times; a backward that contradicts its halves is left out, and so are halves of less than nothing."""
    yield _time("forward", spreads["forward"])
    yield from (_time(key, spreads[key]) if key in spreads else Entry(key, 0) for key in HALVES)
    whole = spreads.get("backward")
    if whole is None:
        return
    halves = [spreads[key].median for key in HALVES if key in spreads]
    apart = abs(sum(halves) - whole.median) / whole.median
    if apart < float(SPLIT_TOLERANCE) * 0.99 and max(halves) < 0.999 * whole.median:
        yield _time("backward", whole)


def _time(key: str, found: Spread) -> Entry:
    return Entry(key, max(rounded(found.median), SHORTEST), str(found))


def contradictions(measured: MeasuredModel) -> list[str]:
    """Say which whole backwards are left out, because they take another time than their halves."""
    notes = []
    for piece in measured.pieces.values():
        if "backward" in piece.spreads and not any(each.key == "backward" for each in _times(piece.spreads)):
            halves = milliseconds(sum(piece.spreads[key].median for key in HALVES if key in piece.spreads))
            whole = milliseconds(piece.spreads["backward"].median)
            notes.append(
                f"{piece.name}: a whole backward takes {whole} ms and its halves {halves} ms; the halves were taken"
            )
    return notes
