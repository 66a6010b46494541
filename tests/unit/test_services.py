"""The loop of the background services."""

import logging
import threading
from collections.abc import Callable

import pytest

from alligator_sql.workers.services import base
from alligator_sql.workers.services.base import Service
from alligator_sql.workers.services.listener import Listener
from tests.helpers import PATIENCE, wait_until


class Flaky(Service):
    """Fails as often as it is told, and again in its last moment."""

    def __init__(self, failures: int) -> None:
        super().__init__("flaky", interval=0.0)
        self._left = failures
        self.runs = 0

    def run_once(self) -> None:
        self.runs += 1
        if self._left:
            self._left -= 1
            raise ConnectionError("away")

    def finished(self) -> None:
        raise ConnectionError("away at the end")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(base, "SHORTEST_BACKOFF", 0.01)
    caplog.set_level(logging.WARNING)


def test_it_says_once_what_is_wrong_and_once_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Flaky(failures=4)
    assert not service.healthy
    service.start()
    wait_until(lambda: service.healthy)
    assert service.runs >= 5
    service.stop()
    service.join(PATIENCE)
    assert not service.healthy
    assert [record.getMessage() for record in caplog.records] == [
        "flaky has trouble, trying on: away",
        "flaky works again",
        "flaky could not finish: away at the end",
    ]


def test_pauses_grow_up_to_a_limit_and_differ() -> None:
    def pauses(failures: int) -> list[float]:
        service = Flaky(0)
        service._failures = failures
        return [service._rest() for _ in range(50)]

    assert all(0.005 <= pause <= 0.01 for pause in pauses(1))
    assert all(0.02 <= pause <= 0.04 for pause in pauses(3))
    assert all(base.LONGEST_BACKOFF / 2 <= pause <= base.LONGEST_BACKOFF for pause in pauses(1000))
    assert len(set(pauses(3))) > 10


def test_a_listener_that_goes_deaf_wakes_the_worker_once_to_look_more_often() -> None:
    hears, woken = threading.Event(), []

    def listen(*_: object) -> bool:
        if not hears.wait(0.01):
            raise ConnectionError("deaf")
        return False

    listener = Listener(_Store(listen), ["all"], lambda: woken.append(True))  # type: ignore[arg-type]
    hears.set()
    listener.start()
    wait_until(lambda: listener.healthy)
    assert not woken
    hears.clear()
    wait_until(lambda: not listener.healthy)
    wait_until(lambda: listener._failures >= 2)
    assert len(woken) == 1
    listener.stop()
    listener.join(PATIENCE)


class _Store:
    """What a listener needs of a backend."""

    def __init__(self, listen: Callable[..., bool]) -> None:
        self.listen = listen

    def unlisten(self) -> None:
        pass
