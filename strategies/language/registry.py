"""The registry of schedules: each is one file in the catalogue, or comes from another installed package."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from solver.errors import InputError
from strategies.language.requirements import Requirements
from strategies.model.placements import PLACEMENTS

if TYPE_CHECKING:
    from strategies.language.steps import Step
    from strategies.model.pipeline import Pipeline

CATALOGUE = "strategies.catalogue"
"""The package of the published schedules, which are discovered rather than listed."""

ENTRY_POINT_GROUP = "ppopt.strategies"
PYTORCHS_PREFIX = "Schedule"
"""The prefix of PyTorch's class names; torchtitan and PyTorch's own look-up leave it out."""

Rule = Callable[..., Iterable["Step"]]
"""``rule(pipeline, device, **options)`` yields the steps of one device."""

Proposal = Callable[["Pipeline"], Iterable[int]]
"""``propose(pipeline)`` yields values of an option worth trying, the best first."""

MOST_VARIANTS = 5
"""Values of an option that a search starts from."""


@dataclass(frozen=True)
class Strategy:
    """A published schedule.

    Attributes
    ----------
    name : str
        As users write it; case, ``-`` and ``_`` are ignored.
    placement : str
        The placement that it is made for.
    rule : callable
        ``rule(pipeline, device, **options)`` yields the steps of one device.
    requirements : Requirements
        Its requirements on the pipeline.
    aliases : tuple of str
        Other names for it, such as those of PyTorch's classes.
    splits_backward : bool
        Whether it uses I and W.
    overlaps : bool
        Whether it uses overlapped blocks.
    options : mapping of str to int or None
        Its own options with their defaults, taken from the rule's keyword-only parameters.
    proposals : mapping of str to callable
        For an option, the values worth trying in a search, or if the order deadlocks.
    why_deadlocked : callable or None
        ``why_deadlocked(pipeline, **options)`` gives a short reason for the deadlock, or an empty text if it has none.
    """

    name: str
    placement: str
    rule: Rule
    requirements: Requirements = field(default_factory=Requirements)
    aliases: tuple[str, ...] = ()
    splits_backward: bool = False
    overlaps: bool = False
    options: dict[str, int | None] = field(default_factory=dict, hash=False)
    proposals: dict[str, Proposal] = field(default_factory=dict, hash=False)
    why_deadlocked: Callable[..., str] | None = None

    def variants(self, pipeline: Pipeline) -> Iterator[dict[str, int]]:
        """Yield the options that a search tries: first the defaults, as no options, then the first proposed values."""
        yield {}
        for option, propose in self.proposals.items():
            yield from ({option: value} for value in islice(propose(pipeline), MOST_VARIANTS))

    @property
    def summary(self) -> str:
        """The first line of the rule's docstring."""
        return (inspect.getdoc(self.rule) or "").split("\n", 1)[0]

    def __call__(self, pipeline: Pipeline, device: int, **options: int) -> Iterable[Step]:
        """Yield the steps of one device."""
        return self.rule(pipeline, device, **options)


def strategy(
    name: str,
    *,
    placement: str,
    aliases: tuple[str, ...] = (),
    splits_backward: bool = False,
    overlaps: bool = False,
    proposals: dict[str, Proposal] | None = None,
    why_deadlocked: Callable[..., str] | None = None,
    **requirements: Any,
) -> Callable[[Rule], Strategy]:
    """Make a strategy of the decorated rule.

    Parameters
    ----------
    name : str
        Its name for users.
    placement : str
        Which device holds which stage: a name in `strategies.model.placements.PLACEMENTS`.
    aliases : tuple of str
        Other names.
    splits_backward : bool
        Whether the rule uses I and W.
    overlaps : bool
        Whether the rule fuses forwards with backwards.
    proposals : dict of str to callable, optional
        For an option, ``propose(pipeline)`` yields values worth trying, the best first. A search starts from the first
        five; if the order deadlocks, the message names those that run.
    why_deadlocked : callable, optional
        ``why_deadlocked(pipeline, **options)`` gives a short reason for a deadlock.
    **requirements
        The fields of `Requirements`; if the stages are not given, they follow from the placement.
    """
    layout = PLACEMENTS.get(placement)
    if layout is not None:
        chosen: dict[str, Any] = {"stages_per_device": layout.stages_per_device}
        if layout.stages_per_device is None:
            chosen |= {"default_stages_per_device": 2, "stages_come_in": layout.stages_come_in}
        requirements = chosen | requirements

    def make(rule: Rule) -> Strategy:
        parameters = inspect.signature(rule).parameters.values()
        options = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
        needs = Requirements(**requirements)
        return Strategy(
            name=name,
            placement=placement,
            rule=rule,
            requirements=needs,
            aliases=aliases,
            splits_backward=splits_backward,
            overlaps=overlaps,
            options=options,
            proposals=proposals or {},
            why_deadlocked=why_deadlocked,
        )

    return make


