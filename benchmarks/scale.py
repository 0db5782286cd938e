"""Throughput by core and by GPU from measured costs of stages: a model, its check at unseen sizes, and its limits.

`python -m benchmarks.scale` prints Markdown and exits with 1 if a prediction is off by more than the bar; with
`--into docs/scale.md` it writes it there. GPUs are not measured: what they do is a parameter.
"""

import argparse
import dataclasses
import multiprocessing
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks import load
from benchmarks.http import machine, progress
from benchmarks.measure import table
from benchmarks.scale_measure import Measured, Server, describe, measure, servers
from benchmarks.scale_model import Costs, Line, Load, Need, Node, fit, need
from benchmarks.works import BinaryWork, Work
from tools.page import put_into

FITTED, UNSEEN = (8, 48, 192, 320), (24, 128)
WIRES = {"JSON": Work, "binary": BinaryWork}
RATES = (1_000, 10_000, 100_000, 1_000_000)
MOVED_RATE = 10_000
BAR = 1.35
"""By what factor the requests of a core may differ from what is predicted."""

CHECKED = ["/s and core, predicted", "measured", "ratio", "/s of this machine, predicted", "measured", "ratio"]
PLANNED = ["/s", "Gbit/s", "NICs", "serving cores", "device", "nodes: network", "decode and encode", "device", "limit"]
PLANS = [
    ("Ray, HAProxy", "binary", 24, False),
    ("Ray, HAProxy", "binary", 24, True),
    ("Ray, HAProxy", "binary", 192, True),
    ("Ray, HAProxy", "JSON", 192, True),
    ("Ray", "binary", 24, True),
    ("ordinary", "binary", 24, True),
    ("ordinary", "binary", 192, True),
]
"""Server, wire, n, and whether GPUs compute."""

PROCESS_OF = {"proxy": "proxy", "http": "ingress", "decode": "ingress", "encode": "ingress"}
PROCESS_OF |= {"replica": "replica", "compute": "worker"}


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    warm_up_s: float = 1.0
    seconds: float = 4.0
    latency_s: float = 3.0


QUICK = Plan(0.3, 1.0, 0.5)


def work_of(wire: str, n: int) -> Work:
    return WIRES[wire]((1, 4, n, 32), BAR)


def costs_of(loads: Sequence[Load], runs: Sequence[Measured], cores: int) -> Costs:
    """The model of one server, fitted to its runs."""
    lines: dict[str, Line] = {
        "decode": fit("body", loads, [run.stages_s["decode"] for run in runs]),
        "encode": fit("answer", loads, [run.stages_s["encode"] for run in runs]),
        "compute": fit("element", loads, [run.cpu_s["worker"] for run in runs]),
    }
    rest = [run.cpu_s["ingress"] - run.stages_s["decode"] - run.stages_s["encode"] for run in runs]
    lines["http"] = fit("byte", loads, rest)
    for process in {"proxy", "replica"} & set(runs[0].cpu_s):
        lines[process] = fit("byte", loads, [run.cpu_s[process] for run in runs])
    costs = Costs({stage: lines[stage] for stage in PROCESS_OF if stage in lines}, PROCESS_OF)
    bounds = [costs.rate(of, cores, run.client_s)[0] for of, run in zip(loads, runs, strict=True)]
    return replace(
        costs, efficiency=statistics.median(run.rate / bound for run, bound in zip(runs, bounds, strict=True))
    )


def costs_row(server: str, wire: str, costs: Costs) -> list[str]:
    cells = []
    for stage in PROCESS_OF:
        line = costs.lines.get(stage)
        cells.append(f"{line.base_s * 1e6:.0f} µs + {line.unit_s * 1e9:.2f} ns/{line.size}" if line else "")
    return [server, wire, *cells, f"{costs.efficiency:.2f}"]


def check_row(server: str, wire: str, n: int, costs: Costs, of: Load, run: Measured) -> tuple[list[str], float]:
    """Predicted against measured at a size that the model has not seen, and by what factor it is off."""
    rate, limit = costs.rate(of, os.cpu_count() or 1, run.client_s)
    predicted_s, measured_s = sum(costs.seconds(of).values()), sum(run.cpu_s.values()) - run.cpu_s.get("rest", 0.0)
    ratio = measured_s / predicted_s
    row = [server, wire, f"1×4×{n}×32", f"{1 / predicted_s:.0f}", f"{1 / measured_s:.0f}", f"**{ratio:.2f}×**"]
    return [*row, f"{rate:.0f}", f"{run.rate:.0f}", f"{rate / run.rate:.2f}×", limit], max(ratio, 1 / ratio)


def need_row(rate: int, found: Need, node: Node) -> list[str]:
    nodes = [f"{found.nodes[name]:.1f}" for name in ("network", "decode and encode", "device")]
    served = sum(found.cores.values()) - found.cores["compute"]
    device = f"{found.gpus:.1f} GPUs" if found.gpus else f"{found.cores['compute']:.0f} cores"
    return [
        f"{rate:,}",
        f"{found.gbit:.1f}",
        f"{found.gbit / node.nic_gbit:.2f}",
        f"{served:.0f}",
        device,
        *nodes,
        f"**{found.limit}**",
    ]


def latency_rows(up: Sequence[Server], generator: Executor, plan: Plan) -> list[list[str]]:
    """One request at a time, to all servers in turn."""
    rows = []
    for wire in WIRES:
        for n in (FITTED[0], UNSEEN[1]):
            ports = [server.port for server in up]
            seen = generator.submit(load.in_turn, ports, work_of(wire, n), plan.warm_up_s, plan.latency_s).result()
            plain, *others = (1e3 * statistics.median(latencies_s) for latencies_s in seen)
            ratios = [f"{ray:.1f}: **{ray / plain:.1f}×**" for ray in others]
            rows.append([wire, f"1×4×{n}×32", f"{plain:.1f}", *ratios])
    return rows


