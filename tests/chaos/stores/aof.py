"""The witness in Redis: its append-only file, read as what it says of the tasks.

Every script is one block between MULTI and EXEC there, or a single command. The keys are
those at the top of ``lua/common.lua``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from .base import Change, End, State

Command = list[bytes]


def changes(path: Path, prefix: bytes) -> Iterator[Change]:
    """Yield what became of the tasks, whose keys begin with ``prefix``, block by block."""
    tasks: dict[bytes, dict[bytes, bytes]] = {}
    with path.open("rb") as file:
        for at, block in _blocks(file):
            before = {
                key: end_of(tasks.get(key, {})).state
                for command in block
                for key in command[1:]
                if key.startswith(prefix)
            }
            for command in block:
                if len(command) > 1 and command[1].startswith(prefix):
                    _apply(tasks, command)
            for key, state in before.items():
                after = end_of(tasks.get(key, {})).state
                if after != state:
                    yield Change(at, key.removeprefix(prefix).decode(), after)


def end_of(task: Mapping[bytes, bytes]) -> End:
    """Return what the hash of a task says."""

    def text(name: bytes) -> str | None:
        value = task.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    def number(name: bytes, otherwise: int = 0) -> int:
        return int(task.get(name, otherwise))

    state = State(
        number(b"status", -1), number(b"lease"), text(b"worker"),
        number(b"attempts"), number(b"crashes"), text(b"reason"),
    )  # fmt: skip
    return End(state, text(b"error_message"), text(b"result"))


def _apply(tasks: dict[bytes, dict[bytes, bytes]], command: Command) -> None:
    name, key, *values = command
    task = tasks.setdefault(key, {})
    match name.upper():
        case b"HSET" | b"HMSET":
            task.update(zip(values[::2], values[1::2], strict=True))
        case b"HINCRBY":
            task[values[0]] = b"%d" % (int(task.get(values[0], 0)) + int(values[1]))
        case b"HDEL":
            for field in values:
                task.pop(field, None)
        case b"DEL" | b"UNLINK":
            for gone in (key, *values):
                tasks.pop(gone, None)
        case other:
            raise ValueError(f"{other!r} on a task: the witness does not know this command")


def _blocks(file: BinaryIO) -> Iterator[tuple[float, list[Command]]]:
    """Yield what happened at once: a transaction, or a command of its own."""
    block: list[Command] | None = None
    for at, command in _commands(file):
        match command[0].upper():
            case b"MULTI":
                block = []
            case b"EXEC":
                yield at, block or []
                block = None
            case _ if block is None:
                yield at, [command]
            case _:
                block.append(command)


def _commands(file: BinaryIO) -> Iterator[tuple[float, Command]]:
    """Yield time and command, in their order; the time is that of the last whole second."""
    at = 0.0
    while line := file.readline():
        if line.startswith(b"#TS:"):
            at = float(line[4:])
        elif line.startswith(b"*"):
            command = []
            for _ in range(int(line[1:])):
                length = int(file.readline()[1:])
                command.append(file.read(length))
                file.read(2)
            yield at, command
        else:
            raise ValueError(f"no append-only file: {line[:80]!r}")
