"""Counts the layers of a model on torch's ``meta`` device: parameters, FLOPs of F, I and W, and kept memory.

torch's counter sees products of matrices. It does not see attention as a kernel runs it (on ``meta`` it takes the
mathematical path, with the full square of scores), nor grouped products of experts; both are given here. Norms,
activation functions and dropout keep what one kernel keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch.utils.flop_counter import FlopCounterMode, mm_flop, sdpa_flop_count

from ppopt.estimation.build_model import build_model, refused
from ppopt.estimation.counts import Count, CountedModel, Row
from ppopt.estimation.fused import Kept, Kernel, kept_by, storage_of
from solver.errors import InputError

ACTIVATIONS = ("transformers.activations", "torch.nn.modules.activation")
PLAIN = (int, float, bool, str, type(None))
NUMBERS_OF_LAYERS = ("layer_idx", "layer_index", "layer_id", "layer_number", "idx")


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
    model = build_model(config, dtype, attention=attention)
    _fuse_modules(model, attention)
    try:
        return _Counter(model, attention, seq, microbatch_size, _predicted_further(config, model)).counted()
    except InputError:
        raise
    except Exception as error:
        raise refused(config["model_type"], "run", error) from None


@dataclass
class Attention:
    """Attention as a kernel computes it, and what it would take.

    Attributes
    ----------
    causal, flash : bool
        As for `count_model`.
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


def _fuse_modules(model: Any, attention: Attention) -> None:
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


@dataclass(frozen=True)
class _Call:
    """A layer as the model calls it."""

    layer: Any
    run: Callable[..., Any]
    inputs: tuple[Any, ...]
    options: dict[str, Any]

    def on(self, hidden: Any) -> Any:
        """Run the layer on another input of the same shape."""
        if self.inputs:
            return self.run(hidden, *self.inputs[1:], **self.options)
        return self.run(**self.options | {"hidden_states": hidden})

    @property
    def hidden(self) -> Any:
        """The result of the layer before."""
        return self.inputs[0] if self.inputs else self.options["hidden_states"]


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

    def __init__(self, model: Any, attention: Attention, seq: int, microbatch_size: int, further: int) -> None:
        self.model = model
        self.further = further
        self.attention = attention
        self.shape = (microbatch_size, seq)
        self.layers = _rows_of_modules(model)
        self.order: list[_Kind] = []
        self.calls: dict[_Kind, _Call] = {}
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
            rows=(Row("embedding", 1, embedding), *rows, *further, Row("head", 1, head.repeated(1 + self.further))),
            heads=getattr(self.model.config, "num_attention_heads", 0) or 0,
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
        results: dict[_Kind, Any] = {}
        marks: list[int] = []
        ends: list[Any] = []

        def stopped(layer: Any, run: Callable[..., Any]) -> Callable[..., Any]:
            def forward(*inputs: Any, **options: Any) -> Any:
                call, kind = _Call(layer, run, inputs, options), _kind_of(layer)
                marks.append(counter.get_total_flops())
                if not self.order:
                    ends.append(call.hidden)
                self.order.append(kind)
                if kind not in self.calls:
                    self.calls[kind] = call
                    with torch.no_grad():
                        results[kind] = call.on(call.hidden)
                ends[1:] = [_hidden_of(results[kind]).detach().requires_grad_()]
                marks.append(counter.get_total_flops())
                return _with_hidden(results[kind], ends[1])

            return forward

        runs = [(layer, layer.forward) for layer in self.layers]
        for layer, run in runs:
            layer.forward = stopped(layer, run)
        tokens = torch.zeros(self.shape, dtype=torch.long, device="meta")
        with self._flops() as counter:
            logits = self.model(input_ids=tokens, use_cache=False).logits
        for layer, run in runs:
            layer.forward = run
        if not self.order:
            raise InputError("model_type: the model does not call its layers one by one, so they cannot be counted")
        loss = LOSS(logits)
        return _Part(ends[:1], None, marks[0]), _Part([loss], ends[1], counter.get_total_flops() - marks[-1])

    def _count_layers(self) -> list[Row]:
        counts = {kind: self._count_layer(call) for kind, call in self.calls.items()}
        names = _names([counts[kind] for kind in self.order])
        rows: list[Row] = []
        for name, kind in zip(names, self.order, strict=True):
            if rows and rows[-1].name == name:
                rows[-1] = replace(rows[-1], count=rows[-1].count + 1)
            else:
                rows.append(Row(name, 1, counts[kind][0]))
        return rows

    def _count_layer(
        self, call: _Call, before: Callable[[Any], Any] = lambda hidden: hidden
    ) -> tuple[Count, int | None]:
        """Count a layer, and what comes before it; return the window of its attention as well."""
        hidden = call.hidden.detach().requires_grad_()
        self.attention.window, self.routed = None, 0
        attention = self.attention.forward
        with self._flops() as counter:
            result = _hidden_of(call.on(before(hidden)))
        attention = self.attention.forward - attention
        routed = self.routed * hidden.element_size()
        part = _Part([result], hidden, counter.get_total_flops() + attention)
        shared = {storage_of(each) for each in _tensors(call) if each is not call.hidden}
        counted = replace(
            self._count(part, (), shared),
            attention=attention,
            experts=_experts(call.layer),
            routed=routed,
            parameters=sum(each.numel() for each in call.layer.parameters()),
        )
        return counted, self.attention.window

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
        _fuse_modules(own, self.attention)
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
            passed=part.results[0].nbytes,
        )

    def _kept(self, part: _Part, shared: Collection[int] = ()) -> Kept:
        return kept_by(part.results, self.given | set(shared), self.attention.recomputable)

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
        return FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: self._grouped_product})

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

