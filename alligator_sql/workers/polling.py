"""How long to wait before the next look at an idle queue."""

LONGEST_DEAF = 1.0
"""Seconds between looks when nothing would wake the worker."""
LONGEST_LISTENING = 5.0
"""Seconds between looks while a listener is known to be alive."""


class Polling:
    """Starts short after activity, twice, and doubles.

    Twice, because producers stay silent for a while after a notification (``NOTIFY_INTERVAL``, as
    long as two of these pauses): so it is the second look that finds the last of what they stored.

    Args:
        shortest: Seconds until the first look after activity.
    """

    def __init__(self, shortest: float) -> None:
        self._shortest = shortest
        self._pause = shortest
        self._is_first = True

    def active(self) -> None:
        """Note that there was something to do."""
        self._pause = self._shortest
        self._is_first = True

    def disturbed(self) -> None:
        """Note that there was something to do, though others have done it."""
        self._pause = min(self._pause, 16 * self._shortest)

    @property
    def upcoming(self) -> float:
        """The next pause, as long as it may be."""
        return self._pause

    def pause(self, *, listening: bool) -> float:
        """Return the seconds until the next look; after the second one twice as long each time."""
        pause = min(self._pause, LONGEST_LISTENING if listening else LONGEST_DEAF)
        if self._is_first:
            self._is_first = False
            return pause
        self._pause = min(max(self._pause, 0.001) * 2, LONGEST_LISTENING) if self._pause else 0.0
        return pause
