"""Applications with an Alembic of their own, by the examples of ``docs/schema.md``."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from alligator_sql import Gator
from alligator_sql.backends.sql import migrating, schema
from alligator_sql.backends.sql.tables import Names

from .databases import ROOT, create_all, definitions, dump

MODELS = """
from sqlalchemy import Column, Integer, MetaData, Table

metadata = MetaData()
Table("orders", metadata, Column("id", Integer, primary_key=True))
"""


def example(title: str) -> str:
    """Return the example that begins with the comment ``title``."""
    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    found = re.search(rf"```python\n(# {re.escape(title)}\n.*?)```", page, re.DOTALL)
    assert found, title
    return found[1]


@dataclass
class App:
    """An application with models and Alembic."""

    folder: Path

    def alembic(self, *arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def autogenerate(self) -> str:
        """Return the revision that Alembic proposes."""
        known = set(self.versions.iterdir())
        self.alembic("revision", "--autogenerate", "-m", "proposed")
        (new,) = {path for path in self.versions.iterdir() if path.suffix == ".py"} - known
        return new.read_text(encoding="utf-8")

    def revise(self, body: str) -> None:
        """Add a revision with this code."""
        known = set(self.versions.iterdir())
        self.alembic("revision", "-m", "written")
        (new,) = {path for path in self.versions.iterdir() if path.suffix == ".py"} - known
        head = new.read_text(encoding="utf-8").split("def upgrade")[0]
        new.write_text(head + body, encoding="utf-8")

    @property
    def versions(self) -> Path:
        return self.folder / "alembic" / "versions"


@pytest.fixture
def empty_postgres18_dsn(postgres18_server) -> Iterator[str]:
    """A database with nothing in it, on the newest version only."""
    name = postgres18_server.create_database()
    yield postgres18_server.dsn(name)
    postgres18_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres18"])
def dsn(request) -> str:
    """An empty database of each kind."""
    return str(request.getfixturevalue(f"empty_{request.param}_dsn"))


@pytest.fixture
def make_app(tmp_path: Path):
    def make(env: str, dsn: str) -> App:
        folder = tmp_path / "app"
        (folder / "myapp").mkdir(parents=True)
        (folder / "myapp" / "models.py").write_text(MODELS, encoding="utf-8")
        config = Config(folder / "alembic.ini")
        command.init(config, str(folder / "alembic"))
        ini = (folder / "alembic.ini").read_text(encoding="utf-8")
        url = dsn.replace("postgresql:", "postgresql+psycopg:")
        ini = re.sub(r"(?m)^sqlalchemy.url = .*", lambda _: f"sqlalchemy.url = {url}", ini)
        (folder / "alembic.ini").write_text(ini, encoding="utf-8")
        (folder / "alembic" / "env.py").write_text(env, encoding="utf-8")
        return App(folder)

    return make


def test_excluded_tables_are_not_dropped(make_app, dsn):
    schema.upgrade(dsn)
    app = make_app(example("env.py: exclude"), dsn)
    proposed = app.autogenerate()
    assert "create_table('orders'" in proposed
    assert "alligator" not in proposed
    app.alembic("upgrade", "head")
    app.alembic("check")
    assert migrating.check(dsn) == []


def test_without_exclusion_they_would_be(make_app, dsn):
    """What the example is for: this fails once Alembic leaves foreign tables alone."""
    schema.upgrade(dsn)
    env = example("env.py: exclude").replace("include_name=exclude_tables(),", "")
    assert "drop_table('alligator_tasks'" in make_app(env, dsn).autogenerate()


def test_exclusion_knows_the_default_schema_by_its_name(make_app, empty_postgres18_dsn):
    schema.upgrade(empty_postgres18_dsn, schema="public")
    env = example("env.py: exclude").replace("_tables()", "_tables(schema='public')")
    app = make_app(env, empty_postgres18_dsn)
    assert "alligator" not in app.autogenerate()


def test_exclusion_knows_prefix_and_schema(make_app, dsn):
    options = {"prefix": "jobs_", "schema": "queue"}
    if dsn.startswith("sqlite"):
        del options["schema"]
    schema.upgrade(dsn, **options)
    arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
    env = example("env.py: exclude").replace(
        "exclude_tables()", f"exclude_tables({arguments}), include_schemas=True"
    )
    proposed = make_app(env, dsn).autogenerate()
    assert "create_table('orders'" in proposed
    assert "jobs_" not in proposed


def test_included_tables_are_created(make_app, dsn, tmp_path, request):
    app = make_app(example("env.py: include"), dsn)
    proposed = app.autogenerate()
    assert "create_table('orders'" in proposed
    assert "create_table('alligator_tasks'" in proposed
    assert "alligator_sql" not in proposed, "generated migrations do not need the package"
    app.alembic("upgrade", "head")
    app.alembic("check")
    app.revise(example("revision: views"))
    app.alembic("upgrade", "head")
    app.alembic("check")

    gator = Gator(dsn)
    gator.open()
    gator.task(example, "x")
    assert gator.len() == 1
    gator.close()

    if dsn.startswith("sqlite"):
        described = f"sqlite:///{tmp_path}/described.db"
        create_all(described, Names())
        assert unordered(dsn) == unordered(described)
    else:
        server = request.getfixturevalue("postgres18_server")
        database = server.create_database()
        described = server.dsn(database)
        create_all(described, Names())
        ours = (server.version, "--table=alligator_*")
        assert dump(dsn, *ours) == dump(described, *ours)
        server.drop_database(database)

    app.alembic("downgrade", "base")


def unordered(dsn: str) -> list[tuple[str, list[str]]]:
    """Return our definitions of a SQLite database; Alembic sorts constraints by name."""
    return [
        (name, sorted(re.split(r", | ?\(|\) ?", sql or "")))
        for _, name, sql in definitions(dsn)
        if "alligator" in name
    ]
