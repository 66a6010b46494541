"""Backends of other distributions, which declare them by an entry point.

Nothing is looked up before a connection string asks for a scheme that is not built in, and
nothing of a distribution is imported but the class for that scheme.
"""

from importlib.metadata import EntryPoint, entry_points

from ..exceptions import UnknownBackendError
from .base import Backend

GROUP = "alligator_sql.backends"
"""The group of entry points: their names are schemes, their objects subclasses of Backend."""


def find(scheme: str) -> type[Backend] | None:
    """Return the class that an installed distribution offers for ``scheme``, or None.

    Raises:
        UnknownBackendError: It cannot be loaded or is no backend, or two distributions offer
            this scheme; names the distributions.
    """
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(sorted(map(_distribution, found)))
        raise UnknownBackendError(f"{scheme}:// is offered by {names}: uninstall all but one.")
    (entry,) = found
    try:
        backend = entry.load()
    except Exception as error:  # another's module may raise anything while it is imported
        raise UnknownBackendError(
            f"{scheme}:// is offered by {_distribution(entry)}, but {entry.value} cannot be "
            f"loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise UnknownBackendError(
            f"{scheme}:// is offered by {_distribution(entry)}, but {entry.value} is not a "
            f"subclass of {Backend.__module__}.{Backend.__name__}."
        )
    return backend


def known() -> dict[str, str]:
    """Return the schemes that installed distributions offer, and the names of those."""
    return {entry.name: _distribution(entry) for entry in entry_points(group=GROUP)}


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unnamed distribution"
