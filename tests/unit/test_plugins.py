"""Backends that other distributions offer by an entry point."""

import subprocess
import sys
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from typing import Any

import pytest

from alligator_sql import Gator, UnknownBackendError, Unsupported
from alligator_sql.backends.locmem import LocalMemoryBackend

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
PROGRAM = """
import sys
from alligator_sql import Gator
Gator("locmem://"), Gator("sqlite:///tasks.db")
sys.exit("alligator_sql.backends.plugins" in sys.modules)
"""


class TakesPrefix(LocalMemoryBackend):
    """A backend that has an option."""

    options = frozenset({"prefix"})

    def __init__(self, conn_string: str, *, prefix: str = "") -> None:
        super().__init__(conn_string)
        self.prefix = prefix


class _Installed(Distribution):
    """A distribution without files that offers one backend."""

    def __init__(self, name: str, entry: str) -> None:
        self._texts = {
            "METADATA": METADATA.format(name=name),
            "entry_points.txt": f"[alligator_sql.backends]\n{entry}\n",
        }

    def read_text(self, filename: str) -> str | None:
        return self._texts.get(filename)

    def locate_file(self, path: Any) -> Any:
        return Path(path)


@pytest.fixture
def install(monkeypatch):
    """Install made-up distributions for the time of the test."""

    class Finder(DistributionFinder):
        def __init__(self) -> None:
            self.installed: list[Distribution] = []

        def find_spec(self, fullname, path, target=None):
            return None

        def find_distributions(self, context=None):
            return self.installed

    finder = Finder()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    return lambda name, entry: finder.installed.append(_Installed(name, entry))


@pytest.mark.parametrize("conn_string", ["mine://host", "MINE://host", "mine+driver://host"])
def test_the_scheme_of_a_distribution(install, conn_string):
    install("alligator-mine", "mine = alligator_sql.backends.locmem:LocalMemoryBackend")
    assert type(Gator(conn_string).store) is LocalMemoryBackend


def test_an_option_that_it_has(install):
    install("alligator-mine", f"mine = {__name__}:TakesPrefix")
    store = Gator("mine://", prefix="p").store
    assert isinstance(store, TakesPrefix)
    assert store.prefix == "p"
    with pytest.raises(Unsupported, match=r"schema: .* local memory .*postgresql://"):
        Gator("mine://", schema="s")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_such_module:Backend", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("alligator_sql.backends:Nothing", "AttributeError"),
        ("alligator_sql.gator:Gator", "not a subclass of alligator_sql.backends.base.Backend"),
        ("alligator_sql.ids:new_id", "not a subclass"),
    ],
)
def test_a_broken_one_is_named(install, target, why):
    install("alligator-mine", f"mine = {target}")
    with pytest.raises(UnknownBackendError, match=f"mine:// is offered by alligator-mine.*{why}"):
        Gator("mine://")


def test_two_for_one_scheme_are_named(install):
    for name in ("alligator-yours", "alligator-mine"):
        install(name, "mine = alligator_sql.backends.locmem:LocalMemoryBackend")
    with pytest.raises(UnknownBackendError, match="alligator-mine and alligator-yours"):
        Gator("mine://")


def test_an_unknown_scheme_lists_them_without_importing_them(install):
    install("alligator-mine", "mine = no_such_module:Backend")
    with pytest.raises(UnknownBackendError, match=r"sqlite://.*mine:// \(alligator-mine\)"):
        Gator("other://")


def test_a_built_in_scheme_is_not_replaced(install):
    install("alligator-mine", "locmem = no_such_module:Backend")
    assert type(Gator("locmem://").store) is LocalMemoryBackend


def test_nothing_looks_for_distributions_before(tmp_path):
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, check=True, timeout=60)
