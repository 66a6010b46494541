"""The duties of the first process of a container.

It has no default actions for signals, and gets every process whose parent has died as a child,
to be waited for. A worker cannot do that itself: it would take the exit codes of processes from
the tasks that have started them.
"""

import os
import signal
from contextlib import suppress
from types import FrameType

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def step_aside() -> None:
    """Go on in a child of this process, if it is the first one; return at once if it is not.

    The first process stays: it forwards signals, waits for whatever ends, and ends with the
    exit code of the child, 128 + n when signal n has ended it.
    """
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child:
        _stay(child)
    os.setpgid(0, 0)  # a Ctrl-C at the terminal comes once, and not by two ways
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _stay(child: int) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it was waited for at this very moment
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
