"""Runs one layer of each kind of a model, its embedding and its head on the device that is there, and takes times.

Backwards are split as `torch.distributed.pipelining` splits them. Weights and inputs are random, and no other layer is
ever made.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch.distributed.pipelining._backward import stage_backward_input, stage_backward_weight
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_map
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ppopt.estimation.build_model import build_model, refused
from ppopt.estimation.counts import CountedModel
from ppopt.estimation.fused import Kept, kept_by, storage_of
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
from ppopt.profiling.costs import Spread, spread
from solver.counted import counted as counted_words
from solver.errors import InputError

COUNTED = torch.bfloat16
"""The data type in which models are built on ``meta``, where groups of products exist in no other."""

WARM_UPS = 2
FEWEST, ENOUGH, MOST = 3, 5, 1000
"""Repeats that count: even if time is up, before medians are called precise, and at most."""

PRECISION = 0.01
"""The standard error of a median at which repeating ends, as a share of the median."""


@dataclass(frozen=True)
class MeasuredPiece:
    """A row of equal layers, and the times of one of them.

    Attributes
    ----------
    name : str
        The name of the row.
    spreads : dict
        By the configuration's key: p10, median, p90 and the number of times.
    kept, held_for_weight : int
        Bytes that PyTorch's graph keeps, and those that are inputs of products with parameters.
    peak : int or None
        The most bytes that a forward and a backward take at a time, without weights; None where that is not known.
    """

    name: str
    spreads: dict[str, Spread]
    kept: int
    held_for_weight: int
    peak: int | None


@dataclass(frozen=True)
class MeasuredModel:
    """The times of a model's rows.

    Attributes
    ----------
    pieces : dict
        By the name of the row.
    gap : Spread
        The time between two operations.
    device : str
        What ran them.
    is_precise : bool
        Whether repeating ended because medians were precise, and not because time was up.
    """

    pieces: dict[str, MeasuredPiece]
    gap: Spread
    device: str
    is_precise: bool


def measure_model(
    config: Mapping[str, Any],
    counted: CountedModel,
    *,
    dtype: str,
    device: str,
    seconds: float,
    together: int,
    say: Callable[[str], None],
) -> MeasuredModel:
    """Measure a model.

    Parameters
    ----------
    config : mapping
        What `read_model_config` returns.
    counted : CountedModel
        The same model, counted; its rows are measured for its microbatch.
    dtype : str
        The name of torch's data type.
    device : str
        ``cpu`` or ``cuda``.
    seconds : float
        The time to repeat in.
    together : int
        The layers that run as one.
    say : callable
        Is told how far it is.

    Raises
    ------
    InputError
        If the model cannot be run, or does not fit the memory.
    """
    say("building the layers")
    try:
        model = build_model(config, "bfloat16", attention=sdpa_attention_forward)
        pieces = list(_Pieces(model, counted, _Place(device, getattr(torch, dtype)), together).made())
        return _measured(pieces, device, seconds, say)
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise refused(config["model_type"], "run", error) from None


@dataclass
class _Piece:
    """Something that runs forward and backward.

    Attributes
    ----------
    name : str
        The name of its row.
    run : callable
        Returns its result, and when it began if that was later than the call.
    hidden : tensor or None
        Its input, if a gradient of it is wanted.
    shared : set of int
        Storages that it does not keep for itself.
    layers : int
        The layers that it runs.
    times : dict
        By the configuration's key: the durations so far, in milliseconds.
    """

    name: str
    run: Callable[[], tuple[Any, float | None]]
    hidden: Any
    shared: set[int]
    layers: int = 1
    times: dict[str, list[float]] = field(default_factory=dict)
    kept: Kept | None = None
    peak: int | None = None


@dataclass(frozen=True)
class _Place:
    """Where tensors are made, and of which data type those are that were counted in another."""

    device: str
    dtype: Any

    def materialize(self, module: Any, but: Collection[Any] = ()) -> None:
        """Give a module memory and random weights; leave out some of its modules."""
        left_out = {id(each) for layer in but for each in layer.modules()}
        made: dict[int, Any] = {}  # keeps shared weights shared
        for each in (module for module in module.modules() if id(module) not in left_out):
            for name, old in each._parameters.items():
                if old is not None and id(old) not in made:
                    made[id(old)] = torch.nn.Parameter(self.filled(old), requires_grad=old.requires_grad)
                each._parameters[name] = None if old is None else made[id(old)]
            for name, old in each._buffers.items():
                each._buffers[name] = self.filled(old)

    def filled(self, value: Any) -> Any:
        """Return a tensor of the same shape with usual values; anything else as it is."""
        if not torch.is_tensor(value):
            return value
        dtype = self.dtype if value.dtype == COUNTED else value.dtype
        made = torch.zeros(value.shape, dtype=dtype, device=self.device)
        if not value.is_floating_point():
            return made
        return made.fill_(1) if value.ndim == 1 else made.normal_(0, 0.02 if value.ndim == 2 else 1)


class _ReachedError(Exception):
    """The model has come to its first layer."""


class _Pieces:
    """Makes the pieces of a model on a device."""

    def __init__(self, model: Any, counted: CountedModel, place: _Place, together: int) -> None:
        self.model = model
        self.counted = counted
        self.place = place
        self.together = together
        self.layers = layers_of(model)
        self.order: list[Kind] = []
        self.calls: dict[Kind, LayerCall] = {}
        self.results: dict[Kind, Any] = {}

    def made(self) -> Iterator[_Piece]:
        """Yield the pieces: embedding, one of each name of layers, head."""
        shape = (self.counted.microbatch_size, self.counted.seq)
        with intercepted(self.layers, self._note), torch.no_grad():
            self.model(input_ids=torch.zeros(shape, dtype=torch.long, device="meta"), use_cache=False)
        names = [row.name for row in self.counted.rows[1:-1] if row.name != "mtp" for _ in range(row.count)]
        named = dict(zip(names, self.order, strict=True))
        self._refuse_too_large()
        vocabulary = int(self.model.get_input_embeddings().weight.shape[0])
        self.place.materialize(self.model, self.layers)
        tokens = torch.randint(0, vocabulary, shape, device=self.place.device)
        ends = _Ends(self.model, tokens, self.results, self.order)
        given = {storage_of(each) for each in (*self.model.parameters(), *self.model.buffers()) if not each.is_meta}
        yield _Piece("embedding", ends.embedded, None, given)
        for name, kind in named.items():
            yield self._layer(name, self.calls[kind])
        hidden = self.place.filled(self.calls[self.order[-1]].hidden).requires_grad_()
        ends.hidden = hidden
        yield _Piece("head", ends.lost, hidden, given)

    def _note(self, call: LayerCall) -> Any:
        kind = kind_of(call.layer)
        self.order.append(kind)
        if kind not in self.calls:
            self.calls[kind] = call
            self.results[kind] = call.on(call.hidden)
        return self.results[kind]

    def _layer(self, name: str, call: LayerCall) -> _Piece:
        modules = [copy.deepcopy(call.layer) for _ in range(self.together)]
        for module in modules:
            self.place.materialize(module)
        inputs, options = tree_map(self.place.filled, (call.inputs, call.options))
        calls = [LayerCall(module, module.forward, inputs, options) for module in modules]
        hidden = calls[0].hidden.requires_grad_()

        def run() -> tuple[Any, None]:
            result = hidden
            for each in calls:
                result = hidden_of(each.on(result))
            return result, None

        given = {storage_of(each) for module in modules for each in (*module.parameters(), *module.buffers())}
        given |= {storage_of(each) for each in tensors_of(calls[0]) if each is not hidden}
        return _Piece(name, run, hidden, given, self.together)

    def _refuse_too_large(self) -> None:
        """Refuse what does not fit: weights and gradients of all pieces, and what the largest keeps, twice."""
        size = self.place.dtype.itemsize
        rows = {row.name: row.cost for row in self.counted.rows if row.name != "mtp"}
        held = {
            name: (cost.parameters + cost.shared) * (1 if name in ("embedding", "head") else self.together)
            for name, cost in rows.items()
        }
        needed = 2 * size * sum(held.values()) + 2 * self.together * max(cost.activation for cost in rows.values())
        free = _free_memory(self.place.device)
        if free is not None and needed > free:
            largest = max(held, key=held.__getitem__)
            raise InputError(
                f"the layers to run need about {needed / 1e9:.1f} GB ({largest}: {held[largest]:,} parameters), and "
                f"{free / 1e9:.1f} GB are free on the {self.place.device}; take fewer tokens or a smaller data type"
            )


class _Ends:
    """What lies before the first layer of a model, and behind its last: it runs whole, its layers doing nothing."""

    def __init__(self, model: Any, tokens: Any, results: Mapping[Kind, Any], order: list[Kind]) -> None:
        self.model = model
        self.tokens = tokens
        self.results = results
        self.order = order
        self.layers = layers_of(model)
        self.hidden: Any = None
        self.targets = tokens.flatten()

    def embedded(self) -> tuple[Any, None]:
        """Return the first layer's input."""
        found: list[Any] = []

        def reach(call: LayerCall) -> Any:
            found.append(call.hidden)
            raise _ReachedError

        with suppress(_ReachedError), intercepted(self.layers, reach):
            self.model(input_ids=self.tokens, use_cache=False)
        return found[0], None

    def lost(self) -> tuple[Any, float]:
        """Return the loss, and when the last layer was left."""
        left = 0.0
        kinds = iter(self.order)

        def skip(_: LayerCall) -> Any:
            nonlocal left
            _wait(self.tokens.device.type)
            left = perf_counter()
            return with_hidden(self.results[next(kinds)], self.hidden)

        with intercepted(self.layers, skip):
            logits = self.model(input_ids=self.tokens, use_cache=False).logits
        return cross_entropy(logits.flatten(0, 1).float(), self.targets), left


