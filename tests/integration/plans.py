"""Asking PostgreSQL how it would run, and did run, the statements of the queue."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import ClauseElement, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

MODES = ("force_generic_plan", "force_custom_plan", "auto")
"""How PostgreSQL may plan a prepared statement; ``auto`` tries custom plans five times."""


@dataclass(frozen=True)
class Plan:
    """One plan, from ``EXPLAIN (FORMAT JSON)``."""

    root: Mapping[str, Any]

    def nodes(self, kind: str = "") -> list[Mapping[str, Any]]:
        """Return the nodes whose type contains ``kind``, the outer ones first."""
        return [node for node in _walk(self.root) if kind in node["Node Type"]]

    def scans(self, table: str) -> list[Mapping[str, Any]]:
        """Return the nodes that read rows of ``table``."""
        return [node for node in self.nodes("Scan") if node.get("Relation Name") == table]

    def visited(self, table: str) -> int:
        """Return how many live rows of ``table`` were looked at, by an analysed plan."""
        return sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in self.scans(table)
        )

    @property
    def blocks(self) -> int:
        """How many blocks were read, from memory or from disk, by an analysed plan."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def __str__(self) -> str:
        return json.dumps(self.root, indent=1)


class Prepared:
    """A statement, prepared on the server as psycopg does it."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, statement: Any) -> None:
        self._given: Mapping[str, Any] = {}
        if isinstance(statement, ClauseElement):
            compiled: Any = statement.compile(dialect=PGDialect_psycopg())
            expanded = compiled.construct_expanded_state()
            query, self._given = expanded.statement, expanded.parameters
        else:
            query = str(text(statement).compile(dialect=PGDialect_psycopg()))
        self._connection = connection
        self._name = sql.Identifier(name)
        self._parameters = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", query)))
        numbered = re.sub(
            r"%\((\w+)\)s", lambda match: f"${self._parameters.index(match[1]) + 1}", query
        )
        connection.execute(sql.SQL("prepare {} as ").format(self._name).as_string() + numbered)

    def explain(self, values: Mapping[str, Any], mode: str, options: str = "") -> Plan:
        """Return the plan for ``values``; in ``auto`` mode the one it settles on."""
        self._connection.execute(sql.SQL("set plan_cache_mode = {}").format(sql.Identifier(mode)))
        arguments = [sql.Literal({**self._given, **values}[name]) for name in self._parameters]
        query = sql.SQL("explain (format json{}) execute {}({})").format(
            sql.SQL(options),
            self._name,
            sql.SQL(", ").join(arguments),
        )
        for _ in range(7 if mode == "auto" and not options else 1):
            row = self._connection.execute(query).fetchone()
        assert row is not None
        return Plan(row[0][0]["Plan"])

    def analyze(self, values: Mapping[str, Any], mode: str) -> Plan:
        """Run it, and return the plan with what really happened."""
        return self.explain(values, mode, ", analyze, buffers, timing off")


def _walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _walk(inner)
