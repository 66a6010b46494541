"""The migrations make what the package describes, to the letter."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from alligator_sql.backends.sql import migrating, schema, steps
from alligator_sql.backends.sql.engines import create
from alligator_sql.backends.sql.tables import Names

from .databases import ROOT, create_all, definitions, dump

NAMES = [
    pytest.param(Names(), id="default"),
    pytest.param(Names("jobs_"), id="prefix"),
    pytest.param(Names("jobs_", "queue"), id="schema"),
]


def test_the_package_names_the_newest_revision():
    heads = ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).get_heads()
    assert heads == [schema.REVISION]


@pytest.mark.parametrize("names", NAMES)
def test_migrated_is_what_metadata_describes_on_postgresql(names, postgres_server):
    described = postgres_server.create_database()
    create_all(postgres_server.dsn(described), names)
    migrated = postgres_server.create_database()
    schema.upgrade(postgres_server.dsn(migrated), prefix=names.prefix, schema=names.schema)
    want, have = (
        dump(postgres_server.dsn(name), postgres_server.version, "--exclude-table=*.*_version")
        for name in (described, migrated)
    )
    assert "fillfactor='45'" in want
    assert "CREATE VIEW" in want
    assert have == want


def test_migrated_is_what_metadata_describes_on_sqlite(tmp_path: Path):
    described, migrated = (f"sqlite:///{tmp_path}/{name}.db" for name in ("described", "migrated"))
    create_all(described, Names())
    schema.upgrade(migrated)
    assert definitions(migrated, without="version") == definitions(described)


def test_first_use_of_sqlite_makes_what_the_migrations_make(tmp_path: Path):
    first_used, migrated = (f"sqlite:///{tmp_path}/{name}.db" for name in ("used", "migrated"))
    schema.upgrade(migrated)
    engine = create(first_used)
    with engine.begin() as connection:
        steps.drive(schema.create(Names()), steps.on_sqlalchemy(connection))
    engine.dispose()
    assert definitions(first_used) == definitions(migrated)
    assert migrating.current(first_used) == schema.REVISION
    assert migrating.check(first_used) == []


def test_every_revision_explains_itself():
    for script in ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions():
        source = Path(script.path).read_text(encoding="utf-8")
        assert script.doc
        assert "alligator_sql" not in source, "a revision is frozen: it imports nothing of ours"
