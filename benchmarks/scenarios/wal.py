"""How much log PostgreSQL writes for the whole life of a task."""

import random
import string
from functools import partial

import psycopg

from ..draining import work_off
from ..peers.contenders import DRIVERS, OURS, Contender
from ..peers.tasks import SUBJECT
from ..run import Run
from ..servers import Store
from ..stats import Measurement, by_key, interleave

LARGE = "".join(random.Random(0).choices(string.ascii_letters, k=1500))
WARM_UP = 200


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare all contenders, which enqueue in batches."""
    number = 1_000 if run.quick else 20_000
    driver = DRIVERS[store.kind]
    every = [OURS, driver, *run.peers(store.kind)]
    measurements = []
    cases = [
        ("small", SUBJECT, False, every),
        ("small, checkpoint between", SUBJECT, True, [OURS, driver]),
        ("1.5 kB", LARGE, False, every),
    ]
    for name, subject, checkpoint, taking_part in cases[:2] if run.quick else cases:
        contenders = {
            contender.name: partial(_life, store, contender, number, subject, checkpoint)
            for contender in taking_part
        }
        found = interleave(
            1 if run.quick else 3, contenders, warm_up=False, peers=run.names(store.kind)
        )
        measurements += [
            Measurement(f"{name}: {phase}", "bytes/task", samples, driver.name)
            for phase, samples in by_key(found).items()
        ]
    return measurements


def _life(
    store: Store, contender: Contender, number: int, subject: str, checkpoint: bool
) -> dict[str, float]:
    """Return the bytes of log per task.

    The first change of a page after a checkpoint logs the whole page. Two warm-ups around a
    checkpoint leave none of that to the measurement, unless ``checkpoint`` asks for another
    one while the queue is full, which is the worst moment.
    """
    number = int(number * contender.share)
    with (
        contender.database(store) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):

        def live(count: int, checkpoint: bool) -> list[int]:
            positions = [_position(connection)]
            contender.ask(dsn, "fill", count, subject)
            positions.append(_position(connection))
            if checkpoint:
                connection.execute("checkpoint")
            work_off(dsn, contender, 1, count)
            return [*positions, _position(connection)]

        live(WARM_UP, checkpoint=False)
        connection.execute("checkpoint")
        live(WARM_UP, checkpoint=False)
        start, full, end = live(number, checkpoint)
    return {
        "enqueue": (full - start) / number,
        "claim and ack": (end - full) / number,
        "whole life": (end - start) / number,
    }


def _position(connection: "psycopg.Connection[tuple[int]]") -> int:
    return connection.execute("select (pg_current_wal_insert_lsn() - '0/0')::int8").fetchall()[0][0]
