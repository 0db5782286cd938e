"""Fifty thousand requests of every kind: nothing grows."""

from collections.abc import Callable

import pytest

from tests.chaos.figures import record
from tests.chaos.outside import generate
from tests.chaos.watch import held, resident, until_idle
from tests.serving import Server

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

REQUESTS, WARM_UP = 50_000, 10_000
CONNECTIONS = 12
GROWTH = 0.05
MIB = 1 << 20


def test_fifty_thousand_requests_leave_memory_and_descriptors_as_they_were(start_server: Callable[..., Server]) -> None:
    server = start_server(models="default")
    load = {"loop": "closed", "traffic": "everything", "clients": CONNECTIONS}
    first = generate(server.port, **load, count=WARM_UP)
    until_idle(server)
    memory, handles = resident(server), held(server)
    then = generate(server.port, **load, count=REQUESTS - WARM_UP)
    until_idle(server)
    after_memory, after_handles = resident(server), held(server)
    assert memory.keys() == after_memory.keys(), "a process died"
    growth = {pid: after_memory[pid] / memory[pid] - 1 for pid in memory}
    overall = sum(after_memory.values()) / sum(memory.values()) - 1
    descriptors = {pid: after_handles[pid][0] - handles[pid][0] for pid in handles}
    record(
        "soak",
        requests=REQUESTS,
        seconds=first["seconds"] + then["seconds"],
        per_s=(REQUESTS - WARM_UP) / then["seconds"],
        unexpected=len(first["unexpected"] + then["unexpected"]),
        rss_mib_after_warm_up=sum(memory.values()) / MIB,
        rss_mib_end=sum(after_memory.values()) / MIB,
        rss_growth_percent=100 * overall,
        rss_growth_percent_of_worst_process=100 * max(growth.values()),
        descriptors_more=sum(descriptors.values()),
        generator_cpu_share=then["cpu_share"],
    )
    assert first["unexpected"] == then["unexpected"] == []
    assert max(growth.values()) < GROWTH, growth
    assert overall < GROWTH
    assert max(descriptors.values()) <= 0, descriptors
    server.is_right()
