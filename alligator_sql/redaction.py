"""Hiding secrets in whatever is shown."""

import re

# A password may hold "/" and "@" unescaped: hide up to the last "@", rather too much than a part.
_USER_INFO = re.compile(r"(?<=://)([^/@:\s]*):\S*@")
_PARAMETER = re.compile(r"(?i)(password|passwd|secret|token)=[^&\s]*")


def hide_password(conn_string: str) -> str:
    """Return ``conn_string`` with ``***`` for every password in it."""
    return _PARAMETER.sub(r"\1=***", _USER_INFO.sub(r"\1:***@", conn_string))
