"""How much of the time of one worker process is spent in tasks that take a while."""

from functools import partial

from ..draining import work_off
from ..peers.contenders import Contender
from ..peers.tasks import COROUTINE_SECONDS, SPIN_SECONDS, THREAD_SECONDS
from ..run import Run
from ..servers import Store
from ..stats import Measurement, interleave

THREADS = 64
COROUTINES = 2000
IDEAL = "ideal"


def one_thread(store: Store, run: Run) -> list[Measurement]:
    """Compare a worker with one thread, in tasks that are busy for 1 ms, with what is possible."""
    return _measure(store, run, {"function": "spin"}, 1, SPIN_SECONDS, "1 thread, 1 ms")


def threads(store: Store, run: Run) -> list[Measurement]:
    """Compare a worker with 64 threads, in tasks that sleep 5 ms, with what is possible."""
    options = {"function": "rest", "concurrency": THREADS}
    return _measure(store, run, options, THREADS, THREAD_SECONDS, f"{THREADS} threads, 5 ms")


def coroutines(store: Store, run: Run) -> list[Measurement]:
    """Compare a worker with 2,000 coroutines, that sleep 100 ms, with what is possible."""
    options = {"function": "arest", "executor": "asyncio", "concurrency": COROUTINES}
    title = f"{COROUTINES:,} coroutines, 100 ms"
    return _measure(store, run, options, COROUTINES, COROUTINE_SECONDS, title)


def _measure(
    store: Store, run: Run, options: dict[str, object], at_a_time: int, seconds: float, title: str
) -> list[Measurement]:
    contender = Contender("Worker", ("ours", "Ours"), options)
    ideal = at_a_time / seconds
    number = int(ideal * (0.2 if run.quick else 5)) + at_a_time
    samples = interleave(
        1 if run.quick else 5,
        {contender.name: partial(_rate, store, contender, at_a_time, number)},
        warm_up=not run.quick,
    )
    samples[IDEAL] = [ideal] * len(samples[contender.name])
    return [Measurement(title, "tasks/s", samples, IDEAL)]


def _rate(store: Store, contender: Contender, at_a_time: int, number: int) -> float:
    with contender.database(store) as dsn:
        contender.ask(dsn, "fill", number)
        store.analyze(dsn)
        rate = work_off(dsn, contender, 1, number)
    # Between the first start and the last one, all have run but those that started last.
    return rate * (number - at_a_time) / number
