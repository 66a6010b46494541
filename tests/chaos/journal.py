"""What happened, written down by those to whom it happened.

All processes append to one file, each entry as one line with one system call that is synced
before the effect that it tells of. A kill loses nothing of it.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

VARIABLE: Final = "CHAOS_JOURNAL"
"""The environment variable that names the file."""


class Planned(NamedTuple):
    """A producer is about to store tasks in one transaction.

    Attributes:
        at: Unix time, as everywhere here.
        transaction: Its name; in a database that is also the id of the application's row.
        tasks: The kind of each task by its id of 32 hexadecimal digits.
        joined: Whether the tasks join a transaction of the application, with a row of its own.
        rolls_back: Whether the producer has decided to roll that back.
    """

    at: float
    transaction: str
    tasks: dict[str, str]
    joined: bool
    rolls_back: bool


class Committed(NamedTuple):
    """The store has told the producer that the transaction is there to stay."""

    at: float
    transaction: str


class Ran(NamedTuple):
    """A task has begun to run."""

    at: float
    task: str
    lease: int
    worker: str
    attempt: int
    pid: int


class Meant(NamedTuple):
    """A run is about to return or to raise: "success", "failure" or "snooze"."""

    at: float
    task: str
    lease: int
    worker: str
    outcome: str


class Struck(NamedTuple):
    """The storm has done something.

    ``pid`` is the process that it was done to, or 0, and ``seconds`` how long it lasts.
    """

    at: float
    fault: str
    target: str
    pid: int
    seconds: float


Entry = Planned | Committed | Ran | Meant | Struck
_TYPES: Final[dict[str, type[Entry]]] = {
    kind.__name__: kind for kind in (Planned, Committed, Ran, Meant, Struck)
}


class Journal:
    """The file at ``path``; threads and forked processes may share it."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, entry: Entry) -> None:
        """Append one line, and return when it is on the disk."""
        # A process that is killed may leave half of a line, which must not spoil the next one.
        line = b"\n" + json.dumps([type(entry).__name__, *entry]).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError("the journal takes no more: is the disk full?")
        os.fdatasync(self._file)


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries in the order in which they were written."""
    return parse(path.read_text().splitlines())


def parse(lines: Iterable[str]) -> Iterator[Entry]:
    """Yield the entry of each line, but for those whose writer was killed before it was done."""
    for line in lines:
        if line.endswith("]"):
            name, *fields = json.loads(line)
            yield _TYPES[name](*fields)


def now() -> float:
    """Return the time for an entry."""
    return time.time()
