"""Values that are numbered from 1, as one frozen value."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
_BLOCK = 64  # values; to put one among 10,000 copies 64 and 157 pointers


class Numbered(Generic[T]):
    """A frozen sequence, counted from 1, of which `put` gives a changed copy.

    A tuple of tuples: the copy shares all blocks but one.
    """

    __slots__ = ("_blocks", "_length")

    def __init__(self, blocks: tuple[tuple[T, ...], ...] = (), length: int = 0) -> None:
        self._blocks = blocks
        self._length = length

    @classmethod
    def of(cls, values: Sequence[T]) -> "Numbered[T]":
        """Return these values, the first one as number 1."""
        blocks = [tuple(values[at : at + _BLOCK]) for at in range(0, len(values), _BLOCK)]
        return cls(tuple(blocks), len(values))

    def put(self, number: int, value: T) -> "Numbered[T]":
        """Return a copy with this value at `number`, which exists or is the next one.

        Raises IndexError for any other number.
        """
        if not 1 <= number <= self._length + 1:
            raise IndexError(number)
        at, place = divmod(number - 1, _BLOCK)
        block = self._blocks[at] if at < len(self._blocks) else ()
        block = (*block[:place], value, *block[place + 1 :])
        blocks = (*self._blocks[:at], block, *self._blocks[at + 1 :])
        return Numbered(blocks, max(number, self._length))

    def get(self, number: int) -> T | None:
        """Return the value at `number`; None if there is none."""
        return self[number] if 1 <= number <= self._length else None

    def __getitem__(self, number: int) -> T:
        if number < 1:
            raise IndexError(number)
        return self._blocks[(number - 1) // _BLOCK][(number - 1) % _BLOCK]

    def __contains__(self, number: int) -> bool:
        return 1 <= number <= self._length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Yield the values in order."""
        return (value for block in self._blocks for value in block)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbered) and self._blocks == other._blocks

    def __hash__(self) -> int:
        return hash(self._blocks)
