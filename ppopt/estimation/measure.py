"""From a model's configuration to measured costs: the result of ``ppopt measure``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppopt.estimation.counts import CountedModel
from ppopt.estimation.estimate import Workload, count
from ppopt.estimation.gpus import DTYPES
from ppopt.estimation.layers_file import LayersFile
from ppopt.estimation.libraries import quiet_libraries, require_libraries
from ppopt.estimation.model_config import config_file, read_model_config
from ppopt.profiling.costs import Spread
from solver.errors import InputError
from strategies.model.numbers import in_one_line

if TYPE_CHECKING:
    from ppopt.estimation.measuring import MeasuredModel

DEVICES = ("auto", "cpu", "cuda")
USUAL_DTYPE = {"cpu": "fp32", "cuda": "bf16"}


@dataclass(frozen=True)
class Measured:
    """Measured costs of a model.

    Attributes
    ----------
    model : CountedModel
        The model.
    measured : MeasuredModel
        Its times.
    layers : LayersFile
        The layers file.
    notes : list of str
        Notes for the reader.
    """

    model: CountedModel
    measured: MeasuredModel
    layers: LayersFile
    notes: list[str]

    def spread_csv(self) -> str:
        """Write how times vary, layer by layer, as ``ppopt evaluate --spread`` reads it: each layer as a stage."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("key", "stage", *Spread._fields, "layer"))
        names = [row.name for row in self.model.rows if row.name in self.measured.pieces for _ in range(row.count)]
        for key in ("forward", "backward", "backward_input", "backward_weight"):
            for place, name in enumerate(names):
                if key in (spreads := self.measured.pieces[name].spreads):
                    writer.writerow((key, place, *spreads[key], name))
        return text.getvalue()


def measure(
    path: str | Path,
    *,
    seq: int | None = None,
    microbatch_size: int = 1,
    dtype: str | None = None,
    device: str = "auto",
    seconds: float = 60.0,
    together: int = 1,
    optimizer: str = "adam-mixed",
    recompute: str = "full",
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Measure the costs of training a model on the device that is there.

    Parameters
    ----------
    path : str or Path
        A ``config.json``, or the folder with it.
    seq : int or None
        Tokens of a sequence; None as for `Workload`.
    microbatch_size : int
        Sequences of a microbatch.
    dtype : str or None
        The short name of a data type; None for the device's usual one.
    device : {"auto", "cpu", "cuda"}
        Where; ``auto`` for a GPU if PyTorch has one.
    seconds : float
        The time to repeat in.
    together : int
        The layers that run as one.
    optimizer, recompute : str
        As for `ppopt.estimation.estimate.estimate`.
    say : callable
        Is told how far it is.

    Raises
    ------
    InputError
        If the model cannot be run here.
    MissingLibrariesError
        If the extra is not installed.
    """
    config = read_model_config(path)
    require_libraries()
    say("loading PyTorch")
    with quiet_libraries():
        import torch

        from ppopt.estimation.measured_layers import contradictions, measured_layers
        from ppopt.estimation.measuring import measure_model

        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device: PyTorch finds no GPU here; take cpu, or leave it out")
        there = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        short = dtype or USUAL_DTYPE[there]
        named = DTYPES[short]
        model = count(path, Workload(seq, microbatch_size, short))
        try:
            measured = measure_model(
                config, model, dtype=named, device=there, seconds=seconds, together=together, say=say
            )
        except InputError as error:
            raise InputError(f"{in_one_line(config_file(path))}: {error}") from None
        layers = measured_layers(
            model,
            measured,
            title=in_one_line(path),
            dtype=named,
            optimizer=optimizer,
            recompute=recompute,
            together=together,
        )
        notes = [*model.notes, *contradictions(measured)]
        if not measured.is_precise:
            notes.append("time was up before all medians were precise; --seconds gives it more")
        if there == "cpu":
            notes.append("these are times of a CPU: they say nothing about a GPU")
    return Measured(model, measured, layers, notes)
