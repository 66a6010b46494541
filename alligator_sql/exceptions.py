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
    ├── SchemaError                   tables or queues are missing or not ours
    ├── StoreUnavailableError         the store does not answer            (ConnectionError)
    ├── UnsafeStoreError              the store is set up to lose tasks
    ├── QueueFull                     the store has no room for more tasks
    ├── UnknownTaskError              no task has this id                  (LookupError)
    ├── TaskFailedError               the awaited task failed
    ├── ResultUnavailableError        the task ended, its result was not stored
    ├── ResultTimeoutError            the task did not end in time         (TimeoutError)
    ├── NoTaskError                   no task runs here                    (LookupError)
    ├── ChildDied                     the process that ran the task died
    ├── Verdict                       raised by a task: what becomes of it
    │   ├── Retry                     try again after a delay, as after a failure
    │   ├── Snooze                    put it back for a while, at no cost
    │   └── Discard                   fail, whatever retries are left
    └── Interrupted                   raised in a task that has to stop
        ├── TaskTimeout               its time is over                     (TimeoutError)
        ├── TaskCanceled              somebody has canceled it
        ├── LeaseLost                 somebody else has it
        └── WorkerStopping            its worker stops, it runs again elsewhere
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
    """The tables are missing or too old, a queue of SQS is missing, a Redis key is not ours.

    The message says what to do, and names the command where one helps.
    """


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


class NoTaskError(AlligatorException, LookupError):
    """``current_task()`` was called where no task runs."""


class ChildDied(AlligatorException):
    """The process that ran the task died; the message has its signal or exit code."""


class Verdict(AlligatorException):
    """What a task raises to say what is to become of it."""


class Retry(Verdict):
    """This attempt failed; try again, if a retry is left.

    Ex::

        raise Retry(30)  # when the other side says so

    Args:
        delay: Seconds to wait, instead of the task's own backoff.
        message: Why, for those who read the errors.

    Raises:
        InvalidOptionError: No number of seconds, from 0 to a hundred years.
    """

    def __init__(self, delay: float, message: str = "") -> None:
        self.delay = _check_delay(delay)
        super().__init__(message or f"try again in {delay:g} s")


class Snooze(Verdict):
    """Put the task back for a while; the attempt does not count.

    Args:
        delay: Seconds until it is due again.

    Raises:
        InvalidOptionError: No number of seconds, from 0 to a hundred years.
    """

    def __init__(self, delay: float) -> None:
        self.delay = _check_delay(delay)
        super().__init__(f"snoozed for {delay:g} s")


class Discard(Verdict):
    """The task fails at once, however many retries are left.

    Args:
        reason: Why, for those who read the errors.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Interrupted(AlligatorException):
    """Raised in a task that has to stop.

    In a coroutine it is what an ``asyncio.CancelledError`` means; a thread gets it at its next
    step in Python, thus not while it waits in C.
    """


class TaskTimeout(Interrupted, TimeoutError):  # noqa: N818 - as its siblings are called
    """The time of the task is over. The attempt failed."""


class TaskCanceled(Interrupted):
    """Somebody has canceled the task."""


class LeaseLost(Interrupted):
    """Somebody else has the task, or has ended it: nothing that it does here may count."""


class WorkerStopping(Interrupted):
    """The worker stops and gives the task up: it runs again elsewhere."""


LONGEST_DELAY = 100 * 366 * 86_400.0
"""A hundred years in seconds: what every store can add to its now."""


def _check_delay(delay: float) -> float:
    if not isinstance(delay, int | float) or not 0 <= delay <= LONGEST_DELAY:
        raise InvalidOptionError(f"delay={delay!r}: give seconds from 0 to {LONGEST_DELAY:.0f}.")
    return float(delay)