schedule = strategy
"""An older name of the decorator, kept for packages that use it."""


@cache
def all_strategies() -> dict[str, Strategy]:
    """Find every schedule: those of the catalogue, then those of other installed packages.

    Returns
    -------
    dict of str to Strategy
        By name, in alphabetical order.
    """
    found: dict[str, Strategy] = {}
    taken: dict[str, str] = {}
    for strategy in [*_from_catalogue(), *_from_other_packages()]:
        if clash := next((each for each in _names(strategy) if plain(each) in taken), None):
            owner = taken[plain(clash)]
            warnings.warn(f"the schedule {strategy.name!r} is left out: {clash!r} means {owner!r}", stacklevel=2)
            continue
        found[strategy.name] = strategy
        taken |= dict.fromkeys(map(plain, _names(strategy)), strategy.name)
    return dict(sorted(found.items()))


def _from_catalogue() -> Iterator[Strategy]:
    catalogue = importlib.import_module(CATALOGUE)
    for module in pkgutil.iter_modules(catalogue.__path__):
        yield from _in_module(importlib.import_module(f"{CATALOGUE}.{module.name}"))


def _in_module(module: ModuleType) -> Iterator[Strategy]:
    yield from (each for each in vars(module).values() if isinstance(each, Strategy))


def _from_other_packages() -> Iterator[Strategy]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = point.load()
        except Exception as error:
            # one broken package must not disable the others
            warnings.warn(f"the schedule {point.name!r} from {point.value!r} cannot be loaded: {error}", stacklevel=2)
            continue
        if isinstance(loaded, ModuleType):
            yield from _in_module(loaded)
        elif isinstance(loaded, Strategy):
            yield loaded
        else:
            warnings.warn(f"{point.value!r} ({ENTRY_POINT_GROUP}) is neither a schedule nor a module", stacklevel=2)


def find_strategy(name: str) -> Strategy:
    """Find a schedule by its name or an alias, ignoring case, ``-`` and ``_``.

    Raises
    ------
    InputError
        If there is none; the message names the nearest one and lists all.
    """
    by_name = _by_plain_name()
    wanted = plain(name)
    if wanted in by_name:
        return by_name[wanted]
    if "," in name:
        _refuse_list(name)
    spelled = by_name | {_in_words(each): strategy for each, strategy in by_name.items()}
    near = difflib.get_close_matches(wanted, spelled, n=1, cutoff=0.5)
    hint = f"did you mean {spelled[near[0]].name}? " if near else ""
    raise InputError(f"strategy: {name[:60]!r} is not known; {hint}Known are {', '.join(all_strategies())}")


@cache
def _by_plain_name() -> dict[str, Strategy]:
    return {plain(each): strategy for strategy in all_strategies().values() for each in _names(strategy)}


def _refuse_list(text: str) -> None:
    """Refuse several strategies joined by commas: name an unknown one, else say how to write them."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        find_strategy(name)
    if names:
        raise InputError(f"strategy: {text[:60]!r} is no name; write one by one, without commas: {' '.join(names)}")


def _in_words(name: str) -> str:
    """Expand an abbreviation that is often spelled out: ``zbh1`` is the Zero Bubble schedule H1."""
    return name.replace("zb", "zerobubble", 1) if name.startswith("zb") else name


def _names(strategy: Strategy) -> tuple[str, ...]:
    """Return every name of a strategy; names of PyTorch's classes appear without their prefix, too."""
    names = (strategy.name, *strategy.aliases)
    return tuple(dict.fromkeys(each for name in names for each in (name, name.removeprefix(PYTORCHS_PREFIX))))


def plain(name: str) -> str:
    """Normalise a name by removing the ignored parts: case, ``-``, ``_`` and spaces."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
