"""What the load generator asks for: requests, and the right answers to them."""

import json
from dataclasses import dataclass
from functools import cache

import numpy as np

RETURNS = ["output", "weights", "entropy"]


@dataclass(frozen=True)
class Work:
    """One kind of request: self-contained tensors of one shape, other numbers on every connection."""

    shape: tuple[int, int, int, int]
    bar: float

    @property
    def name(self) -> str:
        """The shape as the tables print it."""
        return "JSON " + "×".join(map(str, self.shape))

    def shape_of(self, connection: int) -> tuple[int, int, int, int]:
        """Shape of what a connection sends."""
        return self.shape

    def tensors(self, connection: int) -> dict[str, np.ndarray]:
        """Draw query, key and value of a connection, the same in every process."""
        shape = self.shape_of(connection)
        draw = np.random.default_rng([connection, *shape])
        return {name: draw.standard_normal(shape, dtype=np.float32) for name in ("query", "key", "value")}

    def request(self, connection: int) -> tuple[list[str], bytes]:
        """The headers of a connection's request, and its body, with numbers written as `json.dumps` writes them."""
        fields: dict[str, object] = {name: tensor.tolist() for name, tensor in self.tensors(connection).items()}
        body = json.dumps(fields | {"return": RETURNS}, separators=(",", ":")).encode()
        return ["POST /attention HTTP/1.1", "Content-Type: application/json"], body

    def decoded(self, body: bytes) -> dict[str, np.ndarray]:
        """The arrays of an answer."""
        return {name: np.asarray(array, np.float64) for name, array in json.loads(body).items() if name in RETURNS}

    def truth(self, connection: int) -> dict[str, np.ndarray]:
        """Compute the right answer for a connection, in float64."""
        query, key, value = (tensor.astype(np.float64) for tensor in self.tensors(connection).values())
        scores = query @ key.swapaxes(-2, -1) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return {
            "output": weights @ value,
            "weights": weights,
            "entropy": -(weights * np.log(weights)).sum(axis=-1),
        }


@dataclass(frozen=True)
class BinaryWork(Work):
    """The same tensors and the same answer, as binary tensors of the Open Inference Protocol."""

    @property
    def name(self) -> str:
        """The shape as the tables print it."""
        return "binary " + "×".join(map(str, self.shape))

    def request(self, connection: int) -> tuple[list[str], bytes]:
        """The headers of a connection's request, and its body."""
        tensors = self.tensors(connection)
        told = {"datatype": "FP32", "shape": self.shape_of(connection)}
        inputs = [
            {"name": name.upper(), **told, "parameters": {"binary_data_size": tensor.nbytes}}
            for name, tensor in tensors.items()
        ]
        outputs = [{"name": name.upper(), "parameters": {"binary_data": True}} for name in RETURNS]
        head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        lines = ["POST /v2/models/attention/infer HTTP/1.1", f"Inference-Header-Content-Length: {len(head)}"]
        return lines, head + b"".join(tensor.tobytes() for tensor in tensors.values())

    def decoded(self, body: bytes) -> dict[str, np.ndarray]:
        """The arrays of an answer."""
        head, start = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        arrays = {}
        for output in head["outputs"]:
            stop = start + output["parameters"]["binary_data_size"]
            arrays[output["name"].lower()] = np.frombuffer(body[start:stop], np.float32).reshape(output["shape"])
            start = stop
        return arrays


@dataclass(frozen=True)
class RaggedWork(Work):
    """Requests that differ in length: each connection's is drawn from `shortest` to the shape's."""

    shortest: int = 1

    @property
    def name(self) -> str:
        """The range of lengths."""
        longest = self.shape[2]
        return f"n = {longest}" if self.shortest == longest else f"n = {self.shortest}–{longest}"

    def shape_of(self, connection: int) -> tuple[int, int, int, int]:
        """Shape of what a connection sends."""
        batch, heads, longest, width = self.shape
        draw = np.random.default_rng([connection, self.shortest, longest])
        return batch, heads, int(draw.integers(self.shortest, longest + 1)), width


@cache
def request_bytes(work: Work, connection: int) -> bytes:
    """Build a whole HTTP request."""
    lines, body = work.request(connection)
    head = [*lines, "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body
