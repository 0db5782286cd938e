"""What batching gains: small ragged jobs on the link and through HTTP, a single client's wait, an idle server's time.

`python -m benchmarks.batching` prints Markdown tables and exits with 1 if a bar is missed or an answer is wrong. With
and without batching stay up together; rounds alternate between them, so that a ratio compares neighbours in time.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
import uvloop

from benchmarks import http, idle, linked, load
from benchmarks.idle import Section
from benchmarks.works import RETURNS, RaggedWork, Work
from service.job import Job
from service.logs import configure_logs
from service.settings import Settings
from service.validate import attention_job

JOBS = 64
WORKS = [
    RaggedWork((1, 4, longest, 32), 0.0, shortest) for shortest, longest in ((8, 16), (8, 32), (8, 64), (32, 64))
] + [RaggedWork((1, 4, 16, 32), 0.0, 16)]
SHORT_BAR, LEAST_BAR, GPU_BAR = 1.3, 0.95, 3.7
HTTP_BAR, HTTP_WORKS = 1.0, (0, 2)
LATENCY_BAR = 1.05
ROUNDING = 1e-5


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int = 5
    warm_up_s: float = 0.5
    seconds: float = 2.0
    idle_s: float = 10.0


QUICK = Plan(rounds=1, warm_up_s=0.3, seconds=0.7, idle_s=2.0)


def jobs_of(work: Work, settings: Settings) -> list[Job]:
    """The jobs that the requests of the connections become."""
    jobs = []
    for connection in range(JOBS):
        fields = {name: tensor.astype(float) for name, tensor in work.tensors(connection).items()}
        jobs.append(attention_job({**fields, "return": RETURNS}, settings, connection.to_bytes(16, "big")))
    return jobs


def spread(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """Ratio of neighbours, median and as the tables show it."""
    ratios = [our / their if their else float("nan") for our, their in zip(ours, theirs, strict=True)]
    median = statistics.median(ratios)
    return median, f"**{median:.2f}×** ({min(ratios):.2f}–{max(ratios):.2f})"


def link_row(work: Work, batched: list[linked.Run], alone: list[linked.Run], device: str) -> Section:
    """One row: rates, their ratio, and the processor time of a batched job at both ends."""
    ratio, shown = spread([run.rate for run in batched], [run.rate for run in alone])
    bar = SHORT_BAR if work is WORKS[0] else LEAST_BAR
    bar = max(bar, GPU_BAR) if device != "cpu" and work is WORKS[0] else bar
    median = statistics.median
    cells = [work.name, f"{median(run.rate for run in alone):.0f}", f"{median(run.rate for run in batched):.0f}"]
    cells += [shown, f"≥ {bar:g}×"]
    for runs in (alone, batched):
        worker, sender = (
            f"{median(1e6 * spent / run.jobs for spent, run in zip(each, runs, strict=True)):.0f}"
            for each in ([run.worker_s for run in runs], [run.sender_s for run in runs])
        )
        cells.append(f"{worker} / {sender}")
    off = max(linked.furthest(ours, theirs) for ours, theirs in zip(batched, alone, strict=True))
    failures = [] if ratio >= bar else [f"link, {work.name}: {ratio:.2f}×, the bar is {bar:g}×"]
    failures += [] if off <= ROUNDING else [f"link, {work.name}: answers differ by {off:.2g}"]
    return Section(["| " + " | ".join([*cells, f"{off:.0e}"]) + " |"], failures)


async def on_the_link(plan: Plan, device: str) -> Section:
    """Jobs per second of two workers, with and without batching, in turns."""
    settings = Settings(models="", device=device)
    section = Section([], [])
    async with (
        linked.linked("batched", settings) as batched,
        linked.linked("alone", settings.model_copy(update={"max_batch_jobs": 1})) as alone,
    ):
        for work in WORKS:
            jobs = jobs_of(work, settings)
            runs: dict[str, list[linked.Run]] = {"batched": [], "alone": []}
            for _ in range(plan.rounds):
                for name, worker in (("batched", batched), ("alone", alone)):
                    runs[name].append(await linked.drive(worker, jobs, plan.warm_up_s, plan.seconds))
            row = link_row(work, runs["batched"], runs["alone"], device)
            section.rows.extend(row.rows)
            section.failures.extend(row.failures)
            http.progress(row.rows[0])
    return section


def through_http(plan: Plan, generator: ProcessPoolExecutor, ports: dict[str, int]) -> Section:
    """Requests per second on as many connections as there were jobs in flight."""
    section = Section([], [])
    for work in (WORKS[number] for number in HTTP_WORKS):
        tallies: dict[str, list[load.Tally]] = {"batched": [], "alone": []}
        for _ in range(plan.rounds):
            for name, port in ports.items():
                run = generator.submit(load.run, port, work, plan.warm_up_s, plan.seconds, JOBS)
                tallies[name].append(run.result())
                wrong = http.check(work, tallies[name][-1], JOBS)
                section.failures.extend(f"HTTP, {work.name}, {name}: {what}" for what in wrong)
        rates = {name: [tally.rate for tally in each] for name, each in tallies.items()}
        ratio, shown = spread(rates["batched"], rates["alone"])
        medians = [f"{statistics.median(rates[name]):.0f}" for name in ("alone", "batched")]
        section.rows.append(f"| {work.name} | {' | '.join(medians)} | {shown} | ≥ {HTTP_BAR:g}× |")
        if not ratio >= HTTP_BAR:
            section.failures.append(f"HTTP, {work.name}: {ratio:.2f}×, the bar is {HTTP_BAR:g}×")
        http.progress(section.rows[-1])
    return section


def one_client(plan: Plan, generator: ProcessPoolExecutor, ports: dict[str, int]) -> Section:
    """Latency of one request at a time, to one server and the other by turns."""
    section = Section([], [])
    for work in (WORKS[-1], WORKS[-2]):
        medians: dict[str, list[float]] = {"batched": [], "alone": []}
        for _ in range(plan.rounds):
            run = generator.submit(load.in_turn, list(ports.values()), work, plan.warm_up_s, 2 * plan.seconds)
            for name, latencies_s in zip(ports, run.result(), strict=True):
                medians[name].append(1e3 * statistics.median(latencies_s))
        ratio, shown = spread(medians["batched"], medians["alone"])
        each = " | ".join(f"{statistics.median(medians[name]):.2f}" for name in ("alone", "batched"))
        section.rows.append(f"| {work.name} | {each} | {shown} | ≤ {LATENCY_BAR:g}× |")
        if not ratio <= LATENCY_BAR:
            section.failures.append(f"one client, {work.name}: {ratio:.3f}×, the bar is {LATENCY_BAR:g}×")
        http.progress(section.rows[-1])
    return section


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it still run?")
    plan = QUICK if parser.parse_args().quick else Plan()
    configure_logs("warning")
    os.environ.update(ATTNLOSS_LOG_LEVEL="warning", ATTNLOSS_MODELS="")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{http.machine()}, on {device}\n")
    print(f"{JOBS} jobs in flight, 4 heads of 32; medians of {plan.rounds} rounds of {plan.seconds:g} s.\n")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        link = runner.run(on_the_link(plan, device))
    print(
        "| on the link | alone, jobs/s | batched, jobs/s | ratio | bar | µs of worker / sender, alone | batched | off |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|", *link.rows, sep="\n")
    print("" if device == "cuda" else f"\nOn a GPU (bar ≥ {GPU_BAR:g}× for {WORKS[0].name}): not measured.\n")
    rates, latencies = of_servers(plan)
    print(f"| through HTTP, {JOBS} connections | alone, /s | batched, /s | ratio | bar |")
    print("|---|---:|---:|---:|---:|", *rates.rows, sep="\n")
    print("\n| one request at a time | alone, ms | batched, ms | ratio | bar |")
    print("|---|---:|---:|---:|---:|", *latencies.rows, sep="\n")
    quiet = idle.measure(plan.idle_s)
    print("\n| processor time of an idle server | of a core | bar |")
    print("|---|---:|---:|", *quiet.rows, sep="\n")
    failures = [failure for section in (link, rates, latencies, quiet) for failure in section.failures]
    for failure in failures:
        http.progress(f"FAILED {failure}")
    return 1 if failures else 0


def of_servers(plan: Plan) -> tuple[Section, Section]:
    """Measure two servers, with and without batching: their rates, and what one client waits."""
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn) as generator,
        http.serving(http.SERVICE) as (batched, batched_port),
        http.serving(http.SERVICE, ATTNLOSS_MAX_BATCH_JOBS="1") as (alone, alone_port),
    ):
        ports = {"batched": batched_port, "alone": alone_port}
        for process, port in ((batched, batched_port), (alone, alone_port)):
            http.await_ok(process, f"http://127.0.0.1:{port}/health/ready")
        return through_http(plan, generator, ports), one_client(plan, generator, ports)


if __name__ == "__main__":
    sys.exit(main())
