"""Makes a layers file of a counted model, with every assumption beside the number that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import Count, CountedModel, Row
from ppopt.estimation.division import OPTIMIZERS, bytes_per_parameter
from ppopt.estimation.gpus import GIGA
from ppopt.estimation.layers_file import DIGITS, Entry, Layer, LayersFile, rounded
from ppopt.estimation.times import MEMORY_SHARE, time_after_step, times_of
from reports.numbers import number
from solver.counted import counted

RECOMPUTATIONS = ("none", "selective", "full")
USABLE = 0.9
"""The share of a GPU's memory that is left to a model; the rest is workspace of kernels and of communication."""

LATENCY = 0.01
"""Milliseconds from the last byte of a message to its use."""


def estimated_layers(model: CountedModel, assumed: Assumptions, title: str, pipeline: int | None = None) -> LayersFile:
    """Make the file.

    Parameters
    ----------
    model : CountedModel
        The model.
    assumed : Assumptions
        Everything else.
    title : str
        What the first line calls the model.
    pipeline : int or None
        The number of stages for which the time after a step is estimated; None leaves it out.
    """
    limit = Entry("limit", _limit(assumed), f"{USABLE:.0%} of {number(assumed.gpu.memory)}; the rest is workspace")
    return LayersFile(
        about=list(_about(model, assumed, title)),
        values=_head(model),
        parts={"step": _after(model, assumed, pipeline), "communication": _communication(model, assumed, pipeline)},
        layers=[Layer(row.name, row.count, _layer(row, assumed), _recompute(row, assumed)) for row in model.rows],
        memory=[Entry("unit", "GB"), limit],
    )


def _about(model: CountedModel, assumed: Assumptions, title: str) -> Iterator[str]:
    division, gpu = assumed.division, assumed.gpu
    share = assumed.tflops / gpu.peak[assumed.dtype]
    yield f"{title}: {model.architecture}, {model.parameters:,} parameters."
    yield "ESTIMATED: FLOPs and bytes are counted, speeds assumed, nothing was measured. Times are in ms, memory in GB."
    yield ""
    yield f"ASSUMED: {model.microbatch_size} × {model.seq:,} tokens per microbatch, in {assumed.dtype}."
    speed = f"{number(assumed.tflops, 4)} TFLOP/s, {share:.1%} of its peak"
    yield f"GPU: {gpu.title}, at {speed}, {_what_it_includes(assumed)}."
    yield (
        f"Divided as Megatron does: tensor parallel {division.tensor} with sequence parallelism, context parallel "
        f"{division.context}, expert parallel {division.expert}, data parallel {division.data}."
    )
    yield f"Optimizer: {assumed.optimizer}: {OPTIMIZERS[assumed.optimizer]}."
    kernel = "one kernel, which keeps no scores" if assumed.flash else "the mathematical path, which keeps all scores"
    counted = "the masked half of the scores is skipped" if assumed.causal and assumed.flash else "all scores count"
    yield f"Attention: {kernel}; {counted}. Its backward counts twice its forward, without recomputing the scores."
    yield "A layer keeps what Megatron's kernels keep: norms and activation functions only their inputs."
    if model.rows[-2].name == "mtp":
        yield "The head runs once more for each layer of multi-token prediction (mtp)."
    if model.rows[-1].cost.shared:
        yield "The head has a copy of the embedding's weights, as it lies on another stage."


def _what_it_includes(assumed: Assumptions) -> str:
    if assumed.is_overall:
        return "which includes all that is not counted: norms, and communication within a stage"
    return (
        f"for products of matrices; other operations and weights at {MEMORY_SHARE:.0%} of the memory's bandwidth, "
        "communication within a stage at shares of the links', and none of it at the same time"
    )


def _after(model: CountedModel, assumed: Assumptions, pipeline: int | None) -> list[Entry]:
    if pipeline is None:
        return []
    time = time_after_step(even_stages(model, pipeline), assumed)
    return [
        Entry("after", rounded(time.value), f"{time.why}, on the GPU of {counted(pipeline, 'stage')} that holds most")
    ]


