"""The files that launch a cluster: Ray's own offline check of cluster.yaml, a structural one of the Kubernetes manifests."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from rayl2o import __version__
from rayl2o.cluster.capacity import shortage
from rayl2o.runtime import RuntimeConfig

ROOT = Path(__file__).parents[1]
MANIFESTS = ("raycluster.yaml", "rayjob.yaml")
IMAGE = re.compile(rf"rayproject/ray:{re.escape(ray.__version__)}-py311-(cpu|gpu)")
CPUS = {"m7i.large": 2, "m7i.xlarge": 4, "g6.xlarge": 4}


def _cluster_yaml() -> dict[str, Any]:
    read = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert isinstance(read, dict)
    return read


def _manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "kubernetes" / name).read_text()))


def _cluster_spec(documents: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = documents[0]["spec"]
    return dict(spec.get("rayClusterSpec", spec))


def _validate(config: dict[str, Any]) -> None:
    """What ``ray up`` checks before it asks the cloud anything. Ray gives it no public name."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(copy.deepcopy(config)))


def test_ray_accepts_cluster_yaml() -> None:
    _validate(_cluster_yaml())


def _unknown_key(config: dict[str, Any]) -> None:
    config["max_wokers"] = 3


def _other_head(config: dict[str, Any]) -> None:
    config["head_node_type"] = "haed"


def _text_for_a_number(config: dict[str, Any]) -> None:
    config["max_workers"] = "nine"


def _more_least_than_most(config: dict[str, Any]) -> None:
    config["available_node_types"]["rollout"]["min_workers"] = 99


@pytest.mark.parametrize("spoil", [_unknown_key, _other_head, _text_for_a_number, _more_least_than_most])
def test_ray_refuses_a_spoilt_one(spoil: Callable[[dict[str, Any]], None]) -> None:
    config = _cluster_yaml()
    spoil(config)
    with pytest.raises(Exception, match=r"max_wokers|head_node_type|nine|max_workers"):
        _validate(config)


def test_cluster_yaml_is_pinned_guarded_and_large_enough() -> None:
    config = _cluster_yaml()
    types = config["available_node_types"]
    text = (ROOT / "cluster.yaml").read_text()
    for image in (config["docker"]["image"], types["gpu"]["docker"]["worker_image"]):
        assert IMAGE.fullmatch(image)
    assert types["head"]["resources"] == {"CPU": 0}
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]
    assert any("chmod 600" in command for command in config["setup_commands"])
    assert any("-c ~/rayl2o/constraints.txt" in command for command in config["setup_commands"])
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        start = next(command for command in commands if "ray start" in command)
        assert start.startswith("RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 ray start ")
    assert "--dashboard-host=127.0.0.1" in text
    assert "0.0.0.0" not in text
    nodes = [
        {"CPU": float(kind["resources"].get("CPU", CPUS[kind["node_config"]["InstanceType"]]))}
        for name, kind in types.items()
        for _ in range(1 if name == config["head_node_type"] else kind["min_workers"])
    ]
    assert shortage(RuntimeConfig(kind="cluster", address="auto", min_workers=3), nodes) == ""


