"""How soon an idle worker in another process starts a task that was just enqueued."""

import tempfile
from functools import partial

from ...peers.contenders import HUEY, OURS, Contender, peers
from ...servers import Store
from ...stats import Measurement, by_key, interleave, percentiles


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare the workers of all contenders."""
    number = 20 if quick else 300
    found = interleave(
        1 if quick else 3,
        {
            contender.name: partial(_percentiles, store, contender, int(number * contender.share))
            for contender in (OURS, *peers())
        },
        warm_up=False,
    )
    return [
        Measurement(f"idle: {name}", "ms", samples, HUEY.name)
        for name, samples in by_key(found).items()
    ]


def _percentiles(store: Store, contender: Contender, number: int) -> dict[str, float]:
    with (
        store.database() as dsn,
        tempfile.NamedTemporaryFile() as file,
        contender.waiting(dsn),
    ):
        return percentiles(contender.ask(dsn, "time_starts", number, file.name))
