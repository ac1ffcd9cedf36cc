"""How a method is switched off, and how it is seen that it is at work: by patches where its results are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from importlib import import_module
from inspect import getattr_static
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from unittest.mock import patch

ROOT = Path(__file__).parents[2]

Reach: TypeAlias = Literal["first bound", "bounds", "all"]


def always(_result: Any, *_arguments: Any, **_named: Any) -> bool:
    """Say that every call counts."""
    return True


def if_any(result: Any, *_arguments: Any, **_named: Any) -> bool:
    """Say that a call counts if something came of it."""
    return bool(result)


def if_not_none(result: Any, *_arguments: Any, **_named: Any) -> bool:
    """Say that a call counts if its result is not None."""
    return result is not None


@dataclass(frozen=True)
class Switch:
    """One patch.

    Attributes
    ----------
    target : str
        ``module:name`` of what is replaced, where it is looked up.
    off : callable
        ``off(original)`` takes its place.
    counts : callable
        ``counts(result, *arguments)``: whether a call of the original shows the method at work.
    seen_at : str
        What is called where the method is at work, if that is not the target.
    """

    target: str
    off: Callable[[Any], Any]
    counts: Callable[..., bool] = always
    seen_at: str = ""


@dataclass(frozen=True)
class Method:
    """A method with all its switches.

    Attributes
    ----------
    name : str
        As it is named on the command line.
    families : tuple of str
        Those that it is for, and one other.
    files : tuple of str
        What goes if the method goes: ``file``, or ``file:name`` of a function or class.
    switches : tuple of Switch
        All of them are off at a time.
    reach : {"first bound", "bounds", "all"}
        What it can change: nothing but the bound ahead of the search; what CP-SAT begins with, too;
        or anything. Where that bound is the same without it, and those that it can change are not at work, all is.
    parts : tuple of str
        The methods that are switched off together, or itself.
    """

    name: str
    families: tuple[str, ...]
    files: tuple[str, ...]
    switches: tuple[Switch, ...]
    reach: Reach
    parts: tuple[str, ...]

    @property
    def lines(self) -> int:
        """How many lines go with it."""
        return sum(_lines(each) for each in self.files)

    def __add__(self, other: Method) -> Method:
        """Join two methods that are switched off together; the families are those of the first."""
        return Method(
            f"{self.name}+{other.name}",
            self.families,
            tuple(dict.fromkeys(self.files + other.files)),
            self.switches + other.switches,
            max(self.reach, other.reach, key=get_args(Reach).index),
            self.parts + other.parts,
        )


def method(name: str, families: str, files: str, *switches: Switch, reach: Reach = "all") -> Method:
    """Make a method from words that are separated by blanks."""
    return Method(name, tuple(families.split()), tuple(files.split()), switches, reach, (name,))


def _lines(name: str) -> int:
    """Count the lines of a file, or of a function in it."""
    file, _, function = name.partition(":")
    text = (ROOT / f"{file}.py").read_text(encoding="utf-8").splitlines()
    if not function:
        return len(text)
    heads = (f"def {function}(", f"class {function}(", f"class {function}:")
    begin = next(place for place, line in enumerate(text) if line.strip().startswith(heads))
    inside = " " * (len(text[begin]) - len(text[begin].lstrip()) + 1)
    behind = enumerate(text[begin + 1 :], begin + 1)
    return next((place for place, line in behind if line and not line.startswith((inside, ")"))), len(text)) - begin


def found(target: str) -> tuple[Any, str, Any]:
    """Find what a target names: its owner, its name there, and itself.

    Raises
    ------
    AttributeError
        If it is not there.
    """
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    return owner, name, getattr_static(owner, name)


def counted(original: Any, name: str, note: Callable[[], None], counts: Callable[..., bool] = always) -> Any:
    """Wrap a function, a method or a property such that the calls that count are noted."""
    if isinstance(original, cached_property):
        made: Any = cached_property(counted(original.func, name, note, counts))
        made.__set_name__(None, name)
        return made
    if isinstance(original, property):
        return property(counted(original.fget, name, note, counts))
    if not callable(original):
        return original

    @wraps(original)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        if counts(result, *arguments, **named):
            note()
        return result

    return wrapper


@contextmanager
def watching(methods: Iterable[Method]) -> Iterator[dict[str, int]]:
    """Count how often each method is at work while all are on."""
    used = {each.name: 0 for each in methods}
    with ExitStack() as stack:
        for each in methods:
            for switch in each.switches:

                def note(name: str = each.name) -> None:
                    used[name] += 1

                owner, name, original = found(switch.seen_at or switch.target)
                stack.enter_context(patch.object(owner, name, counted(original, name, note, switch.counts)))
        yield used


@contextmanager
def switched_off(off: Method) -> Iterator[list[str]]:
    """Switch a method off; yield the targets that are asked for, and answered by what takes their place."""
    asked: list[str] = []
    with ExitStack() as stack:
        for switch in off.switches:

            def note(target: str = switch.target) -> None:
                if target not in asked:
                    asked.append(target)

            owner, name, original = found(switch.target)
            stack.enter_context(patch.object(owner, name, counted(switch.off(original), name, note)))
        yield asked
