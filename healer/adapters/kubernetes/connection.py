"""From settings to an API client that never retries on its own.

The client's default would send PUT and DELETE four times over a dropped connection. Whoever asks
decides what may be asked again.
"""

from __future__ import annotations

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.config.config_exception import ConfigException

import healer
from healer.errors import Permanent
from healer.settings import KubernetesSettings

POOL_SIZE = 32
"""A watch a kind, and the requests beside them."""


def connect(settings: KubernetesSettings, act_as: str = "") -> ApiClient:
    """A client for `url`, else `kubeconfig`, else the pod's own credentials, else the default
    kubeconfig. Opens no connection. Raises Permanent where there are no credentials.

    act_as: a user to impersonate. The API server adds the groups of a ServiceAccount itself.
    """
    given = Configuration(retries=False, connection_pool_maxsize=POOL_SIZE)
    try:
        _fill(given, settings)
    except (ConfigException, OSError, ValueError) as error:
        raise Permanent(
            f"no way to reach Kubernetes: {error} Expected a pod's ServiceAccount, a kubeconfig "
            "(kubernetes.kubeconfig), or kubernetes.enabled: false"
        ) from error
    given.keep_alive = True
    api = ApiClient(given)
    api.user_agent = f"healer/{healer.__version__}"
    api.set_default_header("User-Agent", api.user_agent)  # type: ignore[no-untyped-call]
    if act_as:
        api.set_default_header("Impersonate-User", act_as)  # type: ignore[no-untyped-call]
    return api


def _fill(given: Configuration, settings: KubernetesSettings) -> None:
    if settings.url:
        given.host = settings.url.rstrip("/")
        return
    if settings.kubeconfig is None and not settings.context:
        try:
            config.load_incluster_config(given)  # type: ignore[no-untyped-call]
        except ConfigException:
            config.load_kube_config(client_configuration=given)  # type: ignore[no-untyped-call]
        return
    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(settings.kubeconfig) if settings.kubeconfig else None,
        context=settings.context or None,
        client_configuration=given,
    )
