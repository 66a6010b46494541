"""What a chaos run needs of a store, and what its witness tells.

The witness belongs to the store and not to the product: triggers in a database, the
append-only file of Redis. So a change is on record if and only if it was committed.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple


class State(NamedTuple):
    """A task as the store has it; ``status`` is one of the numbers in ``constants``."""

    status: int
    lease: int
    worker: str | None
    attempts: int
    crashes: int
    reason: str | None = None


class Change(NamedTuple):
    """A committed change of a task: what it was from then on, on the clock of the store."""

    at: float
    task: str
    state: State


class End(NamedTuple):
    """A task as the store has it after all; ``error`` is its last one, ``result`` is JSON."""

    state: State
    error: str | None = None
    result: str | None = None


class Store(ABC):
    """A server or a file, with a witness.

    Attributes:
        name: What it is called on the command line.
        faults: What can be done to it and to the connections to it.
        precision: Seconds by which the times of its witness may be wrong.
        port: Where it listens, for proxies; None for a file.
    """

    name: ClassVar[str]
    faults: ClassVar[tuple[str, ...]]
    precision: ClassVar[float]
    port: int | None = None

    @abstractmethod
    def dsn(self, port: int | None = None) -> str:
        """Return the connection string, by way of a proxy at ``port``."""

    @abstractmethod
    def stamp(self) -> str:
        """Return its version and what makes its commits durable."""

    def restart(self) -> None:
        """End it as a power cut does, and return when it answers again."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """End all connections from its side."""
        raise NotImplementedError

    def lock(self) -> None:
        """Keep everybody from writing until :meth:`unlock`."""
        raise NotImplementedError

    def unlock(self) -> None:
        """Let them write again."""
        raise NotImplementedError

    @abstractmethod
    def unfinished(self) -> int:
        """Return how many tasks have not ended."""

    @abstractmethod
    def changes(self) -> list[Change]:
        """Return what the witness has seen, for each task in the order in which it happened."""

    @abstractmethod
    def ends(self) -> dict[str, End]:
        """Return every task that the store has, live or ended, as it is now."""

    def orders(self) -> set[str]:
        """Return the rows of the application that came with its transactions."""
        return set()

    def effects(self) -> list[str]:
        """Return the task of each effect that came together with its success."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Stop it and remove its files."""
