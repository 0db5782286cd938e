"""Requests per second of the service against a plain FastAPI app, and how fast the service starts.

`python -m benchmarks.http` prints a Markdown table and exits with 1 if a bar is missed or an answer is wrong.
Both servers stay up throughout; rounds alternate between them, so that a ratio compares neighbours in time.
"""

# ruff: noqa: E402 - the path is put right before anything imports the standard library's `http`
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.pop(0)  # run by its path, this file would hide the standard library's `http`
sys.path.insert(0, str(ROOT))

import argparse
import datetime
import math
import multiprocessing
import os
import platform
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import psutil

from benchmarks import load
from benchmarks.works import BinaryWork, Work
from tools.machine import commit, processor

WORKS = [
    (Work((1, 1, 10, 768), bar=8.0), BinaryWork((1, 1, 10, 768), bar=17.0)),
    (Work((1, 12, 128, 64), bar=7.0), BinaryWork((1, 12, 128, 64), bar=55.0)),
]
"""The baseline gets the first of each, the service all, in one round."""
LIVE_BAR_S, READY_BAR_S, API_RSS_BAR_MB = 2.5, 5.0, 120.0
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 40.0
SERVICE = [sys.executable, "-m", "service.cli", "serve", "--host", "127.0.0.1", "--port"]
BASELINE = [sys.executable, "-m", "uvicorn", "benchmarks.baseline:app", "--no-access-log", "--port"]


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int = 3
    warm_up_s: float = 2.0
    seconds: float = 6.0
    starts: int = 5


QUICK = Plan(rounds=1, warm_up_s=0.5, seconds=1.5, starts=1)


def progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def status_of(url: str) -> int:
    """Return the status of a GET; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def serving(command: list[str], **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a server on a free port, with `environment` added to this one; end it and all it started afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, str(port)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process, port
        except BaseException:
            log.seek(0)
            progress(f"the last words of {command[2]}:\n{log.read()[-3000:].decode(errors='replace')}")
            raise
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def await_ok(process: subprocess.Popen[bytes], url: str) -> None:
    """Poll a GET until it answers 200."""
    gives_up = time.monotonic() + START_TIMEOUT_S
    while status_of(url) != 200:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before {url} answered")
        if time.monotonic() > gives_up:
            raise TimeoutError(f"{url} did not answer 200 within {START_TIMEOUT_S:.0f} s")
        time.sleep(0.02)


def check(work: Work, tally: load.Tally, connections: int = load.CONNECTIONS) -> list[str]:
    """Say what is wrong with the answers of a run: a status, a missing answer, a shape, a number."""
    wrong = [f"{count} answers with status {status or 'none'}" for status, count in tally.refused.items()]
    for index in range(connections):
        if index not in tally.first:
            wrong.append(f"connection {index} got no answer")
            continue
        answer = work.decoded(tally.first[index])
        for name, truth in work.truth(index).items():
            given = np.asarray(answer.get(name, np.nan), dtype=np.float64)
            if given.shape != truth.shape:
                wrong.append(f"connection {index}: {name} has shape {given.shape}, not {truth.shape}")
            elif not np.allclose(given, truth, rtol=1e-4, atol=1e-6):
                wrong.append(f"connection {index}: {name} is off by {np.abs(given - truth).max():.2g}")
    return wrong


def throughput(plan: Plan) -> tuple[list[str], list[str]]:
    """Measure both servers in turn; the rows of the table, and what failed."""
    rows, failures = [], []
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn) as generator,
        serving(BASELINE) as (baseline, baseline_port),
        serving(SERVICE) as (service, service_port),
    ):
        await_ok(baseline, f"http://127.0.0.1:{baseline_port}/openapi.json")
        await_ok(service, f"http://127.0.0.1:{service_port}/health/ready")
        for works in WORKS:
            turns = [("baseline", baseline_port, works[0]), *(("service", service_port, work) for work in works)]
            tallies: dict[tuple[str, Work], list[load.Tally]] = {(name, work): [] for name, _, work in turns}
            for round_number in range(1, plan.rounds + 1):
                for name, port, work in turns:
                    tally = generator.submit(load.run, port, work, plan.warm_up_s, plan.seconds).result()
                    tallies[name, work].append(tally)
                    failures += [f"{work.name}, {name}: {wrong}" for wrong in check(work, tally)]
                    seen = f"{tally.rate:.1f} requests/s, generator {tally.cpu_share:.0%} of a core"
                    progress(f"{work.name}  round {round_number}/{plan.rounds}  {name}: {seen}")
            for work in works:
                row, ratio = throughput_row(work, tallies["baseline", works[0]], tallies["service", work])
                rows.append(row)
                if not ratio >= work.bar:
                    failures.append(f"{work.name}: {ratio:.2f}× the baseline, the bar is {work.bar:.0f}×")
    return rows, failures


def throughput_row(work: Work, baseline: list[load.Tally], service: list[load.Tally]) -> tuple[str, float]:
    """Write one row of the table; the ratio that counts is the median over the rounds."""
    pairs = zip(service, baseline, strict=True)
    ratios = [ours.rate / theirs.rate if theirs.rate else float("nan") for ours, theirs in pairs]
    cells = [work.name]
    for runs in (baseline, service):
        p50, p99 = (statistics.median(run.latency_ms(percentile) for run in runs) for percentile in (50, 99))
        cells += [f"{statistics.median(run.rate for run in runs):.1f}", f"{p50:.1f} / {p99:.1f}"]
    ratio = statistics.median(ratios)
    cells += [f"**{ratio:.2f}×** ({min(ratios):.2f}–{max(ratios):.2f})", f"≥ {work.bar:.0f}×"]
    cells += [f"{max(run.cpu_share for run in service):.0%}"]
    return "| " + " | ".join(cells) + " |", ratio


def api_rss_mb(serve_pid: int) -> list[float]:
    """List the memory of the service's processes without torch; infinite if torch is in every one."""
    serve = psutil.Process(serve_pid)
    family = [serve, *serve.children(recursive=True)]
    without_torch = [one for one in family if not any("libtorch" in part.path for part in one.memory_maps())]
    return [one.memory_info().rss / 1e6 for one in without_torch] or [math.inf]


