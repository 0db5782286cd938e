"""The service on Ray Serve: `serve run service.ray:app`. See docs/scale.md."""

from typing import Any

from ray import serve
from ray.serve import Application

from service.ray.settings import RaySettings
from service.settings import SECRETS


def app(args: RaySettings) -> Application:
    """Ingress replicas that decode and encode, bound to worker replicas that compute."""
    from service.ray.ingress import IngressReplica
    from service.ray.worker import WorkerReplica

    common: dict[str, Any] = {
        "logging_config": {"enable_access_log": False},  # the application logs its requests itself
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": args.ingress.drain_s + _ENDING_S,
    }
    delays = {
        "look_back_period_s": args.look_back_s,
        "metrics_interval_s": args.look_back_s / 4,
        "upscale_delay_s": args.upscale_delay_s,
        "downscale_delay_s": args.downscale_delay_s,
    }
    workers = serve.deployment(
        name="worker",
        ray_actor_options={"num_cpus": args.worker_cpus, "num_gpus": args.worker_gpus},
        max_ongoing_requests=args.max_worker_jobs,
        max_queued_requests=args.ingress.max_queue_jobs,
        autoscaling_config={
            "min_replicas": args.min_workers,
            "max_replicas": args.max_workers,
            "target_ongoing_requests": args.worker_jobs,
            **delays,
        },
        health_check_period_s=5,
        **common,
    )(WorkerReplica)
    ingress = serve.deployment(
        name="ingress",
        ray_actor_options={"num_cpus": args.ingress_cpus},
        max_ongoing_requests=4 * args.ingress.max_queue_jobs,  # the application itself says in words that it is full
        autoscaling_config={
            "min_replicas": args.min_ingress,
            "max_replicas": args.max_ingress,
            "target_ongoing_requests": args.ingress_jobs,
            **delays,
        },
        **common,
    )(IngressReplica)
    front = args.ingress.model_dump(mode="json")
    worker = args.worker.model_dump(mode="json", exclude=set(SECRETS))
    bound: Application = ingress.bind(front, workers.bind(worker))
    return bound


_ENDING_S = 10.0
"""What a replica may need to end, after the time to drain."""
