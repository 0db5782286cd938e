import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from service.logs import configure_logs

SECRET = "I love programming"


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Logs whatever raised, at a level, and gives what was written of it."""
    handlers, level = logging.root.handlers[:], logging.root.level

    def log(raises: Callable[[], object], least: str = "info") -> str:
        configure_logs(least, "json")
        try:
            raises()
        except Exception:
            structlog.get_logger().exception("failed", request_id="r1")
            logging.getLogger("another").error("failed", exc_info=True)
        return capsys.readouterr().err

    yield log
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def quoting() -> None:
    int(SECRET)


def missing() -> None:
    {}[SECRET]  # type: ignore[index]  # it is to raise


def caused() -> None:
    try:
        quoting()
    except ValueError as error:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)") from error


@pytest.mark.parametrize("raises", [quoting, missing, caused])
def test_an_exception_that_may_quote_a_request_is_logged_without_its_message(
    logged: Callable[..., str], raises: Callable[[], None]
) -> None:
    written = logged(raises)
    assert SECRET not in written
    for line in written.splitlines():
        told = json.loads(line)
        assert f"in {raises.__name__}" in told["exception"]
        assert "withheld" in told["exception"]


def test_an_exception_that_tells_of_shapes_keeps_its_message_and_its_cause(logged: Callable[..., str]) -> None:
    first = json.loads(logged(caused).splitlines()[0])
    assert "cannot be multiplied (2x3 and 4x5)" in first["exception"]
    assert "ValueError" in first["exception"]
    assert first["request_id"] == "r1"


def test_whoever_debugs_sees_the_message(logged: Callable[..., str]) -> None:
    assert SECRET in logged(quoting, "debug")
