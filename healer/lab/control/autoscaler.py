"""HorizontalPodAutoscalers: scale to what the metric asks for, and take back what others set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from healer.lab.control.common import put_status, set_condition, tell
from healer.lab.kube.resources import of_kind
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, stamp, unstamp

Desired = Callable[[Obj], int | None]
"""How many replicas the metrics of this autoscaler call for; None where there are none."""

SYNC = timedelta(seconds=15)
STABLE_S = 300


class Autoscaler:
    """Remembers its recommendations: scaling down waits until none of the window was higher."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._said: dict[str, list[tuple[datetime, int]]] = {}
        self._last: datetime | None = None

    def reconcile(self, store: ObjectStore, now: datetime) -> None:
        if self._last is not None and now - self._last < SYNC:
            return
        self._last = now
        for hpa in store.list("autoscaling/horizontalpodautoscalers"):
            self._one(store, hpa, now)

    def _one(self, store: ObjectStore, hpa: Obj, now: datetime) -> None:
        ref, meta = hpa["spec"]["scaleTargetRef"], hpa["metadata"]
        resource = of_kind(ref.get("apiVersion", "apps/v1"), ref["kind"])
        target = resource and store.get(resource.key, meta["namespace"], ref["name"])
        status = {k: v for k, v in (hpa.get("status") or {}).items() if k != "conditions"}
        conditions = (hpa.get("status") or {}).get("conditions") or []
        if not resource or not target:
            conditions = set_condition(conditions, "AbleToScale", "False", "FailedGetScale",
                                       f"{ref['kind']} {ref['name']} not found", now)  # fmt: skip
            put_status(store, _HPA, hpa, status | {"conditions": conditions})
            return
        current = target["spec"]["replicas"]
        status |= {"currentReplicas": current, "desiredReplicas": current}
        conditions = set_condition(conditions, "AbleToScale", "True", "ReadyForNewScale",
                                   "recommended size matches current size", now)  # fmt: skip
        if not current:
            conditions = set_condition(conditions, "ScalingActive", "False", "ScalingDisabled",
                                       "scaling is disabled since the replica count of the target "
                                       "is zero", now)  # fmt: skip
            put_status(store, _HPA, hpa, status | {"conditions": conditions})
            return
        asked = self._desired(hpa)
        conditions = set_condition(
            conditions, "ScalingActive", "True" if asked is not None else "False",
            "ValidMetricFound" if asked is not None else "FailedGetPodsMetric", "", now,
        )  # fmt: skip
        low, high = hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"]
        wanted = self._stabilised(hpa, current if asked is None else asked, current, now)
        bounded = min(max(wanted, low), high)
        reason = "TooManyReplicas" if wanted > high else "TooFewReplicas"
        limited = bounded != wanted
        conditions = set_condition(
            conditions, "ScalingLimited", str(limited),
            reason if limited else "DesiredWithinRange", "", now,
        )  # fmt: skip
        status |= {
            "desiredReplicas": bounded,
            "observedGeneration": meta.get("generation", 1),
            "conditions": conditions,
        }
        if bounded != current:
            target["spec"]["replicas"] = bounded
            store.update(resource.key, target)
            tell(store, hpa, "SuccessfulRescale", f"New size: {bounded}",
                 "horizontal-pod-autoscaler", now)  # fmt: skip
            status["lastScaleTime"] = stamp(now)
        put_status(store, _HPA, hpa, status)

    def _stabilised(self, hpa: Obj, asked: int, current: int, now: datetime) -> int:
        behavior = (hpa["spec"].get("behavior") or {}).get("scaleDown") or {}
        window = timedelta(seconds=behavior.get("stabilizationWindowSeconds", STABLE_S))
        said = self._said.setdefault(hpa["metadata"]["uid"], [])
        if not said:
            born = unstamp(hpa["metadata"]["creationTimestamp"])
            said.append((max(born, now - window), current))
        said.append((now, asked))
        said[:] = [(at, count) for at, count in said if now - at <= window]
        if asked >= current:
            return asked
        return min(current, max(count for _, count in said))


_HPA = "autoscaling/horizontalpodautoscalers"
