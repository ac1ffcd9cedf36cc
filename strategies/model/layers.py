"""A model given as layers: their kinds, costs and numbers, and the stages on which they may lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from numbers import Integral
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import ConfigDict, PlainValidator, RootModel, model_validator

from solver.counted import counted
from solver.errors import InputError
from strategies.model.backward_halves import refuse_contradiction, split_backward
from strategies.model.layer_parts import LayerParts, refuse_mixed_orders
from strategies.model.numbers import read_amount, read_count, read_share, refusal
from strategies.model.part import Part, WrongKeyError

MOST_LAYERS = 100_000
"""More layers than this are refused, since some steps visit every layer."""

LETTERS = {"E": "embedding", "t": "decoder layer", "m": "multi-token prediction", "L": "final norm, head and loss"}
"""Megatron's letters and their meanings."""

_WORDS_OF_LETTERS = (
    ("m", re.compile(r"(^|[^a-z])mtp|multi.?token", re.IGNORECASE)),
    ("L", re.compile(r"head|loss|logit|unembed|(^|[^a-z])(output|norm)", re.IGNORECASE)),
    ("E", re.compile(r"embed|(^|[^a-z])(emb|wte)([^a-z]|$)", re.IGNORECASE)),
)


def _read_name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.strip()) <= 60:
        raise refusal("must be a name of at most 60 characters", value)
    return value