_Kind: TypeAlias = tuple[object, ...]


def _rows_of_modules(model: Any) -> list[Any]:
    """Find the layers: the modules of the lists that hold most of the model's parameters."""
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) and any(True for _ in module.parameters())
    ]
    outermost = [
        (name, module) for name, module in lists if not any(name.startswith(f"{other}.") for other, _ in lists)
    ]
    if not outermost:
        raise InputError("model_type: the model has no list of layers")
    longest = max(outermost, key=lambda each: sum(parameter.numel() for parameter in each[1].parameters()))
    return list(longest[1])


def _kind_of(layer: Any) -> _Kind:
    """Describe a layer by its modules, their plain settings and the shapes of parameters; equal ones cost the same."""
    return tuple(
        (
            name,
            type(module),
            tuple(
                sorted(
                    (key, value)
                    for key, value in vars(module).items()
                    if isinstance(value, PLAIN) and key not in NUMBERS_OF_LAYERS
                )
            ),
            tuple((key, tuple(each.shape)) for key, each in module.named_parameters(recurse=False)),
        )
        for name, module in layer.named_modules()
    )


def _experts(layer: Any) -> int:
    """Count the parameters of experts that are chosen for each token."""
    return sum(each.numel() for name, each in layer.named_parameters() if "experts" in name.split("."))


def _tensors(call: _Call) -> Iterator[Any]:
    for value in (*call.inputs, *call.options.values()):
        for each in value if isinstance(value, tuple) else (value,):
            if torch.is_tensor(each):
                yield each


def _hidden_of(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def _with_hidden(result: Any, hidden: Any) -> Any:
    return (hidden, *result[1:]) if isinstance(result, tuple) else hidden


def _names(counted: list[tuple[Count, int | None]]) -> list[str]:
    """Name each layer of the model by what tells it from others; layers that cost the same have one name."""
    has_experts = {bool(cost.experts) for cost, _ in counted}
    windows = {window for _, window in counted}
    names: dict[Count, str] = {}
    for cost, window in counted:
        parts = ["decoder"]
        if len(has_experts) > 1:
            parts.append("moe" if cost.experts else "dense")
        if len(windows) > 1:
            parts.append("global" if window is None else "local")
        name = "-".join(parts)
        taken = [other for other, known in names.items() if known == name or known.startswith(f"{name}-kind-")]
        if cost not in names:
            names[cost] = name if not taken else f"{name}-kind-{len(taken) + 1}"
    return [names[cost] for cost, _ in counted]
