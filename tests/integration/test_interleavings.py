"""Two connections at once: what comes of each order, exactly.

The first of the two has done everything but commit when the second begins. On PostgreSQL the
second then waits for it, or goes on without it, and each test says which. SQLite has one
writer at a time: the second comes after the first.
"""

import os
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from alligator_sql.backends.sql import backend as sql_backend
from alligator_sql.constants import CANCELED, FAILED, RUNNING, SUCCESS, WAITING
from alligator_sql.ids import new_id
from alligator_sql.messages import Claim, Failure, Message, TaskRecord, WorkerRecord
from alligator_sql.outcomes import Failed, Outcome, Retry, Settlement, Succeeded
from alligator_sql.testing.clock import advance
from tests.helpers import Background, in_transactions, wait_until
from tests.postgres_servers import empty

from .overlapping import Action, Overlapping, Side

TTL = 1000.0
MAX_CRASHES = 3
FAILURE = Failure("ValueError", "no such follower")
COMPLETED = Succeeded(completed=True)


@pytest.fixture(scope="module")
def shared_database(postgres18_server) -> Iterator[str]:
    """One PostgreSQL database for all tests: to make one takes longer than a test."""
    name = postgres18_server.create_database(postgres18_server.upgraded)
    yield postgres18_server.dsn(name)
    postgres18_server.drop_database(name)


@pytest.fixture(params=["postgresql", "sqlite"])
def both(request) -> Iterator[Overlapping]:
    """Two sides of one database of each kind, with nothing in it."""
    if request.param == "sqlite":
        dsn = request.getfixturevalue("sqlite_dsn")
    else:
        dsn = request.getfixturevalue("shared_database")
        empty(dsn)
    with Overlapping(dsn) as sides:
        yield sides


@pytest.fixture
def on_postgresql(shared_database) -> Iterator[Overlapping]:
    """Two sides of a PostgreSQL database: on SQLite nobody writes beside an open transaction."""
    empty(shared_database)
    with Overlapping(shared_database) as sides:
        yield sides


# What the sides do


def message(**changes) -> Message:
    task_id = new_id()
    return Message(task_id, str(task_id), "mail", "tests.tasks:send", "payload", **changes)


def store(side: Side, count: int = 1) -> list[UUID]:
    """Store tasks, and return their ids."""
    return [receipt.id for receipt in side.backend.enqueue([message() for _ in range(count)])]


def join(side: Side) -> UUID:
    worker = WorkerRecord(uuid4(), "host", os.getpid(), ("mail",), TTL)
    assert side.backend.heartbeat(worker, first=True)
    return worker.id


def claiming(worker: UUID, limit: int = 1) -> Action:
    return lambda side: side.backend.claim(["mail"], limit, worker, thorough=True, begins=True)


def claimed(side: Side) -> Claim:
    """Store a task and let a new worker hold it."""
    store(side)
    claim: Claim
    (claim,) = claiming(join(side))(side)
    return claim


def acking(claim: Claim, outcome: Outcome | None = None) -> Action:
    settlement = Settlement(claim, outcome or Succeeded())
    return lambda side: side.backend.ack([settlement])


def rescue(side: Side) -> list[UUID]:
    return side.backend.rescue(MAX_CRASHES)


def prune(side: Side) -> int:
    """Remove what ended a minute ago: first successes, then the others."""
    return side.backend.prune(60.0, 60.0)


def beating(claim: Claim) -> Action:
    worker = WorkerRecord(claim.worker, "host", os.getpid(), ("mail",), TTL)
    return lambda side: side.backend.heartbeat(worker)


def enqueuing(one: Message) -> Action:
    """Enqueue in a transaction of the caller."""

    def enqueue(side: Side) -> tuple[UUID, bool]:
        with in_transactions(side.engine).begin() as connection:
            (receipt,) = side.backend.enqueue([one], connection)
            return receipt.id, receipt.duplicate

    return enqueue


def completing(claim: Claim) -> Action:
    """Complete in a transaction of the caller."""

    def complete(side: Side) -> bool:
        with in_transactions(side.engine).begin() as connection:
            return side.backend.complete(Settlement(claim, COMPLETED), connection)

    return complete


