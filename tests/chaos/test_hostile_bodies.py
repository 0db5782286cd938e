"""Bodies that no honest client sends end in a 4xx, and neither the memory nor the event loop shows them."""

import time
from collections.abc import Callable

import pytest

from tests.chaos.bodies import hostile_requests
from tests.chaos.clients import until
from tests.chaos.figures import record
from tests.chaos.outside import pulse
from tests.chaos.watch import peak_resident, resident, until_idle
from tests.chaos.wire import Wire
from tests.serving import Server

pytestmark = pytest.mark.chaos

MIB = 1 << 20
BLOCKED_S = 0.5
LEFT = 150 * MIB
SENDING_TAKES_S = 30.0


def test_hostile_bodies_are_refused_and_leave_no_trace(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.is_right()
    before = resident(server)
    statuses, sent_s = {}, {}
    with peak_resident(server) as peak, pulse(server.port) as beats:
        for name, request in hostile_requests():
            sent_s[name] = time.monotonic()
            with Wire(server.port, SENDING_TAKES_S) as wire:
                statuses[name] = wire.ask(request).status
    latencies_s: dict[str, float] = {}
    for due_s, took_s in beats:
        name = next((name for name, began_s in reversed(sent_s.items()) if began_s < due_s + took_s), "nothing")
        latencies_s[name] = max(latencies_s.get(name, 0), took_s)
    until_idle(server)
    server.is_right()
    until(lambda: all(now < before[pid] + LEFT for pid, now in resident(server).items()), 10)
    after = resident(server)
    record(
        "hostile bodies",
        bodies=len(statuses),
        polls=len(beats),
        other_than_4xx=sum(not 400 <= status < 500 for status in statuses.values()),
        longest_block_s=max(latencies_s.values()),
        longest_block_by=max(latencies_s, key=lambda name: latencies_s[name]),
        rss_mib_start=sum(before.values()) / MIB,
        rss_mib_peak=peak[0] / MIB,
        rss_mib_end=sum(after.values()) / MIB,
    )
    assert {name: status for name, status in statuses.items() if not 400 <= status < 500} == {}
    assert {name: latency_s for name, latency_s in latencies_s.items() if latency_s >= BLOCKED_S} == {}
    assert "Traceback" not in server.log.read_text()
