"""What a connection string for SQS says: ``sqs://us-west-2/?prefix=shop-``."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ...exceptions import InvalidOptionError
from ...redaction import hide_password

FIFO = ".fifo"
"""How the names of FIFO queues end."""
LONGEST_NAME = 80
LONGEST_PREFIX = 60
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.fifo)?")
_PREFIX = re.compile(r"[A-Za-z0-9_-]*")
_PARAMETERS = ("endpoint", "prefix")


@dataclass(frozen=True, slots=True)
class Settings:
    """A connection string, read and checked.

    Attributes:
        dsn: The string, without passwords, for commands in messages.
        region: The AWS region.
        endpoint: The URL of another server that speaks the protocol, or None.
        prefix: What the names of the queues in SQS start with.
    """

    dsn: str
    region: str
    endpoint: str | None = None
    prefix: str = ""

    @property
    def where(self) -> str:
        """The server and the region in messages."""
        if self.endpoint is None:
            return f"region {self.region}"
        return f"{hide_password(self.endpoint)}, region {self.region}"

    def full_name(self, queue: str) -> str:
        """Return the name that ``queue`` has in SQS.

        Raises:
            InvalidOptionError: SQS has no such names.
        """
        name = self.prefix + queue
        if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise InvalidOptionError(
                f"queue={name!r}: SQS names queues with 1 to {LONGEST_NAME} letters, digits, "
                f"hyphens and underscores; {FIFO} at the end makes a FIFO queue."
            )
        return name

    def command(self, queue: str) -> str:
        """Return the command that creates ``queue``."""
        return f"alligator-sql schema upgrade {shlex.quote(self.dsn)} --queues {queue}"


def read(conn_string: str) -> Settings:
    """Return what ``conn_string`` says.

    Raises:
        InvalidOptionError: It is no connection string for SQS, or has unknown parameters.
    """
    try:
        url = urlsplit(conn_string)
        given = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        unusable = url.scheme != "sqs" or url.path not in {"", "/"} or bool(url.fragment)
    except ValueError:
        unusable = True
    if unusable or not url.netloc or ":" in url.netloc.rpartition("@")[2]:
        raise InvalidOptionError(
            "The connection string cannot be read. Forms: sqs://us-west-2/, "
            "sqs://us-west-2/?prefix=shop-, sqs://us-west-2/?endpoint=http://127.0.0.1:5000."
        )
    if "@" in url.netloc:
        raise InvalidOptionError(
            "sqs:// takes no credentials: boto3 finds them in the environment, in ~/.aws or "
            "through the role of the machine."
        )
    for name, times in Counter(name for name, _ in given).items():
        if name not in _PARAMETERS:
            raise InvalidOptionError(
                f"sqs:// has no parameter {name!r}. Known: {', '.join(_PARAMETERS)}."
            )
        if times > 1:
            raise InvalidOptionError(f"sqs://: the parameter {name!r} is given {times} times.")
    parameters = dict(given)
    return Settings(
        dsn=hide_password(conn_string),
        region=url.netloc,
        endpoint=_endpoint(parameters.get("endpoint")),
        prefix=_prefix(parameters.get("prefix", "")),
    )


def _endpoint(endpoint: str | None) -> str | None:
    if endpoint is not None and not re.match(r"https?://[^/]", endpoint):
        raise InvalidOptionError("sqs://: endpoint= takes a URL, such as http://127.0.0.1:5000.")
    return endpoint


def _prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix) or len(prefix) > LONGEST_PREFIX:
        raise InvalidOptionError(
            f"sqs://: prefix={prefix!r} may have up to {LONGEST_PREFIX} letters, digits, hyphens "
            "and underscores."
        )
    return prefix
