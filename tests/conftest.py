"""Databases for the tests: a fresh one for each test that asks."""

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from alligator_sql import Gator
from alligator_sql.backends.sql import schema

from .postgres_servers import POSTGRES_VERSIONS, PostgresServer, PostgresServers
from .redis_servers import REDIS_KINDS, RedisServer
from .sqs_servers import ENVIRONMENT, SQSServer


def pytest_configure() -> None:
    # A shell that runs the tests in the background has them, and their processes, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile(
        "ours",
        deadline=None,  # a machine may be busy with something else
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=bool(os.environ.get("CI")),
    )
    settings.load_profile("ours")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let what a test has printed travel to the process that reports, lone surrogates too."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgres_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    """Every server by its version, as in ``postgres_servers[18]``."""
    with PostgresServers() as servers:
        yield servers


@pytest.fixture(scope="session", params=POSTGRES_VERSIONS, ids=lambda version: f"pg{version}")
def postgres_server(
    request: pytest.FixtureRequest, postgres_servers: PostgresServers
) -> PostgresServer:
    """A server of each version in turn."""
    return _start(postgres_servers, request.param)


@pytest.fixture(scope="session")
def postgres18_server(postgres_servers: PostgresServers) -> PostgresServer:
    """The newest server, for tests that have nothing to learn from a second one."""
    return _start(postgres_servers, 18)


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with the current schema, on each version."""
    yield from _database(postgres_server, postgres_server.upgraded)


@pytest.fixture
def empty_postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with nothing in it, on each version."""
    yield from _database(postgres_server)


@pytest.fixture
def postgres18_dsn(postgres18_server: PostgresServer) -> Iterator[str]:
    """A database with the current schema, on the newest version only."""
    yield from _database(postgres18_server, postgres18_server.upgraded)


@pytest.fixture
def sqlite_dsn(tmp_path: Path, upgraded_sqlite: Path) -> str:
    """A SQLite file with the current schema."""
    shutil.copy(upgraded_sqlite, tmp_path / "tasks.db")
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture
def empty_sqlite_dsn(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.fixture(scope="session")
def upgraded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``sqlite_dsn`` copies: copying is quicker than migrating."""
    path = tmp_path_factory.mktemp("upgraded") / "tasks.db"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session", params=REDIS_KINDS)
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each kind in turn."""
    with _start_redis(request.param) as server:
        yield server


@pytest.fixture
def redis_dsn(redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis and an empty Valkey."""
    yield redis_server.dsn()
    with redis_server.client() as client:
        client.flushall()


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A server that the test may stop, kill and start again: it keeps whatever it has answered."""
    with _start_redis("valkey", "--appendfsync", "always") as server:
        yield server


def _start_redis(kind: str, *options: str) -> RedisServer:
    try:
        return RedisServer(kind, *options)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI runs every test, and this one needs a Redis server: {error}")
        pytest.skip(str(error))


def _database(server: PostgresServer, template: str = "template1") -> Iterator[str]:
    name = server.create_database(template)
    yield server.dsn(name)
    server.drop_database(name)


def _start(servers: PostgresServers, version: int) -> PostgresServer:
    try:
        return servers[version]
    except ImportError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI runs every test, and this one needs PostgreSQL: {error}")
        pytest.skip(f"no PostgreSQL server: {error}")


@pytest.fixture(params=["locmem", "sqlite"])
def conn_string(request: pytest.FixtureRequest) -> str:
    """A store of its own for each test, on each that needs no server."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_dsn"))
    return f"locmem://{uuid4()}"


@pytest.fixture
def gator(conn_string: str) -> Iterator[Gator]:
    """A gator on each store that needs no server."""
    gator = Gator(conn_string)
    yield gator
    gator.close()


@pytest.fixture(scope="session")
def running_sqs_server() -> Iterator[SQSServer]:
    """An SQS that all tests share."""
    with SQSServer() as server:
        yield server


@pytest.fixture
def sqs_server(
    running_sqs_server: SQSServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SQSServer]:
    """An SQS with nothing in it, and the credentials for it in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    running_sqs_server.reset()
    yield running_sqs_server
    running_sqs_server.reset()
