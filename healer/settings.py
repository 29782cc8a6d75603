"""Every setting, its meaning and its safe default.

One YAML file plus the environment (`HEALER__LOOP__INTERVAL=15s` sets `loop.interval`).
Secrets are read from files named here, never written here. Reading happens in
`healer.adapters.settings_file`; these are values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from healer.values import Span


class Mode(StrEnum):
    OBSERVE = "observe"
    """Work everything out, rehearse on the API server's dry run, change nothing."""
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    url: str = "http://127.0.0.1:9090"
    """Base URL of Prometheus, Thanos Query, Mimir or VictoriaMetrics."""
    token_file: Path | None = None
    """Bearer token, re-read when it changes."""
    ca_file: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Extra headers, such as X-Scope-OrgID."""
    connect_timeout: Span = timedelta(seconds=3)
    read_timeout: Span = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    enabled: bool = True
    """Off on a machine without a cluster: metrics and alerts only, no actions."""
    url: str = ""
    """API server; empty means in-cluster credentials, else kubeconfig."""
    kubeconfig: Path | None = None
    context: str = ""
    connect_timeout: Span = timedelta(seconds=3)
    read_timeout: Span = timedelta(seconds=10)
    rack_label: str = "topology.kubernetes.io/rack"
    pool_labels: tuple[str, ...] = (
        "nvidia.com/gpu.product",
        "karpenter.sh/nodepool",
        "cloud.google.com/gke-nodepool",
        "eks.amazonaws.com/nodegroup",
    )
    """The first label present names a node's pool."""
    act_as: str = ""
    """User that changes are sent as, by impersonation: `system:serviceaccount:NAMESPACE:NAME`.
    Empty acts with the credentials that read."""
    watch: bool = True
    """Whether the daemon follows changes instead of listing everything at each tick."""


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """One machine without a cluster, where `kubernetes.enabled` is off: services that may be
    restarted once `restart_pod` is armed in the namespace `machine`."""

    containers: tuple[str, ...] = ()
    """Docker containers, by name. Others are not looked at."""
    docker_socket: Path = Path("/var/run/docker.sock")
    """Whoever may write to it is root on the machine."""
    units: tuple[str, ...] = ()
    """systemd units, such as `vllm.service`. Healer has to run on the machine itself for them."""
    node: str = ""
    """The machine's name in labels; empty means its host name."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """How replicas that share a PostgreSQL store agree on the one that acts."""

    enabled: bool = True
    """Off where there is only ever one replica. SQLite installs never elect."""
    name: str = "healer"
    """Name of the Lease; two installations in one namespace need two."""
    namespace: str = ""
    """Empty means the pod's own."""
    identity: str = ""
    """Who holds it; empty means host name, process and start."""
    duration: Span = timedelta(seconds=12)
    """A leader not heard of for so long has lost it."""
    renew_deadline: Span = timedelta(seconds=8)
    """A leader that could not renew for so long stops by itself."""
    retry_every: Span = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    interval: Span = timedelta(seconds=15)
    """Time between ticks."""
    step: Span = timedelta(seconds=15)
    """Resolution of the frames: the scrape interval."""
    window: Span = timedelta(minutes=30)
    """How much of each signal a tick sees."""
    correlate_within: Span = timedelta(minutes=10)
    """Symptoms of connected targets that start this close together are one incident."""
    quiet_for: Span = timedelta(minutes=2)
    """How long without symptoms until an incident resolves."""
    retention: Span = timedelta(days=90)
    """How long ended incidents are kept. The audit is never pruned."""


@dataclass(frozen=True, slots=True)
class Arming:
    """What one remediation may do where. The most specific entry counts."""

    mode: Mode = Mode.OBSERVE
    namespaces: tuple[str, ...] = ()
    """Namespaces it is armed in; empty means none. `*` means every allowed one."""
    approval: bool = True
    """Ask a person first."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """No action while it lasts."""

    cron: str
    """Start, in cron's five fields."""
    duration: Span
    zone: str = "UTC"
    """IANA time zone."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RemediationSettings:
    mode: Mode = Mode.OBSERVE
    """A ceiling: `observe` here observes everywhere, whatever is armed below."""
    arm: dict[str, Arming] = field(default_factory=dict)
    """Remediation name → where and how it may act."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Remediation name → its own options."""
    packages: tuple[str, ...] = ("remediations",)
    deny_namespaces: tuple[str, ...] = ("kube-system", "kube-public", "kube-node-lease")
    fresh_within: Span = timedelta(minutes=2)
    """Evidence older than that does not act."""
    settle_for: Span = timedelta(seconds=30)
    """How long one hypothesis must lead before a plan is made on it."""
    ask_after: Span = timedelta(minutes=3)
    """How long an incident may stay without a diagnosis to act on before a person is asked."""
    cooldown: Span = timedelta(minutes=10)
    """Between two actions of one kind on one owner; doubles on failure."""
    max_per_hour: dict[str, int] = field(
        default_factory=lambda: {"target": 2, "namespace": 6, "cluster": 12}
    )
    max_concurrent: int = 3
    """Plans acting or verifying at once."""
    max_unavailable_fraction: float = 0.34
    """Share of a workload's replicas, or a pool's nodes, that may be out at once by our doing."""
    max_unavailable_nodes: int = 2
    """And never more GPU nodes than that, however large the pool."""
    storm_fraction: float = 0.4
    """When that share of one kind of target is sick at once, stop and suspect a common cause."""
    breaker_failures: int = 2
    """Verification failures in a row that open the breaker of a remediation."""
    breaker_reset: Span = timedelta(hours=1)
    approval_timeout: Span = timedelta(minutes=15)
    max_rungs: int = 3
    """Remediations tried for one incident before a person is called."""
    freezes: tuple[Freeze, ...] = ()
    uncordon: bool = False
    """Whether to take back our own cordons once the reason is gone."""
    scale_back_after: Span = timedelta(0)
    """How long after our own scale-up it is taken back, once the load is gone; 0 never."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    packages: tuple[str, ...] = ("detectors",)
    joint: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "isolation_forest": {},
            "stall": {},
            "absence": {},
            "peers": {},
            "burn_rate": {},
        }
    )
    """Joint detectors to run, with their options."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Detector name → options laid under each signal's own."""
    disabled: tuple[str, ...] = ()
    fit_workers: int = 1
    backend: str = "loky"
    """joblib backend of the fits: loky, threading, dask or ray."""
    backend_address: str = ""
    """Scheduler of an existing Dask or Ray cluster; empty: what its own environment names, and
    one on this machine where that is nothing."""
    fit_budget: Span = timedelta(minutes=5)
    """Time that one turn of fits may take; what is left comes with the next, oldest first."""
    fit_deadline: Span = timedelta(minutes=15)
    """Time for one batch of fits; what has not answered by then is given up until its next turn."""


