"""What a backend can do, as data.

``Gator`` checks the options of a task against it, ``Worker`` starts its services by it, and
the conformance suite asks for it: declared means that the tests pass, undeclared that the
call raises ``Unsupported``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The abilities and limits of one backend.

    Attributes:
        transactional: Enqueues inside a transaction of the caller.
        lease: A claim survives the death of its worker: the task comes back.
        fence: An outcome that comes too late, when the task is held by another worker or has
            ended, changes nothing, and a worker whose lease has ended claims nothing.
        order: Tasks of one priority are claimed in the order of their due times.
        delay: Tasks with a due time.
        priority: More urgent tasks are claimed first.
        expires: Tasks that must not start after a moment.
        unique_key: At most one live task per key and queue.
        claim_by_id: ``gator.get(task_id)``.
        cancel: ``gator.cancel(task_id)`` of a task that waits.
        interrupt: ``gator.cancel(task_id)`` reaches a task that runs, too.
        progress: What a running task says of its progress can be found.
        find: ``gator.find(task_id)``.
        retry: ``gator.retry(task_id)``.
        pause: ``gator.pause()`` and ``gator.resume()``.
        results: ``keep_result=True`` and ``gator.result(task_id)``.
        retention: Ended tasks stay known for a while and are pruned.
        wake: A worker is told of new tasks; else it polls.
        cross_process: Other processes see the tasks.
        max_payload: The largest payload in bytes, or None.
        max_delay: The longest delay in seconds, or None.
    """

    transactional: bool = False
    lease: bool = False
    fence: bool = False
    order: bool = False
    delay: bool = False
    priority: bool = False
    expires: bool = False
    unique_key: bool = False
    claim_by_id: bool = False
    cancel: bool = False
    interrupt: bool = False
    progress: bool = False
    find: bool = False
    retry: bool = False
    pause: bool = False
    results: bool = False
    retention: bool = False
    wake: bool = False
    cross_process: bool = False
    max_payload: int | None = None
    max_delay: float | None = None
