"""GPU → pod through a real gRPC server on a unix socket that speaks pod-resources v1."""

from __future__ import annotations

import random
import time
from pathlib import Path

import grpc
import pytest
from gpu_node import GpuNode, uuid_of
from gpu_page import page_of
from kubelet_stub import Reply, claim, device, field, kubelet, pod

from exporters.cgroups import command, pod_uid
from exporters.kubelet import Kubelet
from exporters.nvml import Nvml
from exporters.pods import Allotted, Holder, ask_kubelet, parse_list
from exporters.watch import Watch
from healer.errors import Temporary

LLAMA = Holder("serving", "llama-8b-0", "engine")
QWEN = Holder("serving", "qwen-7b-0", "engine")


def test_whole_gpus_mig_instances_claims_and_renamed_resources_are_found() -> None:
    mig = Holder("batch", "small-0", "main")
    claims = Holder("dra", "claimed-0", "main")
    renamed = Holder("other", "renamed-0", "main")
    reply = (
        pod(LLAMA, device("cpu", "0", "1"), device("nvidia.com/gpu", uuid_of(0), uuid_of(1)))
        + pod(mig, device("nvidia.com/mig-1g.10gb", "MIG-aaaa"))
        + pod(claims, claim("gpu-3"))
        + pod(renamed, device("example.org/accelerator", uuid_of(2)))
        + pod(Holder("kube-system", "no-gpu", "main"))
    )
    with kubelet(reply) as socket:
        holders = ask_kubelet(socket, timeout_s=60).holders
    assert holders[uuid_of(0)] == holders[uuid_of(1)] == (LLAMA,)
    assert holders["MIG-aaaa"] == (mig,)
    assert holders["gpu-3"] == (claims,)
    assert holders[uuid_of(2)] == (renamed,)


def test_a_gpu_shared_in_turns_has_all_its_holders() -> None:
    reply = pod(LLAMA, device("nvidia.com/gpu.shared", f"{uuid_of(0)}::0"))
    reply += pod(QWEN, device("nvidia.com/gpu.shared", f"{uuid_of(0)}::3"))
    with kubelet(reply) as socket:
        assert ask_kubelet(socket, timeout_s=60).holders == {uuid_of(0): (LLAMA, QWEN)}


def test_the_kubelet_says_how_many_gpus_may_be_given() -> None:
    devices = [device("nvidia.com/gpu", f"{uuid_of(0)}::0", f"{uuid_of(0)}::1")]
    devices += [device("nvidia.com/gpu", uuid_of(1)), device("cpu", "4")]
    allocatable = b"".join(field(1, each[2:] if each[1] < 0x80 else each[3:]) for each in devices)
    with kubelet(b"", allocatable) as socket:
        assert ask_kubelet(socket, timeout_s=60).allocatable == {uuid_of(0), uuid_of(1)}


def test_an_old_kubelet_without_that_call_still_names_the_pods() -> None:
    with kubelet(pod(LLAMA, device("nvidia.com/gpu", uuid_of(0)))) as socket:
        assert ask_kubelet(socket, timeout_s=60) == Allotted({uuid_of(0): (LLAMA,)}, frozenset())


def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
    return b""


def dawdle(_request: bytes, context: grpc.ServicerContext) -> bytes:
    while context.is_active():
        time.sleep(0.01)
    return b""


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refuse, "RESOURCE_EXHAUSTED"),
        (dawdle, "DEADLINE_EXCEEDED"),
        (b"<html>no kubelet</html>", "wire type"),
        (pod(LLAMA, device("nvidia.com/gpu", uuid_of(0)))[:-9], "cut short"),
        (field(1, field(1, b"\xff\xfe") + field(3, b"")), "utf-8"),
    ],
)
def test_a_refusal_slowness_and_garbage_are_one_temporary_error(
    reply: bytes | Reply, said: str
) -> None:
    timeout_s = 0.2 if reply is dawdle else 60.0
    with kubelet(reply) as socket, pytest.raises(Temporary, match=said):
        ask_kubelet(socket, timeout_s=timeout_s)


def test_random_bytes_never_raise_anything_but_a_value_error() -> None:
    chance = random.Random(11)
    whole = pod(LLAMA, device("nvidia.com/gpu", uuid_of(0)))
    for _ in range(3000):
        noise = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            noise[chance.randrange(len(noise))] = chance.randrange(256)
        try:
            parse_list(bytes(noise))
        except ValueError:
            continue


def test_a_missing_socket_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="no socket"):
        ask_kubelet(tmp_path / "kubelet.sock")


def test_a_restart_of_the_kubelet_does_not_cost_the_labels() -> None:
    answers: list[Allotted | None] = [Allotted({uuid_of(0): (LLAMA,)}), None]

    def ask() -> Allotted:
        answer = answers.pop(0)
        if answer is None:
            raise Temporary("away")
        return answer

    kept = Kubelet(ask)
    kept.refresh()
    assert kept.allotted() == (Allotted({uuid_of(0): (LLAMA,)}), True)
    kept.refresh()
    assert kept.allotted() == (Allotted({uuid_of(0): (LLAMA,)}), False)


