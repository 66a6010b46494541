"""The statuses of a task, and what queues and tables are called by default."""

from typing import Final

WAITING: Final = 0
SUCCESS: Final = 1
FAILED: Final = 2
DELAYED: Final = 3
RETRYING: Final = 4
CANCELED: Final = 5
RUNNING: Final = 6
BLOCKED: Final = 7

ALL: Final = "all"
"""The queue that a ``Gator`` uses when none is named."""

DEFAULT_PREFIX: Final = "alligator_"
"""What the names of the tables start with when nothing else is said."""

STATUS_NAMES: Final = {
    WAITING: "waiting",
    SUCCESS: "success",
    FAILED: "failed",
    DELAYED: "delayed",
    RETRYING: "retrying",
    CANCELED: "canceled",
    RUNNING: "running",
    BLOCKED: "blocked",
}
"""The word for each stored status, as every view and screen shows it."""

CLAIMABLE: Final = (WAITING, DELAYED, RETRYING)
"""The statuses in which a task may be claimed once it is due."""

RETRYABLE: Final = (FAILED, CANCELED)
"""The ends after which a task may be told to try again."""
