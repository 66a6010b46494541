"""The view of the application."""

from sqlalchemy.orm import Session

from .database import gator
from .models import Post
from .tasks import send_post_email

RETRIES = 10
"""With pauses that double from one second, a mail server may be away for a quarter of an hour."""


def new_post(session: Session, user_id: int, message: str) -> Post:
    """Store a post, and the task that mails it, in the transaction of ``session``.

    No mail is sent for a post that was rolled back, and none is forgotten for one that was
    committed.
    """
    post = Post(user_id=user_id, message=message)
    session.add(post)
    session.flush()  # now the post has its id
    with gator.using(session).options(retries=RETRIES) as opts:
        opts.task(send_post_email, user_id, post.id)
    return post
