"""A durable task queue in the database that the application already has.

Any importable function is a task. ``gator.task(f, 1, x=2)`` stores the call inside the
application's own transaction; ``alligator-sql worker`` runs it.
"""

from .constants import (
    ALL,
    BLOCKED,
    CANCELED,
    DELAYED,
    FAILED,
    RETRYING,
    RUNNING,
    SUCCESS,
    WAITING,
)
from .enqueuing import Options
from .exceptions import (
    AlligatorException,
    ForbiddenCallableError,
    InvalidOptionError,
    MultipleDelayError,
    PayloadError,
    QueueFull,
    ResultTimeoutError,
    ResultUnavailableError,
    SchemaError,
    SignatureError,
    StoreUnavailableError,
    TaskFailedError,
    UnknownBackendError,
    UnknownCallableError,
    UnknownModuleError,
    UnknownOptionError,
    UnknownTaskError,
    UnsafeStoreError,
    Unsupported,
)
from .gator import Gator
from .tasks import Task
from .workers import Worker

__all__ = [
    "ALL",
    "BLOCKED",
    "CANCELED",
    "DELAYED",
    "FAILED",
    "RETRYING",
    "RUNNING",
    "SUCCESS",
    "WAITING",
    "AlligatorException",
    "ForbiddenCallableError",
    "Gator",
    "InvalidOptionError",
    "MultipleDelayError",
    "Options",
    "PayloadError",
    "QueueFull",
    "ResultTimeoutError",
    "ResultUnavailableError",
    "SchemaError",
    "SignatureError",
    "StoreUnavailableError",
    "Task",
    "TaskFailedError",
    "UnknownBackendError",
    "UnknownCallableError",
    "UnknownModuleError",
    "UnknownOptionError",
    "UnknownTaskError",
    "UnsafeStoreError",
    "Unsupported",
    "Worker",
]
