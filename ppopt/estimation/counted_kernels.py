"""Kernels as a training framework runs them, in place of a model's own operations: what they take, and what they keep.

torch sees attention on ``meta`` by its mathematical path: it would count the full square of scores, and keep it. Here
attention is one kernel, as are norms, activation functions and dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import sdpa_flop_count

from ppopt.estimation.fused import Kernel, storage_of

ACTIVATIONS = ("transformers.activations", "torch.nn.modules.activation")


@dataclass
class Attention:
    """Attention as a kernel computes it, and what it would take.

    Attributes
    ----------
    causal, flash : bool
        As for `ppopt.estimation.counting.count_model`.
    forward, backward : int
        FLOPs so far.
    scores : dict
        By storage, what only attention itself needs: scores, or their sums.
    recomputable : dict
        By storage, the results of activation functions. They are held here, since a storage's number is used again.
    window : int or None
        The window of the last attention, if it is shorter than the sequence.
    """

    causal: bool
    flash: bool
    forward: int = 0
    backward: int = 0
    scores: dict[int, Any] = field(default_factory=dict)
    recomputable: dict[int, Any] = field(default_factory=dict)
    window: int | None = None

    def __call__(
        self, module: Any, query: Any, key: Any, value: Any, _mask: Any = None, dropout: float = 0.0, **options: Any
    ) -> tuple[Any, None]:
        """Stand in for an attention function of transformers: shapes are (batch, heads, tokens, size of a head)."""
        seq = int(key.shape[2])
        window, chunk = _shorter(seq, options.get("sliding_window")), _shorter(seq, _chunk(module))
        self.window = window or chunk
        flops = self._flops(query, key, value, window, chunk)
        self.forward += flops

        def on_backward() -> None:
            self.backward += 2 * flops

        def run(query: Any, _key: Any, value: Any) -> Any:
            batch, heads, tokens, _ = query.shape
            return query.new_empty(batch, tokens, heads, value.shape[-1])

        def keeps(inputs: tuple[Any, ...], result: Any) -> list[Any]:
            extra = self._scores(query, seq, dropout)
            self.scores.update((storage_of(each), each) for each in extra)
            return [*inputs, *extra, *([result] if self.flash else [])]

        return Kernel(run, keeps, on_backward)(query, key, value), None

    def _flops(self, query: Any, key: Any, value: Any, window: int | None, chunk: int | None) -> int:
        """Count the products with keys and with values; the kernel skips what lies outside the window or is masked."""
        seq = int(key.shape[2])
        full: int = sdpa_flop_count(query.shape, key.shape, value.shape)
        if not self.flash:
            return full
        scores = seq * seq
        if window is not None:
            scores = window * (2 * seq - window)  # both ways from each token
        elif chunk is not None:
            scores = seq * chunk
        return full * scores // (seq * seq * (2 if self.causal else 1))

    def _scores(self, query: Any, seq: int, dropout: float) -> list[Any]:
        batch, heads, tokens, _ = query.shape
        if self.flash:
            return [query.new_empty(batch, heads, tokens, dtype=torch.float32)]
        scores = (batch, heads, tokens, seq)
        after_dropout = [query.new_empty(scores, dtype=torch.bool), query.new_empty(scores)] if dropout else []
        return [query.new_empty(scores), *after_dropout]


def _shorter(seq: int, window: object) -> int | None:
    return window if isinstance(window, int) and 0 < window < seq else None


def _chunk(module: Any) -> object:
    """Return the length of the chunks that attention stays in, which some models give only to their masks."""
    config, place = getattr(module, "config", None), getattr(module, "layer_idx", None)
    kinds = getattr(config, "layer_types", None)
    if not kinds or place is None or kinds[place] != "chunked_attention":
        return None
    return getattr(config, "attention_chunk_size", None)


def fuse_modules(model: Any, attention: Attention) -> None:
    """Let norms, activation functions and dropout keep what one kernel keeps."""
    for module in model.modules():
        if "norm" in type(module).__name__.lower():
            module.forward = _fused(module, _keep_with_statistics)
        elif type(module).__module__ in ACTIVATIONS:
            module.forward = _fused(module, _keeper_of_input(attention))
        elif isinstance(module, torch.nn.Dropout) and module.p:
            module.forward = _fused(module, _keep_mask)


def _fused(module: Any, keeps: Callable[[tuple[Any, ...], Any], list[Any]]) -> Callable[..., Any]:
    original = module.forward
    kernel = Kernel(original, keeps)

    def forward(*inputs: Any, **options: Any) -> Any:
        if options or not inputs or not all(map(torch.is_tensor, inputs)):
            return original(*inputs, **options)
        return kernel(*inputs, parameters=tuple(module.parameters()))

    return forward


def _keep_with_statistics(inputs: tuple[Any, ...], result: Any) -> list[Any]:
    return [*inputs, result.new_empty(result.shape[:-1], dtype=torch.float32)]


def _keep_mask(_: tuple[Any, ...], result: Any) -> list[Any]:
    return [result.new_empty(result.shape, dtype=torch.bool)]


def _keeper_of_input(attention: Attention) -> Callable[[tuple[Any, ...], Any], list[Any]]:
    def keep(inputs: tuple[Any, ...], result: Any) -> list[Any]:
        attention.recomputable[storage_of(result)] = result
        return list(inputs)

    return keep
