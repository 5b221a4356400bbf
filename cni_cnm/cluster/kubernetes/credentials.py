"""As whom the Kubernetes API is asked: a kubeconfig, or the service account of the pod."""

from __future__ import annotations

import os

from cni_cnm.cluster.http.endpoint import endpoint
from cni_cnm.cluster.http.tls import Tls
from cni_cnm.cluster.kubernetes.access import PORT, Access, token_of
from cni_cnm.errors import CnmError, InvalidConfig, IoFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cluster.http.endpoint import Endpoint
    from cni_cnm.cluster_settings import ClusterSettings

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Credentials:
    """`Access` as the settings say. A kubeconfig that has changed is read again."""

    def __init__(self, settings: ClusterSettings, environ: Mapping[str, str]) -> None:
        self._file = settings.kubeconfig
        self._environ = environ
        self._stamp: object = None
        self._access: Access | None = None
        if self._file:
            self.name = f"the Kubernetes API of {self._file}"
        else:
            self.name = f"the Kubernetes API at {_url(environ) or 'an unknown address'}"

    def access(self) -> Access:
        """InvalidConfig or IoFailed names the file and what is wrong."""
        stamp = self._state() if self._file else ()
        if self._access is None or stamp != self._stamp:
            self._access = self._read()
            self._stamp = stamp
        return self._access

    def _read(self) -> Access:
        if self._file:
            from cni_cnm.cluster.kubernetes.kubeconfig import load

            return load(self._file)
        url = _url(self._environ)
        if not url:
            raise InvalidConfig(
                "the settings name no kubeconfig, and this process is in no pod of Kubernetes: the variable "
                "KUBERNETES_SERVICE_HOST is not set",
                hint="set kubeconfig in the part [cluster] of the settings",
            )
        return Access(
            endpoint(url, PORT),
            "",
            Tls(f"{SERVICE_ACCOUNT}/ca.crt"),
            lambda: token_of(f"{SERVICE_ACCOUNT}/token"),
            "the service account of this pod",
        )

    def _state(self) -> object:
        try:
            found = os.stat(self._file)
        except OSError as error:
            raise IoFailed(f"{self._file} cannot be read: {error.strerror}") from error
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def endpoints(settings: ClusterSettings) -> Sequence[Endpoint]:
    """The server; none if the settings' kubeconfig cannot be read."""
    try:
        return [Credentials(settings, os.environ).access().endpoint]
    except CnmError:
        return []


def _url(environ: Mapping[str, str]) -> str:
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "") or str(PORT)
    if not host or not port.isdigit():
        return ""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
