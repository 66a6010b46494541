"""How long to wait before the next look at an idle queue."""

LONGEST_DEAF = 1.0
"""Seconds between looks when nothing would wake the worker."""
LONGEST_LISTENING = 5.0
"""Seconds between looks while a listener is known to be alive."""


SHORT_PAUSES = 3
"""The first is cut short by the outcome of what was found, with which goes another look. The others
are as long as producers stay silent after a notification: the look at their end finds the last of
what they stored meanwhile."""


class Polling:
    """Starts short after activity, for :data:`SHORT_PAUSES`, and doubles.

    Args:
        shortest: Seconds until the first look after activity.
    """

    def __init__(self, shortest: float) -> None:
        self._shortest = shortest
        self._pause = shortest
        self._short = SHORT_PAUSES

    def active(self) -> None:
        """Note that there was something to do."""
        self._pause = self._shortest
        self._short = SHORT_PAUSES

    def disturbed(self) -> None:
        """Note that there was something to do, though others have done it."""
        self._pause = min(self._pause, 16 * self._shortest)

    @property
    def upcoming(self) -> float:
        """The next pause, as long as it may be."""
        return self._pause

    def pause(self, *, listening: bool) -> float:
        """Return the seconds until the next look; after the short ones twice as long each time."""
        pause = min(self._pause, LONGEST_LISTENING if listening else LONGEST_DEAF)
        self._short -= 1
        if self._short > 0:
            return pause
        self._pause = min(max(self._pause, 0.001) * 2, LONGEST_LISTENING) if self._pause else 0.0
        return pause
