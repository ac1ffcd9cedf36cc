"""The colours of charts: one table in which every meaning has a colour of its own.

Operations have Okabe and Ito's blue, orange, yellow and green, and what is over a limit has their vermilion. Idle time
and lost time are violet, pink and grey, states of schedules and memory have what is left. Colours of lines and points
stand out from white and from the dark card alike.
"""

from __future__ import annotations

COLOURS = {
    # operations
    "F": "#0072B2", "B": "#E69F00", "I": "#F0E442", "W": "#009E73",
    # idle and lost time; a cause of idling and a step of the ladder with one name are one thing
    "filling": "#684090", "draining": "#A888C8", "data": "#E86860", "latency": "#A87888", "order": "#E0559F",
    "overhead": "#485048", "imbalance": "#804858", "memory limit": "#006860", "communication": "#A80080",
    "cut": "#706818", "after": "#B8A8A0", "saved": "#88A088",
    # schedules
    "published": "#0098A0", "searched": "#409000", "over the limit": "#D55E00", "measured": "#A88058",
    "not searched": "#607880", "given": "#787860", "other costs": "#687098",
    # memory
    "activations": "#9098A8", "static": "#385068",
    # marks of timelines
    "transfers": "#C040D8", "critical path": "#D81B60",
    # effects of costs
    "lower cost": "#4858F8", "higher cost": "#8090F8",
    # layers
    "layers 0": "#A09820", "layers 1": "#982818", "layers 2": "#206020", "layers 3": "#705848",
}  # fmt: skip
"""The colour of each meaning; no two look alike."""

LINES_AND_POINTS = (
    "published", "searched", "over the limit", "measured", "not searched", "given", "transfers", "critical path",
    "other costs",
)  # fmt: skip
"""Meanings that are drawn as lines or points, on a light and on a dark ground."""

KINDS = {kind: COLOURS[kind] for kind in "FBIW"}
"""Colours of the kinds of operation; the first stage of a device has the full colour."""

CAUSES = {cause: COLOURS[cause] for cause in ("filling", "data", "latency", "order", "draining", "overhead")}
"""Colours of the causes of idle time."""

STEPS = {
    **{step: COLOURS[step] for step in ("saved", "cut", "overhead", "imbalance")},
    "filling_and_draining": COLOURS["filling"],
    "latency": COLOURS["latency"],
    "memory": COLOURS["memory limit"],
    **{step: COLOURS[step] for step in ("order", "communication", "after")},
}
"""Colours of the steps of a ladder."""

PUBLISHED, SEARCHED, OVER_LIMIT, MEASURED, NOT_SEARCHED, GIVEN = (
    COLOURS[state] for state in ("published", "searched", "over the limit", "measured", "not searched", "given")
)
ACTIVATIONS, STATIC = COLOURS["activations"], COLOURS["static"]
TRANSFERS, CRITICAL, OTHER_COSTS = COLOURS["transfers"], COLOURS["critical path"], COLOURS["other costs"]
LOWER_COST, HIGHER_COST = COLOURS["lower cost"], COLOURS["higher cost"]

LAYERS = tuple(colour for meaning, colour in COLOURS.items() if meaning.startswith("layers"))
"""Colours of kinds of layers, which take them in turn."""

MICROBATCHES = ("#D5F6FB", "#9BEAF7", "#4FE3F5", "#00D0F0")
"""Colours from the first microbatch to the last, and those between them."""

IDLE_SHARES = ("#EFEAF4", COLOURS["filling"])
"""The ends of the scale from a busy device to an idle one."""

SERIES = (
    "#0072B2", "#D55E00", "#008040", "#F850B0", "#787070", "#40A0A0", "#909800", "#D81050", "#A078F8", "#985898",
)  # fmt: skip
"""Colours of the strategies of a sweep, on a page without the meanings above."""

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
    """Choose black or white text for a colour, whichever is easier to read."""
    return max("#FFFFFF", "#000000", key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
