"""Processor time that a server takes while nobody asks it anything, all its processes together."""

import contextlib
import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import http

BAR = 0.01
SETTLE_S = 2.0
MODEL_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Section:
    """The rows of a table, and what missed its bar."""

    rows: list[str]
    failures: list[str]


def measure(seconds: float) -> Section:
    """Measure a server for tensors alone, and one whose default text model is loaded."""
    rows, failures = [], []
    for name, models in (("without a text model", ""), ("with the default model", "default")):
        share = share_of_a_core(models, seconds)
        rows.append(f"| {name} | **{share:.2%}** | < {BAR:.0%} |")
        http.progress(rows[-1])
        if not share < BAR:
            failures.append(f"idle {name}: {share:.2%} of a core, the bar is {BAR:.0%}")
    return Section(rows, failures)


def share_of_a_core(models: str, seconds: float) -> float:
    """Start a server, let it settle, and watch it."""
    with http.serving(http.SERVICE, ATTNLOSS_MODELS=models) as (process, port):
        url = f"http://127.0.0.1:{port}/health/ready"
        http.await_ok(process, url)
        await_models(url)
        time.sleep(SETTLE_S)
        cpu_s, began_s = family_cpu_s(process.pid), time.monotonic()
        time.sleep(seconds)
        return (family_cpu_s(process.pid) - cpu_s) / (time.monotonic() - began_s)


def await_models(url: str) -> None:
    """Poll until every text model is ready."""
    gives_up = time.monotonic() + MODEL_TIMEOUT_S
    while True:
        states = {"unknown"}
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            states = set(json.load(answer)["models"].values())
        if states <= {"ready"}:
            return
        if time.monotonic() > gives_up:
            raise TimeoutError(f"the text models are {states} after {MODEL_TIMEOUT_S:.0f} s")
        time.sleep(0.2)


def family_cpu_s(pid: int) -> float:
    """Seconds of processor that a process and its descendants have used, as the scheduler counts them."""
    parent = psutil.Process(pid)
    return sum(process_cpu_s(process.pid) for process in (parent, *parent.children(recursive=True)))


def process_cpu_s(pid: int) -> float:
    """Seconds of all its threads: exact on Linux, elsewhere in ticks of 10 ms, which an idle process rarely fills."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
