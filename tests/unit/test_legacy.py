"""The adapter for clients of Alligator 1.0; how users meet it is in tests/compat."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from alligator_sql import Unsupported
from alligator_sql.backends.legacy import LegacyBackend, adapt
from alligator_sql.ids import id_of
from alligator_sql.messages import Failure, Message, Moment, Payload
from alligator_sql.outcomes import (
    Canceled,
    Failed,
    Released,
    Retry,
    Settlement,
    Snoozed,
    Succeeded,
)

FAILURE = Failure("ValueError", "no")
PAYLOAD = json.dumps({"task_id": "t", "func": "m:f"})


class EarlyClient:
    """Keeps tasks as (id, data, due)."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, Payload, float | None]] = []

    def len(self, queue_name: str) -> int:
        return len(self.tasks)

    def drop_all(self, queue_name: str) -> None:
        self.tasks.clear()

    def push(self, queue_name: str, task_id: str, data: Payload) -> None:
        self.tasks.append((task_id, data, None))

    def pop(self, queue_name: str) -> Payload | None:
        return self.tasks.pop(0)[1] if self.tasks else None

    def get(self, queue_name: str, task_id: str) -> Payload | None:
        for task in self.tasks:
            if task[0] == task_id:
                self.tasks.remove(task)
                return task[1]
        return None


class Client(EarlyClient):
    def push(
        self, queue_name: str, task_id: str, data: Payload, delay_until: float | None = None
    ) -> None:
        self.tasks.append((task_id, data, delay_until))


class AnythingClient(EarlyClient):
    def push(self, *args: Any, **options: Any) -> None:
        self.tasks.append((args[1], args[2], options.get("delay_until")))


def message(payload: Payload = PAYLOAD, **changes: Any) -> Message:
    return Message(id_of("t"), "t", "mail", "m:f", payload, **changes)


def claimed(backend: LegacyBackend) -> Any:
    backend.enqueue([message()])
    [claim] = backend.claim(["mail"], 1, uuid4())
    return claim


@pytest.mark.parametrize(
    ("client", "delays"), [(EarlyClient(), False), (Client(), True), (AnythingClient(), True)]
)
def test_it_can_delay_when_push_can(client: Any, delays: bool) -> None:
    assert adapt(client).capabilities.delay is delays


def test_an_absolute_moment_reaches_push_as_it_is() -> None:
    client = Client()
    adapt(client).enqueue([message(due=Moment(2e9, absolute=True))])
    assert client.tasks == [("t", PAYLOAD, 2e9)]


def test_a_delay_becomes_a_timestamp() -> None:
    client = Client()
    adapt(client).enqueue([message(due=Moment(60))])
    assert client.tasks[0][2] == pytest.approx(time.time() + 60, abs=5)


def test_a_task_that_is_due_is_pushed_without_a_moment() -> None:
    client = AnythingClient()
    adapt(client).enqueue([message()])
    assert client.tasks == [("t", PAYLOAD, None)]


def test_a_client_that_cannot_delay_is_not_asked_to() -> None:
    client = EarlyClient()
    with pytest.raises(Unsupported, match=r"EarlyClient\.push"):
        adapt(client).enqueue([message(due=Moment(60))])
    assert client.tasks == []


def test_claims_take_no_more_than_wanted() -> None:
    client = Client()
    backend = adapt(client)
    backend.enqueue([message(), message(), message()])
    assert len(backend.claim(["mail"], 2, uuid4())) == 2
    assert backend.len("mail") == 1


@pytest.mark.parametrize("outcome", [Succeeded(3), Failed(FAILURE), Canceled(FAILURE)])
def test_what_has_ended_is_gone(outcome: Any) -> None:
    backend = adapt(Client())
    claim = claimed(backend)
    assert backend.ack([Settlement(claim, outcome)]) == {claim.id}
    assert backend.len("mail") == 0


def test_a_retry_stores_the_new_payload() -> None:
    client = Client()
    backend = adapt(client)
    again = json.dumps({"task_id": "t", "func": "m:f", "retries": 1})
    backend.ack([Settlement(claimed(backend), Retry(60, FAILURE, again))])
    [(task_id, data, due)] = client.tasks
    assert (task_id, data) == ("t", again)
    assert due == pytest.approx(time.time() + 60, abs=5)


def test_a_retry_of_a_client_that_cannot_delay_comes_at_once() -> None:
    client = EarlyClient()
    backend = adapt(client)
    backend.ack([Settlement(claimed(backend), Retry(60, FAILURE, PAYLOAD))])
    assert client.tasks == [("t", PAYLOAD, None)]


def test_what_was_handed_back_is_pushed_as_it_was() -> None:
    client = Client()
    backend = adapt(client)
    backend.ack([Settlement(claimed(backend), Released())])
    assert client.tasks == [("t", PAYLOAD, None)]


def test_what_nobody_could_import_is_pushed_for_later() -> None:
    client = Client()
    backend = adapt(client)
    backend.ack([Settlement(claimed(backend), Snoozed(5, ImportError("m")))])
    assert client.tasks[0][2] == pytest.approx(time.time() + 5, abs=5)


def test_a_payload_in_a_format_of_its_own_gets_an_id() -> None:
    client = Client()
    backend = adapt(client)
    backend.enqueue([message(b"\x1f\x8b compressed")])
    [claim] = backend.claim(["mail"], 1, uuid4())
    backend.ack([Settlement(claim, Released())])
    [(task_id, data, _)] = client.tasks
    assert len(task_id) == 36
    assert data == b"\x1f\x8b compressed"


@pytest.mark.parametrize(
    "call",
    [
        lambda backend: backend.find("t"),
        lambda backend: backend.ending("t", 0),
        lambda backend: backend.rescue(3),
        lambda backend: backend.prune(1, 1),
        lambda backend: backend.listen(["mail"], 0),
        lambda backend: backend.is_async(object()),
        lambda backend: backend.enqueue([message()], object()),
        lambda backend: backend.enqueue([message(priority=1)]),
        lambda backend: backend.enqueue([message(tags=("x",))]),
        lambda backend: backend.enqueue([message(unique_key="k")]),
        lambda backend: backend.enqueue([message(expires=Moment(1))]),
    ],
)
def test_what_it_cannot_do_it_refuses(call: Any) -> None:
    client = Client()
    with pytest.raises(Unsupported, match="legacy backend cannot"):
        call(adapt(client))
    assert client.tasks == []


def test_drop_all_reaches_the_client() -> None:
    client = Client()
    backend = adapt(client)
    backend.enqueue([message()])
    backend.drop_all("mail")
    assert client.tasks == []
