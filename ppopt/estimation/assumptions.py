"""What costs are made of, besides the counts of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ppopt.estimation.division import Division
from ppopt.estimation.gpus import Gpu


@dataclass(frozen=True)
class Assumptions:
    """What costs are made of, besides the counts of a model.

    Attributes
    ----------
    gpu : Gpu
        The GPU.
    tflops : float
        What its products of matrices reach, in TFLOP/s.
    is_overall : bool
        Whether it reaches that over all, so that nothing else is added.
    division : Division
        How the model is divided, apart from its stages.
    dtype : str
        The name of torch's data type.
    optimizer : str
        Of `ppopt.estimation.division.OPTIMIZERS`.
    recompute : {"none", "selective", "full"}
        What a layer may make again for its backward.
    causal, flash : bool
        As for `ppopt.estimation.counting.count_model`.
    """

    gpu: Gpu
    tflops: float
    is_overall: bool = False
    division: Division = field(default_factory=Division)
    dtype: str = "bfloat16"
    optimizer: str = "adam-mixed"
    recompute: str = "full"
    causal: bool = True
    flash: bool = True
