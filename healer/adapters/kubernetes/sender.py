"""What the verbs share: reading an object for its UID, sending once, and reading the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kubernetes.client import ApiClient

from healer.adapters.alone import Alone
from healer.adapters.kubernetes import errors
from healer.adapters.kubernetes.errors import Answer, Obj
from healer.errors import Permanent, Temporary
from healer.model.intent import Receipt
from healer.ports import Clock, Leadership

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

BUDGET_RETRY_S = 10.0
"""A used-up budget comes without Retry-After: it frees up when pods become ready."""
THROTTLE_RETRY_S = 5.0
CONFLICT_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Sender:
    """One action's way to the API server."""

    api: ApiClient
    clock: Clock
    dry_run: bool
    timeout_s: tuple[float, float] = errors.TIMEOUT_S
    leading: Leadership = field(default_factory=Alone)

    def now(self) -> datetime:
        return self.clock.now()

    def find(self, path: str) -> Obj | None:
        """The object, or None where there is none. Raises Temporary or Permanent."""
        answer = errors.read(self.api, path, timeout_s=self.timeout_s)
        if answer.ok:
            return answer.body
        if answer.code == 404:
            return None
        raise denial(answer)

    def post(self, path: str, body: Obj) -> Answer:
        return self._write("POST", path, body, "application/json")

    def patch(self, path: str, body: Obj | list[Obj], kind: str) -> Answer:
        return self._write("PATCH", path, body, kind)

    def delete(self, path: str, options: Obj) -> Answer:
        return self._write("DELETE", path, options, "application/json")

    def _write(self, method: str, path: str, body: Obj | list[Obj], kind: str) -> Answer:
        """Sent by the replica in office alone. Raises Temporary where this one no longer is."""
        if not self.dry_run and not self.leading.epoch():
            raise Temporary(f"{method} {path} was not sent: another replica may lead by now")
        return errors.write(
            self.api, method, path, body,
            content_type=kind, dry_run=self.dry_run, timeout_s=self.timeout_s,
        )  # fmt: skip

    def done(self, detail: str, before: dict[str, Any], after: dict[str, Any]) -> Receipt:
        return Receipt(
            ok=True, at=self.now(), detail=detail, dry_run=self.dry_run, before=before, after=after
        )

    def gone(self, detail: str, before: dict[str, Any] | None = None) -> Receipt:
        """The target is another one by now, or in another state than decided on."""
        return Receipt(
            ok=False,
            at=self.now(),
            detail=detail,
            gone=True,
            dry_run=self.dry_run,
            before=before or {},
        )

    def later(self, detail: str, after_s: float, before: dict[str, Any]) -> Receipt:
        return Receipt(
            ok=False,
            at=self.now(),
            detail=detail,
            retry_after_s=after_s,
            dry_run=self.dry_run,
            before=before,
        )

    def refusal(self, answer: Answer, before: dict[str, Any]) -> Receipt:
        """What an answer that is not success means, common to all verbs. Raises Permanent and
        Temporary for what no receipt can say."""
        match answer.code:
            case 404:
                return self.gone(answer.message, before)
            case 429:
                budget = next(
                    (c for c in answer.causes() if c.get("reason") == "DisruptionBudget"), None
                )
                if budget is not None:
                    told = f"{answer.message} {budget.get('message', '')}".strip()
                    return self.later(told, answer.retry_after_s or BUDGET_RETRY_S, before)
                return self.later(answer.message, answer.retry_after_s or THROTTLE_RETRY_S, before)
        raise denial(answer)


def denial(answer: Answer) -> Temporary | Permanent:
    """The error of an answer that says no: again later for what passes by itself."""
    told = f"{answer.code}: {answer.message}"
    if answer.code in (401, 408, 410, 429):
        return Temporary(told)
    if answer.code >= 500 and "PodDisruptionBudget" not in answer.message:
        return Temporary(told)
    return Permanent(told)


def uid_of(obj: Obj) -> str:
    return str((obj.get("metadata") or {}).get("uid", ""))


def version_of(obj: Obj) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion", ""))
