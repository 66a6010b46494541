"""What alligator-sql raises.

::

    AlligatorException
    ├── MultipleDelayError            delay_by and delay_until at once
    ├── UnknownOptionError            an option nobody knows               (TypeError)
    ├── InvalidOptionError            an option with an impossible value   (ValueError)
    ├── SignatureError                the call does not fit the function   (TypeError)
    ├── PayloadError                  arguments that cannot be stored      (ValueError)
    ├── UnknownModuleError            the function's module cannot be imported
    ├── UnknownCallableError          the module has no such function
    ├── ForbiddenCallableError        the policy refuses this function
    ├── Unsupported                   the backend cannot do this           (NotImplementedError)
    ├── UnknownBackendError           a DSN that no backend serves         (ValueError)
    ├── SchemaError                   the tables are missing or too old
    ├── StoreUnavailableError         the store does not answer            (ConnectionError)
    ├── UnsafeStoreError              the store is set up to lose tasks
    ├── QueueFull                     the store has no room for more tasks
    ├── UnknownTaskError              no task has this id                  (LookupError)
    ├── TaskFailedError               the awaited task failed
    ├── ResultUnavailableError        the task ended, its result was not stored
    └── ResultTimeoutError            the task did not end in time         (TimeoutError)
"""


class AlligatorException(Exception):  # noqa: N818 - Alligator's own name
    """The root of everything that alligator-sql raises."""


class MultipleDelayError(AlligatorException):
    """``delay_by`` and ``delay_until`` were both given."""


class UnknownOptionError(AlligatorException, TypeError):
    """An option that the task class does not have."""


class InvalidOptionError(AlligatorException, ValueError):
    """An option whose value cannot be honoured."""


class SignatureError(AlligatorException, TypeError):
    """The arguments do not fit the signature of the function."""


class PayloadError(AlligatorException, ValueError):
    """The arguments cannot be stored: not JSON, or too large."""


class UnknownModuleError(AlligatorException):
    """The module of a function cannot be imported here."""


class UnknownCallableError(AlligatorException):
    """The module has no such function, or the function has no importable name."""


class ForbiddenCallableError(AlligatorException):
    """The policy does not allow this function to be a task or a hook."""


class Unsupported(AlligatorException, NotImplementedError):  # noqa: N818 - the designed name
    """The backend cannot do what was asked; the message names who could."""


class UnknownBackendError(AlligatorException, ValueError):
    """No backend serves this connection string."""


class SchemaError(AlligatorException):
    """The tables are missing or too old; the message names the command."""


class StoreUnavailableError(AlligatorException, ConnectionError):
    """The store cannot be reached or refused the connection."""


class UnsafeStoreError(AlligatorException):
    """The store is set up in a way that loses tasks; the message names the setting."""


class QueueFull(AlligatorException):
    """The store has no room for more tasks. Nothing was stored; what is there stays."""


class UnknownTaskError(AlligatorException, LookupError):
    """No stored task has this id."""


class TaskFailedError(AlligatorException):
    """The task whose result was awaited has failed or was canceled.

    Attributes:
        kind: The name of the exception's type, or the reason (``"expired"``).
        traceback: The stored traceback as text; empty when there is none.
    """

    def __init__(self, message: str, *, kind: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class ResultUnavailableError(AlligatorException):
    """The task ended well, but no result was stored for it."""


class ResultTimeoutError(AlligatorException, TimeoutError):
    """The task did not end within the given time."""
