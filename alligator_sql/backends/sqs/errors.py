"""What SQS and its client say, in the words of this package: one line and no secrets."""

from typing import Any

from ...exceptions import (
    AlligatorException,
    InvalidOptionError,
    PayloadError,
    SchemaError,
    StoreUnavailableError,
)
from .settings import Settings


class AccessRefused(AlligatorException):
    """SQS knows who we are, and that we may not do this."""


_MISSING = {"NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException"}
GONE = {"ReceiptHandleIsInvalid", "MessageNotInflight"}
"""The message is not in flight under this handle: deleted, or visible again."""
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_SKEW = {"RequestExpired", "RequestTimeTooSkewed"}
_BUSY = {"PurgeQueueInProgress", "OverLimit", "RequestThrottled", "InternalError"}
_TOO_LARGE = {"BatchRequestTooLong", "InvalidMessageContents", "MessageTooLong"}
_CANNOT_START = (
    "NoRegionError",
    "InvalidRegionError",
    "ProfileNotFound",
    "ConfigParseError",
    "ConfigNotFound",
)
LONGEST_TEXT = 300


def explain(error: Exception, settings: Settings, queue: str = "") -> AlligatorException:
    """Return our error for ``error``, raised by the client of SQS for ``queue``."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        details = response["Error"]
        return refusal(
            str(details.get("Code", "")), str(details.get("Message", "")), settings, queue,
            temporary=status >= 500 or status == 429,
        )  # fmt: skip
    kind = type(error).__name__
    if "Credential" in kind or "Token" in kind or kind.startswith("SSO"):
        return StoreUnavailableError(
            f"SQS ({settings.where}): boto3 finds no usable credentials ({kind}). Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role."
        )
    if kind in _CANNOT_START or isinstance(error, ValueError):
        return InvalidOptionError(f"SQS ({settings.where}): {kind}: {one_line(str(error))}")
    return StoreUnavailableError(
        f"SQS does not answer ({settings.where}; {kind}). Are the region and the endpoint right?"
    )


def refusal(
    code: str, text: str, settings: Settings, queue: str = "", *, temporary: bool = False
) -> AlligatorException:
    """Return our error for an error code of SQS.

    The text of SQS is left out where it may repeat parts of the request's signature.
    """
    name = bare(code)
    if name in _MISSING:
        full_name = settings.full_name(queue) if queue else queue
        return SchemaError(
            f"There is no queue {full_name} in SQS ({settings.where}). Create it: "
            f"{settings.command(queue)}"
        )
    if name in _CREDENTIALS or name in _SKEW:
        culprit = "the clock of this machine" if name in _SKEW else "the credentials of boto3"
        return StoreUnavailableError(f"SQS ({settings.where}) refused {culprit}: {name}.")
    if name in _DENIED:
        return AccessRefused(f"SQS ({settings.where}): {name}: {one_line(text)}")
    if name in _TOO_LARGE:
        return PayloadError(f"SQS refused a task of the queue {queue}: {name}: {one_line(text)}")
    words = f"{name}: {one_line(text)}" if text else name
    if temporary or name in _BUSY or "Throttl" in name or "Unavailable" in name:
        return StoreUnavailableError(f"SQS ({settings.where}) is not able to serve: {words}")
    return AlligatorException(f"SQS ({settings.where}) refused a request: {words}")


def bare(code: str) -> str:
    """Return an error code without the name spaces that protocols put before it."""
    return code.rpartition("#")[2].rpartition(".")[2]


def one_line(text: str) -> str:
    """Return ``text`` in one line that is not too long."""
    return " ".join(text.split())[:LONGEST_TEXT]
