"""The best practices of Alligator 1.0."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alligator_sql import Gator, UnknownBackendError, Worker

from . import tasks

ROOT = Path(__file__).parents[2]

APPLICATION = {
    "__init__.py": "",
    "gator.py": """
from alligator_sql import Gator
gator = Gator()
""",
    "caches.py": """
from pathlib import Path
def expensive_cache_rebuild(user_id):
    Path("rebuilt").write_text(str(user_id))
""",
    "views.py": """
from .caches import expensive_cache_rebuild
from .gator import gator
def previously_slow_view(user_id):
    gator.task(expensive_cache_rebuild, user_id=user_id)
""",
}


def run(folder: Path, conn_string: str, *arguments: str) -> None:
    environment = os.environ | {"ALLIGATOR_CONN": conn_string, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)


def test_one_gator_configured_by_the_environment(tmp_path: Path, sqlite_dsn: str) -> None:
    """An application of several files, its view and its worker, each a process of its own."""
    (tmp_path / "myapp").mkdir()
    for name, text in APPLICATION.items():
        (tmp_path / "myapp" / name).write_text(text)
    view = "from myapp.views import previously_slow_view; previously_slow_view(42)"
    run(tmp_path, sqlite_dsn, "-c", view)
    assert not (tmp_path / "rebuilt").exists()
    run(tmp_path, sqlite_dsn, "-m", "alligator_sql.cli", "worker", "--burst")
    assert (tmp_path / "rebuilt").read_text() == "42"


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, conn_string: str) -> None:
    monkeypatch.setenv("ALLIGATOR_CONN", conn_string)
    gator = Gator()
    assert gator.conn_string == conn_string
    gator.task(tasks.add, 1, 2)
    assert gator.pop() == 3
    gator.close()


def test_without_a_store_the_message_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLIGATOR_CONN", raising=False)
    with pytest.raises(UnknownBackendError, match="ALLIGATOR_CONN"):
        Gator()


def test_options_are_shared_by_the_tasks_of_the_block(gator: Gator, journal: list[Any]) -> None:
    with gator.options(retries=3) as opts:
        first = opts.task(tasks.note, "mass mail")
        second = opts.task(tasks.note, "follow counts")
    assert first.task_id != second.task_id
    assert (first.retries, second.retries) == (3, 3)
    Worker(gator, burst=True).run_forever()
    assert journal == ["mass mail", "follow counts"]


def test_options_do_not_leak_into_the_gator(gator: Gator) -> None:
    with gator.options(retries=3):
        assert gator.task(tasks.add, 1, 2).retries == 0
