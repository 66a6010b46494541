"""Several full queues, worked off while somebody holds a snapshot from before."""

from functools import partial

from ..draining import work_off
from ..peers.contenders import OURS, Contender
from ..run import Run
from ..servers import Store
from ..stats import Measurement, by_key, interleave
from .flat.snapshot import held

ROUNDS = 5


def measure(store: Store, run: Run) -> list[Measurement]:
    """Compare the last round with the first, for all contenders."""
    number = 500 if run.quick else 20_000
    found = interleave(
        1 if run.quick else 3,
        {
            contender.name: partial(_rounds, store, contender, int(number * contender.share))
            for contender in (OURS, *run.peers(store.kind))
        },
        warm_up=False,
        peers=run.names(store.kind),
    )
    samples = by_key(found)
    return [
        Measurement("first round", "tasks/s", samples["first"]),
        Measurement("last round", "tasks/s", samples["last"]),
        Measurement("last / first", "", samples["last / first"]),
    ]


def _rounds(store: Store, contender: Contender, number: int) -> dict[str, float]:
    rates = []
    with contender.database(store) as dsn, held(dsn):
        for _ in range(ROUNDS):
            contender.ask(dsn, "fill", number)
            store.analyze(dsn)
            rates.append(work_off(dsn, contender, 1, number))
    return {"first": rates[0], "last": rates[-1], "last / first": rates[-1] / rates[0]}
