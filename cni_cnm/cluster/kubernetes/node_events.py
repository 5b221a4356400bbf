"""Events of Kubernetes about this host's Node, as `kubectl describe node` shows them. They are made, and repeated.

An event lives for an hour in Kubernetes. The same one again within the time of this process raises its count. It is
bounded: ten at once, then one a minute. What is beyond that is left out: the log has it.
"""

from __future__ import annotations

from time import gmtime, monotonic, strftime, time_ns

from cni_cnm.cluster.http.connection import NoAnswer
from cni_cnm.cluster.kubernetes.client import Client, NotBefore
from cni_cnm.cluster.kubernetes.failure import Failure
from cni_cnm.errors import Forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cluster_settings import ClusterSettings

NAMESPACE = "default"
"""Where Kubernetes keeps events of objects that are in no namespace."""
_EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
_BURST, _EACH_S = 10, 60.0
_REMEMBERED_MAX = 100
_MESSAGE_MAX = 1000
"""Characters; the API takes 1,024 bytes."""
_FORBIDDEN, _NOT_FOUND = 403, 404


class NodeEvents:
    """Used by one thread. Nothing is sent before the first event."""

    def __init__(self, settings: ClusterSettings, node: str, timeout_s: float) -> None:
        self._client = Client(settings, timeout_s, NotBefore())
        self._node = node
        self._tokens, self._filled = float(_BURST), monotonic()
        self._made: dict[tuple[str, str], tuple[str, int]] = {}
        """Name and count of an event by reason and message; the oldest first."""

    def close(self) -> None:
        self._client.close()

    def tell(self, reason: str, message: str, *, warning: bool) -> bool:
        """False if it is left out, because there were too many.

        Forbidden if Kubernetes does not permit it, DirectoryUnreachable if there is no answer, or another refusal.
        """
        if not self._may():
            return False
        message = message.encode()[:_MESSAGE_MAX].decode(errors="ignore")
        key = reason, message
        self._client.begin()
        try:
            if not (key in self._made and self._repeated(key)):
                self._create(key, warning=warning)
        except NoAnswer:
            pass  # it may be there
        except Failure as failure:
            if failure.status == _FORBIDDEN:
                raise Forbidden(
                    f"{self._client.name} does not permit events: {failure}",
                    hint="allow create and patch of events in the namespace default; conf/kubernetes/cni-cnm.yaml has "
                    "the Role cni-cnm-events",
                ) from failure
            raise self._client.explained(failure) from failure
        return True

    def _create(self, key: tuple[str, str], *, warning: bool) -> None:
        reason, message = key
        name, now = f"{self._node}.{time_ns():x}", _now()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": NAMESPACE},
            # By this uid, and not the Node's own, `kubectl describe node` looks for what the kubelet says.
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": self._node},
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": {"component": "cni-cnm", "host": self._node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._client.create(_EVENTS, body)
        self._made[key] = name, 1
        while len(self._made) > _REMEMBERED_MAX:
            del self._made[next(iter(self._made))]

    def _repeated(self, key: tuple[str, str]) -> bool:
        """False if Kubernetes has forgotten the event."""
        name, count = self._made.pop(key)
        try:
            self._client.patch(f"{_EVENTS}/{name}", {"count": count + 1, "lastTimestamp": _now()})
        except Failure as failure:
            if failure.status == _NOT_FOUND:
                return False
            raise
        self._made[key] = name, count + 1
        return True

    def _may(self) -> bool:
        now = monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._filled) / _EACH_S)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _now() -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
