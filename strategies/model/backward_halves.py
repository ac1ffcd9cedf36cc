"""A backward and its two halves: missing ones are filled in, contradictions refused."""

from __future__ import annotations

from fractions import Fraction

from strategies.model.part import WrongKeyError

SPLIT_TOLERANCE = Fraction(1, 10)
"""Relative difference allowed between a full backward and its two halves: when measured, their kernels differ."""


def refuse_contradiction(
    backward: Fraction | None, to_input: Fraction | None, to_weight: Fraction | None, where: str = ""
) -> None:
    """Refuse halves that cannot make up their backward.

    Parameters
    ----------
    backward, to_input, to_weight : Fraction or None
        B, I and W as given.
    where : str
        Ends the message, e.g. " on stage 3".

    Raises
    ------
    WrongKeyError
        If a half is as long as the backward, unless the other half takes no time; or if their sum is too far from it.
    """
    if backward is None:
        return
    for key, part, other in (("backward_input", to_input, to_weight), ("backward_weight", to_weight, to_input)):
        if part is not None and (part > backward or (part == backward and other != 0)):
            raise WrongKeyError(
                key,
                f"must be less than backward, which contains it; found {float(part):g} beside "
                f"{float(backward):g}{where}",
            )
    if to_input is None or to_weight is None:
        return
    if abs(to_input + to_weight - backward) > SPLIT_TOLERANCE * backward:
        raise WrongKeyError(
            "backward",
            f"contradicts the sum of its halves (at most {float(SPLIT_TOLERANCE):.0%} apart); "
            f"found {float(backward):g} beside {float(to_input + to_weight):g}{where}",
        )


def split_backward(
    backward: Fraction | None, to_input: Fraction | None, to_weight: Fraction | None
) -> tuple[Fraction, Fraction, Fraction]:
    """Fill in the missing ones of a backward and its two halves."""
    if backward is None:
        assert to_input is not None
        assert to_weight is not None
        return to_input + to_weight, to_input, to_weight
    if to_input is None:
        to_input = backward - to_weight if to_weight is not None else backward / 2
    return backward, to_input, backward - to_input if to_weight is None else to_weight
