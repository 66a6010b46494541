"""The queues of SQS: looked up by name, and created when somebody asks for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...clock import SYSTEM_CLOCK
from ...exceptions import SchemaError
from .service import LONG_POLL, Service, check_library
from .settings import FIFO, Settings, read

DEAD = "-dead"
"""What the names of dead-letter queues end with, before ``.fifo``."""
LARGEST_MESSAGE = 1024 * 1024
LONGEST_RETENTION = 14 * 86_400
"""Seconds that SQS keeps a message at most."""
MISSING = "missing"
"""What :func:`check` says of a queue that is not there."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue, as SQS described it when it was looked up.

    Attributes:
        name: Our name of it, without the prefix.
        url: What requests name it by.
        largest: Bytes that a message may have.
        dead_letters: The ARN of its dead-letter queue, or None.
    """

    name: str
    url: str
    largest: int = LARGEST_MESSAGE
    dead_letters: str | None = None

    @property
    def fifo(self) -> bool:
        """Whether SQS keeps its order and tells duplicates for five minutes."""
        return self.name.endswith(FIFO)

    @property
    def group(self) -> str:
        """The message group of all tasks: the order of the whole queue is kept."""
        return self.name


class Queues:
    """Looks queues up, each once.

    Args:
        service: What calls SQS.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, Queue] = {}

    def __getitem__(self, name: str) -> Queue:
        """Return the queue ``name``.

        Raises:
            SchemaError: There is none; names the command.
            InvalidOptionError: SQS has no such names.
        """
        queue = self._known.get(name)
        if queue is None:
            url = self._url(name, QueueName=self._service.settings.full_name(name))
            queue = self._known.setdefault(name, self._described(name, url))
        return queue

    def dead_letters_of(self, queue: Queue) -> Queue | None:
        """Return the dead-letter queue of ``queue``, or None when it has none.

        Raises:
            SchemaError: It is named, but does not exist.
        """
        if queue.dead_letters is None:
            return None
        account, name = queue.dead_letters.split(":")[-2:]
        key = f"{account}:{name}"
        found = self._known.get(key)
        if found is None:
            ours = name.removeprefix(self._service.settings.prefix)
            url = self._url(ours, QueueName=name, QueueOwnerAWSAccountId=account)
            found = self._known.setdefault(key, self._described(ours, url))
        return found

    def _url(self, name: str, **parameters: str) -> str:
        return str(self._service.call("get_queue_url", name, **parameters)["QueueUrl"])

    def _described(self, name: str, url: str) -> Queue:
        attributes = _attributes(self._service, name, url, ["MaximumMessageSize", "RedrivePolicy"])
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        return Queue(
            name=name,
            url=url,
            largest=int(attributes.get("MaximumMessageSize", LARGEST_MESSAGE)),
            dead_letters=policy.get("deadLetterTargetArn"),
        )


def create(conn_string: str, names: Sequence[str], max_receives: int | None = None) -> list[str]:
    """Create the queues that are missing, and return a line for each about what was done.

    What exists is left as it is, but for the redrive policy when ``max_receives`` is given.

    Args:
        conn_string: ``sqs://us-west-2/``.
        names: Our names of the queues.
        max_receives: How often SQS hands a message out before it moves it to the dead-letter
            queue, which is created too; None leaves the redrive policies alone.

    Raises:
        InvalidOptionError: SQS has no such names.
        StoreUnavailableError: SQS does not answer or refuses us.
    """
    settings, service = _service(conn_string)
    try:
        lines = []
        for name in names:
            url, done = _ensure(service, settings, name)
            if max_receives is not None:
                dead = dead_letter_name(name)
                dead_url, _ = _ensure(service, settings, dead)
                dead_arn = _attributes(service, dead, dead_url, ["QueueArn"])["QueueArn"]
                policy = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": str(max_receives)}
                service.call(
                    "set_queue_attributes",
                    name,
                    QueueUrl=url,
                    Attributes={"RedrivePolicy": json.dumps(policy)},
                )
                done += f", dead letters go to {settings.full_name(dead)}"
            lines.append(f"queue {settings.full_name(name)}: {done}")
        return lines
    finally:
        service.close()


def check(conn_string: str, names: Sequence[str]) -> dict[str, str]:
    """Return what is said about each queue: that it is there, or an error with the command."""
    settings, service = _service(conn_string)
    try:
        queues = Queues(service)
        return {settings.full_name(name): _state(queues, name) for name in names}
    finally:
        service.close()


def _state(queues: Queues, name: str) -> str:
    try:
        queue = queues[name]
    except SchemaError:
        return MISSING
    if queue.dead_letters is None:
        return "exists, without a dead-letter queue"
    return f"exists, dead letters go to {queue.dead_letters.rpartition(':')[2]}"


def dead_letter_name(name: str) -> str:
    """Return our name of the dead-letter queue of the queue ``name``."""
    return name.removesuffix(FIFO) + DEAD + (FIFO if name.endswith(FIFO) else "")


def _service(conn_string: str) -> tuple[Settings, Service]:
    check_library()
    settings = read(conn_string)
    return settings, Service(settings, SYSTEM_CLOCK)


def _ensure(service: Service, settings: Settings, name: str) -> tuple[str, str]:
    full_name = settings.full_name(name)
    try:
        return str(service.call("get_queue_url", name, QueueName=full_name)["QueueUrl"]), "exists"
    except SchemaError:
        attributes = {
            "MessageRetentionPeriod": str(LONGEST_RETENTION),
            "ReceiveMessageWaitTimeSeconds": str(LONG_POLL),
        }
        if name.endswith(FIFO):
            attributes["FifoQueue"] = "true"
        created = service.call("create_queue", name, QueueName=full_name, Attributes=attributes)
        return str(created["QueueUrl"]), "created"


def _attributes(service: Service, name: str, url: str, wanted: Sequence[str]) -> dict[str, Any]:
    answer = service.call("get_queue_attributes", name, QueueUrl=url, AttributeNames=list(wanted))
    return dict(answer.get("Attributes", {}))
