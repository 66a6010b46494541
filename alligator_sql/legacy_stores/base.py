"""What can be done with a store of Alligator 1.0."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One task as it is stored. Nothing of it has been checked: anybody may have written it.

    Attributes:
        task_id: The id under which it is stored.
        data: The serialized task; None when there is none under this id.
        due: When it is due: a Unix timestamp, or whatever stands in its place.
        row: The number of its row, where the store has rows.
    """

    task_id: bytes
    data: bytes | None
    due: Any
    row: int = 0


class LegacyStore(ABC):
    """A store of Alligator 1.0.

    Every method raises ``StoreUnavailableError`` when the store does not answer.
    """

    @abstractmethod
    def close(self) -> None:
        """Give back the connection."""

    @abstractmethod
    def len(self, queue: str) -> int:
        """Return how many tasks wait in ``queue``.

        Raises:
            InvalidOptionError: What has this name is no queue of Alligator 1.0.
        """

    @abstractmethod
    def pages(self, queue: str, size: int) -> Iterator[list[Entry]]:
        """Yield the tasks of ``queue`` in their order, up to ``size`` at a time.

        Those of a page may be removed before the next one is asked for.
        """

    @abstractmethod
    def remove(self, queue: str, entries: Sequence[Entry]) -> int:
        """Remove those of ``entries`` that are as they were read; return how many it was."""
