"""Okabe and Ito's colours, which readers with any colour vision can tell apart."""

from __future__ import annotations

KINDS = {"F": "#0072B2", "B": "#E69F00", "I": "#F0E442", "W": "#009E73"}
"""Colours of the kinds of operation; the first stage of a device has the full colour."""

CAUSES = {
    "filling": "#56B4E9",
    "data": "#D55E00",
    "latency": "#CC79A7",
    "order": "#F0E442",
    "draining": "#0072B2",
    "overhead": "#999999",
}
"""Colours of the causes of idle time."""

STEPS = {
    "cut": "#8C6BB1",
    "overhead": "#999999",
    "imbalance": "#CC79A7",
    "filling_and_draining": "#56B4E9",
    "latency": "#E69F00",
    "memory": "#009E73",
    "order": "#D55E00",
    "communication": "#0072B2",
    "after": "#6A9A3B",
}
"""Colours of the steps of a ladder."""

TRANSFERS = "#7A3E9D"
"""Colours of transfers between devices."""

PUBLISHED, SEARCHED, OVER_LIMIT, MEASURED = "#56B4E9", "#009E73", "#D55E00", "#CC79A7"

MICROBATCHES = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C6BB1", "#999999", "#6A9A3B",
)  # fmt: skip
"""Colours of microbatches, which take them in turn."""

_LIGHTEST = 0.55


def shaded(colour: str, place: int, places: int) -> str:
    """Lighten a colour: place 0 keeps it, and the last place gets the lightest shade.

    Parameters
    ----------
    colour : str
        ``#rrggbb``.
    place, places : int
        The index of the shade, and the number of shades.
    """
    share = _LIGHTEST * place / max(1, places - 1) if places > 2 else 0.42 * place
    channels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(each + (255 - each) * share):02X}" for each in channels)


def ink_on(colour: str) -> str:
    """Choose black or white text for a colour, whichever is easier to read (WCAG's contrast)."""
    light = _luminance(colour)
    return "#FFFFFF" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "#000000"


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
