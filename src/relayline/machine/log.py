"""An append-only sequence whose versions share their items."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, cast, overload

T = TypeVar("T")


class Log(Sequence[T], Generic[T]):
    """An immutable sequence with an `append` of constant cost.

    All versions of one history look at the same list and know how much of it is theirs. Appending to a version that is
    not the longest starts a history of its own, by a copy; a conversation never does that, only somebody trying two
    futures of one past.
    """

    __slots__ = ("_items", "_size")

    def __init__(self, items: Sequence[T] = ()) -> None:
        self._items = list(items)
        self._size = len(self._items)

    def append(self, item: T) -> "Log[T]":
        longer = object.__new__(type(self))
        # An empty one is never shared: it may be the default that every history begins with.
        whole = self._size and len(self._items) == self._size
        longer._items = self._items if whole else self._items[: self._size]
        longer._items.append(item)
        longer._size = self._size + 1
        return longer

    def since(self, start: int) -> list[T]:
        """The items from ``start`` on, at the cost of these items only."""
        return self._items[start : self._size]

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._items[i] for i in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(index)
        return self._items[index if index >= 0 else self._size + index]

    def __iter__(self) -> Iterator[T]:
        # Not by index from Sequence: this is on the path of every termination condition.
        return iter(self._items[: self._size])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Log | list | tuple) and self[:] == list(cast("Sequence[object]", other))

    def __hash__(self) -> int:
        raise TypeError("a Log is compared by content and not hashable")

    def __repr__(self) -> str:
        return f"Log({self[:]!r})"
