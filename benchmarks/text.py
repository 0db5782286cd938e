"""POST /loss for text over HTTP against a loop of one text per Hugging Face call.

512 texts of 8 to 256 tokens, the default model, 16 connections. Server and loop are measured in turns, each in a
process of its own, and every loss is compared. Prints markdown tables; exits with 1 if a bar is missed.

    python -m benchmarks.text [--rounds 3]
"""

import argparse
import json
import multiprocessing
import random
import socket
import statistics
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

from benchmarks.http import SERVICE, await_ok, serving
from benchmarks.measure import ROOT, machine, table

TEXTS, FEWEST, MOST, CONNECTIONS = 512, 8, 256, 16
LEAST_SHARE = 0.9
MODEL = ROOT / "service" / "models" / "default"
FURTHEST = 1e-4


def texts() -> list[tuple[str, int]]:
    """English of the standard library's help, cut to so many tokens; the same every time."""
    from pydoc_data.topics import topics

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    whole = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    draw, found = random.Random(0), []
    while len(found) < TEXTS:
        start = draw.randrange(len(whole) - 20 * MOST)
        start = whole.index(" ", start) + 1
        offsets = tokenizer(whole[start : start + 20 * MOST], return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        text = whole[start : start + offsets[draw.randint(FEWEST, MOST) - 1][1]]
        count = len(tokenizer(text)["input_ids"])
        if FEWEST <= count <= MOST:
            found.append((text, count))
    return found


_loop: list[Any] = []


def run_loop(given: list[str]) -> tuple[float, list[float]]:
    """Seconds of the loop, and its losses; model and tokenizer are kept for the next round."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not _loop:
        model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
        _loop[:] = [model, AutoTokenizer.from_pretrained(MODEL)]
    model, tokenizer = _loop
    losses = []
    with torch.inference_mode():
        model(**tokenizer(given[0], return_tensors="pt"))
        began_s = time.perf_counter()
        for text in given:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            losses.append(model(input_ids=ids, labels=ids).loss.item())
        return time.perf_counter() - began_s, losses


def run_http(given: list[str], port: int) -> tuple[float, list[float]]:
    """Seconds until all texts are answered over the connections, and their losses.

    Requests are written before, and answers read afterwards: the generator shares the server's cores.
    """
    local = threading.local()

    def post(request: bytes) -> bytes:
        if not hasattr(local, "connection"):
            local.connection = socket.create_connection(("127.0.0.1", port), timeout=120)
            local.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        local.connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += local.connection.recv(1 << 16)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += local.connection.recv(1 << 16)
        return body

    requests = [request_of(text) for text in given]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(post, requests[:CONNECTIONS]))
        began_s = time.perf_counter()
        answers = list(pool.map(post, requests))
        took_s = time.perf_counter() - began_s
    return took_s, [float(json.loads(answer)["results"][0]["loss"]) for answer in answers]


def request_of(text: str) -> bytes:
    body = json.dumps({"text": text}).encode()
    head = f"POST /loss HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def wait_for_model(port: int) -> None:
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health/ready")
        if json.loads(connection.getresponse().read())["models"].get("default") == "ready":
            return
        time.sleep(0.2)


def report(rounds: int) -> bool:
    given = texts()
    tokens = sum(count for _, count in given)
    plain = [text for text, _ in given]
    spawn = multiprocessing.get_context("spawn")
    rates: dict[str, list[float]] = {"loop": [], "http": []}
    furthest = 0.0
    with serving(SERVICE) as (process, port), ProcessPoolExecutor(1, mp_context=spawn) as loop:
        await_ok(process, f"http://127.0.0.1:{port}/health/ready")
        wait_for_model(port)
        for _ in range(rounds):
            loop_s, truth = loop.submit(run_loop, plain).result()
            http_s, losses = run_http(plain, port)
            rates["loop"].append(tokens / loop_s)
            rates["http"].append(tokens / http_s)
            furthest = max([furthest, *(abs(one - other) for one, other in zip(truth, losses, strict=True))])
    share = statistics.median(rates["http"]) / statistics.median(rates["loop"])
    print(f"{TEXTS} texts of {FEWEST}–{MOST} tokens, {tokens} in all, {CONNECTIONS} connections. {machine()}\n")
    spread = {name: f"{statistics.median(of):,.0f} ({min(of):,.0f}–{max(of):,.0f})" for name, of in rates.items()}
    head = ["loop in process, tokens/s", "POST /loss, tokens/s", "ratio", "bar", "largest difference, nats"]
    row = [spread["loop"], spread["http"], f"**{share:.2f}×**", f"≥ {LEAST_SHARE}×", f"{furthest:.1e}"]
    print(table(head, [row]))
    return share >= LEAST_SHARE and furthest <= FURTHEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    if not report(parser.parse_args().rounds):
        sys.exit(1)


if __name__ == "__main__":
    main()
