"""The Kubernetes API: what is there (`reader`), and what may be changed (`hands`).

The genuine client carries the requests; objects stay decoded JSON. Its typed models are many
times slower on large lists and refuse a whole list for one null.
"""

from healer.adapters.kubernetes.connection import connect
from healer.adapters.kubernetes.hands import KubernetesHands
from healer.adapters.kubernetes.reader import KubernetesCluster

__all__ = ["KubernetesCluster", "KubernetesHands", "connect"]
