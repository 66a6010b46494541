"""What is imported from the package: constants and exceptions."""

import pytest

import alligator_sql


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WAITING", 0),
        ("SUCCESS", 1),
        ("FAILED", 2),
        ("DELAYED", 3),
        ("RETRYING", 4),
        ("CANCELED", 5),
        ("ALL", "all"),
    ],
)
def test_constants_keep_their_values(name: str, value: int | str) -> None:
    assert getattr(alligator_sql, name) == value


@pytest.mark.parametrize(
    "name", ["MultipleDelayError", "UnknownModuleError", "UnknownCallableError"]
)
def test_exceptions_keep_their_root(name: str) -> None:
    assert issubclass(getattr(alligator_sql, name), alligator_sql.AlligatorException)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("UnknownOptionError", TypeError),
        ("InvalidOptionError", ValueError),
        ("SignatureError", TypeError),
        ("PayloadError", ValueError),
        ("Unsupported", NotImplementedError),
        ("UnknownBackendError", ValueError),
        ("StoreUnavailableError", ConnectionError),
        ("UnknownTaskError", LookupError),
        ("ResultTimeoutError", TimeoutError),
    ],
)
def test_new_exceptions_are_also_what_python_would_raise(name: str, builtin: type) -> None:
    error = getattr(alligator_sql, name)
    assert issubclass(error, builtin)
    assert issubclass(error, alligator_sql.AlligatorException)


def test_all_that_is_announced_is_there() -> None:
    assert all(hasattr(alligator_sql, name) for name in alligator_sql.__all__)
    assert {"Gator", "Task", "Worker", "AlligatorException"} <= set(alligator_sql.__all__)
