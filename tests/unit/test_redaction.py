"""Passwords that must not be shown."""

import pytest

from alligator_sql.redaction import hide_password


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://me:s3cret@host/app", "postgresql://me:***@host/app"),
        ("postgresql://me:s3@cr:et@host/app", "postgresql://me:***@host/app"),
        ("postgresql://me:s3/cr@et@host/app", "postgresql://me:***@host/app"),
        ("postgresql://me:s3/cret@host/app", "postgresql://me:***@host/app"),
        ("postgresql://me:s%40cret@host:5432/app", "postgresql://me:***@host:5432/app"),
        ("postgresql+psycopg://me:s3cret@/app?host=/tmp", "postgresql+psycopg://me:***@/app?host=/tmp"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://host/app?user=me&password=s3cret", "postgresql://host/app?user=me&password=***"),
        ("postgresql://host/app?PASSWORD=s3cret&x=1", "postgresql://host/app?PASSWORD=***&x=1"),
        ("sqs://x/?aws_secret=s3cret", "sqs://x/?aws_secret=***"),
        ("postgresql://me:@host/app", "postgresql://me:***@host/app"),
    ],
)  # fmt: skip
def test_a_password_is_hidden(given: str, shown: str) -> None:
    assert hide_password(given) == shown
    assert "cret" not in hide_password(given).replace("secret=", "")


@pytest.mark.parametrize(
    "harmless",
    [
        "postgresql://host/app",
        "postgresql://me@host:5432/app",
        "postgresql:///app?host=/tmp/socket",
        "sqlite:///tasks.db",
        "sqlite:////srv/a:b@c/tasks.db",
        "locmem://",
        "",
    ],
)
def test_what_has_no_password_stays(harmless: str) -> None:
    assert hide_password(harmless) == harmless
