"""The backend on Redis and Valkey."""

from .backend import RedisBackend

__all__ = ["RedisBackend"]
