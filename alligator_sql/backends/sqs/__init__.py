"""Tasks in Amazon SQS, and in the servers that speak its protocol."""

from .backend import SQSBackend

__all__ = ["SQSBackend"]
