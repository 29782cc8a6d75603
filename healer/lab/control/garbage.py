"""Garbage collection: what lost its owners, its node or its time."""

from __future__ import annotations

from datetime import datetime, timedelta

from healer.lab.control.common import end_pod
from healer.lab.kube.resources import TABLE
from healer.lab.kube.store import ObjectStore, unstamp

OWNED = ("apps/replicasets", "apps/controllerrevisions", "pods", "discovery.k8s.io/endpointslices")
EVENTS_LAST = timedelta(hours=1)


def reconcile(store: ObjectStore, now: datetime) -> None:
    _ownerless(store)
    _nodeless(store)
    for record in store.records("events"):
        meta = record.obj["metadata"]
        last = record.obj.get("lastTimestamp") or meta["creationTimestamp"]
        if now - unstamp(last) > EVENTS_LAST:
            store.delete("events", meta["namespace"], meta["name"])


def _ownerless(store: ObjectStore) -> None:
    there = {record.obj["metadata"]["uid"] for r in TABLE for record in store.records(r.key)}
    for resource in OWNED:
        for record in store.records(resource):
            meta = record.obj["metadata"]
            refs = meta.get("ownerReferences") or ()
            if not refs or any(ref["uid"] in there for ref in refs):
                continue
            if resource == "pods":
                if "deletionTimestamp" not in meta:
                    end_pod(store, record.obj)
            else:
                store.delete(resource, meta["namespace"], meta["name"])
                there.discard(meta["uid"])


def _nodeless(store: ObjectStore) -> None:
    """No kubelet is left to confirm the end of a pod whose node is gone."""
    nodes = {record.obj["metadata"]["name"] for record in store.records("nodes")}
    for record in store.records("pods"):
        node, meta = record.obj["spec"].get("nodeName"), record.obj["metadata"]
        if node and node not in nodes:
            store.delete("pods", meta["namespace"], meta["name"])
