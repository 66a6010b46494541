"""What a worker costs that has nothing to do."""

from ... import processes
from ...peers.contenders import OURS, peers
from ...servers import Store
from ...stats import Measurement
from .. import idle


def measure(store: Store, quick: bool) -> list[Measurement]:
    """Compare the workers of all contenders with a process that holds a connection."""
    contenders: idle.Contenders = {
        idle.RAW: lambda dsn: processes.background(processes.python("-c", store.holder(dsn))),
        **{contender.name: contender.waiting for contender in (OURS, *peers())},
    }
    return idle.compare(store, quick, contenders)
