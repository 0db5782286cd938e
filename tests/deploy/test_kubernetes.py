"""The Kubernetes manifests as kustomize renders them: valid, locked down, and in agreement with the service."""

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.routes import health
from service.settings import Settings
from tests.deploy.files import DEPLOY, OPERATIONS, metrics_of
from tests.deploy.programs import kustomize

FOLDER = DEPLOY / "kubernetes"
COMPONENTS = sorted(path.name for path in (FOLDER / "components").iterdir())
OVERLAYS = {
    "base": ("base", []),
    "gpu": ("gpu", []),
    **{component: ("base", [component]) for component in COMPONENTS},
    "gpu and all components": ("gpu", COMPONENTS),
}
VERSIONS = ("1.32", "1.35")
END_S = 10
"""What API processes may need to refuse the rest and the worker to end, after the time to drain."""

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=OVERLAYS, ids=lambda name: name.replace(" ", "-"))
def documents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What an overlay renders to."""
    base, components = OVERLAYS[request.param]
    folder = tmp_path_factory.mktemp("overlay")
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(FOLDER / base, folder)],
        "components": [os.path.relpath(FOLDER / "components" / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return list(yaml.safe_load_all(kustomize(folder)))


@pytest.fixture
def resources(documents: list[dict[str, Any]]) -> Resources:
    """The first resource of each kind; the one that is named attnloss comes first."""
    ordered = sorted(documents, key=lambda document: document["metadata"]["name"] == "attnloss")
    return {document["kind"]: document for document in ordered}


@pytest.fixture
def pod(resources: Resources) -> dict[str, Any]:
    """The specification of the pods."""
    return dict(resources["Deployment"]["spec"]["template"]["spec"])


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The only container of a pod."""
    (container,) = pod["containers"]
    return dict(container)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(documents: list[dict[str, Any]], version: str) -> None:
    assert len(documents) >= 7
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_what_selects_pods_selects_those_of_the_deployment(resources: Resources) -> None:
    deployment = resources["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"]["matchLabels"],
        resources["Service"]["spec"]["selector"],
        resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_the_autoscaler_scales_the_deployment_by_a_metric_that_there_is(resources: Resources) -> None:
    spec = resources["HorizontalPodAutoscaler"]["spec"]
    assert spec["scaleTargetRef"]["name"] == resources["Deployment"]["metadata"]["name"]
    assert "replicas" not in resources["Deployment"]["spec"]
    (metric,) = [metric["pods"] for metric in spec["metrics"] if metric["type"] == "Pods"]
    name = metric["metric"]["name"]
    assert f"| `{name}" in OPERATIONS
    assert int(metric["target"]["averageValue"]) == Settings.model_fields["max_batch_cost"].default
    adapter = yaml.safe_load((FOLDER / "monitoring" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert metrics_of(rule["seriesQuery"]) == {name}
    assert rule["name"]["as"] == name


def test_one_pod_may_be_evicted_while_the_others_serve(resources: Resources) -> None:
    least = resources["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert resources["PodDisruptionBudget"]["spec"]["maxUnavailable"] < least


def test_probes_ask_routes_that_there_are_on_the_port_that_is_served(
    resources: Resources, container: dict[str, Any]
) -> None:
    (port,) = container["ports"]
    routes = {route.path for route in health.router.routes}  # type: ignore[attr-defined]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["path"] for probe in probes.values()} <= routes
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert probes["livenessProbe"]["path"] == "/health/live"
    assert probes["readinessProbe"]["path"] == "/health/ready"
    assert resources["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert resources["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]
    annotations = resources["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert annotations["prometheus.io/path"] in routes


def test_its_settings_are_the_services_own_and_fit_the_pod(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, container: dict[str, Any]
) -> None:
    given = resources["ConfigMap"]["data"]
    assert container["envFrom"] == [{"configMapRef": {"name": resources["ConfigMap"]["metadata"]["name"]}}]
    assert {name.removeprefix("ATTNLOSS_").lower() for name in given} <= Settings.model_fields.keys()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()  # type: ignore[call-arg]  # every field has a default
    asked = int(container["resources"]["requests"]["cpu"])
    assert (settings.processes, settings.cpu_threads) == (asked, asked)
    gib = int(container["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert settings.max_pending_bytes <= gib * 2**30 / 2


def test_a_pod_has_time_to_drain(resources: Resources, pod: dict[str, Any], container: dict[str, Any]) -> None:
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_s = int(resources["ConfigMap"]["data"]["ATTNLOSS_DRAIN_S"])
    assert pod["terminationGracePeriodSeconds"] > pause_s + drain_s + END_S


def test_a_pod_meets_the_restricted_pod_security_standard(
    resources: Resources, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert resources["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim"}


def test_what_the_service_writes_has_a_place(pod: dict[str, Any], container: dict[str, Any]) -> None:
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounted.keys() >= {"/tmp", "/models"}
    assert set(mounted.values()) <= {volume["name"] for volume in pod["volumes"]}


def test_nothing_goes_out_but_names_unless_models_are_downloaded(documents: list[dict[str, Any]]) -> None:
    policies = [document for document in documents if document["kind"] == "NetworkPolicy"]
    ports = {port["port"] for policy in policies for rule in policy["spec"]["egress"] for port in rule["ports"]}
    downloads = any(document["kind"] == "PersistentVolumeClaim" for document in documents)
    assert ports == ({53, 443} if downloads else {53})


def test_a_gpu_is_asked_for_where_it_is_used(resources: Resources, container: dict[str, Any]) -> None:
    uses = resources["ConfigMap"]["data"]["ATTNLOSS_DEVICE"] == "cuda"
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) is uses
    assert container["image"].endswith(":gpu") is uses


def test_keys_come_from_the_mounted_secret_or_not_at_all(
    pod: dict[str, Any], container: dict[str, Any], documents: list[dict[str, Any]]
) -> None:
    secrets = {volume["name"] for volume in pod["volumes"] if "secret" in volume}
    mounts = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in secrets]
    files = [entry["value"] for entry in container.get("env", []) if entry["name"] == "ATTNLOSS_API_KEYS_FILE"]
    assert [Path(file).parent for file in files] == [Path(mount) for mount in mounts]


def test_the_overlay_that_the_page_shows_renders(tmp_path: Path) -> None:
    (shown,) = [
        snippet for snippet in re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL) if "Kustomization" in snippet
    ]
    here = shown.replace("../attnloss/deploy", os.path.relpath(DEPLOY, tmp_path))
    (tmp_path / "kustomization.yaml").write_text(here)
    rendered = list(yaml.safe_load_all(kustomize(tmp_path)))
    (deployment,) = [document for document in rendered if document["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/attnloss:0.1.0"