def _pods(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield group.get("groupName", "head"), group["template"]["spec"]


def problems(documents: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a manifest; field names as in KubeRay's ``ray.io/v1`` types."""
    found = []
    top, claims = documents[0], {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    spec = _cluster_spec(documents)
    if top["apiVersion"] != "ray.io/v1" or top["kind"] not in ("RayCluster", "RayJob"):
        found.append("kind")
    if set(top) != {"apiVersion", "kind", "metadata", "spec"}:
        found.append("top-level keys")
    if set(spec) != {
        "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs",
    }:  # fmt: skip
        found.append("keys of the cluster")
    if spec.get("authOptions") != {"mode": "token"}:
        found.append("token authentication")
    if spec["headGroupSpec"].get("serviceType") != "ClusterIP" or {"enableIngress", "headService"} & set(
        spec["headGroupSpec"]
    ):
        found.append("exposed")
    if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        found.append("work on the head")
    if spec["rayVersion"] != ray.__version__:
        found.append("rayVersion")
    if any(d["kind"] == "PersistentVolumeClaim" and d["spec"]["accessModes"] != ["ReadWriteMany"] for d in documents):
        found.append("access mode")
    for group in spec["workerGroupSpecs"]:
        if not 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            found.append(f"replicas of {group['groupName']}")
        if not all(isinstance(value, str) for value in group["rayStartParams"].values()):
            found.append(f"rayStartParams of {group['groupName']}")
    for name, pod in _pods(spec):
        found += [f"{what} of {name}" for what in _pod_problems(pod, claims)]
    return found


def _pod_problems(pod: dict[str, Any], claims: set[str]) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in pod["containers"]:
        limits, requests = container["resources"].get("limits", {}), container["resources"].get("requests", {})
        if not {"cpu", "memory"} <= set(limits) or limits != requests:
            yield "limits"
        if not IMAGE.fullmatch(container["image"]):
            yield "image"
        if ("nvidia.com/gpu" in limits) != container["image"].endswith("-gpu"):
            yield "GPU image"
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        if mounts.get("/dev/shm", {}).get("emptyDir", {}).get("medium") != "Memory":
            yield "object store"
        if mounts.get("/shared", {}).get("persistentVolumeClaim", {}).get("claimName") not in claims:
            yield "shared folder"
        if any("hostPort" in port for port in container.get("ports", ())):
            yield "host port"


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_sound(name: str) -> None:
    documents = _manifests(name)
    assert problems(documents) == []
    pods = dict(_pods(_cluster_spec(documents)))
    rollout = next(g for g in _cluster_spec(documents)["workerGroupSpecs"] if g["groupName"] == "rollout")
    cpus = float(pods["rollout"]["containers"][0]["resources"]["limits"]["cpu"])
    nodes = [{}, *({"CPU": cpus} for _ in range(rollout["minReplicas"]))]
    assert shortage(RuntimeConfig(kind="cluster", address="auto", min_workers=7), nodes) == ""


def test_both_manifests_make_the_same_cluster() -> None:
    job, cluster = _manifests("rayjob.yaml"), _manifests("raycluster.yaml")
    assert _cluster_spec(job) == _cluster_spec(cluster)
    assert job[1] == cluster[1]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("headGroupSpec", "serviceType"), "LoadBalancer", "exposed"),
        (("headGroupSpec", "rayStartParams", "num-cpus"), "2", "work on the head"),
        (("authOptions", "mode"), "disabled", "token authentication"),
        (("enableInTreeAutoscalling",), True, "keys of the cluster"),
        (("workerGroupSpecs", 0, "maxReplicas"), 1, "replicas of rollout"),
        (
            ("workerGroupSpecs", 0, "template", "spec", "containers", 0, "image"),
            "rayproject/ray:latest",
            "image of rollout",
        ),
        (("workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources"), {}, "limits of rollout"),
        (
            ("workerGroupSpecs", 0, "template", "spec", "volumes", 1, "persistentVolumeClaim"),
            {},
            "shared folder of rollout",
        ),
    ],
)
def test_the_check_finds_what_is_spoilt(path: tuple[str | int, ...], value: object, problem: str) -> None:
    documents = _manifests("raycluster.yaml")
    place: Any = documents[0]["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert problems(documents) == [problem]


def test_the_job_says_what_to_run_and_cleans_up() -> None:
    from ray.runtime_env import RuntimeEnv

    spec = _manifests("rayjob.yaml")[0]["spec"]
    command = shlex.split(spec["entrypoint"])
    assert command[:3] == ["rayl2o", "train", "quickstart"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options == {
        "--runtime": "cluster",
        "--address": "auto",
        "--workers": "7",
        "--out": "/shared/runs/quickstart",
    }
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    environment = RuntimeEnv(**yaml.safe_load(spec["runtimeEnvYAML"]))  # raises on unknown keys of pip
    assert environment["pip"]["packages"] == [f"/shared/wheels/rayl2o-{__version__}-py3-none-any.whl"]
    assert "/shared/wheels/constraints.txt" in environment["pip"]["pip_install_options"]
