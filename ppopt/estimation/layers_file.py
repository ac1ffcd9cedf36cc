"""Writes a counted model as a layers file, with every assumption beside the number that it makes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ppopt.estimation.counts import Count, CountedModel, Row
from ppopt.estimation.division import OPTIMIZERS, Division, bytes_per_parameter
from ppopt.estimation.gpus import BYTES, GIGA, Gpu
from reports.numbers import number
from strategies.model.pipeline import Pipeline

RECOMPUTATIONS = ("none", "selective", "full")
USABLE = 0.9
"""The share of a GPU's memory that is left to a model; the rest is workspace of kernels and of communication."""

EFFICIENCY = 0.4
"""The share of the peak that is reached where nothing else is said: between half (dense models) and a third."""

LATENCY = 0.01
"""Milliseconds from the last byte of a message to its use."""

WIDTH = 118
"""Columns of a comment."""

DIGITS = 4
"""Significant digits of estimates."""


@dataclass(frozen=True)
class Assumptions:
    """What costs are made of, besides the model.

    Attributes
    ----------
    gpu : Gpu
        The GPU.
    tflops : float
        What it reaches, in TFLOP/s.
    division : Division
        How the model is divided, apart from its stages.
    dtype : str
        The name of torch's data type.
    optimizer : str
        Of `OPTIMIZERS`.
    recompute : str
        Of `RECOMPUTATIONS`: what a layer may make anew for its backward.
    causal, flash : bool
        As for `count_model`.
    """

    gpu: Gpu
    tflops: float
    division: Division = field(default_factory=Division)
    dtype: str = "bfloat16"
    optimizer: str = "adam-mixed"
    recompute: str = "full"
    causal: bool = True
    flash: bool = True


@dataclass(frozen=True)
class Entry:
    """A number of the file, with where it comes from."""

    key: str
    value: float | int | str
    why: str = ""


def layers_mapping(model: CountedModel, assumed: Assumptions) -> dict[str, Any]:
    """Return what the file says, without comments; the numbers of devices and microbatches are left open."""
    return {
        **{each.key: each.value for each in _head(model, assumed)},
        "communication": {each.key: each.value for each in _communication(model, assumed)},
        "layers": [_layer_mapping(row, assumed) for row in model.rows],
        "memory": {"unit": "GB", "limit": _limit(assumed)},
    }


def _layer_mapping(row: Row, assumed: Assumptions) -> dict[str, Any]:
    recompute = {each.key: each.value for each in _recompute(row, assumed)}
    return {
        "name": row.name,
        "count": row.count,
        **{each.key: each.value for each in _layer(row, assumed)},
        **({"recompute": recompute} if recompute else {}),
    }


def layers_file(model: CountedModel, assumed: Assumptions, title: str) -> str:
    """Write the file.

    Parameters
    ----------
    model : CountedModel
        The model.
    assumed : Assumptions
        Everything else.
    title : str
        What the first line calls the model.
    """
    Pipeline.from_mapping(layers_mapping(model, assumed) | {"devices": 1, "microbatches": 1})
    about = (line for text in _about(model, assumed, title) for line in textwrap.wrap(text, WIDTH) or [""])
    lines = [*(f"# {line}".rstrip() for line in about), *_written(_head(model, assumed), "")]
    lines += ["communication:", *_written(_communication(model, assumed), "  "), "layers:"]
    for row in model.rows:
        lines += [f"  - name: {row.name}", f"    count: {row.count}", *_written(_layer(row, assumed), "    ")]
        if recompute := _recompute(row, assumed):
            lines += ["    recompute:", *_written(recompute, "      ")]
    limit = Entry("limit", _limit(assumed), f"{USABLE:.0%} of {number(assumed.gpu.memory)}; the rest is workspace")
    lines += ["memory:", "  unit: GB", *_written([limit], "  ")]
    return "\n".join([*lines, ""])


def _written(entries: list[Entry], indent: str) -> Iterator[str]:
    for each in entries:
        text = f"{indent}{each.key}: {each.value}"
        yield f"{text:<38}  # {each.why}" if each.why else text


def _about(model: CountedModel, assumed: Assumptions, title: str) -> Iterator[str]:
    division, gpu = assumed.division, assumed.gpu
    share = assumed.tflops / gpu.peak[assumed.dtype]
    yield f"{title}: {model.architecture}, {model.parameters:,} parameters."
    yield "ESTIMATED: FLOPs and bytes are counted, speeds are assumed, and nothing was measured. Times are in ms, memory in GB."
    yield ""
    yield f"ASSUMED: {model.microbatch_size} × {model.seq:,} tokens per microbatch, in {assumed.dtype}."
    yield (
        f"GPU: {gpu.title}, at {number(assumed.tflops)} TFLOP/s, {share:.1%} of its peak. That includes all that is not "
        "counted: norms, communication of tensor and context parallelism, routing of experts."
    )
    yield (
        f"Divided as Megatron does: tensor parallel {division.tensor} with sequence parallelism, context parallel "
        f"{division.context}, expert parallel {division.expert}, data parallel {division.data}."
    )
    yield f"Optimizer: {assumed.optimizer}: {OPTIMIZERS[assumed.optimizer]}."
    kernel = "one kernel, which keeps no scores" if assumed.flash else "the mathematical path, which keeps all scores"
    counted = "the masked half of the scores is skipped" if assumed.causal and assumed.flash else "all scores count"
    yield f"Attention: {kernel}; {counted}. Its backward counts twice its forward, without the scores made anew."
    yield "A layer keeps what Megatron's kernels keep: norms and activation functions only their inputs."
    if model.rows[-2].name == "mtp":
        yield "The head runs once more for each layer of multi-token prediction (mtp)."
    if model.rows[-1].cost.shared:
        yield "The head has a copy of the embedding's weights, as it lies on another stage."


