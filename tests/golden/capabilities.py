"""Writes the table of docs/backends.md: what each backend can do, as its class declares it.

Run ``python -m tests.golden.capabilities`` after a capability was changed on purpose.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from alligator_sql.backends import Backend, Capabilities
from alligator_sql.backends.legacy import DelayingLegacyBackend, LegacyBackend
from alligator_sql.backends.locmem import LocalMemoryBackend
from alligator_sql.backends.redis import RedisBackend
from alligator_sql.backends.sql import SQLBackend
from alligator_sql.backends.sqs import SQSBackend

COMMAND = "python -m tests.golden.capabilities"
DOCUMENT = Path(__file__).parents[2] / "docs" / "backends.md"
BEGIN = f"<!-- begin of the table that is written by: {COMMAND} -->\n"
END = "<!-- end of the table -->\n"
COLUMNS: dict[str, tuple[type[Backend], ...]] = {
    "PostgreSQL": (SQLBackend,),
    "SQLite": (SQLBackend,),
    "Redis": (RedisBackend,),
    "SQS": (SQSBackend,),
    "local memory": (LocalMemoryBackend,),
    "Alligator 1.0 client": (LegacyBackend, DelayingLegacyBackend),
}
"""The classes behind each column; where they differ, it depends."""


def table() -> str:
    """Return the table, with a row for each field of ``Capabilities``."""
    meanings = _meanings()
    return "".join(
        f"| {' | '.join(cells)} |\n"
        for cells in (
            ["capability", "meaning", *COLUMNS],
            ["---"] * (len(COLUMNS) + 2),
            *([f"`{name}`", meanings[name], *_cells(name)] for name in meanings),
        )
    )


def document(text: str) -> str:
    """Return ``text`` with the table between its markers written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _meanings() -> dict[str, str]:
    """Return what the docstring of ``Capabilities`` says about each field."""
    _, _, attributes = (inspect.getdoc(Capabilities) or "").partition("Attributes:\n")
    found = dict(re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE))
    return {
        field.name: re.sub(r"\s+", " ", found[field.name]).replace("``", "`").rstrip(".")
        for field in fields(Capabilities)
    }


def _cells(name: str) -> Iterator[str]:
    for backends in COLUMNS.values():
        first, *others = (getattr(backend.capabilities, name) for backend in backends)
        yield _shown(first) if all(other == first for other in others) else "depends"


def _shown(value: bool | float | None) -> str:
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case None:
            return "none"
        case _:
            return f"{value:,.0f}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
