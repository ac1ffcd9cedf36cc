"""The GPUs of ``gpus.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Data types by their short names, with torch's."""

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
GIGA = 10**9


@dataclass(frozen=True)
class Gpu:
    """A GPU and its place in a system.

    Attributes
    ----------
    name, title : str
        Its short and its full name.
    peak : dict
        By data type: the peak of dense products, in TFLOP/s.
    memory : float
        In GB.
    memory_bandwidth, node_bandwidth, network_bandwidth : float
        One way, in GB/s: of its memory, to GPUs of its node, and to others.
    gpus_per_node : int
        The GPUs of a node.
    """

    name: str
    title: str
    peak: dict[str, float]
    memory: float
    memory_bandwidth: float
    node_bandwidth: float
    network_bandwidth: float
    gpus_per_node: int

    def link(self, ranks: float) -> float:
        """Return the bandwidth between so many neighbouring GPUs."""
        return self.node_bandwidth if ranks <= self.gpus_per_node else self.network_bandwidth


GPUS = ("a100", "h100", "h200", "b200", "mi300x")
"""The names of all; a test holds them against the file."""


@cache
def read_gpus() -> dict[str, Gpu]:
    """Read the data of all GPUs."""
    import yaml

    text = files("ppopt.estimation").joinpath("gpus.yaml").read_text(encoding="utf-8")
    return {name: Gpu(name=name, **data) for name, data in yaml.safe_load(text).items()}