def _head(model: CountedModel, assumed: Assumptions) -> list[Entry]:
    tokens = model.microbatch_size * model.seq
    return [
        Entry("unit", "ms"),
        Entry("source", "estimated"),
        Entry("tokens", tokens, "of a microbatch, on all GPUs of a stage together"),
    ]


def _communication(model: CountedModel, assumed: Assumptions) -> list[Entry]:
    passed = model.rows[1].cost.passed // assumed.division.of_work
    bandwidth = assumed.gpu.network_bandwidth
    return [
        Entry("latency", LATENCY, "assumed"),
        Entry("bytes", passed, f"the result of a layer{_divided(assumed.division.of_work)}"),
        Entry("bandwidth", int(bandwidth * GIGA / 1000), f"per ms: {number(bandwidth)} GB/s between nodes"),
    ]


def _limit(assumed: Assumptions) -> float:
    return _rounded(USABLE * assumed.gpu.memory)


def _layer(row: Row, assumed: Assumptions) -> list[Entry]:
    cost, division = row.cost, assumed.division
    static = division.static_bytes(cost, assumed.optimizer, assumed.dtype)
    times = _looked_up(cost, assumed) if not cost.forward else _computed(cost, assumed)
    pin = {"embedding": [Entry("latest_stage", 0)], "head": [Entry("earliest_stage", -1)]}
    return [
        *times,
        Entry("activation", _memory(cost.activation, division.of_work), f"{_bytes(cost.activation)}{_divided(division.of_work)}"),
        Entry(
            "held_for_weight",
            _memory(_held(cost), division.of_work),
            "inputs of products with weights" if cost.forward else "",
        ),
        Entry("static", _rounded(static / GIGA), _static(cost, assumed)),
        *pin.get(row.name, []),
    ]


def _held(cost: Count) -> int:
    """Return what W needs; all, where there is no I."""
    return cost.held_for_weight if cost.backward_input else cost.activation


def _computed(cost: Count, assumed: Assumptions) -> list[Entry]:
    divided = _divided(assumed.division.of_work)
    flops = {key: getattr(cost, key) for key in ("forward", "backward_input", "backward_weight")}
    return [
        Entry(key, _milliseconds(value, assumed), f"{number(value / 1e12, 4)} TFLOP{divided} ÷ {number(assumed.tflops)} TFLOP/s")
        for key, value in flops.items()
    ]


def _looked_up(cost: Count, assumed: Assumptions) -> list[Entry]:
    """Return the times of an embedding: rows are read and written, and the same for their gradients."""
    moved = 2 * cost.passed / assumed.division.context
    bandwidth = assumed.gpu.memory_bandwidth
    time = _rounded(moved / (bandwidth * GIGA) * 1000)
    why = f"{_bytes(int(moved))} read and written at {number(bandwidth)} GB/s"
    return [Entry("forward", time, why), Entry("backward_input", 0), Entry("backward_weight", _rounded(2 * time), why + ", twice")]


def _recompute(row: Row, assumed: Assumptions) -> list[Entry]:
    cost, division = row.cost, assumed.division
    if row.name in ("embedding", "head") or assumed.recompute == "none":
        return []
    if assumed.recompute == "full":
        return [Entry("activation", _memory(cost.passed, division.of_work), "its input; its forward again")]
    kept = cost.activation - cost.of_attention
    return [
        Entry("time", _milliseconds(cost.attention, assumed), "its attention again"),
        Entry("activation", _memory(kept, division.of_work), "all but what attention itself keeps"),
    ]


def _static(cost: Count, assumed: Assumptions) -> str:
    division = assumed.division
    size = bytes_per_parameter(assumed.optimizer, assumed.dtype, division.data * division.context)
    all_of_them = cost.parameters + cost.shared
    text = f"{all_of_them:,} parameters{_divided(division.tensor)} × {number(size)} bytes"
    if cost.experts and division.expert > 1:
        experts = bytes_per_parameter(assumed.optimizer, assumed.dtype, division.data * division.context // division.expert)
        text += f"; {cost.experts:,} of them in experts ÷ {division.expert} × {number(experts)}"
    return text


def _divided(parts: int) -> str:
    return f" ÷ {parts}" if parts > 1 else ""


def _bytes(value: int) -> str:
    return f"{number(value / GIGA, DIGITS)} GB"


def _milliseconds(flops: int, assumed: Assumptions) -> float:
    return _rounded(flops / assumed.division.of_work / assumed.tflops / GIGA)


def _memory(value: int, parts: int) -> float:
    return _rounded(value / parts / GIGA)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
