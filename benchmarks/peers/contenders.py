"""The contenders of a run, as the process that measures sees them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..processes import CHECKOUT, PATIENCE, background
from . import environments


@dataclass(frozen=True)
class Contender:
    """Somebody who takes part.

    Attributes:
        name: What it is called in reports.
        adapter: The module and the class of its adapter.
        requirements: What its environment needs; nothing runs in ours.
        share: How much of the tasks it gets, because it is much slower than the others.
    """

    name: str
    adapter: tuple[str, str]
    requirements: tuple[str, ...] = ()
    share: float = 1.0

    @cached_property
    def python(self) -> Path:
        """The interpreter that it runs in."""
        if not self.requirements:
            return Path(sys.executable)
        return environments.interpreter(self.adapter[0], self.requirements)

    def ask(self, dsn: str, role: str, *arguments: object) -> Any:
        """Play ``role`` to its end and return the answer.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        answer = subprocess.run(
            self._command(dsn, role, *arguments),
            cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, timeout=PATIENCE,
        ).stdout  # fmt: skip
        return json.loads(answer)

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
            str(self.python), "-m", "benchmarks.peers.roles",
            f"benchmarks.peers.{module}", class_name, dsn, role, *map(str, arguments),
        ]  # fmt: skip


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
DRIVER = Contender("redis-py: the same EVALSHA", ("driver", "Driver"))
# All have the driver that we have, and its fast parser when we have it.
_DRIVER = tuple(f"{name}=={version(name)}" for name in ("redis", "hiredis") if find_spec(name))
HUEY = Contender("huey 3.5.4", ("huey", "Huey"), ("huey==3.5.4", *_DRIVER))
ALLIGATOR = Contender(
    "Alligator 1.0", ("alligator", "Alligator"), ("alligator==1.0.0", *_DRIVER), share=0.1
)


@cache
def peers() -> tuple[Contender, ...]:
    """Return those that can be installed here; says which cannot."""
    found = []
    for peer in (HUEY, ALLIGATOR):
        try:
            peer.python  # noqa: B018 - makes the environment
        except subprocess.CalledProcessError as error:
            print(f"left out: {peer.name} cannot be installed: {error}", file=sys.stderr)
        else:
            found.append(peer)
    return tuple(found)
