"""An application whose gator is a global, made when the module is imported, as most are."""

import os

from alligator_sql import Gator, Worker

from . import tasks

gator = Gator()


def serve(done: str, name: str) -> None:
    """Be a child of this application: enqueue a task, and run whatever is due."""
    gator.task(tasks.append, done, name)
    Worker(gator, burst=True, concurrency=2).run_forever()


def preload(done: str, children: int) -> None:
    """Use the gator in every way, then fork, as a web server does that loads the application."""
    gator.task(tasks.append, done, "parent")
    Worker(gator, burst=True, max_tasks=1).run_forever()
    gator.store.listen(["all"], 0)
    pids = [_forked(done, f"child-{number}") for number in range(children)]
    gator.task(tasks.append, done, "parent-again")
    failed = [pid for pid in pids if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
    if failed:
        raise SystemExit(f"{len(failed)} children failed")
    gator.store.listen(["all"], 0)
    serve(done, "parent-at-last")


def _forked(done: str, name: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            serve(done, name)
            os._exit(0)
        finally:  # never back into the parent's code
            os._exit(1)
    return pid
