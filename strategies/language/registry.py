"""Schedules and how they are found: each is one file in the catalogue, or comes from another installed package."""

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
from strategies.model.placements import STAGES_COME_IN

if TYPE_CHECKING:
    from strategies.language.steps import Step
    from strategies.model.pipeline import Pipeline

CATALOGUE = "strategies.catalogue"
"""The package of the published schedules; none of them is named here."""

ENTRY_POINT_GROUP = "ppopt.strategies"
PYTORCHS_PREFIX = "Schedule"
"""What the names of PyTorch's classes begin with; torchtitan and PyTorch's own look-up leave it out."""

Rule = Callable[..., Iterable["Step"]]
"""``rule(pipeline, device, **options)`` yields the steps of one device."""

Proposal = Callable[["Pipeline"], Iterable[int]]
"""``propose(pipeline)`` yields values of an option that are worth trying, the best first."""

MOST_VARIANTS = 5
"""A search starts from so many values of an option."""


@dataclass(frozen=True)
class Strategy:
    """A published schedule.

    Attributes
    ----------
    name : str
        As users write it; case, ``-`` and ``_`` do not count.
    placement : str
        The placement it is made for.
    rule : callable
        ``rule(pipeline, device, **options)`` yields the steps of one device.
    requirements : Requirements
        What it asks of the pipeline.
    aliases : tuple of str
        Other names for it, e.g. those of PyTorch's classes.
    splits_backward : bool
        Whether it uses I and W.
    overlaps : bool
        Whether it uses overlapped blocks.
    options : mapping of str to int or None
        Its own options with their defaults, read off the rule's keyword-only parameters.
    proposals : mapping of str to callable
        For an option, the values that are worth trying: by a search, and where the order deadlocks.
    why_deadlocked : callable or None
        ``why_deadlocked(pipeline, **options)`` says in a few words why the order deadlocks; empty where it cannot.
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
        """List the options that a search tries: none, which means the defaults, then the first values proposed."""
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
    """Make a strategy out of the rule below it.

    Parameters
    ----------
    name : str
        What users call it.
    placement : {"linear", "interleaved", "v", "bidirectional", "wave"}
        Which device holds which stage.
    aliases : tuple of str
        Other names.
    splits_backward : bool
        Whether the rule uses I and W.
    overlaps : bool
        Whether the rule fuses forwards with backwards.
    proposals : dict of str to callable, optional
        For an option, ``propose(pipeline)`` yields values that are worth trying, the best first: a search starts from
        the first five, and where the order deadlocks, those that run are named.
    why_deadlocked : callable, optional
        ``why_deadlocked(pipeline, **options)`` says in a few words why it does.
    **requirements
        The fields of `Requirements`; the stages follow from the placement where they are not given.
    """
    if placement in STAGES_COME_IN:
        chosen = {"stages_per_device": None, "default_stages_per_device": 2}
        requirements = chosen | {"stages_come_in": STAGES_COME_IN[placement]} | requirements
    if placement == "v":
        requirements = {"stages_per_device": 2} | requirements

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
"""The decorator's earlier name, for packages that use it."""


@cache
def all_strategies() -> dict[str, Strategy]:
    """Find every schedule: the catalogue's, then those of other installed packages.

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
            # one broken package must not take the others down
            warnings.warn(f"the schedule {point.name!r} from {point.value!r} cannot be loaded: {error}", stacklevel=2)
            continue
        if isinstance(loaded, ModuleType):
            yield from _in_module(loaded)
        elif isinstance(loaded, Strategy):
            yield loaded
        else:
            warnings.warn(f"{point.value!r} ({ENTRY_POINT_GROUP}) is neither a schedule nor a module", stacklevel=2)


def find_strategy(name: str) -> Strategy:
    """Find a schedule by its name or an alias, without regard to case, ``-`` and ``_``.

    Raises
    ------
    InputError
        If there is none; the message names the nearest and all there are.
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
    """Say how several strategies are written that stand in one word, or which of them is not known."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        find_strategy(name)
    if names:
        raise InputError(f"strategy: {text[:60]!r} is no name; write one by one, without commas: {' '.join(names)}")


def _in_words(name: str) -> str:
    """Write out an abbreviation that many write out: ``zbh1`` is the Zero Bubble schedule H1."""
    return name.replace("zb", "zerobubble", 1) if name.startswith("zb") else name


def _names(strategy: Strategy) -> tuple[str, ...]:
    """List all that it may be called; names of PyTorch's classes also without their prefix."""
    names = (strategy.name, *strategy.aliases)
    return tuple(dict.fromkeys(each for name in names for each in (name, name.removeprefix(PYTORCHS_PREFIX))))


def plain(name: str) -> str:
    """Strip from a name what does not count: case, ``-``, ``_`` and spaces."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
