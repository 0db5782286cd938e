"""Load on a server: the same request again and again, so many at once, each timed."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson


@dataclass(frozen=True)
class Load:
    """One request, as bytes."""

    path: str
    content: bytes
    headers: dict[str, str]

    @classmethod
    def json(cls, shape: tuple[int, ...]) -> "Load":
        """Nested lists to POST /attention."""
        names = ("query", "key", "value")
        body = {name: array.tolist() for name, array in zip(names, _drawn(shape), strict=True)} | {"return": ["output"]}
        return cls("/attention", orjson.dumps(body), {"content-type": "application/json"})

    @classmethod
    def binary(cls, shape: tuple[int, ...]) -> "Load":
        """Bytes of float32 in the framing of the Open Inference Protocol, both ways."""
        arrays = _drawn(shape)
        inputs = [
            {
                "name": name,
                "shape": list(shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in zip(("QUERY", "KEY", "VALUE"), arrays, strict=True)
        ]
        outputs = [{"name": "OUTPUT", "parameters": {"binary_data": True}}]
        head = orjson.dumps({"inputs": inputs, "outputs": outputs})
        headers = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)),
        }
        return cls("/v2/models/attention/infer", head + b"".join(array.tobytes() for array in arrays), headers)


@dataclass
class Measured:
    """Seconds of each answered request, and how many answers had which status."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0
    answer_bytes: int = 0

    def summary(self) -> dict[str, Any]:
        """Answers of 200 per second, and what they took."""
        good = np.asarray(self.latencies_s) * 1e3
        found: dict[str, Any] = {
            "requests": self.statuses.total(),
            "failed": self.statuses.total() - self.statuses[200],
            "requests_per_s": round(self.statuses[200] / self.took_s, 1),
        }
        if good.size:
            found |= {f"p{p}_ms": round(float(np.percentile(good, p)), 3) for p in (50, 99)}
            found["mean_ms"] = round(float(good.mean()), 3)
        return found | {"statuses": {str(status): count for status, count in sorted(self.statuses.items())}}


async def measure(
    server: str,
    load: Load,
    *,
    concurrency: int,
    seconds: float,
    api_key: str | None,
    tell: Callable[[float, int], None] = lambda seconds, requests: None,
) -> Measured:
    """Send the load for so many seconds. Raises httpx.TransportError for a server that cannot be reached."""
    measured = Measured()
    headers = load.headers | ({"authorization": f"Bearer {api_key}"} if api_key else {})
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(base_url=server, timeout=60.0, limits=limits, trust_env=False) as client:

        async def send() -> httpx.Response:
            return await client.post(load.path, content=load.content, headers=headers)

        await send()
        began_s = time.perf_counter()

        async def keep_sending() -> None:
            while (start_s := time.perf_counter()) - began_s < seconds:
                answer = await send()
                spent_s = time.perf_counter() - start_s
                measured.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    measured.latencies_s.append(spent_s)
                    measured.answer_bytes = len(answer.content)
                else:
                    await asyncio.sleep(0.01)  # a refusal is quick, and a loop of them measures nothing
                tell(min(time.perf_counter() - began_s, seconds), measured.statuses.total())

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(keep_sending())
        measured.took_s = time.perf_counter() - began_s
    return measured


def _drawn(shape: tuple[int, ...]) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal(shape).astype(np.float32) for _ in range(3)]
