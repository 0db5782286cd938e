"""Every setting of the service, read from `ATTNLOSS_*` in the environment."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1 << 20

SECRETS = frozenset({"api_keys", "api_keys_file"})
"""Settings that no process gets which has no use for them, neither by its brief nor by its environment."""


class Settings(BaseSettings):
    """Settings of one service; the environment variable is the field in capitals after `ATTNLOSS_`."""

    model_config = SettingsConfigDict(env_prefix="ATTNLOSS_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    processes: int = Field(
        default_factory=lambda: max(1, min(4, available_cores())),
        ge=1,
        le=64,
        description="API processes that decode and encode; the default follows the cores.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|(cpu|cuda(:\d+)?|mps)(,(cpu|cuda(:\d+)?|mps))*)$",
        description="auto, cpu, cuda, mps, or a list as in cuda:0,cuda:1: a worker for each; auto, cuda: all GPUs.",
    )
    autocast: Literal["none", "bfloat16", "float16"] = Field(
        "none", description="What requests for float32 are computed in; answers name it. Statistics stay float32."
    )
    cpu_threads: int | None = Field(
        None, ge=1, description="Threads of every CPU batch; unset: 1 for small batches, all cores for large ones."
    )

    models: str = Field(
        "default",
        description="Text models, comma-separated: default, a Hugging Face name or a folder, each as `source` or "
        "`name=source`; empty: none. A request that names no model gets the first.",
    )
    model_dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Weights of text models.")

    max_body_bytes: int = Field(64 * MIB, ge=1, description="Largest request body, also after decompression.")
    max_answer_bytes: int = Field(64 * MIB, ge=1, description="Largest answer, estimated before it is computed.")
    max_pending_bytes: int = Field(
        4096 * MIB, ge=1, description="Memory that all admitted requests together may need, as estimated."
    )
    max_header_bytes: int = Field(64 * 1024, ge=1024, description="Largest set of request headers.")
    max_json_depth: int = Field(64, ge=8, le=1000, description="Deepest nesting of a JSON body.")
    max_job_cost: int = Field(1 << 30, ge=1, description="Largest job: batch × heads × n × m × passes.")
    max_losses: int = Field(32, ge=1, description="Losses of one request.")
    max_job_tokens: int = Field(1 << 17, ge=1, description="Tokens of a text job, its windows and orders included.")
    max_text_bytes: int = Field(2 * MIB, ge=1, description="UTF-8 bytes of all texts of a request.")
    max_texts: int = Field(256, ge=1, description="Texts of one request.")
    max_permutations: int = Field(256, ge=1, description="Other word orders of one text.")

    max_queue_jobs: int = Field(
        256,
        ge=1,
        description="Requests admitted at once, by all API processes together.",
    )
    max_batch_cost: int = Field(1 << 24, ge=1, description="Score elements of one batch; a larger job runs alone.")
    max_batch_jobs: int = Field(64, ge=1, le=4096, description="Jobs of one batch.")
    max_batch_tokens: int = Field(4096, ge=1, description="Tokens of one text forward; a longer text runs alone.")

    deadline_s: float = Field(
        60.0, gt=0, description="Seconds after which a request is given up; X-Request-Timeout can only shorten it."
    )
    silence_s: float = Field(10.0, gt=0, description="Seconds without a heartbeat after which a worker is replaced.")
    overdue_s: float = Field(
        10.0, gt=0, description="Seconds that a worker may compute past a batch's last deadline before it is replaced."
    )
    body_timeout_s: float = Field(30.0, gt=0, description="Seconds in which a request body must arrive.")
    drain_s: float = Field(30.0, ge=0, description="Seconds in which admitted requests may finish at shutdown.")

    max_connections: int = Field(
        1024, ge=1, description="Connections open at once, over all API processes; one more gets 503."
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="Seconds in which a connection must send the headers of a request that it began."
    )
    stalled_answer_s: float = Field(
        30.0, gt=0, description="Seconds after which a client that takes nothing of its answer loses the connection."
    )

    api_keys: str | None = Field(
        None, repr=False, description="API keys, comma-separated; with any, requests need `Authorization: Bearer KEY`."
    )
    api_keys_file: Path | None = Field(
        None, description="File of API keys, one a line, as Docker and Kubernetes mount secrets."
    )
    metrics_key_required: bool = Field(False, description="Whether GET /metrics needs a key as well.")
    cors_origins: str = Field(
        "", description="Origins whose pages may ask, comma-separated, as in https://a.example; * for any; empty: none."
    )

    gzip_answers: Literal["asked", "accepted", "never"] = Field(
        "asked",
        description="asked: gzip if it is the only coding the client accepts; accepted: whenever it accepts it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: an object a line; text: for people; auto: text on a terminal, else json."
    )
    log_requests: Literal["none", "failures", "all"] = Field(
        "failures", description="Which requests are logged: those that ended in a 5xx, all, or none."
    )
    traces: bool = Field(
        False, description="Send OpenTelemetry traces to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel."
    )
    run_directory: Path | None = Field(None, description="Parent of the socket directory; default: the temp dir.")

    @field_validator("models")
    @classmethod
    def _readable(cls, value: str) -> str:
        model_sources(value)
        return value

    @property
    def model_sources(self) -> dict[str, str]:
        """Where each text model comes from, by its name."""
        return model_sources(self.models)


def model_sources(given: str) -> dict[str, str]:
    """`gpt2,my=/models/my` → {"gpt2": "gpt2", "my": "/models/my"}; a bare folder is named by its last part."""
    sources: dict[str, str] = {}
    for entry in filter(None, map(str.strip, given.split(","))):
        name, equals, source = (part.strip() for part in entry.partition("="))
        if not equals:
            name, source = (Path(entry).name, entry) if entry.startswith((".", "/", "~")) else (entry, entry)
        if not (name and source):
            raise ValueError(f"expected a list of `source` or `name=source`, not {entry!r}")
        if name in sources:
            raise ValueError(f"the model {name!r} is named twice")
        sources[name] = source
    return sources


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
