"""Tasks as messages, for those who store them without a gator."""

from alligator_sql import Gator, Task
from alligator_sql.messages import Message

from .peers.tasks import deliver, mail


def prepared(gator: Gator, number: int, subject: str = "hello") -> list[Message]:
    """Return ``number`` tasks as the gator would store them."""
    messages = []
    for each in range(number):
        task = Task()
        task.to_call(deliver, mail(each, subject))
        messages.append(gator.message_of(task))
    return messages
