"""Whether the server is set up to keep what it is given."""

import logging
import re
from typing import Any, Final

from redis.exceptions import RedisError

from ...exceptions import UnsafeStoreError
from .connections import Connections

logger = logging.getLogger(__name__)

SAFE_POLICY: Final = "noeviction"


def check(connections: Connections) -> None:
    """Look at the server's settings, and warn of those that may lose tasks.

    Raises:
        UnsafeStoreError: It evicts any key when its memory is full, thus tasks.
        StoreUnavailableError: It does not answer.
    """
    memory, appendonly, save = connections.call(
        [("INFO", "memory"), ("CONFIG", "GET", "appendonly"), ("CONFIG", "GET", "save")]
    )
    _check_eviction(memory)
    _check_persistence(appendonly, save)


def _check_eviction(memory: Any) -> None:
    found = None
    if not isinstance(memory, RedisError):
        found = re.search(rb"^maxmemory_policy:(\S+)", memory, re.MULTILINE)
    if found is None:
        logger.warning(
            "could not check what Redis does when its memory is full (INFO is not allowed): make "
            "sure that its maxmemory-policy is %s",
            SAFE_POLICY,
        )
        return
    policy = found[1].decode()
    if policy.startswith("allkeys-"):
        raise UnsafeStoreError(
            f"The server's maxmemory-policy is {policy}: it would drop tasks without a word when "
            f"its memory is full. Set it to {SAFE_POLICY}."
        )
    if policy != SAFE_POLICY:
        logger.warning(
            "the server's maxmemory-policy is %s; tasks have no time to live, so they are safe "
            "for now, but set it to %s",
            policy,
            SAFE_POLICY,
        )


def _check_persistence(*answers: Any) -> None:
    if any(isinstance(answer, RedisError) for answer in answers):
        logger.warning(
            "could not check whether Redis keeps anything on disk (CONFIG is not allowed): make "
            "sure that persistence is on"
        )
        return
    appendonly, save = map(_value, answers)
    if appendonly != "yes" and not save:
        logger.warning(
            "the server keeps nothing on disk (appendonly no, save ''): its restart loses all tasks"
        )


def _value(answer: Any) -> str:
    """Return the value out of a name and a value; empty when the setting is unknown."""
    return answer[1].decode() if len(answer) > 1 else ""
