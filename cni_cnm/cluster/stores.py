"""Opens the directory that the settings name."""

from __future__ import annotations

from cni_cnm.cluster.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cluster.directory import Directory
    from cni_cnm.cluster.known import Known
    from cni_cnm.cluster_settings import ClusterSettings

TIMEOUT_S = 5.0
"""Of each call."""
_SPREAD_S = 2.0


def open_directory(settings: ClusterSettings, timeout_s: float = TIMEOUT_S, known: Known | None = None) -> Directory:
    """The directory. Nothing is sent before the first call; `close` it when it is used no more.

    `known`: what this host's disk has of the cluster; None: nothing.
    """
    if settings.store == "kubernetes":
        from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory

        # A name of the store says that it was another kind: Kubernetes has none.
        revision = known.revision if known is not None and not known.store else 0
        return KubernetesDirectory(settings, timeout_s, len(known.hosts) if known is not None else 0, revision)
    from cni_cnm.cluster.etcd.directory import EtcdDirectory

    return EtcdDirectory(settings, timeout_s)


def start_spread_s(settings: ClusterSettings, hosts: int) -> float:
    """A host that knows what was so asks first within this time, at random: many may be started at once."""
    if not hosts:
        return 0.0
    return Pace.of_many(hosts).spread_s if settings.store == "kubernetes" else _SPREAD_S


def warnings(settings: ClusterSettings) -> Sequence[str]:
    """Sentences that stand as long as the settings are as they are: for the log and STATUS."""
    from cni_cnm.cluster.http.endpoint import endpoint, warnings

    if settings.store == "kubernetes":
        from cni_cnm.cluster.kubernetes.credentials import endpoints

        return warnings(endpoints(settings))
    from cni_cnm.cluster.etcd.client import PORT

    return warnings(endpoint(url, PORT) for url in settings.endpoints)
