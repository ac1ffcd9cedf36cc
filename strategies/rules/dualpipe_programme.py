"""The programme of one device, shared by DualPipe and DualPipeV (DeepSeek's DualPipe repository, ``step``)."""

from __future__ import annotations

from collections.abc import Iterator

from strategies.language.steps import B, F, I, Step, Steps, W


def dualpipe_programme(*, ranks: int, rank: int, microbatches: int, side: tuple[int, int]) -> Iterator[Step]:
    """Yield DualPipe's eight phases.

    Parameters
    ----------
    ranks : int
        The number of devices from one end of the pipeline to its turning point.
    rank : int
        This device's distance from the end.
    microbatches : int
        The number of microbatches that enter at one side.
    side : (int, int)
        The device's chunk on the near side, where its first forwards come from, and its chunk on the far side.
    """
    near, far = side
    inner = ranks - rank - 1  # devices between this one and the turning point
    overlapped = (F(near) | B(far)) + (F(far) | B(near))
    steady = microbatches - 2 * ranks + rank + 1

    yield from F(near) * (2 * inner)
    yield from (F(near) + F(far)) * (rank + 1)
    yield from (I(far) + W + F(far)) * inner
    if inner == 0 and steady > 0:  # no backward to overlap with yet
        yield from F(near) + B(far) + (F(far) | B(near))
        steady -= 1
    yield from overlapped * steady
    yield from (B(far) + (F(far) | B(near))) * inner
    yield from _cooldown(rank, near, far)
    yield from (W + I(near)) * inner
    yield from W * (rank + 1)


def _cooldown(rank: int, near: int, far: int) -> Steps:
    """Alternate the two sides' last backwards, and split the second half of them so that W's can fill the end."""
    kinds = [B] * (rank + 1) + [I] * (rank + 1)
    chunks = [far, near] * (rank + 1)
    return sum((kind(chunk) for kind, chunk in zip(kinds, chunks, strict=True)), Steps())