@dataclass(frozen=True, slots=True)
class RuleSettings:
    folders: tuple[Path, ...] = ()
    """Folders with `signals/` and `causes/` of your own, loaded after ours."""
    disabled: tuple[str, ...] = ()
    shadow_until: int = 5
    """Right verdicts of people after which a rule of your own folders, without a `mode`, proposes
    its action. 0 lets it at once."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    url: str = "sqlite:///healer.db"
    """SQLAlchemy URL. SQLite is for one replica; two need PostgreSQL."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 8088
    public_url: str = ""
    """How people reach the pages; used in messages."""
    read_token_file: Path | None = None
    ingest_token_file: Path | None = None
    """One token a line; two live side by side while they are rotated."""
    approve_token_file: Path | None = None
    anonymous_read: bool = False
    """Pages and report API without a token. For demos and behind an authenticating proxy."""
    max_body_bytes: int = 4_000_000
    grafana_secret_file: Path | None = None
    """Secret of Grafana's webhook signature; when set, its webhooks must carry one."""
    kubernetes_audience: str = ""
    """Also take Kubernetes tokens made for this audience, such as `healer`; RBAC on `/healer`
    says what each may do. Empty takes none."""
    max_pending: int = 64
    """Webhooks in the making at once; more are told to come again (503)."""
    alertmanager_url: str = ""
    """Base URL of Alertmanager's API, to look up what a truncated webhook left out and what ended
    unheard. Empty looks nothing up."""
    alertmanager_token_file: Path | None = None
    alerts_expire_after: Span = timedelta(hours=6)
    """A firing alert not heard of for so long is taken as over. More than Alertmanager's
    repeat_interval, which is four hours by default."""
    silence_for: Span = timedelta(0)
    """How long alerts of an incident may be silenced at alertmanager_url while it is repaired;
    0 silences nothing. Taken back when the repair has ended."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One chat group. Credentials come from files."""

    notifier: str
    """Module in the notifiers: dingtalk, wecom, feishu, slack, teams, webhook."""
    url_file: Path | None = None
    """The robot's webhook URL, a secret."""
    url: str = ""
    """For URLs that hold no secret."""
    secret_file: Path | None = None
    """Signing secret, where the robot has one."""
    language: str = "en"
    """en or zh."""
    min_severity: str = "warning"
    per_minute: int = 18
    options: dict[str, Any] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    """Only incidents that touch one of these namespaces; empty means all."""
    quiet_hours: str = ""
    """`22:00-08:00 Asia/Shanghai`: messages below quiet_below wait until they end."""
    quiet_below: str = "critical"
    answer_links: bool = False
    """Whether messages about a plan that waits carry links that approve or reject it without a
    token. Whoever reads the channel can then answer."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    channels: dict[str, Channel] = field(default_factory=dict)
    packages: tuple[str, ...] = ("healer.notifiers",)
    timezone: str = "UTC"
    escalation: tuple[str, ...] = ()
    """Channels in the order in which they are called while nobody has taken an incident that
    needs a person. All but the first hear of nothing else."""
    escalate_after: Span = timedelta(minutes=10)
    """How long each waits for the one before it."""
    templates: Path | None = None
    """Folder with message templates of your own, `OCCASION.LANGUAGE.j2`."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """OpenTelemetry: what a tick spends its time on. Needs the extra `tracing`."""

    endpoint: str = ""
    """OTLP over HTTP, such as http://otel-collector:4318/v1/traces. Empty traces nothing."""
    service: str = "healer"
    headers_file: Path | None = None
    """`name=value` lines, such as an Authorization header."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. The defaults observe and change nothing."""

    prometheus: PrometheusSettings = field(default_factory=PrometheusSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    detectors: DetectorSettings = field(default_factory=DetectorSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    remediation: RemediationSettings = field(default_factory=RemediationSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    log_level: str = "info"
    log_format: str = "json"
    """json or text."""
