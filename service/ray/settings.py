"""How the service is laid out over a Ray cluster, read from `ATTNLOSS_RAY_*` or from `args` of a Serve config."""

from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.settings import Settings


class RaySettings(BaseSettings):
    """Replicas and what each takes of the cluster; `service` are the settings of the service itself, by their names."""

    model_config = SettingsConfigDict(env_prefix="ATTNLOSS_RAY_", frozen=True, extra="forbid")

    min_ingress: int = Field(1, ge=1, description="Fewest ingress replicas, which decode and encode.")
    max_ingress: int = Field(1, ge=1, description="Most ingress replicas.")
    ingress_cpus: float = Field(1.0, gt=0, description="CPUs that an ingress replica takes.")
    ingress_jobs: int = Field(
        32, ge=1, description="Requests in hand per ingress replica that the number of replicas is steered to."
    )

    min_workers: int = Field(1, ge=1, description="Fewest worker replicas, which compute.")
    max_workers: int = Field(1, ge=1, description="Most worker replicas.")
    worker_gpus: float = Field(0.0, ge=0, description="GPUs that a worker replica takes; with 0 it computes on CPUs.")
    worker_cpus: float = Field(1.0, gt=0, description="CPUs that a worker replica takes; threads of one without a GPU.")
    worker_jobs: int = Field(
        32, ge=1, description="Jobs waiting or computed per worker replica that the number of replicas is steered to."
    )
    max_worker_jobs: int = Field(
        256, ge=1, description="Jobs that a worker replica holds at once; further ones wait at the ingress."
    )

    upscale_delay_s: float = Field(10.0, ge=0, description="Seconds of load before replicas are added.")
    look_back_s: float = Field(10.0, gt=0, description="Seconds over which the load is averaged.")
    downscale_delay_s: float = Field(300.0, ge=0, description="Seconds without load before replicas are taken away.")
    service: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the service; what is not named here is read from ATTNLOSS_*."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "RaySettings":
        for least, most in (("min_ingress", "max_ingress"), ("min_workers", "max_workers")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(f"{least} is {getattr(self, least)}, more than {most}, {getattr(self, most)}")
        Settings(**self.service)
        return self

    @property
    def ingress(self) -> Settings:
        """Settings of the service as an ingress replica reads them."""
        return Settings(**self.service)

    @property
    def worker(self) -> Settings:
        """Settings as a worker replica reads them: one without a GPU computes on as many threads as it has CPUs.

        It holds as many jobs as Ray lets it, and leaves the rest of admission to the ingress.
        """
        own: dict[str, Any] = {"max_queue_jobs": max(self.max_worker_jobs, self.ingress.max_queue_jobs)}
        if not self.worker_gpus and self.ingress.device == "auto":
            own |= {"device": "cpu", "cpu_threads": self.ingress.cpu_threads or max(1, int(self.worker_cpus))}
        return Settings(**self.service | own)