def canceling(task_id: UUID) -> Action:
    return lambda side: side.backend.cancel("mail", str(task_id))


def retrying(task_id: UUID) -> Action:
    return lambda side: side.backend.retry("mail", str(task_id))


def record(both: Overlapping, task_id: UUID) -> TaskRecord:
    found = both.ours.backend.find(str(task_id))
    assert found is not None
    return found


def let_die(both: Overlapping, claim: Claim) -> None:
    """Let the lease of the worker of ``claim`` end."""
    both.ours.backend.leave(claim.worker, holds=True)


# Claims


def test_two_claims_at_once_take_different_tasks(both):
    ids = store(both.ours, 3)
    one, other = join(both.ours), join(both.theirs)
    got = both.run(claiming(one, 2), claiming(other, 2))
    assert [claim.id for claim in got.first] == ids[:2]
    assert [claim.id for claim in got.second] == ids[2:]
    assert not got.waited


def test_what_a_claim_gave_back_is_claimed_next(both):
    (task_id,) = store(both.ours)
    one, other = join(both.ours), join(both.theirs)
    got = both.run(claiming(one), claiming(other), commits=False)
    if both.is_postgresql:
        assert (got.second, got.waited) == ([], False)
    else:
        assert [claim.id for claim in got.second] == [task_id]
    again = claiming(other)(both.theirs)
    assert len(got.second + again) == 1


def test_a_task_is_claimed_once_its_enqueue_is_committed(both):
    one = message()
    worker = join(both.theirs)
    got = both.run(enqueuing(one), claiming(worker))
    assert not got.waited
    found = got.second if not both.is_postgresql else claiming(worker)(both.theirs)
    assert [claim.id for claim in found] == [one.id]


def test_a_task_that_is_committed_late_is_claimed_though_later_ones_were(on_postgresql):
    early, later = message(), message()
    worker = join(on_postgresql.theirs)

    def pass_it() -> None:
        enqueuing(later)(on_postgresql.theirs)
        (claim,) = claiming(worker)(on_postgresql.theirs)
        assert claim.id == later.id

    on_postgresql.run(enqueuing(early), claiming(worker), meanwhile=pass_it)
    (claim,) = claiming(worker)(on_postgresql.theirs)
    assert claim.id == early.id


def test_a_claim_of_a_worker_that_leaves_at_the_same_time_comes_back(both, monkeypatch):
    (task_id,) = store(both.ours)
    worker = join(both.ours)
    got = both.run(
        lambda side: side.backend.leave(worker, holds=False),
        claiming(worker),
    )
    if both.is_postgresql:  # the claim saw the row of the worker, which is gone now
        assert ([claim.id for claim in got.second], got.waited) == ([task_id], False)
        monkeypatch.setattr(sql_backend, "STRAY_INTERVAL", 0.0)
        assert rescue(both.ours) == [task_id]
    else:
        assert got.second == []
    assert record(both, task_id).status == WAITING


def test_a_worker_that_leaves_while_it_claims_is_rescued(both):
    (task_id,) = store(both.ours)
    worker = join(both.ours)
    got = both.run(claiming(worker), lambda side: side.backend.leave(worker, holds=True))
    assert [claim.id for claim in got.first] == [task_id]
    assert not got.waited
    assert rescue(both.ours) == [task_id]
    assert record(both, task_id).status == WAITING


# Outcomes


