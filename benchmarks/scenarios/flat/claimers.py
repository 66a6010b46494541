"""Many processes with several threads each, at one queue."""

from dataclasses import replace

from ...peers.contenders import OURS, Contender
from .case import Case

THREADS = 8


def worker(size: int) -> Contender:  # noqa: ARG001
    """Return a worker with several threads."""
    return replace(OURS, options={"concurrency": THREADS})


CASE = Case(
    "{:,} threads in processes of 8", 64, 16,
    contender=worker, processes=lambda size: size // THREADS,
)  # fmt: skip