def _read_stage(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise refusal("must be the number of a stage, negative from the end", value)
    return int(value)


def _read_letter(value: object) -> str:
    if value not in LETTERS:
        raise refusal(f"must be one of {', '.join(f'{letter} ({what})' for letter, what in LETTERS.items())}", value)
    return str(value)


Amount: TypeAlias = Annotated[Fraction, PlainValidator(read_amount)]
Count: TypeAlias = Annotated[int, PlainValidator(read_count)]
Share: TypeAlias = Annotated[Fraction, PlainValidator(read_share)]
Name: TypeAlias = Annotated[str, PlainValidator(_read_name)]
StageNumber: TypeAlias = Annotated[int, PlainValidator(_read_stage)]
Letter: TypeAlias = Annotated[Literal["E", "t", "m", "L"], PlainValidator(_read_letter)]


class LayerCosts(NamedTuple):
    """The exact cost of one layer, or of several together.

    Attributes
    ----------
    forward, backward, backward_input, backward_weight : Fraction
        F, B, I and W of one microbatch.
    activation, held_for_weight : Fraction
        The memory that a microbatch keeps, and the part of it that I leaves to W.
    static : Fraction
        Weights, gradients and optimizer state.
    """

    forward: Fraction
    backward: Fraction
    backward_input: Fraction
    backward_weight: Fraction
    activation: Fraction
    held_for_weight: Fraction
    static: Fraction

    def times(self, count: int) -> LayerCosts:
        """Return the cost of ``count`` such layers."""
        return LayerCosts(*(count * value for value in self))

    def plus(self, other: LayerCosts) -> LayerCosts:
        """Return the cost of these and other layers together."""
        return LayerCosts(*(one + two for one, two in zip(self, other, strict=True)))


NOTHING = LayerCosts(*[Fraction(0)] * len(LayerCosts._fields))
"""The cost of no layer."""


class Recompute(Part):
    """How the costs of a layer change if its forward is run again for its backward.

    Attributes
    ----------
    time : number or None
        The time added to B and to I; if absent, the forward.
    activation : number
        The memory that a microbatch keeps then.
    held_for_weight : number or None
        The part of it that I leaves to W; if absent, as much as without recomputation, but at most ``activation``.
    """

    time: Amount | None = None
    activation: Amount
    held_for_weight: Amount | None = None


class LayerKind(Part):
    """A run of equal layers.

    Attributes
    ----------
    name : str
        Their name. Runs of the same name are of the same kind and cost the same.
    count : int
        The number of layers in the run.
    forward : number
        F of one layer and microbatch; like the other times, it may be 0.
    backward, backward_input, backward_weight : number or None
        B, I and W, with the defaults of `Times`.
    activation : number or None
        The memory that one microbatch keeps; if absent, 1, or 0 if the backward takes no time.
    held_for_weight : number or None
        The part of it that I leaves to W; if absent, all of it, or 0 if W takes no time.
    static : number
        Weights, gradients and optimizer state of one layer.
    attention : number
        The share of F, and of B, that grows with pairs of tokens if microbatches differ.
    earliest_stage, latest_stage : int or None
        The first and the last stage on which they may lie; negative numbers count from the end.
    glue : int
        Each group of this many layers stays on one stage.
    letter : {"E", "t", "m", "L"} or None
        Megatron's letter for them; if absent, it follows from the name.
    recompute : Recompute or None
        How recomputing one of them changes its costs; if absent, they are never recomputed.
    parts : LayerParts or None
        What one of them does in an overlapped block; if absent, they run alone there.
    """

    name: Name
    count: Count = 1
    forward: Amount
    backward: Amount | None = None
    backward_input: Amount | None = None
    backward_weight: Amount | None = None
    activation: Amount | None = None
    held_for_weight: Amount | None = None
    static: Amount = Fraction(0)
    attention: Share = Fraction(0)
    earliest_stage: StageNumber | None = None
    latest_stage: StageNumber | None = None
    glue: Count = 1
    letter: Letter | None = None
    recompute: Recompute | None = None
    parts: LayerParts | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.backward is None and None in (self.backward_input, self.backward_weight):
            raise WrongKeyError("backward", "is missing: give it, or both backward_input and backward_weight")
        refuse_contradiction(self.backward, self.backward_input, self.backward_weight)
        if self.count % self.glue:
            raise WrongKeyError(
                "count", f"must be a multiple of glue, {self.glue} layers that stay together; found {self.count}"
            )
        _refuse_kept_for_no_time(self.costs)
        if self.recomputed is not None:
            _refuse_kept_for_no_time(self.recomputed, "recompute.")
            if self.recomputed.activation > self.costs.activation:
                raise WrongKeyError(
                    "recompute.activation",
                    f"must be at most the activation without recomputation, {float(self.costs.activation):g}; "
                    f"found {float(self.recomputed.activation):g}",
                )
        self._refuse_beside_parts()
        return self

    def _refuse_beside_parts(self) -> None:
        """Refuse what would change the parts, and layers that have none to run."""
        if self.parts is None:
            return
        if self.recompute is not None:
            raise WrongKeyError("recompute", "cannot be given beside parts, whose backward runs no forward again")
        if self.attention:
            raise WrongKeyError(
                "attention",
                f"cannot be given beside parts, which are those of microbatches as measured; "
                f"found {float(self.attention):g}",
            )
        for key, time in (("forward", self.costs.forward), ("backward", self.costs.backward)):
            if not time:
                raise WrongKeyError(key, "must take time where parts are given; found 0")

    @cached_property
    def costs(self) -> LayerCosts:
        """The cost of one layer, with every default filled in."""
        backward, to_input, to_weight = split_backward(self.backward, self.backward_input, self.backward_weight)
        activation = self.activation
        if activation is None:
            activation = Fraction(1 if backward else 0)
        held = self.held_for_weight
        if held is None:
            held = activation if to_weight else Fraction(0)
        return LayerCosts(self.forward, backward, to_input, to_weight, activation, held, self.static)

    @cached_property
    def recomputed(self) -> LayerCosts | None:
        """The cost of one recomputed layer; None if it cannot be recomputed."""
        if self.recompute is None:
            return None
        plain, changed = self.costs, self.recompute
        time = plain.forward if changed.time is None else changed.time
        held = min(plain.held_for_weight, changed.activation)
        return plain._replace(
            backward=plain.backward + time,
            backward_input=plain.backward_input + time,
            activation=changed.activation,
            held_for_weight=held if changed.held_for_weight is None else changed.held_for_weight,
        )

    @property
    def halves_are_assumed(self) -> bool:
        """Whether the backward is given without its halves, so that I and W are assumed to be half of B each."""
        return self.backward is not None and self.backward_input is None and self.backward_weight is None

    @property
    def megatron_letter(self) -> str:
        """Megatron's letter for these layers: as given, or derived from the name."""
        if self.letter is not None:
            return self.letter
        if self.name in LETTERS:
            return self.name
        return next((letter for letter, words in _WORDS_OF_LETTERS if words.search(self.name)), "t")

    def grown(self, size: Fraction, attention: Fraction) -> LayerKind:
        """Return what the layers cost for a larger item; see `strategies.model.items`."""
        costs, longer = self.costs, (1 - self.attention) * size + self.attention * attention
        backward = longer * costs.backward
        of_weight = min(costs.backward_weight, max(Fraction(0), self.attention * costs.backward - costs.backward_input))
        weight = size * (costs.backward_weight - of_weight) + attention * of_weight
        changes: dict[str, Any] = {
            "forward": longer * costs.forward,
            "backward": backward,
            "backward_weight": weight,
            "backward_input": max(Fraction(0), backward - weight),
            "activation": size * costs.activation,
            "held_for_weight": size * costs.held_for_weight,
        }
        again = self.recompute
        if again is not None:
            time = costs.forward if again.time is None else again.time
            held = None if again.held_for_weight is None else size * again.held_for_weight
            grown = {"time": longer * time, "activation": size * again.activation, "held_for_weight": held}
            changes["recompute"] = again.model_copy(update=grown)
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        return type(self).model_construct(**fields | changes)  # a copy would keep its cached costs

    def stage_window(self, stages: int) -> tuple[int, int]:
        """Return the first and the last stage on which their own pins let these layers lie.

        Raises
        ------
        WrongKeyError
            If a pin leaves them no stage of that number.
        """
        first = _from_the_end(self.earliest_stage, stages, 0)
        last = _from_the_end(self.latest_stage, stages, stages - 1)
        if first >= stages:
            raise WrongKeyError("earliest_stage", _no_such_stage(self.earliest_stage, stages))
        if last < 0:
            raise WrongKeyError("latest_stage", _no_such_stage(self.latest_stage, stages))
        first, last = max(first, 0), min(last, stages - 1)
        if first > last:
            raise WrongKeyError(
                "earliest_stage",
                f"must not come after latest_stage ({last} of {counted(stages, 'stage')}, counted from 0); "
                f"found {first}",
            )
        return first, last


def _from_the_end(stage: int | None, stages: int, absent: int) -> int:
    if stage is None:
        return absent
    return stage + stages if stage < 0 else stage


def _no_such_stage(stage: int | None, stages: int) -> str:
    return f"must be one of {counted(stages, 'stage')}, −{stages} to {stages - 1}; found {stage}"


def _refuse_kept_for_no_time(costs: LayerCosts, prefix: str = "") -> None:
    """Refuse activations kept for an operation that takes no time, and a part for W that exceeds the whole.

    As a result, every operation that returns memory takes time, so the order of starts and ends at one moment never
    matters.
    """
    activation, held = costs.activation, costs.held_for_weight
    if held > activation:
        raise WrongKeyError(
            f"{prefix}held_for_weight", f"must be at most the activation {float(activation):g}; found {float(held):g}"
        )
    if activation and not costs.backward:
        raise WrongKeyError(
            f"{prefix}activation", f"must be 0 where the backward takes no time; found {float(activation):g}"
        )
    if held and not costs.backward_weight:
        raise WrongKeyError(
            f"{prefix}held_for_weight", f"must be 0 where backward_weight takes no time; found {float(held):g}"
        )
    if held < activation and not costs.backward_input:
        raise WrongKeyError(
            f"{prefix}held_for_weight",
            f"must be all of the activation {float(activation):g} where backward_input takes no time; "
            f"found {float(held):g}",
        )


class Layers(RootModel[tuple[LayerKind, ...]]):
    """All layers of a model, in the order of the model."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _is_a_list(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or not value:
            raise refusal("must be a list of kinds of layers, in the order of the model", value)
        return tuple(value)

    @model_validator(mode="after")
    def _is_a_model(self) -> Self:
        if self.total > MOST_LAYERS:
            raise ValueError(f"must be at most {MOST_LAYERS:,} layers together; found {self.total:,}")
        if not any(kind.costs.forward or kind.costs.backward for kind in self.kinds):
            raise ValueError("must take some time; the forwards and backwards of all layers sum to 0")
        first: dict[str, int] = {}
        for place, kind in enumerate(self.kinds):
            other = first.setdefault(kind.name, place)
            if _properties(kind) != _properties(self.kinds[other]):
                raise ValueError(f"rows of one name must have the same costs, glue and letter; {kind.name} differs")
        refuse_mixed_orders([kind.parts for kind in self.kinds])
        return self

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The runs of equal layers, in the order of the model."""
        return self.root

    @cached_property
    def total(self) -> int:
        """The number of layers."""
        return sum(kind.count for kind in self.kinds)

    @cached_property
    def sum_of_costs(self) -> LayerCosts:
        """The cost of all layers together, with none recomputed."""
        return added_up(kind.costs.times(kind.count) for kind in self.kinds)

    def grown(self, size: Fraction, attention: Fraction) -> Layers:
        """Return the model as it is for a larger item."""
        return type(self).model_construct(tuple(kind.grown(size, attention) for kind in self.kinds))

    @property
    def have_parts(self) -> bool:
        """Whether the durations of overlapped blocks follow from the parts of layers."""
        return any(kind.parts is not None for kind in self.kinds)

    @cached_property
    def recomputable(self) -> tuple[str, ...]:
        """The names of the kinds that can be recomputed."""
        return tuple(dict.fromkeys(kind.name for kind in self.kinds if kind.recompute is not None))

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """The groups of layers that stay together, in the order of the model: (index of the kind, number of layers)."""
        return tuple(
            (place, kind.glue) for place, kind in enumerate(self.kinds) for _ in range(kind.count // kind.glue)
        )

    @cached_property
    def letters(self) -> str:
        """Megatron's letters of all layers, in the order of the model."""
        return "".join(kind.megatron_letter * kind.count for kind in self.kinds)

    def stage_windows(self, stages: int, *, empty: bool = True) -> tuple[tuple[int, int], ...]:
        """Return for each kind the first and the last stage that its pins and its neighbours' pins allow.

        Parameters
        ----------
        stages : int
            The number of stages.
        empty : bool
            Whether stages may be empty.

        Raises
        ------
        InputError
            If the pins leave a kind no stage, or the layers cannot fill every stage though none may be empty.
        """
        own = self._own_windows(stages)
        firsts, lasts = [first for first, _ in own], [last for _, last in own]
        for place in range(1, len(own)):
            firsts[place] = max(firsts[place], firsts[place - 1])
            lasts[-1 - place] = min(lasts[-1 - place], lasts[-place])
        for place, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            if first > last:
                raise InputError(
                    f"layers.{place}: {self.kinds[place].name} has no stage: what comes before it begins on stage "
                    f"{first} at the earliest, what comes after it must end by stage {last} (of {stages})"
                )
        windows = tuple(zip(firsts, lasts, strict=True))
        if not empty:
            self._refuse_too_few(windows, stages)
        return windows

    def _own_windows(self, stages: int) -> list[tuple[int, int]]:
        windows = []
        for place, kind in enumerate(self.kinds):
            try:
                windows.append(kind.stage_window(stages))
            except WrongKeyError as error:
                raise InputError(f"layers.{place}.{error.key}: {error}") from None
        return windows

    def _refuse_too_few(self, windows: tuple[tuple[int, int], ...], stages: int) -> None:
        if len(self.groups) < stages:
            raise InputError(
                f"layers: are too few for {stages} stages of which none may be empty; "
                f"found {len(self.groups)} that can be separated"
            )
        first = last = 0
        for number, (place, _) in enumerate(self.groups):
            lowest, highest = windows[place]
            first, last = max(first, lowest), min(last + (number > 0), highest)
            if first > last:
                break
        if first > last or last < stages - 1:
            raise InputError(f"layers: their pins leave a stage empty, and none of the {stages} may be")


def added_up(costs: Iterable[LayerCosts]) -> LayerCosts:
    """Return the sum of several costs."""
    total = NOTHING
    for each in costs:
        total = total.plus(each)
    return total


def _properties(kind: LayerKind) -> tuple[object, ...]:
    return kind.costs, kind.recomputed, kind.glue, kind.megatron_letter, kind.attention, kind.parts