def test_a_kubelet_that_stays_away_is_no_longer_believed() -> None:
    answers: list[Allotted | None] = [Allotted({uuid_of(0): (LLAMA,)}, frozenset({"GPU-1"})), None]

    def ask() -> Allotted:
        answer = answers.pop(0)
        if answer is None:
            raise Temporary("away")
        return answer

    kept = Kubelet(ask, keep_s=0.0)
    kept.refresh()
    kept.refresh()
    assert kept.allotted() == (Allotted({}, frozenset({"GPU-1"})), False)


def swept() -> Watch:
    watch = Watch(Nvml())
    watch.sweep_once()
    return watch


def test_series_of_a_held_gpu_name_its_pod_and_others_do_not(node: GpuNode) -> None:
    node.with_gpus(2)
    shown = page_of(swept(), holders={uuid_of(1): (LLAMA,)})
    by_gpu = {ls["UUID"]: ls for ls, _ in shown["DCGM_FI_DEV_GPU_UTIL"]}
    own = {"namespace": "serving", "pod": "llama-8b-0", "container": "engine"}
    assert own.items() <= by_gpu[uuid_of(1)].items()
    assert not own.keys() & by_gpu[uuid_of(0)].keys()


def test_a_shared_gpu_has_no_pod_label_and_lists_its_holders(node: GpuNode) -> None:
    node.with_gpus(1)
    shown = page_of(swept(), holders={uuid_of(0): (LLAMA, QWEN)})
    ((labels, _),) = shown["DCGM_FI_DEV_GPU_UTIL"]
    assert "pod" not in labels
    assert {ls["pod"] for ls, _ in shown["healer_gpu_holder"]} == {LLAMA.pod, QWEN.pod}


def test_a_claim_finds_the_gpu_by_its_device_file(node: GpuNode) -> None:
    node.with_gpus(2).set(0, minor=5)
    shown = page_of(swept(), holders={"gpu-5": (LLAMA,), "gpu-0": (QWEN,)})
    by_gpu = {ls["UUID"]: ls.get("pod") for ls, _ in shown["DCGM_FI_DEV_GPU_UTIL"]}
    assert by_gpu == {uuid_of(0): LLAMA.pod, uuid_of(1): None}


def test_a_process_past_the_kubelet_gives_the_pods_uid(node: GpuNode) -> None:
    node.with_gpus(1).set(0, process=["77 1024"])
    shown = page_of(swept(), uids={77: "0b1c2d3e-0000-1111-2222-333344445555"})
    ((labels, _),) = shown["DCGM_FI_DEV_GPU_UTIL"]
    assert labels["pod_uid"] == "0b1c2d3e-0000-1111-2222-333344445555"


def test_the_memory_of_a_shared_gpu_is_told_by_process_and_pod(node: GpuNode) -> None:
    node.with_gpus(1).set(0, process=["77 1024", "78 2048", "79 4096"])
    shown = page_of(
        swept(),
        holders={uuid_of(0): (LLAMA, QWEN)},
        uids={77: "aaaa", 78: "bbbb"},
        commands={77: "VLLM::EngineCore"},
    )
    found = {ls["pid"]: (ls.get("pod_uid"), ls.get("command"), v)
             for ls, v in shown["healer_gpu_process_memory_bytes"]}  # fmt: skip
    assert found == {
        "77": ("aaaa", "VLLM::EngineCore", 1024),
        "78": ("bbbb", None, 2048),
        "79": (None, None, 4096),
    }


def test_a_process_has_the_name_that_it_gave_itself(tmp_path: Path) -> None:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "comm").write_bytes(b"VLLM::\xffWorker\n")
    assert command(77, tmp_path) == "VLLM::\N{REPLACEMENT CHARACTER}Worker"
    assert not command(78, tmp_path)


@pytest.mark.parametrize(
    ("line", "uid"),
    [
        (
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-"
            "pod0b1c2d3e_0000_1111_2222_333344445555.slice/cri-containerd-ab.scope",
            "0b1c2d3e-0000-1111-2222-333344445555",
        ),
        (
            "4:memory:/kubepods/besteffort/pod0b1c2d3e-0000-1111-2222-333344445555/ab",
            "0b1c2d3e-0000-1111-2222-333344445555",
        ),
        ("0::/user.slice/session-1.scope", ""),
    ],
)
def test_a_control_group_names_its_pod(tmp_path: Path, line: str, uid: str) -> None:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cgroup").write_text(line + "\n")
    assert pod_uid(77, tmp_path) == uid


def test_a_process_that_has_ended_has_no_pod(tmp_path: Path) -> None:
    assert pod_uid(78, tmp_path) == ""
