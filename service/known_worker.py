"""What an API process knows of a worker."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class WorkerState:
    """What is known of the worker: `state` is starting, ready, restarting or failed; `why` it is not ready."""

    state: str = "starting"
    why: str | None = None
    pid: int | None = None
    device: str | None = None
    incarnation: str | None = None
    heard_s: float = 0.0
    models: list[dict[str, Any]] = field(default_factory=list)

    def public(self) -> dict[str, Any]:
        """The entry of /health/ready."""
        told = {"pid": self.pid, "device": self.device, "state": self.state}
        return told | ({"why": self.why} if self.why else {})

    def has_model(self, name: str | None) -> bool:
        """Whether it has loaded this text model, or the first if None."""
        loaded = [entry["state"] == "ready" for entry in self.models if name in (None, entry["name"])]
        return bool(loaded) and loaded[0]


def best_of_models(told: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of all that workers tell of their text models, by name: of each the entry that is ready, if any is."""
    known: dict[str, dict[str, Any]] = {}
    for entry in told:
        if known.get(entry["name"], {}).get("state") != "ready":
            known[entry["name"]] = entry
    return known