def test_a_rescuer_leaves_a_task_whose_outcome_is_on_its_way(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(acking(claim), rescue)
    assert (got.first, got.second) == ({claim.id}, [])
    assert not got.waited
    assert (record(both, claim.id).status, record(both, claim.id).crashes) == (SUCCESS, 0)


def test_a_rescuer_takes_a_task_whose_outcome_was_rolled_back(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(acking(claim), rescue, commits=False)
    assert sorted(got.second + rescue(both.ours)) == [claim.id]
    assert record(both, claim.id).crashes == 1


def test_an_outcome_that_waits_for_a_rescuer_comes_too_late(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(rescue, acking(claim))
    assert (got.first, got.second) == ([claim.id], set())
    assert got.waited is not False
    assert (record(both, claim.id).status, record(both, claim.id).crashes) == (WAITING, 1)


def test_an_outcome_whose_rescuer_gave_up_counts(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(rescue, acking(claim), commits=False)
    assert got.second == {claim.id}
    assert (record(both, claim.id).status, record(both, claim.id).crashes) == (SUCCESS, 0)


@pytest.mark.parametrize("outcome", [Succeeded(), Failed(FAILURE)], ids=["success", "failure"])
def test_a_late_outcome_changes_nothing_for_the_next_claim(both, outcome):
    old = claimed(both.ours)
    let_die(both, old)
    assert rescue(both.ours) == [old.id]
    got = both.run(claiming(join(both.ours)), acking(old, outcome))
    (new,) = got.first
    assert (new.id, new.lease, got.second) == (old.id, old.lease + 1, set())
    assert not got.waited
    assert record(both, old.id).worker_id == new.worker


def test_a_late_outcome_holds_up_no_claim(both):
    old = claimed(both.ours)
    let_die(both, old)
    assert rescue(both.ours) == [old.id]
    got = both.run(acking(old), claiming(join(both.theirs)))
    assert (got.first, [claim.lease for claim in got.second]) == (set(), [old.lease + 1])
    assert not got.waited


# Leases


def test_a_rescuer_leaves_a_worker_whose_beat_is_on_its_way(both):
    claim = claimed(both.ours)
    if both.is_postgresql:
        got = _beat_across_the_end(both, claim)
        assert not got.waited
    else:
        got = both.run(beating(claim), rescue)
    assert (got.first, got.second) == (True, [])
    assert rescue(both.ours) == []
    assert record(both, claim.id).status == RUNNING


def _beat_across_the_end(both: Overlapping, claim: Claim):
    """Let a beat that began in time be committed after the lease would have ended.

    The beat waits for the row until the end of the lease is in the past, by the clock of the
    database; it began before, which is what counts.
    """
    workers = both.ours.backend.names.table("workers")
    url = both.ours.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, application_name="holder") as holder:
        holder.execute(f"select from {workers} for update")

        def end_the_lease() -> None:
            with psycopg.connect(url, autocommit=True) as observer:
                wait_until(
                    lambda: observer.execute(
                        "select 1 from pg_stat_activity where application_name = 'ours'"
                        " and wait_event_type = 'Lock'"
                    ).fetchone()
                )
            holder.execute(f"update {workers} set expires_at = clock_timestamp()")
            holder.commit()

        ending = Background(end_the_lease)
        got = both.run(beating(claim), rescue)
        ending.result()
        return got


def test_a_beat_that_waits_for_a_rescuer_finds_its_lease_ended(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(rescue, beating(claim))
    assert (got.first, got.second) == ([claim.id], False)
    assert claiming(claim.worker)(both.theirs) == []


def test_two_rescuers_take_a_task_back_once(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(rescue, rescue)
    assert (got.first, got.second) == ([claim.id], [])
    assert not got.waited
    assert record(both, claim.id).crashes == 1


# Cancellations


def test_a_claim_passes_over_a_task_that_is_being_canceled(both):
    first, second = store(both.ours, 2)
    got = both.run(canceling(first), claiming(join(both.theirs)))
    assert (got.first, [claim.id for claim in got.second]) == ("payload", [second])
    assert not got.waited
    assert record(both, first).status == CANCELED


def test_a_task_that_is_being_claimed_is_canceled_while_it_runs(both):
    (task_id,) = store(both.ours)
    got = both.run(claiming(join(both.ours)), canceling(task_id))
    (claim,) = got.first
    assert got.second == "payload"
    assert got.waited is not False
    assert record(both, task_id).status == RUNNING
    assert both.ours.backend.canceled(claim.worker, [task_id]) == {task_id}


def test_an_outcome_that_is_on_its_way_leaves_nothing_to_cancel(both):
    claim = claimed(both.ours)
    got = both.run(acking(claim), canceling(claim.id))
    assert (got.first, got.second) == ({claim.id}, None)
    assert got.waited is not False
    assert record(both, claim.id).status == SUCCESS


def test_an_outcome_that_waits_for_a_cancellation_counts(both):
    claim = claimed(both.ours)
    got = both.run(canceling(claim.id), acking(claim))
    assert (got.first, got.second) == ("payload", {claim.id})
    assert got.waited is not False
    assert record(both, claim.id).status == SUCCESS


def test_a_retry_that_waits_for_a_cancellation_ends_as_canceled(both):
    claim = claimed(both.ours)
    got = both.run(canceling(claim.id), acking(claim, Retry(0.0, FAILURE, "again")))
    assert (got.first, got.second) == ("payload", {claim.id})
    assert got.waited is not False
    assert record(both, claim.id).status == CANCELED


def test_a_task_is_canceled_once_by_two(both):
    (task_id,) = store(both.ours)
    got = both.run(canceling(task_id), canceling(task_id))
    assert (got.first, got.second) == ("payload", None)
    assert got.waited is not False
    assert record(both, task_id).status == CANCELED


def test_a_rescuer_leaves_a_task_that_is_being_canceled_for_the_next_time(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(canceling(claim.id), rescue)
    assert got.first == "payload"
    assert got.second + rescue(both.ours) == [claim.id]
    assert record(both, claim.id).status == CANCELED


# Completions in a transaction of the caller


def test_a_rescuer_leaves_a_task_whose_completion_is_on_its_way(both):
    claim = claimed(both.ours)
    got = both.run(completing(claim), rescue, meanwhile=lambda: _end_the_lease(both, claim))
    assert (got.first, got.second) == (True, [])
    assert not got.waited
    assert (record(both, claim.id).status, record(both, claim.id).crashes) == (SUCCESS, 0)
    assert acking(claim, COMPLETED)(both.ours) == set()


def test_a_completion_that_was_rolled_back_leaves_a_task_to_the_rescuers(both):
    claim = claimed(both.ours)
    got = both.run(
        completing(claim),
        rescue,
        meanwhile=lambda: _end_the_lease(both, claim),
        commits=False,
    )
    if not both.is_postgresql:  # there the lease could end only after that
        _end_the_lease(both, claim, again=True)
    assert got.second + rescue(both.ours) == [claim.id]
    assert record(both, claim.id).crashes == 1


def _end_the_lease(both: Overlapping, claim: Claim, *, again: bool = False) -> None:
    """Let it end while a transaction is open, which on SQLite nobody else can write beside."""
    if both.is_postgresql or again:
        both.theirs.backend.leave(claim.worker, holds=True)


def test_a_completion_that_waits_for_a_rescuer_comes_too_late(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    got = both.run(rescue, completing(claim))
    assert (got.first, got.second) == ([claim.id], False)
    assert record(both, claim.id).status == WAITING


def test_a_worker_whose_lease_has_ended_completes_nothing(both):
    claim = claimed(both.ours)
    let_die(both, claim)
    assert completing(claim)(both.ours) is False
    assert record(both, claim.id).status == RUNNING


def test_a_completion_that_is_on_its_way_leaves_nothing_to_cancel(both):
    claim = claimed(both.ours)
    got = both.run(completing(claim), canceling(claim.id))
    assert (got.first, got.second) == (True, None)
    assert got.waited is not False
    assert record(both, claim.id).status == SUCCESS


def test_a_completion_that_waits_for_a_cancellation_counts(both):
    claim = claimed(both.ours)
    got = both.run(canceling(claim.id), completing(claim))
    assert (got.first, got.second) == ("payload", True)
    assert got.waited is not False
    assert record(both, claim.id).status == SUCCESS


def test_an_outcome_that_waits_for_a_completion_is_no_news(both, caplog):
    claim = claimed(both.ours)
    got = both.run(completing(claim), acking(claim, COMPLETED))
    assert (got.first, got.second) == (True, set())
    assert got.waited is not False
    assert "stale" not in caplog.text


def test_an_outcome_whose_completion_was_rolled_back_counts(both):
    claim = claimed(both.ours)
    got = both.run(completing(claim), acking(claim, COMPLETED), commits=False)
    assert got.second == {claim.id}
    assert record(both, claim.id).status == SUCCESS


# Ended tasks


def ended(both: Overlapping) -> UUID:
    """Return a task that failed long ago."""
    claim = claimed(both.ours)
    assert acking(claim, Failed(FAILURE))(both.ours) == {claim.id}
    advance(both.ours.backend, 120.0)
    return claim.id


def test_a_task_that_is_about_to_wait_again_is_not_pruned(both):
    task_id = ended(both)
    got = both.run(retrying(task_id), prune)
    assert (got.first, got.second) == (True, 0)
    assert not got.waited
    (claim,) = claiming(join(both.ours))(both.ours)
    assert (claim.id, claim.payload) == (task_id, "payload")


def test_a_task_that_is_about_to_be_pruned_does_not_wait_again(both):
    task_id = ended(both)
    got = both.run(prune, retrying(task_id), passed=1)
    assert (got.first, got.second) == (1, False)
    assert got.waited is not False
    assert both.ours.backend.find(str(task_id)) is None
    assert both.ours.backend.len("mail") == 0


def test_a_task_whose_pruning_was_rolled_back_waits_again(both):
    task_id = ended(both)
    got = both.run(prune, retrying(task_id), passed=1, commits=False)
    assert got.second is True
    assert record(both, task_id).status == WAITING


def test_a_task_is_tried_again_once(both):
    task_id = ended(both)
    got = both.run(retrying(task_id), retrying(task_id))
    assert (got.first, got.second) == (True, False)
    assert got.waited is not False
    assert both.ours.backend.len("mail") == 1


# Ids and keys


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_an_id_is_stored_once_by_two_transactions(both, commits):
    one = message()
    got = both.run(enqueuing(one), enqueuing(one), commits=commits)
    assert got.second == (one.id, commits)
    assert got.waited is not False
    assert both.ours.backend.len("mail") == 1


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_a_unique_key_is_stored_once_by_two_transactions(both, commits):
    first, second = message(unique_key="a"), message(unique_key="a")
    got = both.run(enqueuing(first), enqueuing(second), commits=commits)
    assert got.second == ((first.id, True) if commits else (second.id, False))
    assert got.waited is not False
    assert both.ours.backend.len("mail") == 1


def test_a_unique_key_goes_to_the_task_that_waits_again_or_to_the_new_one(both):
    old, new = message(unique_key="a"), message(unique_key="a")
    both.ours.backend.enqueue([old])
    (claim,) = claiming(join(both.ours))(both.ours)
    acking(claim, Failed(FAILURE))(both.ours)
    got = both.run(enqueuing(new), retrying(old.id))
    assert (got.first, got.second) == ((new.id, False), False)
    assert got.waited is not False
    assert record(both, old.id).status == FAILED


# Queues


def test_a_claim_passes_over_what_is_being_dropped(both):
    (task_id,) = store(both.ours)
    got = both.run(lambda side: side.backend.drop_all("mail"), claiming(join(both.theirs)))
    assert got.second == []
    assert not got.waited
    assert both.ours.backend.find(str(task_id)) is None


def test_what_is_being_claimed_is_not_dropped(both):
    ids = store(both.ours, 2)
    got = both.run(claiming(join(both.ours)), lambda side: side.backend.drop_all("mail"))
    (claim,) = got.first
    assert got.waited is not False
    assert (claim.id, claim.payload) == (ids[0], "payload")
    assert both.ours.backend.find(str(ids[1])) is None
    assert acking(claim)(both.ours) == {claim.id}


def test_a_pause_holds_for_the_claims_after_its_commit(both):
    (task_id,) = store(both.ours)
    worker = join(both.theirs)
    got = both.run(lambda side: side.backend.pause("mail"), claiming(worker))
    assert not got.waited
    assert [claim.id for claim in got.second] == ([task_id] if both.is_postgresql else [])
    store(both.ours)
    assert claiming(worker)(both.theirs) == []


def test_a_pause_does_not_wait_for_claims(both):
    (task_id,) = store(both.ours)
    got = both.run(claiming(join(both.ours)), lambda side: side.backend.pause("mail"))
    assert [claim.id for claim in got.first] == [task_id]
    assert not got.waited
