"""Whether the server is set up to keep what it is given."""

import logging
from typing import Any, Final

from redis.exceptions import RedisError

from ...exceptions import UnsafeStoreError
from .connections import Connections

logger = logging.getLogger(__name__)

SETTINGS: Final = ("maxmemory-policy", "appendonly", "save")
SAFE_POLICY: Final = "noeviction"


def check(connections: Connections) -> None:
    """Look at the server's settings, and warn of those that may lose tasks.

    Raises:
        UnsafeStoreError: It evicts any key when its memory is full, thus tasks.
        StoreUnavailableError: It does not answer.
    """
    answers = connections.call([("CONFIG", "GET", name) for name in SETTINGS])
    if any(isinstance(answer, RedisError) for answer in answers):
        logger.warning(
            "could not check the settings of Redis (CONFIG is not allowed): make sure that "
            "maxmemory-policy is noeviction and that persistence is on"
        )
        return
    policy, appendonly, save = map(_value, answers)
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
    if appendonly != "yes" and not save:
        logger.warning(
            "the server keeps nothing on disk (appendonly no, save ''): its restart loses all tasks"
        )


def _value(answer: Any) -> str:
    """Return the value out of a name and a value; empty when the setting is unknown."""
    return answer[1].decode() if len(answer) > 1 else ""
