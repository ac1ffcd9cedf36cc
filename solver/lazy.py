"""Lists and mappings that are made when somebody looks into them: until then, their owner works on arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
K = TypeVar("K")


class LazyList(Sequence[T], Generic[T]):
    """A list whose length is known and whose items are made all at once, the first time one is asked for."""

    @abstractmethod
    def make(self) -> Iterable[T]:
        """Make all items."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the items without making them."""

    @cached_property
    def made(self) -> list[T]:
        """All items."""
        return list(self.make())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        return self.made[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self.made)

    def __eq__(self, other: object) -> bool:
        return self is other or self.made == (other.made if isinstance(other, LazyList) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def __repr__(self) -> str:
        return repr(self.made)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.made,)


class LazyDict(Mapping[K, T], Generic[K, T]):
    """A dict that is made the first time somebody looks into it."""

    @abstractmethod
    def make(self) -> dict[K, T]:
        """Make all of it."""

    @cached_property
    def made(self) -> dict[K, T]:
        """The dict."""
        return self.make()

    def __len__(self) -> int:
        return len(self.made)

    def __getitem__(self, key: K) -> T:
        return self.made[key]

    def __contains__(self, key: object) -> bool:
        return key in self.made

    def __iter__(self) -> Iterator[K]:
        return iter(self.made)

    def keys(self) -> KeysView[K]:
        """As a dict's."""
        return self.made.keys()

    def values(self) -> ValuesView[T]:
        """As a dict's."""
        return self.made.values()

    def items(self) -> ItemsView[K, T]:
        """As a dict's."""
        return self.made.items()

    def __repr__(self) -> str:
        return repr(self.made)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.made,)
