"""All that a backend has while it is open, put together."""

from collections.abc import Callable, Sequence

from ...clock import Clock
from ...constants import ALL
from ...exceptions import SchemaError
from .batches import Batches
from .errors import AccessRefused
from .holding import Held, Holding
from .queues import Queues
from .receivers import Receivers
from .reception import Reception
from .service import Service
from .settings import Settings
from .settling import Settler


class Connection:
    """The parts of an open backend.

    Args:
        settings: Where SQS is.
        clock: The clock of this machine.
        holding: What this process holds; it outlives the connection.
        visibility: Tells for how many seconds SQS is to hide what is received.

    Raises:
        StoreUnavailableError: SQS does not answer, or does not know our credentials.
        InvalidOptionError: boto3 cannot work with the region or the endpoint.
    """

    def __init__(
        self, settings: Settings, clock: Clock, holding: Holding, visibility: Callable[[], int]
    ) -> None:
        self.service = Service(settings, clock)
        self._greet(settings)
        self.queues = Queues(self.service)
        self.batches = Batches(self.service)
        self.settler = Settler(self.batches, self.queues, holding, clock)
        self.reception = Reception(
            self.service, self.batches, self.settler, holding, clock, visibility
        )
        self.receivers = Receivers(self.reception.receive, self._hand_back)
        self._closed = False

    def close(self) -> None:
        """Hand back what nobody has claimed, and close the connections."""
        self._closed = True
        self.receivers.close()
        self.service.close()

    def _greet(self, settings: Settings) -> None:
        """Ask for a queue; whether there is one does not matter."""
        try:
            self.service.call("get_queue_url", QueueName=settings.full_name(ALL))
        except (SchemaError, AccessRefused):
            return
        except Exception:
            self.service.close()
            raise

    def _hand_back(self, held: Sequence[Held]) -> None:
        """Hand back what a thread has fetched, perhaps after the end of all others."""
        if held:
            self.settler.hand_back(held)
        if self._closed:
            self.service.close()
