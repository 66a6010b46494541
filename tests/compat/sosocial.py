"""The social network of the tutorial: posts, followers, and a mail to each of them."""

from dataclasses import dataclass, field

POSTS: dict[int, str] = {}
OUTBOX: list[tuple[str, str, list[str]]] = []


@dataclass
class User:
    username: str
    followers: list[str] = field(default_factory=list)


USERS = {7: User("daniel", ["ann@example.com", "bob@example.com"])}


def create_post(message: str) -> int:
    POSTS[len(POSTS) + 1] = message
    return len(POSTS)


def send_post_email(user_id: int, post_id: int) -> int:
    user = USERS[user_id]
    OUTBOX.append((f"A new post by {user.username}", POSTS[post_id], list(user.followers)))
    return len(user.followers)
