"""Several queues, and workers for each."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from alligator_sql import ALL, Gator, Worker

from . import tasks


@pytest.fixture
def queues(conn_string: str) -> Iterator[tuple[Gator, Gator]]:
    with ExitStack() as stack:
        mail = stack.enter_context(closing(Gator(conn_string, queue_name="mail")))
        images = stack.enter_context(closing(Gator(conn_string, queue_name="images")))
        mail.task(tasks.note, "mail")
        images.task(tasks.note, "image")
        yield mail, images


def test_each_gator_sees_its_queue(queues: tuple[Gator, Gator]) -> None:
    mail, images = queues
    mail.task(tasks.note, "mail")
    assert (mail.len(), images.len()) == (2, 1)
    assert images.pop() == "image"
    assert images.pop() is None


def test_a_worker_consumes_the_queue_of_its_gator(
    queues: tuple[Gator, Gator], journal: list[Any]
) -> None:
    mail, images = queues
    assert Worker(images).queues == ("images",)
    Worker(images, to_consume=ALL, burst=True).run_forever()
    assert journal == ["image"]
    Worker(mail, burst=True).run_forever()
    assert journal == ["image", "mail"]


@pytest.mark.parametrize("to_consume", ["images,mail", "images, mail", ["images", "mail"]])
def test_to_consume_names_queues_in_their_order(
    queues: tuple[Gator, Gator], journal: list[Any], to_consume: Any
) -> None:
    mail, _ = queues
    Worker(mail, to_consume=to_consume, burst=True).run_forever()
    assert journal == ["image", "mail"]


def test_to_consume_leaves_other_queues_alone(
    queues: tuple[Gator, Gator], journal: list[Any]
) -> None:
    mail, images = queues
    Worker(mail, to_consume="images", burst=True).run_forever()
    assert journal == ["image"]
    assert (mail.len(), images.len()) == (1, 0)


def test_a_task_may_name_its_queue(queues: tuple[Gator, Gator]) -> None:
    mail, images = queues
    mail.options(queue="images").task(tasks.note, "from the mail gator")
    assert (mail.len(), images.len()) == (1, 2)
