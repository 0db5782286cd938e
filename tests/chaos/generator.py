"""The load of the long tests, in a process of its own: `python -m tests.chaos.generator '{"plan": ...}'`.

Prebuilt bytes on sockets of one event loop, so that it takes little of the cores that the server needs. It prints what
it saw as JSON. An open loop measures from the moment that a request was due, not from when it came to be sent.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import traffic

PATIENCE_S = 90.0
NO_ANSWER = 0


class Exchange(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._came = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        end = self._came.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = bytes(self._came[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._came) >= end + 4 + length:
            self.usable = b"connection: close" not in head
            self._came.clear()
            self._answer.set_result((int(head[9:12]), head))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((NO_ANSWER, b""))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and head of the answer."""
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


@dataclass
class Seen:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    least_retry_after: int | None = None
    unexpected: list[str] = field(default_factory=list)

    def note(self, status: int, head: bytes, latency_s: float, expected: set[int]) -> None:
        self.statuses[status] += 1
        if status not in expected:
            self.unexpected.append(f"{status}: {head[:300]!r}")
        if status == 200:
            self.latencies_s.append(latency_s)
        if status == 429:
            given = head.partition(b"retry-after:")[2].partition(b"\r\n")[0]
            seconds = int(given) if given else 0
            self.least_retry_after = min(seconds, self.least_retry_after or seconds)


async def closed(port: int, requests: list[traffic.Expected], clients: int, count: int) -> Seen:
    """So many requests by clients that send the next when the last was answered."""
    seen, left = Seen(), iter(range(count))

    async def serve() -> None:
        exchange: Exchange | None = None
        for turn in left:
            request = requests[turn % len(requests)]
            if exchange is None or not exchange.usable:
                exchange = await connected(port)
            sent_s = time.perf_counter()
            status, head = await asyncio.wait_for(exchange.ask(request.data), PATIENCE_S)
            seen.note(status, head, time.perf_counter() - sent_s, {request.status})
        if exchange is not None and exchange.transport is not None:
            exchange.transport.close()

    await asyncio.gather(*(serve() for _ in range(clients)))
    return seen


async def open_loop(
    port: int, requests: list[traffic.Expected], rate: float, seconds: float, expected: list[int]
) -> Seen:
    """Requests at a fixed rate, whatever becomes of the earlier ones."""
    seen, idle, tasks = Seen(), list[Exchange](), set[asyncio.Task[None]]()

    async def one(request: bytes, due_s: float) -> None:
        while idle and not idle[-1].usable:
            idle.pop()
        exchange = idle.pop() if idle else await connected(port)
        status, head = await asyncio.wait_for(exchange.ask(request), PATIENCE_S)
        seen.note(status, head, time.perf_counter() - due_s, set(expected))
        if exchange.usable:
            idle.append(exchange)

    began_s = time.perf_counter()
    for turn in range(round(rate * seconds)):
        due_s = began_s + turn / rate
        if (early_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(early_s)
        tasks.add(asyncio.create_task(one(requests[turn % len(requests)].data, due_s)))
    await asyncio.gather(*tasks)
    return seen


async def connected(port: int) -> Exchange:
    """A new connection."""
    _, exchange = await asyncio.get_running_loop().create_connection(Exchange, "127.0.0.1", port)
    return exchange


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan; what was seen."""
    requests = traffic.TRAFFIC[plan.pop("traffic")]()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    loop = closed if plan.pop("loop") == "closed" else open_loop
    seen = asyncio.run(loop(requests=requests, **plan))
    took_s = time.perf_counter() - began_s
    return {
        "statuses": {str(status): count for status, count in seen.statuses.items()},
        "latencies_s": seen.latencies_s,
        "least_retry_after": seen.least_retry_after,
        "unexpected": seen.unexpected[:5],
        "seconds": took_s,
        "cpu_share": (time.process_time() - cpu_s) / took_s,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
