"""What a run has found: as tables, which are Markdown, and as JSON."""

import io
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from . import plots
from .stats import Measurement, figures

WIDE = 140
"""Columns of a table that goes into a file."""


def machine() -> dict[str, Any]:
    """Return what has to be known about the machine to read the figures."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


class Report:
    """Shows each scenario when it is done, and keeps all of them."""

    def __init__(self, *, quick: bool) -> None:
        self._console = Console()
        if not self._console.is_terminal:
            self._console = Console(width=WIDE)
        self._progress = Console(stderr=True)
        self._results: list[tuple[str, str, list[Measurement]]] = []
        self._machine = machine()
        self._quick = quick
        self._show(self._stamp())

    def begin(self, title: str) -> None:
        """Say what is being measured."""
        self._progress.print(f"[dim]measuring {title} …[/dim]", highlight=False)

    def add(self, scenario: str, where: str, measurements: list[Measurement]) -> None:
        """Show and keep the measurements of one scenario."""
        if not measurements:
            return
        self._results.append((scenario, where, measurements))
        self._show(f"### {scenario}, {where}\n")
        self._console.print(_table(measurements), highlight=False)

    def write_json(self, path: Path) -> None:
        """Write everything as JSON, all samples included."""
        data = {
            "quick": self._quick,
            "machine": self._machine,
            "results": [
                {
                    "scenario": scenario,
                    "store": where,
                    **asdict(measurement),
                    "figures": [asdict(figure) for figure in figures(measurement)],
                }
                for scenario, where, measurements in self._results
                for measurement in measurements
            ],
        }
        path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def write(self, folder: Path) -> None:
        """Write ``report.md``, its plots, and ``figures.json`` into ``folder``.

        Without matplotlib there are no plots.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.write_json(folder / "figures.json")
        parts = ["# Benchmarks\n", self._stamp()]
        drawn = plots.are_possible()
        for scenario, where, measurements in self._results:
            parts += [f"## {scenario}, {where}\n", _markdown(_table(measurements))]
            if drawn:
                stem = f"{scenario}-{where.split(',')[0]}".lower().replace(" ", "-")
                parts += [
                    f"![{title}]({name})\n"
                    for title, name in plots.draw(measurements, folder, stem)
                ]
        (folder / "report.md").write_text("\n".join(parts), encoding="utf-8")

    def _stamp(self) -> str:
        stamp = self._machine
        return (
            f"{stamp['when']}, {stamp['cpus']} CPUs (load {stamp['load']:.1f}), {stamp['python']}, "
            f"{stamp['platform']}{', quick: figures mean little' if self._quick else ''}\n"
        )

    def _show(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _markdown(table: Table) -> str:
    file = io.StringIO()
    Console(file=file, width=WIDE).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines() if line.strip()) + "\n"


def _table(measurements: Sequence[Measurement]) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column("measured")
    table.add_column("contender")
    for heading in ("median", "lowest", "highest"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("ratio", justify="right")
    for measurement in measurements:
        for figure in figures(measurement):
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            if figure.contender == measurement.baseline:
                ratio = "1"
            values = (figure.median, figure.lowest, figure.highest)
            table.add_row(
                measurement.name,
                figure.contender,
                *map(_shown, values),
                measurement.unit,
                ratio,
            )
    return table


def _shown(value: float) -> str:
    """Return ``value`` with three digits that mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
