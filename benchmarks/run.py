"""What is known about a run before it starts."""

import sys
from collections.abc import Sequence

from .peers.contenders import DRIVERS, PEERS, Contender
from .peers.environments import NotInstalledError
from .servers import Kind


class Run:
    """One run of the benchmarks.

    Args:
        quick: Whether all is small, because the question is only whether it works.
        peers: The keys of the peers that take part.

    Attributes:
        quick: The same.
    """

    def __init__(self, *, quick: bool, peers: Sequence[str]) -> None:
        self.quick = quick
        self._keys = set(peers)

    def peers(self, kind: Kind) -> list[Contender]:
        """Return the peers on this kind of store that take part and can be installed here."""
        return [peer for peer in PEERS[kind] if peer.key in self._keys and self._installed(peer)]

    def names(self, kind: Kind) -> list[str]:
        """Return what those peers are called."""
        return [peer.name for peer in self.peers(kind)]

    def rival(self, kind: Kind) -> Contender:
        """Return with whom the others are compared: the fastest peer, or else the driver."""
        return next(iter(self.peers(kind)), DRIVERS[kind])

    def _installed(self, peer: Contender) -> bool:
        try:
            peer.python  # noqa: B018 - makes the environment
        except NotInstalledError as error:
            print(f"left out: {peer.name} cannot be installed: {error}", file=sys.stderr)
            self._keys.remove(peer.key)  # once is enough
            return False
        return True
