"""The numbers of /metrics, equal to what a known script of requests did."""

import gzip
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.serving import GOOD, Server, running, total

LOSS = {"query": GOOD["query"], "key": GOOD["key"]}
DOCUMENTED = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)


@pytest.fixture
def counted(start_server: Callable[..., Server]) -> Iterator[Server]:
    server = start_server(processes=2, api_keys="key", max_queue_jobs=8, models="")
    server.client.headers["Authorization"] = "Bearer key"
    yield server
    assert server.terminate() == 0


def text(server: Server) -> str:
    return server.client.get("/metrics").raise_for_status().text


def settled(server: Server, name: str, least: float) -> str:
    """The metrics once a count has come this far: a worker counts a batch after it has answered."""
    give_up_s = time.monotonic() + 10
    while total(metrics := text(server), name) < least:
        assert time.monotonic() < give_up_s, metrics
        time.sleep(0.05)
    return metrics


def test_every_name_begins_with_the_projects_and_is_explained(counted: Server) -> None:
    counted.post("/loss", LOSS)
    metrics = text(counted)
    names = [name for name, _ in DOCUMENTED.findall(metrics)]
    assert len(names) == len(set(names)) > 18
    assert all(name.startswith("attnloss_") for name in names)
    for name in names:
        explained = re.search(rf"^# HELP {name} (.+)$", metrics, re.MULTILINE)
        assert explained, name
        assert "Multiprocess" not in explained[1], name


def test_the_numbers_are_those_of_the_requests_that_were_sent(counted: Server) -> None:
    before = text(counted)
    sent_bytes = answered_bytes = 0
    for _ in range(7):
        request = counted.client.build_request("POST", "/attention", json=GOOD)
        sent_bytes += len(request.content)
        answered_bytes += len(counted.client.send(request).raise_for_status().content)
    packed = gzip.compress(json.dumps(LOSS).encode())
    with counted.client.stream(
        "POST",
        "/loss",
        content=packed,
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    ) as answer:
        assert answer.status_code == 200
        loss_bytes = len(b"".join(answer.iter_raw()))
    assert counted.client.post("/loss", content=b"{").status_code == 400
    assert counted.client.post("/attention", json=GOOD | {"casual": True}).status_code == 422
    assert counted.client.post("/attention", json=GOOD, headers={"Authorization": "Bearer no"}).status_code == 401
    assert counted.client.get("/nowhere").status_code == 404
    after = settled(counted, "attnloss_batch_jobs_sum", total(before, "attnloss_batch_jobs_sum") + 8)

    def rose(name: str) -> float:
        return total(after, name) - total(before, name)

    assert rose('attnloss_requests_total{route="/attention",status="200"}') == 7
    assert rose('attnloss_requests_total{route="/loss",status="200"}') == 1
    assert rose('attnloss_failures_total{reason="not-json",route="/loss"}') == 1
    assert rose('attnloss_failures_total{reason="invalid",route="/attention"}') == 1
    assert rose('attnloss_failures_total{reason="unauthorized",route="/attention"}') == 1
    assert rose('attnloss_failures_total{reason="not-found",route="none"}') == 1
    assert rose("attnloss_failures_total") == 4
    assert rose('attnloss_request_seconds_count{route="/attention"}') == 9
    for stage in ("decode", "queue", "compute", "encode"):
        assert rose(f'attnloss_stage_seconds_count{{route="/attention",stage="{stage}"}}') == 7
    refused = sum(len(json.dumps(body, separators=(",", ":"))) for body in (GOOD | {"casual": True}, GOOD))
    assert rose('attnloss_request_bytes_total{route="/attention"}') == sent_bytes + refused
    assert rose('attnloss_request_bytes_total{route="/loss"}') == len(packed) + 1
    assert rose('attnloss_answer_bytes_total{route="/attention"}') > answered_bytes
    assert rose('attnloss_answer_bytes_total{route="/loss"}') > loss_bytes
    assert rose("attnloss_outcomes_total") == rose('attnloss_outcomes_total{kind="result"}') == 8
    assert rose("attnloss_batch_jobs_sum") == 8
    assert rose("attnloss_batch_cost_sum") == 8 * 4
    assert rose("attnloss_batch_seconds_count") == rose("attnloss_batch_jobs_count") <= 8
    assert rose("attnloss_padding_ratio_sum") == 0
    assert total(after, "attnloss_queue_jobs") == total(after, "attnloss_queue_cost") == 0
    assert total(after, "attnloss_admitted_requests") == total(after, "attnloss_admitted_bytes") == 0


