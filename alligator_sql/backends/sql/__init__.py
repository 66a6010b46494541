"""Tasks in a relational database: PostgreSQL 14 and later, SQLite 3.35 and later."""

from .backend import SQLBackend

__all__ = ["SQLBackend"]
