"""The heart of a worker: keeps a runner busy and persists what comes back.

One thread talks to the store. It claims what can be started soon, hands it to the runner,
and sends the outcomes back in batches: with the next claim in one transaction, when enough
have gathered, when they have waited for some milliseconds, or when there is nothing else
to do.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from enum import IntEnum
from queue import Empty, SimpleQueue
from uuid import UUID

from .. import jitter
from ..backends import Backend
from ..context import TaskContext
from ..exceptions import (
    Interrupted,
    LeaseLost,
    StoreUnavailableError,
    TaskCanceled,
    WorkerStopping,
)
from ..execution import clean
from ..lease import Lease
from ..messages import Claim, Failure
from ..outcomes import Canceled, Failed, Outcome, Released, Settlement
from .polling import Polling
from .prefetch import LARGEST_BATCH, Prefetch
from .runners.base import Done, Runner, is_stuck

logger = logging.getLogger(__name__)

FLUSH_SIZE = LARGEST_BATCH // 2
"""Outcomes that are sent without waiting for more."""
FLUSH_AFTER = 0.01
"""Seconds after which outcomes are sent, however few."""
STALLED_AFTER = 1.0
"""Seconds without an end after which unstarted tasks are handed back to the others."""
LONGEST_WAIT = 1.0
LEASE_PAUSE = 0.1
"""Seconds between two looks whether there is a lease again."""
LONGEST_BACKOFF = 10.0
STORE_PRECISION = 0.001
"""Seconds to which a store may round its clock; SQLite does."""
LOOK_AHEAD_FROM = 0.1
"""Seconds: before pauses from this length on, the store is asked when the next task is due."""
LAST_WORDS = 2.0
"""Seconds that interrupted tasks get to end before they are released."""
LAST_PAUSE = 0.2
"""Seconds between two tries to send the last outcomes."""
STUCK_INTERVAL = 1.0
"""Seconds between two looks for tasks that do not stop."""


class Urgency(IntEnum):
    """How soon a worker that was told to stop is to end."""

    FINISH = 1
    """Claim nothing more, let what runs come to its end."""
    RELEASE = 2
    """Interrupt what runs, and give it to others."""


class Consumer:
    """Claims tasks, runs them and acknowledges them, until it is stopped.

    Args:
        backend: Where the tasks come from.
        queues: Their queues, in the order in which they are served.
        lease: The lease under which tasks are held.
        slots: How many tasks run at the same time.
        make_runner: Returns what runs them, given a function that gets each outcome.
        polling: How long to wait before looking at an idle queue again.
        finished: Called with each claim and its outcome.
        give_up: Returns what becomes of a task that still runs when the process is to end.
        listening: Tells whether something would wake this consumer.
        max_tasks: Stop after so many tasks; 0 for no limit.
        burst: Stop when nothing is due.
    """

    def __init__(
        self,
        backend: Backend,
        queues: Sequence[str],
        lease: Lease,
        slots: int,
        make_runner: Callable[[Done], Runner],
        polling: Polling,
        finished: Callable[[Claim, Outcome], None],
        give_up: Callable[[Claim, Interrupted | None], Outcome],
        listening: Callable[[], bool],
        *,
        max_tasks: int = 0,
        burst: bool = False,
    ) -> None:
        self._backend = backend
        self._queues = queues
        self._lease = lease
        self._slots = slots
        self._runner = make_runner(self._done)
        self._prefetch = Prefetch(slots)
        self._polling = polling
        self._finished = finished
        self._give_up = give_up
        self._listening = listening
        self._max_tasks = max_tasks
        self._burst = burst
        self._ended: deque[tuple[Claim, Outcome, float, float]] = deque()
        self._settlements: list[Settlement] = []
        self._known: dict[UUID, UUID] = {}  # what is held -> the incarnation that holds it
        self._canceled: set[UUID] = set()
        self._lost = False
        self._stuck = 0
        self._next_stuck_look = 0.0
        self._oldest = 0.0
        self._stirred: SimpleQueue[None] = SimpleQueue()
        self._plenty = False
        self._woken = False
        self._stopping = False
        self._dry = False
        self._held = 0
        self._claimed = 0
        self._next_look = 0.0
        self._progress = time.monotonic()
        self._failures = 0

    # What other threads and signal handlers may call

    def wake(self) -> None:
        """Look for tasks now."""
        self._woken = True
        self._stir()

    def stop(self) -> None:
        """Claim nothing more; :meth:`run` returns once everything held is settled."""
        self._stopping = True
        self._stir()

    def lose(self) -> None:
        """Forget what is held: the lease is lost, and others may have it by now."""
        self._lost = True
        for context in self._runner.running():
            context.interrupt(LeaseLost("the lease of its worker was lost"))
        self._stir()

    def held(self) -> set[UUID]:
        """Return what is held at this moment."""
        return set(self._known)

    def running(self) -> list[TaskContext]:
        """Return the contexts of what runs at this moment."""
        return self._runner.running()

    def cancel(self, canceled: Collection[UUID]) -> None:
        """Stop the tasks that somebody has canceled; those not started yet are not."""
        self._canceled.update(canceled)
        for context in self._runner.running():
            if context.claim is not None and context.claim.id in canceled:
                context.interrupt(TaskCanceled("canceled while it ran"))

    def refusal(self, claim: Claim) -> Outcome | None:
        """Return what becomes of a claim that must not be started any more, else None."""
        if claim.worker != self._lease.worker:  # it may run elsewhere by now
            return Released()
        if claim.id in self._canceled:
            failure = Failure("TaskCanceled", "canceled before it began", reason="canceled")
            return Canceled(failure)
        return None

    def _stir(self) -> None:
        # A SimpleQueue may be put to from a signal handler; an Event may not be set there.
        if self._stirred.empty():
            self._stirred.put(None)

    def _done(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        self._ended.append((claim, outcome, seconds, time.monotonic()))
        waiting = self._runner.waiting
        if not waiting or (self._plenty and waiting <= self._prefetch.reserve):
            self._plenty = False
            self._stir()

    # The loop

    def run(self, urgency: Callable[[], Urgency]) -> bool:
        """Consume until stopped, and return whether everything that was held is settled.

        Args:
            urgency: How soon to end, asked once :meth:`stop` was called.
        """
        self._runner.start()
        try:
            settled = self._consume(urgency)
        finally:
            self._runner.stop()
        # While the store has trouble, it may have claimed for us what we never heard of.
        return settled and not self._failures

    def _consume(self, urgency: Callable[[], Urgency]) -> bool:
        while True:
            if self._stopping and urgency() >= Urgency.RELEASE:
                return self._release_running()
            if self._is_over():
                return not self._held or self._release_running()
            self._turn()

    def _is_over(self) -> bool:
        if self._settlements or (self._held and not self._holds_only_stuck()):
            return False
        limited = 0 < self._max_tasks <= self._claimed
        return self._stopping or limited or (self._burst and self._dry)

    def _holds_only_stuck(self) -> bool:
        """Whether nothing is held but what does not stop: there is no use in waiting for it."""
        if not self._stuck:
            return False
        stuck = [context.claim for context in self._runner.running() if is_stuck(context)]
        held = [
            claim
            for claim in stuck
            if claim is not None and (claim.id in self._known or claim.worker != self._lease.worker)
        ]
        return len(held) == self._held

    def _turn(self) -> None:
        if self._lost:
            self._drop_lost()
        self._collect()
        now = time.monotonic()
        if now >= self._next_stuck_look:
            self._next_stuck_look = now + STUCK_INTERVAL
            self._stuck = self._runner.set_stuck_aside()
        if self._stopping or now - self._progress > STALLED_AFTER:
            self._hand_back(now)
        flush = self._must_flush(now)
        wanted = self._wanted(now, flush)
        try:
            if wanted or flush:
                self._exchange(wanted)
                self._recovered()
        except StoreUnavailableError as error:
            self._back_off(error)
        except Exception as error:  # whatever the store does, the loop goes on
            self._back_off(error)
            self._settle_one_by_one()
        self._wait(time.monotonic())

    def _collect(self) -> None:
        if not self._ended:
            return
        self._progress = time.monotonic()
        present, tasks, total = self._lease.worker, 0, 0.0
        while self._ended:
            claim, outcome, seconds, ended = self._ended.popleft()
            self._held -= 1
            if claim.worker != present:
                self._finished(claim, Released())  # whoever holds it now says what became of it
                continue
            tasks += 1
            total += seconds
            self._settle(Settlement(claim, outcome, seconds, ended))
            self._finished(claim, outcome)
        if tasks:
            self._prefetch.observe(total / tasks, tasks)
            self._dry = False  # it may come back at once, or have enqueued others
            if self._burst:
                self._next_look = self._progress

    def _drop_lost(self) -> None:
        """Drop what nobody has heard of before the lease was lost: it does not count any more.

        The next incarnation may have claimed something by now. That stays.
        """
        self._lost = False
        present = self._lease.worker
        unstarted = self._runner.withdraw()
        own = [claim for claim in unstarted if claim.worker == present]
        settlements = [one for one in self._settlements if one.claim.worker == present]
        logger.warning(
            "dropped %d outcomes and %d unstarted tasks with the lease",
            len(self._settlements) - len(settlements), len(unstarted) - len(own),
        )  # fmt: skip
        self._held -= len(unstarted) - len(own)
        self._claimed -= len(unstarted) - len(own)
        self._settlements = settlements
        self._known = {known: worker for known, worker in self._known.items() if worker == present}
        self._canceled &= self._known.keys()
        self._runner.submit(own)

    def _settle(self, settlement: Settlement) -> None:
        if not self._settlements:
            self._oldest = time.monotonic()
        self._settlements.append(settlement)

    def _hand_back(self, now: float) -> None:
        """Give unstarted claims to whoever has time for them."""
        withdrawn = self._runner.withdraw()
        for claim in withdrawn:
            self._settle(Settlement(claim, Released()))
        self._held -= len(withdrawn)
        self._claimed -= len(withdrawn)
        if withdrawn:
            self._prefetch.stalled(now - self._progress)
            self._next_look = now + self._polling.pause(listening=False)

    def _wanted(self, now: float, flush: bool) -> int:
        """How many tasks to claim now; a flush is a good moment, it needs a transaction anyway."""
        if self._stopping or not (flush or self._woken or now >= self._next_look):
            return 0
        if not self._lease.is_held:
            return 0
        wanted = self._prefetch.wanted(self._held - self._stuck, at_hand=flush)
        if self._max_tasks:
            wanted = min(wanted, self._max_tasks - self._claimed)
        return min(wanted, LARGEST_BATCH)

    def _must_flush(self, now: float) -> bool:
        if not self._settlements or (self._failures and not self._woken and now < self._next_look):
            return False
        return (
            self._held == 0
            or len(self._settlements) >= FLUSH_SIZE
            or now - self._oldest >= FLUSH_AFTER
        )

    def _exchange(self, wanted: int) -> None:
        """Send the outcomes, and claim up to ``wanted`` tasks in the same transaction."""
        settlements = self._settlements
        if self._failures and self._backend.capabilities.lease:
            self._hand_back_lost_claims()
        if not wanted:
            self._backend.ack(settlements)
            self._settled(settlements)
            return
        woken, self._woken = self._woken, False
        # What has just been announced must not wait for the answer to this.
        next_due = self._next_due() if self._looks_ahead() and not woken else math.inf
        begins = self._held - self._stuck + wanted <= self._slots
        claims = self._backend.claim(
            self._queues, wanted, self._lease.worker, settlements,
            thorough=self._burst, begins=begins,
        )  # fmt: skip
        self._settled(settlements)
        self._known.update([(claim.id, claim.worker) for claim in claims])
        if self._canceled:
            # What was canceled may have been tried again; a new cancellation is found anew.
            self._canceled.difference_update([claim.id for claim in claims])
        self._held += len(claims)
        self._claimed += len(claims)
        self._dry = not claims
        now = time.monotonic()
        if claims:
            self._progress = now
            self._polling.active()
            self._submit(claims)
        elif woken:
            self._polling.disturbed()
        if len(claims) == wanted or (woken and not claims and self._looks_ahead()):
            self._next_look = now
        else:
            pause = self._polling.pause(listening=self._listening())
            self._next_look = min(now + pause, next_due)

    def _submit(self, claims: list[Claim]) -> None:
        self._plenty = True
        suspects = [claim for claim in claims if claim.suspect]
        if suspects:
            claims = [claim for claim in claims if not claim.suspect]
            self._submit_suspects(suspects)
        self._runner.submit(claims)

    def _submit_suspects(self, suspects: list[Claim]) -> None:
        """Announce suspects before they start, no more than can start soon; others go back."""
        begin, back = suspects[: self._slots], suspects[self._slots :]
        try:
            held = self._backend.begin(begin)
        except Exception as error:  # then none of them may start
            logger.warning("could not announce %d suspects, they go back: %s", len(begin), error)
            held = set()
        back += [claim for claim in begin if claim.id not in held]
        for claim in back:
            self._settle(Settlement(claim, Released()))
        self._held -= len(back)
        self._claimed -= len(back)
        self._runner.submit([claim for claim in begin if claim.id in held])

    def _settled(self, settlements: list[Settlement]) -> None:
        settled = [settlement.claim.id for settlement in settlements]
        for task_id in settled:
            self._known.pop(task_id, None)
        if self._canceled:
            self._canceled.difference_update(settled)
        self._settlements = []

    def _hand_back_lost_claims(self) -> None:
        """After trouble the store may have claimed for us what we never heard of."""
        lost = self._backend.reconcile(self._lease.worker, self._known.keys())
        if lost:
            logger.warning("handed back %d tasks whose claim was lost on the way", len(lost))

    def _looks_ahead(self) -> bool:
        """Whether to ask when the next task is due, because the next pause may be long."""
        return not self._burst and self._polling.upcoming >= LOOK_AHEAD_FROM

    def _next_due(self) -> float:
        """When the next task of the future is due, on our clock.

        Asked before the claim: what becomes due between the two is claimed or known.
        """
        due = self._backend.due_in(self._queues)
        # A look that comes a moment early finds nothing.
        return math.inf if due is None else time.monotonic() + due + STORE_PRECISION

    def _wait(self, now: float) -> None:
        if self._settlements and not self._failures:
            timeout = self._oldest + FLUSH_AFTER - now
        elif self._wants_more():
            timeout = self._next_look - now
        else:
            timeout = LONGEST_WAIT if self._lease.is_held else LEASE_PAUSE
        if timeout <= 0 or (self._woken and self._wants_more()) or self._is_over():
            return
        try:
            self._stirred.get(timeout=min(timeout, LONGEST_WAIT))
        except Empty:
            return

    def _wants_more(self) -> bool:
        if self._stopping or 0 < self._max_tasks <= self._claimed or not self._lease.is_held:
            return False
        return self._prefetch.wanted(self._held - self._stuck) > 0

    def _back_off(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            known = isinstance(error, StoreUnavailableError)
            logger.warning(
                "the store has trouble, trying on: %s", error, exc_info=None if known else error
            )
        pause = min(LONGEST_BACKOFF, 0.2 * 2.0 ** min(self._failures, 20))
        # All workers lose the store at the same moment; they must not come back at the same one.
        self._next_look = time.monotonic() + pause * jitter.uniform(0.5, 1.0)
        self._woken = False

    def _recovered(self) -> None:
        if self._failures:
            logger.warning("the store works again")
        self._failures = 0

    def _settle_one_by_one(self) -> None:
        """Keep one outcome that the store refuses from holding up all the others."""
        for settlement in tuple(self._settlements):
            try:
                self._backend.ack([settlement])
            except StoreUnavailableError:
                return
            except Exception as error:
                logger.exception("the outcome of task %s was refused", settlement.claim.id)
                self._replace_outcome(settlement.claim, error)
            self._settlements.remove(settlement)
            self._known.pop(settlement.claim.id, None)

    def _replace_outcome(self, claim: Claim, error: Exception) -> None:
        failure = Failure(type(error).__name__, clean(f"The outcome was refused: {error}"))
        try:
            self._backend.ack([Settlement(claim, Failed(failure))])
        except Exception:  # then it is handed back with the claims that nobody knows of
            logger.exception("task %s cannot be ended", claim.id)

    def _release_running(self) -> bool:
        """Interrupt what runs, and give up whatever is held then, in one write.

        Coroutines and children end at once. A thread is only told: it ends with the process.
        """
        self._hand_back(time.monotonic())
        for context in self._runner.running():
            context.interrupt(WorkerStopping("its worker stops"))
        deadline = time.monotonic() + LAST_WORDS
        self._collect()
        while (
            self._held
            and not self._holds_only_stuck()
            and (rest := deadline - time.monotonic()) > 0
        ):
            with suppress(Empty):
                self._stirred.get(timeout=rest)
            self._collect()
        held = self._known.keys() - {settlement.claim.id for settlement in self._settlements}
        left = [
            (context.claim, context.interruption)
            for context in self._runner.running()
            if context.claim is not None and context.claim.id in held
        ]
        if left:
            logger.warning("giving up %d tasks that still run", len(left))
        for claim, why in left:
            outcome = self._give_up(claim, why)
            self._settle(Settlement(claim, outcome))
            self._finished(claim, outcome)
        self._send_last()
        return not self._known

    def _send_last(self) -> None:
        """Send what is left, for a while also to a store that has trouble.

        Without it the lease ends, and others take the tasks back as after a crash.
        """
        deadline = time.monotonic() + LAST_WORDS
        while self._settlements:
            try:
                self._backend.ack(self._settlements)
                self._settled(self._settlements)
            except StoreUnavailableError as error:
                if time.monotonic() >= deadline:
                    logger.warning("could not release the tasks: %s", error)
                    return
                time.sleep(LAST_PAUSE)
            except Exception:
                self._settle_one_by_one()
                return
