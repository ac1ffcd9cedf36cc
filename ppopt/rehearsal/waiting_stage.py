"""A stage that waits for its given duration, with real parameters and gradients. Only workers import this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

WIDTH = 8
"""Inputs and outputs of a stage: enough for gradients, too few for their computation to take noticeable time."""

Wait = Callable[[], None]
"""Returns when the running action has lasted as long as it should."""


class _InputGradient(torch.autograd.Function):  # type: ignore[misc]  # torch is not looked into
    """The identity, with a backward that waits. It lies only on the way from a stage's output to its input."""

    @staticmethod
    def forward(ctx: Any, value: Any, wait: Wait) -> Any:
        ctx.wait = wait
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        ctx.wait()
        return gradient, None


class _WeightGradient(_InputGradient):
    """The same for a parameter. It is on no way to the input, so the backward for the input skips it."""


class WaitingStage(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """A small linear layer that waits in its forward, and in its backward on the way to input and weight.

    PyTorch's backward for the input runs only the node `_InputGradient`, its backward for the weights only the node
    `_WeightGradient`, and a full backward runs both; the second one then finds the time already used up.

    Parameters
    ----------
    stage : int
        The stage; it seeds the parameters, so that every process makes the same model.
    wait : callable
        Waits until the running action has lasted as long as it should.
    """

    def __init__(self, stage: int, wait: Wait) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(1000 + stage)
        values = torch.randn(WIDTH, WIDTH + 1, generator=source, dtype=torch.float64) / WIDTH**0.5
        self.weight = nn.Parameter(values[:, :WIDTH].contiguous())
        self.bias = nn.Parameter(values[:, WIDTH].contiguous())
        self.wait = wait

    def forward(self, value: Any) -> Any:
        """Compute, then wait."""
        value = _InputGradient.apply(value, self.wait)
        weight = _WeightGradient.apply(self.weight, self.wait)
        output = torch.tanh(nn.functional.linear(value, weight, self.bias))
        self.wait()
        return output


def batch(microbatches: int) -> tuple[Any, Any]:
    """Make the input and the target of all microbatches; the same in every process."""
    source = torch.Generator().manual_seed(0)
    shape = (2 * microbatches, WIDTH)
    return tuple(torch.randn(shape, generator=source, dtype=torch.float64) for _ in range(2))


def loss(output: Any, target: Any) -> Any:
    """Return the average over a microbatch."""
    return nn.functional.mse_loss(output, target)


def gradients_without_pipeline(stages: int, microbatches: int) -> list[list[Any]]:
    """Compute the gradients of each stage's parameters in one process, the mean over the microbatches."""
    model = nn.Sequential(*(WaitingStage(stage, lambda: None) for stage in range(stages)))
    inputs, targets = (whole.chunk(microbatches) for whole in batch(microbatches))
    for one, target in zip(inputs, targets, strict=True):
        loss(model(one), target).backward()
    return [[each.grad / microbatches for each in stage.parameters()] for stage in model]


def largest_difference(module: Any, reference: list[Any]) -> float:
    """Compare a stage's gradients with the reference, relative to the largest entry of each parameter's gradient.

    A missing gradient counts as zero.
    """
    pairs = zip(module.parameters(), reference, strict=True)
    return max(
        float((wanted - (0 if each.grad is None else each.grad)).abs().max() / wanted.abs().max())
        for each, wanted in pairs
    )
