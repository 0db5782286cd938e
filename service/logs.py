"""Logs: one JSON object a line, on standard error."""

import logging
import sys

import orjson
import structlog


def configure_logs(level: str) -> None:
    """Send structlog and the standard library's logs to standard error from `level` up."""
    least = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(least, logging.WARNING), stream=sys.stderr, format="%(message)s", force=True)
