"""How far the work has come: bars on a terminal, now and then a line elsewhere."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_EVERY: Final = 1.0
"""Seconds between two lines where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks are in which state."""

    waiting: int
    running: int
    done: int


class Display:
    """Shows the counts while the ``with`` block runs."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._next_line = 0.0
        self._progress = Progress(
            TextColumn("  {task.description:<7}"),
            BarColumn(bar_width=50),
            MofNCompleteColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bars = {
            name: self._progress.add_task(name, total=total)
            for name in ("waiting", "running", "done")
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, counts: Counts) -> None:
        """Show new counts."""
        for name, bar in self._bars.items():
            self._progress.update(bar, completed=getattr(counts, name))
        now = time.monotonic()
        over = counts.done == self._total
        if not self._console.is_terminal and (now >= self._next_line or over):
            self._next_line = now + LINE_EVERY
            self._console.print(
                f"  waiting {counts.waiting}, running {counts.running}, "
                f"done {counts.done} of {self._total}"
            )
