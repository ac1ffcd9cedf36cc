"""Counts the layers of a model on torch's ``meta`` device: parameters, FLOPs of F, I and W, and kept memory.

torch's counter sees products of matrices; grouped products of experts are added to it. What no counter sees is in
`ppopt.estimation.counted_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, mm_flop

from ppopt.estimation.build_model import build_model, knows_attention, refused
from ppopt.estimation.counted_kernels import Attention, fuse_modules
from ppopt.estimation.counts import Count, CountedModel, Row
from ppopt.estimation.fused import Kept, Kernel, kept_by, storage_of
from ppopt.estimation.gpus import BYTES
from ppopt.estimation.layer_calls import (
    Kind,
    LayerCall,
    hidden_of,
    intercepted,
    kind_of,
    layers_of,
    tensors_of,
    with_hidden,
)
from solver.errors import InputError

COUNTED = "bfloat16"
"""The data type that is counted: products of groups exist in no other. Sizes in others follow from it."""


def count_model(
    config: Mapping[str, Any], *, seq: int, microbatch_size: int, dtype: str, causal: bool, flash: bool
) -> CountedModel:
    """Count a model.

    Parameters
    ----------
    config : mapping
        What `read_model_config` returns.
    seq, microbatch_size : int
        The tokens of a sequence, and the sequences of a microbatch.
    dtype : str
        The name of torch's data type.
    causal : bool
        Whether attention skips the half of the scores that it masks.
    flash : bool
        Whether attention is one kernel, which keeps no scores.

    Raises
    ------
    InputError
        If the model cannot be built or has no rows of layers.
    """
    attention = Attention(causal=causal, flash=flash)
    model = build_model(config, COUNTED, attention=attention)
    fuse_modules(model, attention)
    try:
        counter = _Counter(model, attention, (microbatch_size, seq), _predicted_further(config, model))
        counter.widening = BYTES[dtype] // BYTES[COUNTED]
        return counter.counted()
    except InputError:
        raise
    except Exception as error:
        raise refused(config["model_type"], "run", error) from None


@dataclass(frozen=True)
class _Part:
    """A part of torch's graph: a layer, or what lies before or behind all layers.

    Attributes
    ----------
    results : list
        Its ends.
    hidden : tensor or None
        Its input; None if tokens are.
    forward : int
        FLOPs of F.
    """

    results: list[Any]
    hidden: Any
    forward: int


class _Counter:
    """One forward of the model, cut before its first layer and behind its last, and one layer of each kind."""

    def __init__(self, model: Any, attention: Attention, shape: tuple[int, int], further: int) -> None:
        self.model = model
        self.further = further
        self.attention = attention
        self.shape = shape
        self.widening = 1
        self.layers = layers_of(model)
        self.order: list[Kind] = []
        self.calls: dict[Kind, LayerCall] = {}
        self.routed = 0
        self.given = {storage_of(each) for each in (*model.parameters(), *model.buffers())}

    def counted(self) -> CountedModel:
        """Count everything."""
        before, behind = self._cut()
        rows = self._count_layers()
        known = {id(each) for layer in self.layers for each in layer.parameters()}
        embedding = self._count(before, known)
        known |= {id(each) for each in self._kept(before).parameters}
        head = replace(self._count(behind, known), passed=0)
        known |= {id(each) for each in self._kept(behind).parameters}
        unreached = sum(each.numel() for each in self.model.parameters() if id(each) not in known)
        embedding = replace(embedding, parameters=embedding.parameters + unreached)
        further = [Row("mtp", self.further, self._count_further())] if self.further else []
        return CountedModel(
            architecture=type(self.model).__name__,
            parameters=sum(each.numel() for each in self.model.parameters())
            + sum(row.count * row.cost.parameters for row in further),
            rows=(Row("embedding", 1, embedding), *rows, *further, Row("head", 1, head, 1 + self.further)),
            heads=getattr(self.model.config, "num_attention_heads", 0) or 0,
            experts=max(map(_number_of_experts, self.layers)),
            seq=self.shape[1],
            microbatch_size=self.shape[0],
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < self.shape[1]:
            yield f"the sequence of {self.shape[1]:,} tokens is longer than the {longest:,} that the model is made for"
        if not self.attention.forward:
            yield "this architecture computes attention in its own way, which is counted as it is written"

    def _cut(self) -> tuple[_Part, _Part]:
        """Run the model; return what lies before its first layer and what lies behind its last."""
        results: dict[Kind, Any] = {}
        marks: list[int] = []
        ends: list[Any] = []

        def stop(call: LayerCall) -> Any:
            kind = kind_of(call.layer)
            marks.append(counter.get_total_flops())
            if not self.order:
                ends.append(call.hidden)
            self.order.append(kind)
            if kind not in self.calls:
                self.calls[kind] = call
                with torch.no_grad():
                    results[kind] = call.on(call.hidden)
            ends[1:] = [hidden_of(results[kind]).detach().requires_grad_()]
            marks.append(counter.get_total_flops())
            return with_hidden(results[kind], ends[1])

        tokens = torch.zeros(self.shape, dtype=torch.long, device="meta")
        mask = {} if knows_attention(self.model) else {"attention_mask": _whole_mask(*self.shape)}
        with intercepted(self.layers, stop), self._flops() as counter:
            logits = self.model(input_ids=tokens, use_cache=False, **mask).logits
        if not self.order:
            raise InputError("model_type: the model does not call its layers one by one, so they cannot be counted")
        loss = LOSS(logits)
        return _Part(ends[:1], None, marks[0]), _Part([loss], ends[1], counter.get_total_flops() - marks[-1])

    def _count_layers(self) -> list[Row]:
        counts = {kind: self._count_layer(call) for kind, call in self.calls.items()}
        types = getattr(self.model.config, "layer_types", None) or ()
        types = types if len(types) == len(self.order) else ()
        names = _names([counts[kind] for kind in self.order], types)
        rows: list[Row] = []
        for name, kind in zip(names, self.order, strict=True):
            if rows and rows[-1].name == name:
                rows[-1] = replace(rows[-1], count=rows[-1].count + 1)
            else:
                rows.append(Row(name, 1, counts[kind][0]))
        return rows

    def _count_layer(
        self, call: LayerCall, before: Callable[[Any], Any] = lambda hidden: hidden
    ) -> tuple[Count, int | None]:
        """Count a layer, and what comes before it; return the window of its attention as well."""
        hidden = call.hidden.detach().requires_grad_()
        self.attention.window, self.routed = None, 0
        attention = self.attention.forward
        with self._flops() as counter:
            result = hidden_of(call.on(before(hidden)))
        attention = self.attention.forward - attention
        routed = self.routed * hidden.element_size() * self.widening
        part = _Part([result], hidden, counter.get_total_flops() + attention)
        shared = {storage_of(each) for each in tensors_of(call) if each is not call.hidden}
        counted = replace(
            self._count(part, (), shared),
            attention=attention,
            experts=_experts(call.layer),
            routed=routed,
            parameters=sum(each.numel() for each in call.layer.parameters()),
        )
        return self._with_active_experts(counted, call.layer, self._kept(part, shared)), self.attention.window

    def _with_active_experts(self, counted: Count, layer: Any, kept: Kept) -> Count:
        """Count only the chosen experts where an architecture runs every token through all of them, as Llama 4 does."""
        number, chosen = _number_of_experts(layer), getattr(self.model.config, "num_experts_per_tok", None)
        tokens = self.shape[0] * self.shape[1]
        all_of_them = 2 * counted.experts * tokens
        is_batched = any(each.ndim == 3 for each in layer.parameters())
        if not (counted.experts and chosen and is_batched) or self.routed or counted.forward < all_of_them:
            return counted
        idle = all_of_them * (number - chosen) // number
        least = min(min(each.shape[1:]) for each in layer.parameters() if each.ndim == 3) * self.widening * 2
        spread = {each for each, size in kept.sizes.items() if size >= number * tokens * least}
        held = spread & kept.for_weight
        return replace(
            counted,
            forward=counted.forward - idle,
            backward_input=counted.backward_input - idle,
            backward_weight=counted.backward_weight - idle,
            activation=counted.activation - kept.of(spread) * (number - chosen) // number,
            held_for_weight=counted.held_for_weight - kept.of(held) * (number - chosen) // number,
            routed=chosen * counted.passed,
        )

    def _count_further(self) -> Count:
        """Count a layer that predicts one more token (DeepSeek-AI 2024, section 2.2), which transformers leaves out.

        It normalizes the result of the layer before and the embedding of the next token, projects both together to the
        size of one, and runs them through a layer like the model's last one. Its result is normalized for the head.
        """
        call = self.calls[self.order[-1]]
        size, dtype = call.hidden.shape[-1], call.hidden.dtype
        with torch.device("meta"):
            norms = [torch.nn.RMSNorm(size, dtype=dtype) for _ in range(3)]
            project = torch.nn.Linear(2 * size, size, bias=False, dtype=dtype)
        own = torch.nn.ModuleList([*norms, project])
        fuse_modules(own, self.attention)
        self.given |= {storage_of(each) for each in own.parameters()}

        def before(hidden: Any) -> Any:
            return project(torch.cat([norms[0](hidden), norms[1](torch.empty_like(hidden))], dim=-1))

        counted, _ = self._count_layer(call, before)
        return replace(counted, parameters=counted.parameters + sum(each.numel() for each in own.parameters()))

    def _count(self, part: _Part, known: Collection[int], shared: Collection[int] = ()) -> Count:
        """Count a part; parameters in ``known`` belong to an earlier one."""
        kept = self._kept(part, shared)
        to_input, to_weight = self._backward(part, kept.parameters)
        return Count(
            parameters=sum(each.numel() for each in kept.parameters if id(each) not in known),
            shared=sum(each.numel() for each in kept.parameters if id(each) in known),
            experts=0,
            forward=part.forward,
            backward_input=to_input,
            backward_weight=to_weight,
            attention=0,
            activation=kept.total,
            held_for_weight=kept.of(kept.for_weight),
            of_attention=kept.of(self.attention.scores),
            passed=part.results[0].nbytes * self.widening,
        )

    def _kept(self, part: _Part, shared: Collection[int] = ()) -> Kept:
        return kept_by(part.results, self.given | set(shared), self.attention.recomputable, self.widening)

    def _backward(self, part: _Part, parameters: Collection[Any]) -> tuple[int, int]:
        """Count I, and W as what the whole backward adds to it."""
        to_input = 0 if part.hidden is None else self._gradient(part, [part.hidden])
        inputs = [*([] if part.hidden is None else [part.hidden]), *parameters]
        return to_input, (self._gradient(part, inputs) if inputs else 0) - to_input

    def _gradient(self, part: _Part, inputs: list[Any]) -> int:
        before = self.attention.backward
        with self._flops() as counter:
            torch.autograd.grad(
                part.results,
                inputs,
                [torch.empty_like(each) for each in part.results],
                retain_graph=True,
                allow_unused=True,
            )
        return int(counter.get_total_flops()) + self.attention.backward - before

    def _flops(self) -> Any:
        more = {
            torch.ops.aten._grouped_mm: self._grouped_product,
            torch.ops.aten.convolution_backward: _convolution_backward,
        }
        return FlopCounterMode(display=False, custom_mapping=more)

    def _grouped_product(self, first: Any, second: Any, *_: Any, **__: Any) -> int:
        """Count a product of groups of rows, each with a matrix of its own: every row is in one group."""
        self.routed = self.routed or first[-2] * first[-1]
        return int(mm_flop(first[-2:], second[-2:]))


def _predicted_further(config: Mapping[str, Any], model: Any) -> int:
    """Return how many layers for further tokens the model has that transformers leaves out."""
    key = "num_nextn_predict_layers"
    has_own = key in getattr(type(model.config), "__dataclass_fields__", {})
    number = config.get(key)
    return number if isinstance(number, int) and not has_own else 0


LOSS = Kernel(
    lambda logits: logits.new_empty(()),
    lambda inputs, _: [inputs[0].new_empty(inputs[0].shape, dtype=torch.float32)],
)
"""The loss: cross entropy keeps the logits in full precision, in which it computes, and no others."""


def _experts(layer: Any) -> int:
    """Count the parameters of experts that are chosen for each token."""
    return sum(each.numel() for name, each in layer.named_parameters() if "experts" in name.split("."))


def _number_of_experts(layer: Any) -> int:
    """Count the experts of a layer: the first size of their common parameters, or the modules of a list."""
    of_experts = [each for name, each in layer.named_parameters() if name.split(".")[-2:-1] == ["experts"]]
    lists = [module for name, module in layer.named_modules() if name.split(".")[-1] == "experts"]
    sizes = [int(each.shape[0]) for each in of_experts]
    return max([*sizes, *(len(each) for each in lists if isinstance(each, torch.nn.ModuleList))], default=0)


def _whole_mask(batch: int, seq: int) -> Any:
    """Make a mask that is complete, so that no library looks at its values: there are none on ``meta``."""
    return torch.zeros((batch, 1, seq, seq), device="meta")


def _names(counted: list[tuple[Count, int | None]], types: Sequence[str]) -> list[str]:
    """Name each layer of the model by what tells it from others; layers that cost the same have one name.

    Parameters
    ----------
    counted : list of (Count, int or None)
        What each layer costs, and the window of its attention.
    types : sequence of str
        What the configuration calls each layer; empty if it calls them nothing.
    """
    has_experts = {bool(cost.experts) for cost, _ in counted}
    windows = {window for _, window in counted}
    names: dict[Count, str] = {}
    for place, (cost, window) in enumerate(counted):
        parts = ["decoder"]
        if len(has_experts) > 1:
            parts.append("moe" if cost.experts else "dense")
        if len(windows) > 1:
            parts.append("global" if window is None else "local")
        elif len(set(types)) > 1 and len({cost for cost, _ in counted}) > len(has_experts):
            parts.append(types[place].removesuffix("_attention"))
        name = "-".join(parts)
        taken = [other for other, known in names.items() if known == name or known.startswith(f"{name}-kind-")]
        if cost not in names:
            names[cost] = name if not taken else f"{name}-kind-{len(taken) + 1}"
    return [names[cost] for cost, _ in counted]


def _convolution_backward(result: Any, values: Any, weights: Any, *rest: Any, **_: Any) -> int:
    """Count the gradients of a convolution, each as much as its forward; torch's own formula forgets its groups."""
    transposed, wanted = rest[4], rest[-1]
    each: int = conv_flop_count(values, weights, result, transposed=transposed)
    return each * sum(map(bool, wanted[:2]))