def test_what_is_there_now_is_told(counted: Server) -> None:
    metrics = settled(counted, 'attnloss_device_memory_bytes{device="cpu",kind="used"}', 1)
    assert total(metrics, 'attnloss_workers{state="ready"}') == 1
    assert total(metrics, "attnloss_workers") == 1
    used, whole = (
        total(metrics, f'attnloss_device_memory_bytes{{device="cpu",kind="{k}"}}') for k in ("used", "total")
    )
    assert 1 << 26 < used < whole
    assert 'attnloss_build_info{version="' in metrics
    with counted.send_raw(b""), counted.send_raw(b""):
        assert total(settled(counted, "attnloss_connections ", 3), "attnloss_connections ") == 3


def test_padding_is_told_as_the_part_of_a_batch_that_it_takes(counted: Server) -> None:
    bodies = [{"query": [[0.5]] * n, "key": [[0.5]] * n, "return": ["entropy"]} for n in (2, 3, 2, 3, 2, 3)]
    large = {"query": [[0.1] * 64] * 3000, "key": [[0.1] * 64] * 3000, "return": ["entropy"]}
    with ThreadPoolExecutor(8) as pool:
        slow = pool.submit(counted.post, "/attention", large)
        time.sleep(0.3)
        list(pool.map(lambda body: counted.post("/attention", body), bodies))
        slow.result()
    metrics = settled(counted, "attnloss_batch_jobs_sum", 7)
    ratio = total(metrics, "attnloss_padding_ratio_sum")
    assert 0 <= ratio <= 3 * (1 - 4 / 9)


def test_a_killed_worker_is_counted_with_the_jobs_that_were_sent_again(counted: Server) -> None:
    long = {"query": [[0.1]] * 30000, "key": [[0.1]] * 30000, "return": ["entropy", "received"]}
    with ThreadPoolExecutor(4) as pool:
        computing = pool.submit(counted.post, "/attention", long)
        settled(counted, "attnloss_admitted_requests", 1)
        time.sleep(0.1)
        waiting = [pool.submit(counted.post, "/attention", GOOD) for _ in range(3)]
        settled(counted, "attnloss_admitted_requests", 4)
        os.kill(counted.worker_pid(), signal.SIGKILL)
        for each in (computing, *waiting):
            assert each.result()["backend"]
    metrics = settled(counted, 'attnloss_restarts_total{child="worker"}', 1)
    assert total(metrics, 'attnloss_resubmissions_total{cause="computing"}') == 1
    assert total(metrics, "attnloss_resubmissions_total") == 4
    assert total(metrics, 'attnloss_workers{state="ready"}') == 1


def test_a_killed_api_process_is_counted_and_its_counts_stay(counted: Server) -> None:
    for _ in range(6):
        counted.post("/attention", GOOD)
    victim = running(counted, "service.api_process")[0]
    victim.kill()
    counted.client.close()
    counted.client = counted.make_client(headers={"Authorization": "Bearer key"})
    metrics = settled(counted, 'attnloss_restarts_total{child="api"}', 1)
    assert total(metrics, 'attnloss_requests_total{route="/attention",status="200"}') == 6


def test_a_client_that_goes_away_is_counted_as_such(counted: Server) -> None:
    long: dict[str, Any] = {"query": [[0.1]] * 30000, "key": [[0.1]] * 30000, "return": ["entropy", "received"]}
    body = json.dumps(long).encode()
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n"
    with counted.send_raw(head % len(body) + b"Content-Type: application/json\r\n\r\n" + body):
        settled(counted, "attnloss_admitted_requests", 1)
    metrics = settled(counted, 'attnloss_failures_total{reason="client-closed",route="/attention"}', 1)
    assert total(metrics, 'attnloss_requests_total{route="/attention",status="499"}') == 1
