"""The contenders of a run, as the process that measures sees them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..processes import CHECKOUT, PATIENCE, background
from ..servers import Kind, Store
from . import environments


@dataclass(frozen=True)
class Contender:
    """Somebody who takes part.

    Attributes:
        name: What it is called in reports.
        adapter: The module and the class of its adapter.
        options: What the adapter gets besides the connection string.
        requirements: What its environment needs; nothing runs in ours.
        oldest: The oldest Python that these work with.
        share: How much of the tasks it gets, because it is much slower than the others.
        sets_up: Whether it needs something in an empty database.
    """

    name: str
    adapter: tuple[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    oldest: tuple[int, int] = (3, 11)
    share: float = 1.0
    sets_up: bool = False

    @property
    def key(self) -> str:
        """What it is called on the command line."""
        return self.adapter[0]

    @cached_property
    def python(self) -> Path:
        """The interpreter that it runs in.

        Raises:
            NotInstalledError: It cannot be installed here.
        """
        if not self.requirements:
            return Path(sys.executable)
        return environments.interpreter(self.key, self.requirements, self.oldest)

    @contextmanager
    def database(self, store: Store) -> Iterator[str]:
        """Give the connection string of an empty database that is set up for it."""
        with store.database() as dsn:
            if self.sets_up:
                self.ask(dsn, "setup")
            yield dsn

    def ask(self, dsn: str, role: str, *arguments: object) -> Any:
        """Play ``role`` to its end and return the answer.

        Raises:
            RuntimeError: It failed.
            subprocess.TimeoutExpired: It did not end.
        """
        ended = subprocess.run(
            self._command(dsn, role, *arguments),
            cwd=CHECKOUT, check=False, stdout=subprocess.PIPE, timeout=PATIENCE,
        )  # fmt: skip
        if ended.returncode:
            raise RuntimeError(f"{role} ended with {ended.returncode}")
        return json.loads(ended.stdout)

    @contextmanager
    def ready(self, dsn: str, role: str, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
        """Play the role of a worker during the block, which says when it starts.

        Raises:
            RuntimeError: It ended by itself, or not at all.
        """
        with background(self._command(dsn, role, *arguments), piped=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{self.name} did not get ready")
            yield process

    def waiting(self, dsn: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """Run a worker that waits for tasks during the block."""
        return _started(self.ready(dsn, "wait"))

    def _command(self, dsn: str, role: str, *arguments: object) -> Sequence[str]:
        module, class_name = self.adapter
        return [
            *(str(self.python), "-m", "benchmarks.peers.roles"),
            *(f"benchmarks.peers.{module}", class_name, json.dumps(dict(self.options))),
            *(dsn, role, *map(str, arguments)),
        ]


def start(process: "subprocess.Popen[bytes]") -> None:
    """Let a worker that is ready begin."""
    assert process.stdin is not None
    process.stdin.write(b"start\n")
    process.stdin.flush()


@contextmanager
def _started(
    ready: AbstractContextManager["subprocess.Popen[bytes]"],
) -> Iterator["subprocess.Popen[bytes]"]:
    with ready as process:
        start(process)
        yield process


OURS = Contender("Gator and Worker", ("ours", "Ours"))
OURS_EIGHT = Contender("Worker, concurrency=8", ("ours", "Ours"), {"concurrency": 8})
OURS_JOINED = Contender("gator.using().map", ("ours", "OursJoined"))
DRIVERS: Mapping[Kind, Contender] = {
    "postgresql": Contender("psycopg", ("sql_driver", "SqlDriver")),
    "sqlite": Contender("sqlite3", ("sql_driver", "SqlDriver")),
    "redis": Contender("redis-py: the same EVALSHA", ("redis_driver", "RedisDriver")),
}
"""What a store can do at most, by the driver alone."""

# On Redis all have the driver that we have, and its fast parser when we have it.
_REDIS = tuple(f"{name}=={version(name)}" for name in ("redis", "hiredis") if find_spec(name))
_HUEY = Contender("huey 3.5.4", ("huey", "Huey"), requirements=("huey==3.5.4", *_REDIS))

PEERS: Mapping[Kind, tuple[Contender, ...]] = {
    "postgresql": (
        Contender(
            "pgqueuer 1.6.0", ("pgqueuer", "Pgqueuer"), sets_up=True,
            requirements=("pgqueuer==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0"),
        ),
        Contender(
            "awa 0.6.9", ("awa", "Awa"), sets_up=True, share=0.5,
            requirements=("awa-pg==0.6.9", "uvloop==0.23.0"),
        ),
        Contender(
            "oban-py 0.7.0", ("oban", "ObanPy"), sets_up=True, share=0.3, oldest=(3, 12),
            requirements=("oban==0.7.0",),
        ),
        Contender(
            "procrastinate 3.10.0", ("procrastinate", "Procrastinate"), sets_up=True, share=0.05,
            requirements=("procrastinate==3.10.0", "psycopg[binary]==3.3.9", "uvloop==0.23.0"),
        ),
    ),
    "sqlite": (_HUEY,),
    "redis": (
        _HUEY,
        Contender(
            "Alligator 1.0", ("alligator", "Alligator"), share=0.1,
            requirements=("alligator==1.0.0", *_REDIS),
        ),
        Contender(
            "dramatiq 2.2.1", ("dramatiq", "Dramatiq"), share=0.3,
            requirements=("dramatiq==2.2.1", *_REDIS),
        ),
        Contender(
            "saq 0.26.4", ("saq", "Saq"), share=0.2,
            requirements=("saq==0.26.4", "typing_extensions", "uvloop==0.23.0", *_REDIS),
        ),
        Contender(
            "celery 5.7.0", ("celery", "CeleryApp"), share=0.1,
            requirements=("celery==5.7.0", "packaging", *_REDIS),
        ),
        Contender("rq 3.0.0", ("rq", "Rq"), share=0.05, requirements=("rq==3.0.0", *_REDIS)),
    ),
}  # fmt: skip
"""The others, the fastest first: the one that we are compared with."""

KEYS = tuple(dict.fromkeys(peer.key for peers in PEERS.values() for peer in peers))
QUICK_KEYS = ("pgqueuer", "huey", "alligator")
"""Those that take part in a quick run."""