def start(plan: Plan) -> tuple[list[str], list[str]]:
    """Start the service afresh several times; the rows of the table, and what failed."""
    live_s, ready_s, rss_mb = [], [], []
    for attempt in range(plan.starts):
        began = time.perf_counter()
        with serving(SERVICE) as (process, port):
            await_ok(process, f"http://127.0.0.1:{port}/health/live")
            live_s.append(time.perf_counter() - began)
            await_ok(process, f"http://127.0.0.1:{port}/health/ready")
            ready_s.append(time.perf_counter() - began)
            rss_mb += api_rss_mb(process.pid)
        progress(f"start {attempt + 1}/{plan.starts}: live {live_s[-1]:.2f} s, ready {ready_s[-1]:.2f} s")
    rows, failures = [], []
    for name, seen, bar, unit in (
        ("until live", live_s, LIVE_BAR_S, "s"),
        ("until ready for tensors", ready_s, READY_BAR_S, "s"),
        ("memory of a process without torch", rss_mb, API_RSS_BAR_MB, "MB"),
    ):
        digits = 2 if unit == "s" else 0
        median, worst = (f"{value:.{digits}f} {unit}" for value in (statistics.median(seen), max(seen)))
        rows.append(f"| {name} | **{median}** | {worst} | < {bar:g} {unit} |")
        if not statistics.median(seen) < bar:
            failures.append(f"{name}: {median}, the bar is {bar:g} {unit}")
    return rows, failures


def machine() -> str:
    """Say in one line where the numbers come from."""
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{processor()}, {os.cpu_count()} cores, {versions}, commit {commit()}, {datetime.date.today()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it still run?")
    plan = QUICK if parser.parse_args().quick else Plan()
    rates, missed_rates = throughput(plan)
    print(f"{machine()}\n")
    print(f"Concurrency {load.CONNECTIONS}, median of {plan.rounds} rounds of {plan.seconds:g} s.")
    print("`generator` is the load generator's share of a core while it drove the service.\n")
    print("| work | baseline /s | p50 / p99 ms | service /s | p50 / p99 ms | ratio | bar | generator |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", *rates, sep="\n")
    starts, missed_starts = start(plan)
    print(f"\n| start, {plan.starts} times | median | worst | bar |\n|---|---:|---:|---:|", *starts, sep="\n")
    for failure in missed_rates + missed_starts:
        progress(f"FAILED {failure}")
    return 1 if missed_rates + missed_starts else 0


if __name__ == "__main__":
    sys.exit(main())
