"""Ten times more than it can do: the server does what it can, refuses the rest, and does not grow."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.chaos.figures import record
from tests.chaos.outside import generate
from tests.chaos.traffic import long_jobs
from tests.chaos.watch import peak_resident, resident, until_idle
from tests.serving import Server

pytestmark = pytest.mark.chaos

PLACES = 32
MIB = 1 << 20


def test_ten_times_overload_is_refused_and_the_admitted_wait_no_longer(start_server: Callable[..., Server]) -> None:
    server = start_server(max_queue_jobs=PLACES, processes=2)
    warm = {"loop": "closed", "traffic": "long jobs", "clients": PLACES}
    generate(server.port, **warm, count=2 * PLACES)
    before = generate(server.port, **warm, count=6 * PLACES)
    assert before["unexpected"] == []
    capacity = 6 * PLACES / before["seconds"]
    start_bytes = sum(resident(server).values())
    load = {"loop": "open", "traffic": "long jobs", "rate": 10 * capacity, "seconds": 20, "expected": [200, 429]}
    with peak_resident(server) as peak:
        during = generate(server.port, **load)
    until_idle(server)
    end_bytes = sum(resident(server).values())
    after = generate(server.port, **warm, count=6 * PLACES)  # the machine may have become slower or faster meanwhile
    p99_before, p99_during, p99_after = (
        float(np.percentile(run["latencies_s"], 99)) for run in (before, during, after)
    )
    record(
        "10 times overload for 20 s",
        capacity_per_s=capacity,
        offered_per_s=10 * capacity,
        answered=during["statuses"]["200"],
        refused_with_429=during["statuses"]["429"],
        other=len(during["unexpected"]),
        least_retry_after_s=during["least_retry_after"],
        p99_s_at_capacity_before=p99_before,
        p99_s_at_capacity_after=p99_after,
        p99_s_of_the_admitted=p99_during,
        rss_mib_start=start_bytes / MIB,
        rss_mib_peak=peak[0] / MIB,
        rss_mib_end=end_bytes / MIB,
        generator_cpu_share=during["cpu_share"],
    )
    assert during["unexpected"] == []
    assert during["statuses"]["429"] > during["statuses"]["200"] / 2, "that was no overload"
    assert during["least_retry_after"] >= 1
    assert p99_during <= 3 * max(p99_before, p99_after)
    reserved = PLACES * 20 * len(long_jobs()[0].data)
    assert peak[0] < start_bytes + reserved + 256 * MIB
    server.is_right()
