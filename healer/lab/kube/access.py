"""Who may do what: everything, but for what a rule denies."""

from __future__ import annotations

from dataclasses import dataclass, field

from healer.lab.kube import status
from healer.lab.kube.paths import Call
from healer.lab.kube.resources import TABLE
from healer.lab.kube.status import Obj


@dataclass(frozen=True, slots=True)
class Denial:
    verb: str
    """`*` for all."""
    resource: str
    """`nodes`, `pods/eviction`, `deployments`, `deployments/scale`; `*` for all."""
    namespace: str = ""
    """Empty for everywhere."""


@dataclass(slots=True)
class Access:
    user: str = "healer"
    denials: list[Denial] = field(default_factory=list)

    def deny(self, verb: str, resource: str, namespace: str = "") -> None:
        self.denials.append(Denial(verb, resource, namespace))

    def allow_all(self) -> None:
        self.denials.clear()

    def check(self, call: Call) -> None:
        """Raises ApiError (403)."""
        what = f"{call.resource.plural}/{call.subresource}".rstrip("/")
        if not self.allows(call.verb, what, call.namespace):
            raise status.forbidden(
                self.user, call.verb, call.resource, call.subresource, call.namespace, call.name
            )

    def allows(self, verb: str, resource: str, namespace: str) -> bool:
        return not any(
            d.verb in ("*", verb)
            and d.resource in ("*", resource)
            and d.namespace in ("", namespace)
            for d in self.denials
        )

    def review(self, body: Obj) -> Obj:
        """The answer to a SelfSubjectAccessReview."""
        asked = body.get("spec", {}).get("resourceAttributes") or {}
        plural, sub = asked.get("resource", ""), asked.get("subresource", "")
        known = any(r.plural == plural and r.group == asked.get("group", "") for r in TABLE)
        allowed = known and self.allows(
            asked.get("verb", ""), f"{plural}/{sub}".rstrip("/"), asked.get("namespace", "")
        )
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": body.get("spec", {}),
            "status": {"allowed": allowed} | ({} if allowed else {"reason": "denied by rule"}),
        }