def even_stages(model: CountedModel, stages: int) -> list[list[Count]]:
    """Cut the layers between the ends evenly, the first and the last stage with the ends."""
    embedding, *inner, head = [row.whole for row in model.rows for _ in range(row.count)]
    cuts = [len(inner) * stage // stages for stage in range(stages + 1)]
    parts = [inner[first:last] for first, last in pairwise(cuts)]
    parts[0] = [embedding, *parts[0]]
    parts[-1] = [*parts[-1], head]
    return parts


def _head(model: CountedModel) -> list[Entry]:
    tokens = model.microbatch_size * model.seq
    return [
        Entry("unit", "ms"),
        Entry("source", "estimated"),
        Entry("tokens", tokens, "of a microbatch, on all GPUs of a stage together"),
    ]


def _communication(model: CountedModel, assumed: Assumptions, pipeline: int | None) -> list[Entry]:
    division = assumed.division
    passed = model.rows[1].cost.passed // division.of_work
    ranks = (
        inf if pipeline is None else pipeline * division.of_work * division.data
    )  # pipeline ranks are furthest apart
    bandwidth, where = assumed.gpu.link(ranks), "within" if ranks <= assumed.gpu.gpus_per_node else "between"
    return [
        Entry("latency", LATENCY, "assumed"),
        Entry("bytes", passed, f"the result of a layer{_divided(assumed.division.of_work)}"),
        Entry("bandwidth", int(bandwidth * GIGA / 1000), f"per ms: {number(bandwidth)} GB/s {where} nodes"),
    ]


def too_large(model: CountedModel, assumed: Assumptions) -> list[str]:
    """Say which layers no GPU can hold."""
    limit = _limit(assumed)
    held = {
        row.name: assumed.division.static_bytes(row.cost, assumed.optimizer, assumed.dtype) / GIGA for row in model.rows
    }
    return [
        f"one layer of {name} holds {number(each, DIGITS)} GB before any activation, and a GPU has {number(limit)}: "
        "divide it further (--tensor-parallel, --expert-parallel, --optimizer distributed)"
        for name, each in held.items()
        if each > limit
    ]


def _limit(assumed: Assumptions) -> float | int:
    return rounded(USABLE * assumed.gpu.memory)


def _layer(row: Row, assumed: Assumptions) -> list[Entry]:
    cost, division = row.whole, assumed.division
    static = division.static_bytes(cost, assumed.optimizer, assumed.dtype)
    times = [Entry(key, rounded(time.value), time.why) for key, time in times_of(cost, assumed).items()]
    pin = {"embedding": [Entry("latest_stage", 0)], "head": [Entry("earliest_stage", -1)]}
    return [
        *times,
        Entry(
            "activation",
            _memory(cost.activation, division.of_work),
            f"{_bytes(cost.activation)}{_divided(division.of_work)}",
        ),
        Entry(
            "held_for_weight",
            _memory(_held(cost), division.of_work),
            "inputs of products with weights" if cost.forward else "",
        ),
        Entry("static", rounded(static / GIGA), _static(cost, assumed)),
        *pin.get(row.name, []),
    ]


def _held(cost: Count) -> int:
    """Return what W needs; all, where there is no I."""
    return cost.held_for_weight if cost.backward_input else cost.activation


def _recompute(row: Row, assumed: Assumptions) -> list[Entry]:
    cost, division = row.whole, assumed.division
    if row.name in ("embedding", "head") or assumed.recompute == "none":
        return []
    if assumed.recompute == "full":
        return [Entry("activation", _memory(cost.passed, division.of_work), "its input; its forward again")]
    kept = cost.activation - cost.of_attention
    return [
        Entry("time", rounded(cost.attention / division.of_work / assumed.tflops / GIGA), "its attention again"),
        Entry("activation", _memory(kept, division.of_work), "all but what attention itself keeps"),
    ]


def _static(cost: Count, assumed: Assumptions) -> str:
    division = assumed.division
    size = bytes_per_parameter(assumed.optimizer, assumed.dtype, division.data * division.context)
    all_of_them = cost.parameters + cost.shared
    text = f"{all_of_them:,} parameters{_divided(division.tensor)} × {number(size)} bytes"
    if cost.experts and division.expert > 1:
        experts = bytes_per_parameter(
            assumed.optimizer, assumed.dtype, division.data * division.context // division.expert
        )
        text += f"; {cost.experts:,} of them in experts ÷ {division.expert} × {number(experts)}"
    return text


def _divided(parts: int) -> str:
    return f" ÷ {parts}" if parts > 1 else ""


def _bytes(value: int) -> str:
    return f"{number(value / GIGA, DIGITS)} GB"


def _memory(value: int, parts: int) -> float | int:
    return rounded(value / parts / GIGA)
