"""The one place that calls SQS."""

import email.utils
from typing import TYPE_CHECKING, Any

from ...clock import Clock
from ...exceptions import UnknownBackendError
from .errors import explain
from .settings import Settings

if TYPE_CHECKING:
    from boto3.session import Session
    from types_boto3_sqs import SQSClient

LONG_POLL = 20
"""Seconds that SQS waits for a message at most."""
READ_TIMEOUT = 10
CONNECT_TIMEOUT = 5
ATTEMPTS = 4
"""How often boto3 sends one request, with growing pauses in between."""
CONNECTIONS = 32


def check_library() -> None:
    """Make sure that boto3 is installed.

    Raises:
        UnknownBackendError: It is not.
    """
    try:
        import boto3  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnknownBackendError(
            "sqs:// needs the package boto3: pip install 'alligator-sql[sqs]'"
        ) from error


class Service:
    """Calls SQS from any thread; what goes wrong becomes one of our errors.

    Long polls have connections of their own and are sent once: who polls tries on anyway.

    Args:
        settings: Where SQS is.
        clock: The clock of this machine.

    Raises:
        InvalidOptionError: boto3 cannot work with the region, the endpoint or its own files.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._ahead: float | None = None
        try:
            import boto3

            session = boto3.session.Session(region_name=settings.region)
            self._calls = self._client(session, READ_TIMEOUT, ATTEMPTS)
            self._polls = self._client(session, LONG_POLL + READ_TIMEOUT, 1)
        except Exception as error:  # of boto3's many kinds
            raise explain(error, settings) from None

    def _client(self, session: "Session", read_timeout: int, attempts: int) -> "SQSClient":
        from botocore.config import Config

        client = session.client(
            "sqs",
            endpoint_url=self.settings.endpoint,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=read_timeout,
                max_pool_connections=CONNECTIONS,
                retries={"total_max_attempts": attempts, "mode": "standard"},
                tcp_keepalive=True,
            ),
        )
        client.meta.events.register("after-call.sqs", self._note_date)
        return client

    def close(self) -> None:
        """Close all connections that nobody uses at the moment."""
        self._calls.close()
        self._polls.close()

    def call(self, operation: str, queue: str = "", **parameters: Any) -> dict[str, Any]:
        """Call ``operation``, as boto3 names it, and return the answer.

        Args:
            operation: Such as ``"send_message_batch"``.
            queue: The name of the queue in messages.
            parameters: What boto3 takes.

        Raises:
            StoreUnavailableError: SQS does not answer, is overloaded, or refuses us.
            SchemaError: There is no such queue; names the command.
            AlligatorException: SQS finds something wrong with the request.
        """
        client = self._polls if operation == "receive_message" else self._calls
        try:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except Exception as error:  # of boto3's many kinds
            # Not chained: the text may have parts of a signature, and tracebacks are logged.
            raise explain(error, self.settings, queue) from None
        return answer

    def now(self) -> float:
        """Return the time by the clock of SQS, from the date of its last answer.

        Behind by up to a second, never ahead, wherever the clock of this machine stands.
        """
        if self._ahead is None:
            return self._clock.now()
        return self._clock.monotonic() + self._ahead

    def _note_date(self, http_response: Any, **_: Any) -> None:
        date = email.utils.parsedate_tz(http_response.headers.get("Date") or "")
        if date is not None:
            self._ahead = email.utils.mktime_tz(date) - self._clock.monotonic()