def _free_memory(device: str) -> int | None:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            sizes = dict(line.split(":", 1) for line in file)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _measured(pieces: list[_Piece], device: str, seconds: float, say: Callable[[str], None]) -> MeasuredModel:
    gc.collect()
    gc.disable()
    try:
        gaps, is_precise = _repeat_all(pieces, device, perf_counter() + seconds, say)
    finally:
        gc.enable()
    return MeasuredModel({piece.name: _summed_up(piece) for piece in pieces}, spread(gaps), _title(device), is_precise)


def _repeat_all(pieces: list[_Piece], device: str, ends: float, say: Callable[[str], None]) -> tuple[list[float], bool]:
    """Repeat all pieces in turn, so that whatever slows the device slows all of them.

    Returns
    -------
    gaps : list of float
        The times between two operations.
    is_precise : bool
        Whether all medians are precise; they may not be if time is up, or after Ctrl-C.
    """
    gaps: list[float] = []
    for repeats in range(WARM_UPS + MOST):
        try:
            found = [gap for piece in pieces for gap in _repeat(piece, device)]
            gc.collect()
            if repeats < WARM_UPS:
                for piece in pieces:
                    piece.times.clear()
                continue
            gaps += found
            counted_ones = repeats + 1 - WARM_UPS
            worst = max(_error(values) for piece in pieces for values in piece.times.values())
            say(f"{counted_words(counted_ones, 'repeat')}, medians known to {worst:.1%}")
            if counted_ones >= ENOUGH and worst <= PRECISION:
                return gaps, True
            if counted_ones >= FEWEST and perf_counter() > ends:
                break
        except KeyboardInterrupt:
            if repeats < WARM_UPS + FEWEST:
                raise
            break
    return gaps, False


