"""A Ray cluster of one node that serves the service, in the foreground: `python -m tests.ray.cluster --port 8000`.

SIGHUP deploys it anew with what the file `redeploy` of the run directory holds as JSON on top of the settings of the
environment, and writes the file `redeployed`; SIGTERM ends it in order.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LOGICAL_CPUS = 16
"""More than the machine has: replicas reserve them, and the tests want several."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else one is written to the home directory
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray.proxy:middlewares",
}


def haproxy(directory: str) -> dict[str, str]:
    """What puts HAProxy before the ingress replicas, with files and ports of this cluster's own."""
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(256 << 20),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # else every end of a replica takes half a minute
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{directory}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{directory}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": directory,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{directory}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def main(port: int, *, with_haproxy: bool) -> None:
    """Serve until SIGTERM."""
    session = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    os.environ |= ENVIRONMENT | (haproxy(session) if with_haproxy else {})
    import ray  # reads the environment when it is imported
    from ray import serve

    told, telling = os.pipe()
    port = port or free_port()
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    try:
        ray.init(
            num_cpus=LOGICAL_CPUS,
            include_dashboard=False,
            object_store_memory=512 << 20,
            _temp_dir=session,
            _node_ip_address="127.0.0.1",
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        deploy({})
        for number, word in ((signal.SIGTERM, b"."), (signal.SIGHUP, b"r")):  # after Ray has installed its own
            signal.signal(number, lambda *_, word=word: os.write(telling, word))
        while os.read(told, 1) == b"r":
            runs = Path(os.environ["ATTNLOSS_RUN_DIRECTORY"])
            deploy(json.loads((runs / "redeploy").read_text()))
            (runs / "redeployed").touch()
        serve.shutdown()
        ray.shutdown()
    finally:
        remove(session)


def remove(session: str) -> None:
    """Remove the session's directory, into which processes that end still write."""
    give_up_s = time.monotonic() + 10
    while Path(session).exists() and time.monotonic() < give_up_s:
        shutil.rmtree(session, ignore_errors=True)
        time.sleep(0.1)


def deploy(service: dict[str, Any]) -> None:
    """Deploy what the environment says, but for these settings of the service."""
    from ray import serve

    from service.ray import app
    from service.ray.settings import RaySettings

    serve.run(app(RaySettings(service=service)), name="attnloss", route_prefix="/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.ray.cluster", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--haproxy", action="store_true", help="HAProxy before the ingress replicas")
    given = parser.parse_args()
    main(given.port, with_haproxy=given.haproxy)
