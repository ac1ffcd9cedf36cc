"""From a model's configuration to estimated costs: the result of ``ppopt estimate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppopt.estimation.assumptions import Assumptions
from ppopt.estimation.counts import CountedModel
from ppopt.estimation.division import Division
from ppopt.estimation.estimated_layers import estimated_layers, too_large
from ppopt.estimation.gpus import DTYPES, Gpu, read_gpus
from ppopt.estimation.layers_file import LayersFile
from ppopt.estimation.libraries import quiet_libraries, require_libraries
from ppopt.estimation.model_config import config_file, read_model_config
from solver.errors import InputError
from strategies.model.numbers import in_one_line

EFFICIENCY = 0.5
"""The share of the peak that products of matrices reach where nothing else is said."""

USUAL_SEQUENCE = 4096
MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Workload:
    """What a model is trained on, and how.

    Attributes
    ----------
    seq : int or None
        Tokens of a sequence; None for 4,096, or as many as the model takes.
    microbatch_size : int
        Sequences of a microbatch.
    dtype : str
        The short name of a data type.
    causal, flash : bool
        As for `ppopt.estimation.counting.count_model`.
    """

    seq: int | None = None
    microbatch_size: int = 1
    dtype: str = "bf16"
    causal: bool = True
    flash: bool = True


@dataclass(frozen=True)
class Speed:
    """How fast a GPU computes.

    Attributes
    ----------
    gpu : str
        Its name.
    efficiency, tflops : float or None
        What its products of matrices reach, as a share of its peak; or the TFLOP/s that it reaches over all. At most
        one of them.
    """

    gpu: str = "h100"
    efficiency: float | None = None
    tflops: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A counted model, and everything that its costs assume.

    Attributes
    ----------
    model : CountedModel
        The model.
    assumed : Assumptions
        Everything else.
    title : str
        What to call the model.
    pipeline : int or None
        The number of stages for which the time after a step is estimated.
    """

    model: CountedModel
    assumed: Assumptions
    title: str
    pipeline: int | None = None

    @property
    def notes(self) -> list[str]:
        """Notes for the reader."""
        notes = [*self.model.notes, *too_large(self.model, self.assumed)]
        if self.assumed.recompute == "selective" and self.assumed.flash:
            notes.append("--recompute selective saves next to nothing with flash attention, which keeps no scores")
        return notes

    @property
    def layers(self) -> LayersFile:
        """The layers file."""
        return estimated_layers(self.model, self.assumed, self.title, self.pipeline)

    def to_dict(self) -> dict[str, Any]:
        """Return what was counted, of one layer and one microbatch before it is divided."""
        return {
            "parameters": self.model.parameters,
            "layers": [
                {
                    "name": row.name,
                    "count": row.count,
                    "parameters": row.cost.parameters,
                    "shared_parameters": row.cost.shared,
                    "flops": {key: getattr(row.cost, key) for key in ("forward", "backward_input", "backward_weight")},
                    "activation_bytes": row.cost.activation,
                    "held_for_weight_bytes": row.cost.held_for_weight,
                }
                for row in self.model.rows
            ],
        }


def count(path: str | Path, workload: Workload) -> CountedModel:
    """Count the model of a ``config.json``.

    Raises
    ------
    InputError
        If there is no model that can be counted.
    MissingLibrariesError
        If the extra is not installed.
    """
    config = read_model_config(path)
    require_libraries()
    seq = _usual_sequence(config) if workload.seq is None else workload.seq
    if seq * workload.microbatch_size > MOST_TOKENS:
        raise InputError(f"--seq: a microbatch must have at most {MOST_TOKENS:,} tokens")
    with quiet_libraries():
        from ppopt.estimation.counting import count_model

        try:
            return count_model(
                config,
                seq=seq,
                microbatch_size=workload.microbatch_size,
                dtype=DTYPES[workload.dtype],
                causal=workload.causal,
                flash=workload.flash,
            )
        except InputError as error:
            raise InputError(f"{in_one_line(config_file(path))}: {error}") from None


def estimate(
    path: str | Path,
    workload: Workload,
    speed: Speed,
    division: Division,
    *,
    optimizer: str = "adam-mixed",
    recompute: str = "full",
    pipeline: int | None = None,
) -> Estimate:
    """Estimate the costs of training a model.

    Parameters
    ----------
    path : str or Path
        A ``config.json``, or the folder with it.
    workload : Workload
        What it is trained on.
    speed : Speed
        How fast a GPU computes.
    division : Division
        How it is divided over GPUs, apart from its stages.
    optimizer, recompute : str
        As for `Assumptions`.
    pipeline : int or None
        The number of stages for which the time after a step is estimated; None leaves it out.

    Raises
    ------
    InputError
        If there is no model that can be counted, or it cannot be divided in this way.
    MissingLibrariesError
        If the extra is not installed.
    """
    gpu, tflops = reached(speed, DTYPES[workload.dtype])
    model = count(path, workload)
    division.check(model.heads, model.seq, model.experts)
    assumed = Assumptions(
        gpu=gpu,
        tflops=tflops,
        is_overall=speed.tflops is not None,
        division=division,
        dtype=DTYPES[workload.dtype],
        optimizer=optimizer,
        recompute=recompute,
        causal=workload.causal,
        flash=workload.flash,
    )
    return Estimate(model, assumed, in_one_line(path), pipeline)


def reached(speed: Speed, dtype: str) -> tuple[Gpu, float]:
    """Return a GPU, and the TFLOP/s that it reaches.

    Raises
    ------
    InputError
        If that is nothing, or more than its peak.
    """
    gpu = read_gpus()[speed.gpu]
    peak = gpu.peak[dtype]
    if speed.tflops is None:
        share = EFFICIENCY if speed.efficiency is None else speed.efficiency
        if not 0 < share <= 1:
            raise InputError(f"--efficiency: must be more than 0 and at most 1, a share of the peak; found {share:g}")
        return gpu, share * peak
    if speed.efficiency is not None:
        raise InputError("--efficiency: says what --tflops says; give one of the two")
    if not 0 < speed.tflops <= peak:
        raise InputError(
            f"--tflops: must be more than 0 and at most {peak:g}, the peak of {speed.gpu} in {dtype}; "
            f"found {speed.tflops:g}"
        )
    return gpu, speed.tflops


def _usual_sequence(config: Mapping[str, Any]) -> int:
    """Return the length of sequences if none is given: the usual one, or the longest that the model takes."""
    parts = [config, *(each for each in config.values() if isinstance(each, Mapping))]
    longest = [part[key] for part in parts for key in ("max_position_embeddings", "n_positions") if key in part]
    return min([USUAL_SEQUENCE, *(each for each in longest if isinstance(each, int) and each > 0)])
