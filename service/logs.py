"""Logs on standard error: one JSON object a line, or lines for people on a terminal. Never tensors, never text."""

import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal

import orjson
import structlog

Format = Literal["auto", "json", "text"]

_PLAIN = (RuntimeError, OSError, MemoryError, ImportError)
"""Messages of these tell of shapes, devices and files; those of others often quote what they were given."""

_WITHHELD = "(withheld, since it may quote a request; ATTNLOSS_LOG_LEVEL=debug shows it)"


def configure_logs(level: str, log_format: Format = "auto") -> None:
    """Send structlog's and the standard library's logs to standard error from `level` up."""
    least = getattr(logging, level.upper())
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        _Exceptions(whole=least <= logging.DEBUG),
    ]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_text
        else structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)


class _Exceptions:
    """Turns `exc_info` into `exception`: the traceback, without messages that may quote a request unless `whole`."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        given = event.pop("exc_info", None)
        if given is True:
            given = sys.exc_info()
        error = given[1] if isinstance(given, tuple) else given
        if isinstance(error, BaseException):
            event["exception"] = "".join(self._told(error)).rstrip()
        return event

    def _told(self, error: BaseException) -> Iterator[str]:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is not None:
            yield from self._told(before)
            yield "\nwhich led to:\n\n"
        yield from traceback.format_tb(error.__traceback__)
        quotes = not (self._whole or isinstance(error, _PLAIN))
        yield f"{type(error).__module__}.{type(error).__qualname__}: {_WITHHELD if quotes else error}"
