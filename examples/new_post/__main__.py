"""``python -m examples.new_post "Hello!"``: what a request to the web application does."""

import sys

from sqlalchemy import select
from sqlalchemy.orm import Session

from .app import new_post
from .database import engine
from .models import Base, Follower, User


def main() -> None:
    """Write a post in the name of a user with two followers."""
    Base.metadata.create_all(engine)
    message = " ".join(sys.argv[1:]) or "Hello!"
    with Session(engine) as session, session.begin():
        post = new_post(session, _daniel(session).id, message)
        number = post.id
    print(f"Post {number} is stored, and so is the task that mails it.")


def _daniel(session: Session) -> User:
    user = session.scalar(select(User).where(User.username == "daniel"))
    if user is None:
        emails = ("ann@example.com", "bob@example.com")
        user = User(username="daniel", followers=[Follower(email=email) for email in emails])
        session.add(user)
        session.flush()
    return user


if __name__ == "__main__":
    main()
