"""The scripts that run in the server: loaded from ``lua/``, sent by their digests."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis.exceptions import NoScriptError, RedisError, ResponseError

from . import keys
from .connections import TRIES, Command, Connections, ignore

MAY_FILL: Final = frozenset({"enqueue"})
"""Scripts that must stop when the server is full; all others are what empties it again."""
_ALLOW_OOM: Final = "#!lua flags=allow-oom\n"
_ALLOW_OOM_6: Final = "redis.call('ZREM', KEYS[1], '')\n"
"""Redis 6 stops a script for want of memory only before it has written something."""


class Call(NamedTuple):
    """A script to be run on one queue."""

    script: str
    queue: str
    arguments: Sequence[str | bytes] = ()


class Scripts:
    """Runs scripts, and loads them when the server does not have them (any more).

    Args:
        connections: Where they run.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._digests: dict[str, str] = {}

    def run(self, call: Call, *, repeatable: bool = True) -> Any:
        """Run one script and return its answer; see :meth:`run_all`."""
        return self.run_all([call], repeatable=repeatable)[0]

    def run_all(
        self,
        calls: Sequence[Call],
        *,
        repeatable: bool = True,
        repeated: Callable[[Exception], None] = ignore,
        atomic: bool = False,
    ) -> list[Any]:
        """Run scripts in one round trip and return their answers.

        Args:
            calls: What to run. They run one after the other.
            repeatable: Whether they may run again when the answer was lost, because the second
                answer is as true as the first.
            repeated: Called with the error before they do.
            atomic: Whether nobody else may come in between; they must be of one queue then,
                because a cluster takes no transaction over several slots.

        Raises:
            StoreUnavailableError: The server does not answer, or cannot serve now.
            QueueFull: It has no memory left.
            SchemaError: There is something else under our keys.
        """
        if not calls:
            return []
        if not self._digests:
            self._load()
        tries = TRIES if repeatable else 1
        answers = self._send(calls, tries, repeated, atomic)
        missing = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:  # the server was started anew, or is another one
            self._load()
            again = self._send([calls[at] for at in missing], tries, repeated, atomic)
            for at, answer in zip(missing, again, strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, RedisError):
                raise self._connections.translate(answer) from answer
        return answers

    def _send(
        self,
        calls: Sequence[Call],
        tries: int,
        repeated: Callable[[Exception], None],
        atomic: bool,
    ) -> list[Any]:
        commands: list[Command] = []
        for script, queue, arguments in calls:
            names = keys.of(queue)
            commands.append(("EVALSHA", self._digests[script], len(names), *names, *arguments))
        if not atomic:
            return self._connections.call(commands, tries=tries, repeated=repeated)
        commands = [("MULTI",), *commands, ("EXEC",)]
        *queued, executed = self._connections.call(commands, tries=tries, repeated=repeated)
        if not isinstance(executed, RedisError):
            return list(executed)
        # Its own error says only that one of the others had an error.
        why = next((answer for answer in queued if isinstance(answer, RedisError)), executed)
        return [why] * len(calls)

    def _load(self) -> None:
        sources = dict(_sources())
        digests = self._loaded(
            {
                name: source if name in MAY_FILL else _ALLOW_OOM + source
                for name, source in sources.items()
            }
        )
        # Redis 6 has no flags, and takes their line for a mistake.
        refused = [name for name, digest in digests.items() if digest is None]
        if refused:
            digests |= self._loaded({name: _ALLOW_OOM_6 + sources[name] for name in refused})
        self._digests = {name: digest for name, digest in digests.items() if digest is not None}

    def _loaded(self, sources: dict[str, str]) -> dict[str, str | None]:
        answers = self._connections.call(
            [("SCRIPT", "LOAD", source) for source in sources.values()]
        )
        digests: dict[str, str | None] = {}
        for name, answer in zip(sources, answers, strict=True):
            if isinstance(answer, ResponseError) and "compiling" in str(answer):
                digests[name] = None
            elif isinstance(answer, RedisError):
                raise self._connections.translate(answer) from answer
            else:
                digests[name] = answer.decode()
        return digests


@cache
def _sources() -> tuple[tuple[str, str], ...]:
    """Return the name and the text of every script, with what all of them share."""
    folder = files(__package__) / "lua"
    texts = {
        entry.name.removesuffix(".lua"): entry.read_text("utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }
    common = texts.pop("common")
    return tuple((name, f"{common}\n{text}") for name, text in sorted(texts.items()))
