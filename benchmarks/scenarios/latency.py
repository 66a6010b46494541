"""How soon a worker in another process starts a task that was just committed."""

import tempfile
from functools import partial

from ..peers.contenders import DRIVERS, OURS, Contender
from ..peers.roles import GAPS
from ..run import Run
from ..servers import Store
from ..stats import Measurement, by_key, interleave, percentiles


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare the workers of all contenders."""
    number = 10 if run.quick else 300
    taking_part = [OURS, *run.peers(store.kind)]
    if store.kind != "redis":
        taking_part.append(DRIVERS[store.kind])
    found = interleave(
        1 if run.quick else 3,
        {
            contender.name: partial(_percentiles, store, contender, number)
            for contender in taking_part
        },
        warm_up=False,
        peers=run.names(store.kind),
    )
    rival = run.rival(store.kind).name
    return [Measurement(name, "ms", samples, rival) for name, samples in by_key(found).items()]


def _percentiles(store: Store, contender: Contender, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    number = max(4, int(number * contender.share))
    with contender.database(store) as dsn, contender.waiting(dsn):
        for pace in GAPS:
            with tempfile.NamedTemporaryFile() as file:
                waits = contender.ask(dsn, "time_starts", number, file.name, pace)
            found |= {f"{pace}: {key}": value for key, value in percentiles(waits).items()}
    return found
