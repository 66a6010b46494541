"""What the worker runs: a plain function."""

import smtplib
from email.message import EmailMessage

from sqlalchemy.orm import Session

from . import settings
from .database import engine
from .models import Post, User

TIMEOUT = 10.0
"""Seconds to wait for the mail server."""


def send_post_email(user_id: int, post_id: int) -> int:
    """Mail a post to all who follow its author, and return how many these are."""
    with Session(engine) as session:
        user = session.get_one(User, user_id)
        post = session.get_one(Post, post_id)
        recipients = [follower.email for follower in user.followers]
        mail = EmailMessage()
        mail["Subject"] = f"A new post by {user.username}"
        mail["From"] = mail["To"] = settings.SERVER_EMAIL
        # A task may run twice, so its mail must be recognizable as the same one.
        mail["Message-ID"] = f"<post-{post.id}-{settings.SERVER_EMAIL}>"
        mail.set_content(post.message)
    if recipients:
        with smtplib.SMTP(settings.SMTP_HOST, settings.SMTP_PORT, timeout=TIMEOUT) as smtp:
            smtp.send_message(mail, to_addrs=recipients)
    return len(recipients)
