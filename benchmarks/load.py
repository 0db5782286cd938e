"""The load generator: prebuilt request bytes on raw keep-alive sockets, one blocking thread a connection.

It runs in a process of its own. A thread spends its time in a few system calls a request, outside the
interpreter lock, so that the generator takes little from the servers that share its cores.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.works import Work, request_bytes

CONNECTIONS = 8
ANSWER_TIMEOUT_S = 120


@dataclass
class Tally:
    """What one run of the load saw, counted over its measured window only."""

    seconds: float
    latencies_s: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    first: dict[int, bytes] = field(default_factory=dict)
    cpu_share: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered with 200 per second."""
        return len(self.latencies_s) / self.seconds

    def latency_ms(self, percentile: float) -> float:
        """Take a percentile of the latency, from the first byte sent to the last byte received."""
        return 1e3 * float(np.percentile(self.latencies_s, percentile)) if self.latencies_s else float("nan")


def receive(connection: socket.socket, buffer: bytearray) -> tuple[int, memoryview, bytearray]:
    """Read one answer: its status, its body, and the buffer it lies in, grown where it was too small."""
    filled, end = 0, -1
    while end < 0:
        count = connection.recv_into(memoryview(buffer)[filled:])
        if count == 0:
            raise ConnectionError("the server closed the connection")
        filled += count
        end = buffer.find(b"\r\n\r\n", 0, filled)
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    begin, stop = end + 4, end + 4 + int(headers["content-length"])
    if stop > len(buffer):
        buffer = buffer[:filled] + bytearray(stop - filled)
    view = memoryview(buffer)
    while filled < stop:
        count = connection.recv_into(view[filled:stop], 0, socket.MSG_WAITALL)
        if count == 0:
            raise ConnectionError("the server closed the connection")
        filled += count
    return int(lines[0].split(" ", 2)[1]), view[begin:stop], buffer


def prepare(connection: socket.socket) -> None:
    """Limit the wait, not by settimeout(): that makes the socket non-blocking, and a call for every few hundred KB."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", ANSWER_TIMEOUT_S, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def in_turn(ports: Sequence[int], work: Work, warm_up_s: float, seconds: float) -> list[list[float]]:
    """Ask servers one after the other, one request at a time, and list the latencies of each in seconds.

    Every server is asked on several connections in turn, since each of its processes may sit better or worse.
    """
    request, buffer = request_bytes(work, 0), bytearray(1 << 20)
    latencies_s: list[list[float]] = [[] for _ in ports]
    with ExitStack() as stack:
        turns = []
        for _ in range(CONNECTIONS):
            for port, seen in zip(ports, latencies_s, strict=True):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                prepare(connection)
                turns.append((connection, seen))
        opens = time.perf_counter() + warm_up_s
        while time.perf_counter() < opens + seconds:
            turns.reverse()  # so that neither always comes second
            for connection, seen in turns:
                sent_at = time.perf_counter()
                connection.sendall(request)
                status, _, buffer = receive(connection, buffer)
                if status != 200:
                    raise RuntimeError(f"a server answered with status {status}")
                if sent_at >= opens:
                    seen.append(time.perf_counter() - sent_at)
    return latencies_s


def converse(port: int, request: bytes, keep_going: Callable[[], bool], note: Callable[..., None]) -> None:
    """Send one request after another on one connection, and note each answer."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        prepare(connection)
        while keep_going():
            sent_at = time.perf_counter()
            connection.sendall(request)
            status, body, buffer = receive(connection, buffer)
            note(status, body, sent_at, time.perf_counter())


def run(port: int, work: Work, warm_up_s: float, seconds: float, connections: int = CONNECTIONS) -> Tally:
    """Keep every connection busy for the warm-up and the window; the last answers count no more."""
    requests = [request_bytes(work, index) for index in range(connections)]
    tally = Tally(seconds)
    lock = threading.Lock()
    opens = time.perf_counter() + warm_up_s
    closes = opens + seconds

    def note(index: int, status: int, body: memoryview, sent_at: float, received_at: float) -> None:
        with lock:
            if status != 200:
                tally.refused[status] = tally.refused.get(status, 0) + 1
                return
            if index not in tally.first:
                tally.first[index] = bytes(body)
            if opens <= received_at < closes:
                tally.latencies_s.append(received_at - sent_at)

    def connection(index: int) -> None:
        try:
            converse(port, requests[index], lambda: time.perf_counter() < closes, partial(note, index))
        except OSError:
            with lock:
                tally.refused[0] = tally.refused.get(0, 0) + 1

    threads = [threading.Thread(target=connection, args=(index,)) for index in range(connections)]
    cpu_s, began = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - began)
    return tally
