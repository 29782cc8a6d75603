"""The cluster's objects as somebody would have applied them: nodes, workloads, budgets."""

from __future__ import annotations

from typing import Any

from healer.lab.scenario import ModelSpec, Scenario

NAMESPACE = "serving"
GPU = "nvidia.com/gpu"
IMAGE = "vllm/vllm-openai"
GOOD_TAG = "v0.32.0"
Obj = dict[str, Any]


def node(scenario: Scenario, index: int) -> Obj:
    gpus = str(scenario.cluster.gpus)
    name = node_name(index)
    capacity = {
        GPU: gpus,
        "cpu": "128",
        "memory": "1024Gi",
        "pods": "110",
        "ephemeral-storage": "2Ti",
    }
    return {
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "nvidia.com/gpu.product": scenario.cluster.gpu.product.replace(" ", "-"),
                "nvidia.com/gpu.count": gpus,
                "nvidia.com/cuda.driver.major": "570",
                "nvidia.com/cuda.driver-version.full": "570.172.08",
                "topology.kubernetes.io/rack": f"rack-{index % scenario.cluster.racks}",
                "topology.kubernetes.io/zone": "zone-a",
            },
        },
        "spec": {},
        "status": {
            "capacity": capacity,
            "allocatable": dict(capacity),
            "addresses": [{"type": "InternalIP", "address": node_ip(index)}],
            "nodeInfo": {
                "kubeletVersion": "v1.32.0",
                "osImage": "Debian GNU/Linux 12",
                "kernelVersion": "6.1.0",
                "containerRuntimeVersion": "containerd://1.7",
            },
        },
    }


def node_name(index: int) -> str:
    return f"gpu-node-{index}"


def node_ip(index: int) -> str:
    return f"10.0.0.{index + 10}"


def deployment(model: ModelSpec) -> Obj:
    labels = {"app": model.name}
    return {
        "metadata": {"name": model.name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": model.replicas,
            "selector": {"matchLabels": labels},
            "minReadySeconds": 5,
            "progressDeadlineSeconds": 900,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": template(model, GOOD_TAG, ()),
        },
    }


def template(model: ModelSpec, tag: str, extra_args: tuple[str, ...]) -> Obj:
    return {
        "metadata": {"labels": {"app": model.name}},
        "spec": {
            "containers": [
                {
                    "name": "vllm",
                    "image": f"{IMAGE}:{tag}",
                    "args": [
                        f"--model=/models/{model.name}",
                        f"--tensor-parallel-size={model.gpus}",
                        *extra_args,
                    ],
                    "ports": [{"name": "http", "containerPort": 8000}],
                    "resources": {
                        "limits": {GPU: str(model.gpus)},
                        "requests": {GPU: str(model.gpus), "cpu": "8", "memory": "64Gi"},
                    },
                    "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
                }
            ],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
            "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
            "terminationGracePeriodSeconds": 30,
        },
    }


def service(model: ModelSpec) -> Obj:
    return {
        "metadata": {"name": model.name, "namespace": NAMESPACE, "labels": {"app": model.name}},
        "spec": {
            "selector": {"app": model.name},
            "ports": [{"port": 80, "targetPort": 8000}],
            "clusterIP": "None",
        },
    }


def budget(model: ModelSpec) -> Obj:
    return {
        "metadata": {"name": model.name, "namespace": NAMESPACE},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": model.name}}},
    }