@dataclass(frozen=True)
class Survey:
    """All that was measured: by wire and n what a request is, by server as well what it cost, and latencies."""

    loads: dict[tuple[str, int], Load]
    runs: dict[tuple[str, str, int], Measured]
    servers: list[str]
    latencies: list[list[str]]


def survey(plan: Plan) -> Survey:
    """Measure every server under every work, the servers in turn."""
    runs: dict[tuple[str, str, int], Measured] = {}
    asked = [(wire, n) for wire in WIRES for n in (*FITTED, *UNSEEN)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as generator, servers() as up:
        loads = {(wire, n): describe(work_of(wire, n), up[0].port) for wire, n in asked}
        for wire, n in asked:
            for server in up:
                run = measure(server, work_of(wire, n), generator, plan.warm_up_s, plan.seconds)
                runs[server.name, wire, n] = run
                progress(f"{server.name} {wire} n = {n}: {run.rate:.0f}/s, {run}")
        return Survey(loads, runs, [server.name for server in up], latency_rows(up, generator, plan))


def report(found: Survey, node: Node) -> tuple[str, int]:
    """Fit, check and plan; the page's figures, and 1 if a prediction is off by more than the bar."""
    cores = os.cpu_count() or 1
    models: dict[tuple[str, str], Costs] = {}
    costs_rows, check_rows, worst = [], [], 1.0
    for wire in WIRES:
        for server in found.servers:
            fitted = [found.loads[wire, n] for n in FITTED]
            costs = costs_of(fitted, [found.runs[server, wire, n] for n in FITTED], cores)
            models[server, wire] = costs
            costs_rows.append(costs_row(server, wire, costs))
            for n in UNSEEN:
                row, off = check_row(server, wire, n, costs, found.loads[wire, n], found.runs[server, wire, n])
                check_rows.append(row)
                worst = max(worst, off)
    parts = [
        f"{machine()}, ray {version('ray')}.",
        "**What Ray adds.** One request at a time, to all servers in turn: medians in ms, and how many times the\n"
        "ordinary server's.",
        table(["wire", "tensors", *found.servers], found.latencies),
        f"**What a request costs**, in processor time by stage, fitted at n = {', '.join(map(str, FITTED))}.",
        table(["server", "wire", *PROCESS_OF, "efficiency"], costs_rows),
        f"**The check**, at n = {' and '.join(map(str, UNSEEN))}, which the fit has not seen: {cores} cores, "
        f"{load.CONNECTIONS} connections, and\nthe load generator on the same cores.",
        table(["server", "wire", "tensors", *CHECKED, "limit"], check_rows),
        *plans(models, found.loads, node),
        *moves(models, node),
    ]
    if worst > BAR:
        progress(f"FAILED a prediction is off by {worst:.2f}×, the bar is {BAR:g}×")
    return "\n\n".join(parts) + "\n", int(worst > BAR)


def plans(models: Mapping[tuple[str, str], Costs], loads: Mapping[tuple[str, int], Load], node: Node) -> list[str]:
    """Tables of what rates need."""
    parts = []
    for server, wire, n, on_gpus in PLANS:
        of = loads[wire, n]
        found = {rate: need(rate, of, models[server, wire], node, on_gpus=on_gpus) for rate in RATES}
        device = "GPUs, **not measured**" if on_gpus else "cores"
        where = "ordinary servers behind a balancer" if server == "ordinary" else server
        size = f"{of.body_bytes:,} bytes in, {of.answer_bytes:,} out"
        parts.append(f"*On {where}: {wire} 1×4×{n}×32, {size}, computed on {device}:*")
        parts.append(table(PLANNED, [need_row(rate, each, node) for rate, each in found.items()]))
    return parts


def moves(models: Mapping[tuple[str, str], Costs], node: Node) -> list[str]:
    """A table of what limits requests of other kinds, most of them larger than any that was measured."""
    asked = {
        f"binary 1×4×{n}×32, entropy alone": ("binary", Load(2 * 4 * n * 32 * 4, 4 * n * 4, 4 * n * n, 32))
        for n in (64, 512, 4096, 32768, 262144)
    }
    asked["text of 128 tokens, a model of 10⁹ weights"] = ("JSON", Load(1 << 10, 1 << 12, 0, 64, 2e9 * 128))
    found = {
        name: need(MOVED_RATE, of, models["Ray, HAProxy", wire], node, on_gpus=True)
        for name, (wire, of) in asked.items()
    }
    head = ["request", "nodes: network", "decode and encode", "device", "limit"]
    rows = [
        [name, *(f"{each.nodes[of]:.1f}" for of in each.nodes), f"**{each.limit}**"] for name, each in found.items()
    ]
    words = (
        f"**Where the limit moves**, at {MOVED_RATE:,}/s on Ray, HAProxy, and GPUs, extrapolated and **not measured**:"
    )
    return [words, table(head, rows)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs: does it still run?")
    parser.add_argument("--into", type=Path, help="the page that holds the figures")
    for each in dataclasses.fields(Node):
        flag = "--" + each.name.replace("_", "-")
        parser.add_argument(flag, type=type(each.default), default=each.default, help=f"of a node; {each.default}")
    given = vars(parser.parse_args())
    plan, into = QUICK if given.pop("quick") else Plan(), given.pop("into")
    figures, status = report(survey(plan), Node(**given))
    if into is None:
        print(figures)
    else:
        put_into(into, figures)
    return status


if __name__ == "__main__":
    sys.exit(main())
