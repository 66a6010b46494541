"""The application's own table, next to those of the queue."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, Engine, create_engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RAISES: Final = "raises"
HANGS: Final = "hangs"


class Base(DeclarativeBase):
    """The base of the application's models."""


class Document(Base):
    """One file. What the task finds out is empty until it has run."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(index=True)
    """Which run of the demo made this row; its tasks have the same text as their tag."""
    path: Mapped[str]
    trouble: Mapped[str | None]
    """What goes wrong in the first attempt: ``RAISES`` or ``HANGS``."""
    trouble_met_by: Mapped[int | None]
    """The worker process that it happened to, so that it happens once."""
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    line_count: Mapped[int | None]
    indexed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    indexed_by: Mapped[int | None]
    """The worker process that found all this out."""

    @property
    def was_retried(self) -> bool:
        """Whether it was indexed after an attempt that had failed."""
        return self.trouble == RAISES and self.indexed_by is not None

    @property
    def was_rescued(self) -> bool:
        """Whether another worker has indexed it than the one that hung."""
        met_by, indexed_by = self.trouble_met_by, self.indexed_by
        return self.trouble == HANGS and None not in (met_by, indexed_by) and met_by != indexed_by


def connect(dsn: str) -> Engine:
    """Return the application's engine."""
    url = make_url(dsn)
    # SQLite has one writer at a time, the others wait; five seconds, if not told otherwise.
    is_sqlite = url.get_backend_name() == "sqlite"
    return create_engine(url, connect_args={"timeout": 30.0} if is_sqlite else {})
