"""Alligator 1.0's queues in SQLite.

A queue is a table ``queue_<name>`` with the columns task_id, data and delay_until, and no
key: one id may be there twice.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..exceptions import InvalidOptionError, StoreUnavailableError
from .base import Entry, LegacyStore

LOCK_TIMEOUT = 30.0
"""Seconds to wait for others that write to the file."""
_TABLE = "queue_"
_COLUMNS = {"task_id", "data", "delay_until"}


class SQLiteStore(LegacyStore):
    """Alligator 1.0's SQLite file.

    Args:
        conn_string: ``sqlite:///old.db``, see :func:`find_file`.
        read_only: Open the file for reading only.

    Raises:
        StoreUnavailableError: There is no such file.
        InvalidOptionError: The string may mean either of two files.
    """

    def __init__(self, conn_string: str, *, read_only: bool = False) -> None:
        self._path = find_file(conn_string)
        mode = "ro" if read_only else "rw"
        with self._translated():
            self._connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode={mode}", uri=True, timeout=LOCK_TIMEOUT
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def len(self, queue: str) -> int:
        """Return how many tasks wait."""
        table = self._table(queue)
        with self._translated():
            return int(self._connection.execute(f"select count(*) from {table}").fetchone()[0])  # noqa: S608 - quoted

    def pages(self, queue: str, size: int) -> Iterator[list[Entry]]:
        """Yield the tasks in the order in which they were pushed."""
        # As blobs: a text that is no UTF-8 would end the whole page.
        select = f"""select cast(task_id as blob), cast(data as blob), delay_until, rowid
                       from {self._table(queue)} where rowid > ? order by rowid limit ?"""  # noqa: S608 - quoted
        last = -(2**63)
        while True:
            with self._translated():
                rows = self._connection.execute(select, (last, size)).fetchall()
            if not rows:
                return
            last = rows[-1][3]
            yield [Entry(task_id or b"", data, due, row) for task_id, data, due, row in rows]

    def remove(self, queue: str, entries: Sequence[Entry]) -> int:
        """Remove rows, in one transaction."""
        # SQLite gives the number of a removed last row to the next one that is inserted.
        delete = f"""delete from {self._table(queue)} where rowid = ?
                        and cast(task_id as blob) is ? and cast(data as blob) is ?"""  # noqa: S608 - quoted
        rows = [(entry.row, entry.task_id, entry.data) for entry in entries]
        with self._translated(), self._connection:
            return self._connection.executemany(delete, rows).rowcount

    def _table(self, queue: str) -> str:
        """Return the quoted table of ``queue`` after a look at what it is."""
        name = f"{_TABLE}{queue}"
        with self._translated():
            columns = self._connection.execute("select name from pragma_table_info(?)", (name,))
            if {column for (column,) in columns} >= _COLUMNS:
                return '"{}"'.format(name.replace('"', '""'))
            tables = self._connection.execute("select name from sqlite_master where type = 'table'")
            names = [table for (table,) in tables if table.startswith(_TABLE)]
        known = ", ".join(repr(table.removeprefix(_TABLE)) for table in names) or "none"
        raise InvalidOptionError(
            f"{self._path} has no queue {queue!r} of Alligator 1.0. Its queues: {known}."
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"{self._path} cannot be used: {error}") from error


def find_file(conn_string: str) -> Path:
    """Return the file of ``conn_string``.

    Of ``sqlite:///tmp/x.db`` Alligator 1.0 makes ``/tmp/x.db``, and we ``tmp/x.db``. It is
    the one that exists. ``sqlite:////tmp/x.db`` and ``sqlite://tmp/x.db`` leave no doubt.

    Raises:
        StoreUnavailableError: Neither exists.
        InvalidOptionError: Both exist.
    """
    text = conn_string.partition("://")[2]
    candidates = [Path(text), Path(text.removeprefix("/"))]
    found = [path for path in candidates if path.is_file()]
    if not found:
        looked_for = " or ".join(dict.fromkeys(str(path) for path in candidates))
        raise StoreUnavailableError(f"There is no file {looked_for}.")
    if not found[0].samefile(found[-1]):
        raise InvalidOptionError(
            f"There is {found[0]}, which Alligator 1.0 would open, and {found[1]} as well. Give "
            f"sqlite:///{found[0]} for the first, or sqlite://{found[1]} for the second."
        )
    return found[0]
