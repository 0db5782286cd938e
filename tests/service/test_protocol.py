import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from service.errors import ServiceError
from service.protocol import bounded_protocol
from service.settings import Settings

SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
QUICK = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"


class Open:
    """A door that lets everybody in."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def opened(self) -> int:
        return 1

    def closed(self) -> None:
        pass

    def refused(self, error: ServiceError) -> None:
        self.reasons.append(error.slug)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Takes its time for /slow, and does not look whether the client is still there."""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.4)
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def answered(*parts: bytes, pause_s: float = 0.02) -> tuple[bytes, list[str]]:
    """What a server whose headers must come within 0.1 s answers to these parts, and why it refused."""
    door = Open()

    async def exchange() -> bytes:
        config = uvicorn.Config(app, log_config=None, timeout_keep_alive=1)
        protocol = bounded_protocol(Settings(header_timeout_s=0.1), door)
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config, ServerState(), {}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause_s)
            came = await reader.read()
            writer.close()
            return came

    return asyncio.run(exchange()), door.reasons


def test_a_request_that_waits_behind_a_slow_one_is_not_held_to_be_slow() -> None:
    came, reasons = answered(SLOW + QUICK + QUICK[:20], QUICK[20:])
    assert came.count(b"HTTP/1.1 200 OK") == 3
    assert reasons == []
    assert came.index(b"/slow") < came.index(b"/quick")


def test_garbage_behind_a_whole_request_ends_the_connection_without_a_word() -> None:
    came, reasons = answered(SLOW + b"\x00 garbage\r\n\r\n")
    assert came == b""
    assert reasons == []


def test_headers_that_stop_are_refused() -> None:
    came, reasons = answered(QUICK[:-2])
    assert came.startswith(b"HTTP/1.1 408 ")
    assert reasons == ["headers-too-slow"]