def _summed_up(piece: _Piece) -> MeasuredPiece:
    assert piece.kept is not None
    return MeasuredPiece(
        piece.name,
        {key: spread([each / piece.layers for each in values]) for key, values in piece.times.items()},
        piece.kept.total // piece.layers,
        piece.kept.of(piece.kept.for_weight) // piece.layers,
        piece.peak,
    )


def _error(values: list[float]) -> float:
    """Return the standard error of a median, as a share of it, if most values are spread normally."""
    found = spread(values)
    deviation = (found.p90 - found.p10) / 2.563  # from the 10th to the 90th percentile
    return float(1.2533 * deviation / len(values) ** 0.5 / found.median)


def _repeat(piece: _Piece, device: str) -> list[float]:
    """Run a piece forward and backward in halves, then forward and backward in whole; return the gaps in between."""
    clock = _Clock(piece, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    result = clock.forward()
    if piece.kept is None:
        piece.kept = kept_by([result], piece.shared)
        clock.left = None
    weights, gradient = piece.kept.parameters, torch.ones_like(result)
    if piece.hidden is None:
        clock.take("backward_weight", lambda: torch.autograd.backward([result], [gradient]))
    else:
        piece.hidden.grad = None
        halves = clock.take(
            "backward_input", lambda: stage_backward_input([result], [gradient], [piece.hidden], iter(weights))
        )
        if weights:
            clock.take("backward_weight", lambda: stage_backward_weight(iter(weights), halves[1]))
        piece.hidden.grad = None
        result = clock.forward()
        clock.take("backward", lambda: torch.autograd.backward([result], [gradient]))
        piece.hidden.grad = None
    if device == "cuda":
        piece.peak = int(torch.cuda.max_memory_allocated() - before)
    return clock.gaps


class _Clock:
    """Takes the times of operations that follow each other, and of the gaps between them."""

    def __init__(self, piece: _Piece, device: str) -> None:
        self.piece = piece
        self.device = device
        self.left: float | None = None
        self.gaps: list[float] = []

    def take(self, key: str, run: Callable[[], Any]) -> Any:
        """Time an operation."""
        _wait(self.device)
        began = perf_counter()
        result = run()
        _wait(self.device)
        self._note(key, began, perf_counter())
        return result

    def forward(self) -> Any:
        """Time a forward, which may begin later than its call."""
        began = perf_counter()
        result, begins = self.piece.run()
        _wait(self.device)
        ended = perf_counter()
        if begins is not None:
            self.left = None  # what came before is no gap
        self._note("forward", begins or began, ended)
        return result

    def _note(self, key: str, began: float, ended: float) -> None:
        self.piece.times.setdefault(key, []).append(1000 * (ended - began))
        if self.left is not None:
            self.gaps.append(1000 * (began - self.left))
        self.left = ended


def _title(device: str) -> str:
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"a CPU with {counted_words(torch.get_num_threads(), 'thread')}"
