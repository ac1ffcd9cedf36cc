"""What was counted of a model: parameters, FLOPs and kept memory of each row of equal layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Count:
    """One layer and one microbatch, before anything is divided over GPUs.

    Attributes
    ----------
    parameters : int
        Those that no earlier row has.
    shared : int
        Parameters of an earlier row of which this one keeps a copy, as a head does of the embedding's.
    experts : int
        Those of the parameters that belong to experts which are chosen for each token.
    forward, backward_input, backward_weight : int
        FLOPs of F, I and W.
    attention : int
        Those of the forward that are of the attention itself: scores, and their product with the values.
    activation : int
        Bytes that the backward needs.
    held_for_weight : int
        Those of them that are inputs of products with parameters, which W needs.
    of_attention : int
        Those of them that the attention itself keeps beside queries, keys, values and its result.
    passed : int
        Bytes of the result, which the next layer takes.
    routed : int
        Bytes of the tokens that go to experts, once for each expert that is chosen.
    """

    parameters: int
    shared: int
    experts: int
    forward: int
    backward_input: int
    backward_weight: int
    attention: int
    activation: int
    held_for_weight: int
    of_attention: int
    passed: int
    routed: int = 0

    def of_size(self, sequences: int) -> Count:
        """Return the count of a microbatch of several sequences, if this is of one."""
        same = {"parameters": self.parameters, "shared": self.shared, "experts": self.experts}
        return Count(**{key: sequences * value for key, value in asdict(self).items()} | same)

    def repeated(self, times: int) -> Count:
        """Return what it costs to run it several times on one microbatch, with the same parameters."""
        same = {"parameters": self.parameters, "shared": self.shared, "experts": self.experts, "passed": self.passed}
        return Count(**{key: times * value for key, value in asdict(self).items()} | same)


@dataclass(frozen=True)
class Row:
    """A row of equal layers.

    Attributes
    ----------
    name : str
        Rows of one name cost the same.
    count : int
        The number of layers.
    cost : Count
        One of them, run once.
    runs : int
        How often a microbatch runs through it: a head once more for each further token that is predicted.
    """

    name: str
    count: int
    cost: Count
    runs: int = 1

    @property
    def whole(self) -> Count:
        """What a microbatch takes of one layer, with all its runs."""
        return self.cost.repeated(self.runs)


@dataclass(frozen=True)
class CountedModel:
    """A model as rows of equal layers, in its order: embedding, decoder layers, head.

    Attributes
    ----------
    architecture : str
        The class that the library builds.
    parameters : int
        All of them, shared ones once.
    rows : tuple of Row
        The rows.
    heads : int
        Attention heads; 0 if the configuration has none.
    experts : int
        Experts of a layer, of which some are chosen for each token; 0 if there are none.
    seq, microbatch_size : int
        The microbatch that was counted.
    notes : tuple of str
        Notes for the reader.
    """

    architecture: str
    parameters: int
    rows: tuple[Row, ...]
    heads: int
    experts: int
    seq: int
    microbatch_size: int
    notes: tuple[str, ...]
