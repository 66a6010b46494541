"""What a worker process loads. Every module stays in its memory, in each process of a host."""

import json
import os
import sys
from contextlib import closing

import pytest

from alligator_sql import Gator

from .commands import run

WITNESS = """
import json, resource, sys
from pathlib import Path

def tell(path):
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    told = {"memory": pages * resource.getpagesize(), "modules": list(sys.modules)}
    Path(path).write_text(json.dumps(told))
"""
NEVER = {
    "alembic",
    "alligator_sql.backends.locmem",
    "alligator_sql.backends.plugins",
    "alligator_sql.backends.sql.autogenerate",
    "alligator_sql.backends.sql.migrating",
    "alligator_sql.cli.migrate_from",
    "alligator_sql.cli.queue",
    "alligator_sql.cli.schema",
    "alligator_sql.legacy_stores",
    "alligator_sql.testing",
    "boto3",
    "botocore",
    "greenlet",
    "http",
    "mako",
    "multiprocessing",
    "pydantic",
    "rich",
    "sqlalchemy.ext",
    "sqlalchemy.orm",
    "typer",
    "unittest",
    "xml",
}
STORES = {
    "postgres18_dsn": {"redis", "sqlite3"},
    "sqlite_dsn": {"psycopg", "redis"},
    "valkey_dsn": {"psycopg", "sqlalchemy", "sqlite3"},
}
"""What the worker of a store does without besides."""
SUPERVISED = {"alligator_sql.cli.commands", "alligator_sql.cli.worker", "click"}
"""What only that process needs which reads the command line."""
PLENTY = 90e6
"""Bytes that no worker needs: twice as many as with SQLite. They vary with every library."""


@pytest.fixture
def valkey_dsn(own_redis_server) -> str:
    return str(own_redis_server.dsn())


@pytest.fixture(params=STORES)
def store(request) -> str:
    return str(request.param)


@pytest.mark.parametrize("processes", ["0", "1"], ids=["alone", "supervised"])
def test_a_worker_loads_what_its_store_needs(store, processes, request, tmp_path, monkeypatch):
    dsn = request.getfixturevalue(store)
    (tmp_path / "witness.py").write_text(WITNESS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "witness", raising=False)
    import witness  # type: ignore[import-not-found]

    with closing(Gator(dsn)) as gator:
        gator.task(witness.tell, str(tmp_path / "told"))
    # A measurement of coverage loads modules of its own.
    unmeasured = {name: "" for name in os.environ if name.startswith("COVERAGE_")}
    result = run("worker", dsn, "--burst", "-p", processes, variables=unmeasured)
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "told").read_text())
    needless = NEVER | STORES[store] | (SUPERVISED if processes == "1" else set())
    assert not needless.intersection(told["modules"])
    assert told["memory"] < PLENTY
