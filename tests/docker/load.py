"""Clients of nginx that ask without pause."""

import threading
import time
from collections import Counter

import httpx

from tests.docker.compose import TENSORS, Compose

CLIENTS = 4


class Load:
    """Clients that ask one after the other until they are told to stop, and what they got."""

    def __init__(self, compose: Compose) -> None:
        self.got: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(compose,)) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, compose: Compose) -> None:
        with compose.client("NGINX") as client:
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    self.got[str(client.post("/attention", json=TENSORS).status_code)] += 1
                except httpx.TransportError as error:
                    self.got[repr(error)] += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                time.sleep(0.005)
