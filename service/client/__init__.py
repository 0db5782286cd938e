"""Client of the service: `Client` and, for asyncio and trio, `AsyncClient`; numpy in and out, no torch needed."""

from service.client.clients import AsyncClient, Client
from service.client.errors import (
    ApiError,
    AttnlossError,
    BadAnswer,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from service.client.results import AttentionResult, Gradients, LossResult, TextResult

__all__ = [
    "ApiError",
    "AsyncClient",
    "AttentionResult",
    "AttnlossError",
    "BadAnswer",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Gradients",
    "InvalidRequest",
    "LossResult",
    "NotFound",
    "Overloaded",
    "ServerError",
    "TextResult",
    "Timeout",
    "Unauthorized",
    "Unavailable",
]
