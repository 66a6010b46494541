"""Records that are made for each task.

A frozen dataclass sets each of its fields by a call of a function, so that it takes three times
as long to make one. Only the type checker keeps these from being changed.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a dataclass whose objects are compared and hashed by value, and not changed."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
