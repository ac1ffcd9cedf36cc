"""How Megatron divides work and memory over GPUs.

- Tensor parallelism with sequence parallelism (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
  Transformer Models", sections 4.2 and 5): every rank of t holds 1/t of the weights, computes 1/t of the products, and
  keeps 1/t of all activations; between stages it passes 1/t of the result.
- Context parallelism (Megatron-Core, ``context_parallel``): every rank of c has 1/c of a sequence's tokens, and all
  weights.
- Expert parallelism (Megatron-Core, ``moe``; here the expert tensor parallelism is t): every rank of e holds 1/e of the
  experts. Each token goes to the same number of experts, so with tokens spread evenly the work of a rank is the same.
  The ranks are those of data and context parallelism: e divides d·c.
- Data parallelism with the distributed optimizer (Rajbhandari et al. 2020, ZeRO stage 1; Megatron-Core,
  ``dist_optimizer``): weights and gradients are whole on each of the d·c ranks that hold them, optimizer states are
  divided over them; over d·c/e for experts.

What is not divided (norms, routers, the down-projections of multi-head latent attention) is small and counted as if it
were.
"""

from __future__ import annotations

from dataclasses import dataclass

from ppopt.estimation.counts import Count
from ppopt.estimation.gpus import BYTES
from solver.errors import InputError

OPTIMIZERS = {
    "adam-mixed": "weights and two moments in 32 bits beside the model's own weights, gradients in 32 bits",
    "adam-bf16": "weights, gradients and two moments, all in the model's data type",
    "distributed": "as adam-mixed, its 32-bit weights and moments divided over data-parallel ranks",
}
"""Optimizers by name, with what they keep."""


@dataclass(frozen=True)
class Division:
    """How a model is divided over GPUs, apart from its stages.

    Attributes
    ----------
    tensor, context, expert, data : int
        t, c, e and d.
    """

    tensor: int = 1
    context: int = 1
    expert: int = 1
    data: int = 1

    def check(self, heads: int, seq: int, experts: int) -> None:
        """Refuse what Megatron refuses.

        Raises
        ------
        InputError
            If a size does not divide what it must divide.
        """
        if heads and heads % self.tensor:
            raise InputError(f"--tensor-parallel: must divide the {heads} attention heads; found {self.tensor}")
        if seq % (self.context * self.tensor):
            whole = f"{self.context} × {self.tensor}" if self.context > 1 else self.tensor
            option = "--context-parallel" if self.context > 1 else "--tensor-parallel"
            raise InputError(f"{option}: the ranks ({whole}) must divide the {seq:,} tokens of a sequence")
        if self.expert > 1 and not experts:
            raise InputError(f"--expert-parallel: the model has no experts to divide; found {self.expert}")
        if experts % self.expert:
            raise InputError(f"--expert-parallel: must divide the {experts} experts of a layer; found {self.expert}")
        if (self.data * self.context) % self.expert:
            raise InputError(
                f"--expert-parallel: must divide the {self.data * self.context} ranks of data and context parallelism "
                f"(--data-parallel × --context-parallel); found {self.expert}"
            )

    @property
    def of_work(self) -> int:
        """Into how many parts FLOPs, activations and results of stages are divided."""
        return self.tensor * self.context

    def held_parameters(self, cost: Count) -> float:
        """Return the parameters of a layer that one GPU holds."""
        return (cost.parameters + cost.shared - cost.experts + cost.experts / self.expert) / self.tensor

    def static_bytes(self, cost: Count, optimizer: str, dtype: str) -> float:
        """Return the bytes of weights, gradients and optimizer state on one GPU."""
        replicas = self.data * self.context
        dense = cost.parameters + cost.shared - cost.experts
        of_dense = dense / self.tensor * bytes_per_parameter(optimizer, dtype, replicas)
        of_experts = cost.experts / (self.tensor * self.expert)
        return of_dense + of_experts * bytes_per_parameter(optimizer, dtype, replicas // self.expert)


def bytes_per_parameter(optimizer: str, dtype: str, replicas: int) -> float:
    """Return the bytes that training keeps for each parameter: weight, gradient and optimizer state.

    With Adam and mixed precision: 2 for the weight, 4 for its gradient, and 4 each for a weight in 32 bits and two
    moments, which are divided with the distributed optimizer (Megatron-Core, ``dist_optimizer``: 6 + 12/d; in 32 bits
    8 + 8/d).
    """
    size = BYTES[dtype]
    if optimizer == "adam-bf16":
        return 4 * size
    divided = 8 if size == 4 else 12
    return size + 4 + divided / (replicas if optimizer == "distributed" else 1)
