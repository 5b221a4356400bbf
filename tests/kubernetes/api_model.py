"""What a kube-apiserver answers about Nodes, without HTTP: lists, watches, patches, rights.

It is no API server. Each behaviour here is one of the real one, with its place in the sources of Kubernetes 1.31:

    list with limit and continue, 410 for an old token    staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go
    resourceVersion 0: from the cache, `limit` ignored    …/storage/cacher/cacher.go (GetList, shouldDelegateList)
    a resourceVersion of the future: 504                  …/storage/errors.go (NewTooLargeResourceVersionError)
    a watch of an old version: ERROR event, code 410      …/storage/cacher/watch_cache.go, cacher.go (newErrWatcher)
    patch of nodes/status: metadata and status change     pkg/registry/core/node/strategy.go (nodeStatusStrategy)
    podCIDRs do not change once they are set              pkg/apis/core/validation/validation.go (ValidateNodeUpdate)
    podCIDRs for new Nodes, one block of each subnet      pkg/controller/nodeipam/ipam/range_allocator.go
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

Object = dict[str, Any]
HISTORY_MAX = 10_000


class Refused(Exception):
    """An answer that is an error: `status` of HTTP, and the Status object."""

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": status,
        }


@dataclass
class Event:
    version: int
    kind: str
    node: Object


@dataclass
class ApiModel:
    """All Nodes, and what has changed. Times are whole seconds of a clock of its own."""

    cluster_cidrs: tuple[str, ...] = ()
    """New Nodes get a block of each; empty: they get none."""
    block_sizes: tuple[int, ...] = (24, 64)
    """Of IPv4 and IPv6."""
    version: int = 1000
    compacted: int = 0
    nodes: dict[str, Object] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    now: int = 0
    _given: dict[str, int] = field(default_factory=dict)

    # what happens in a cluster ------------------------------------------------------
    def add(self, name: str, *addresses: str, pod_cidrs: Iterable[str] | None = None, **more: Any) -> Object:
        """A kubelet registers its Node. `pod_cidrs` None: as the controller gives them."""
        self.now += 1
        given = self._allocate() if pod_cidrs is None else list(pod_cidrs)
        node: Object = {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": _time(self.now),
                "labels": {"kubernetes.io/hostname": name},
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"podCIDR": given[0], "podCIDRs": given} if given else {},
            "status": {
                "addresses": [
                    *({"type": "InternalIP", "address": each} for each in addresses),
                    {"type": "Hostname", "address": name},
                ],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            },
        }
        node = merged(node, more)
        self._put("ADDED", node)
        return node

    def change(self, name: str, patch: Object) -> Object:
        """A merge patch (RFC 7396) by a user who may do everything."""
        node = merged(self.nodes[name], patch)
        if node != self.nodes[name]:
            self._put("MODIFIED", node)
        return self.nodes[name]

    def remove(self, name: str) -> None:
        self.version += 1
        node = self.nodes.pop(name)
        self._note(Event(self.version, "DELETED", self._versioned(node)))

    def report(self, name: str) -> None:
        """A kubelet reports: only what is not used here changes."""
        self.now += 1
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": _time(self.now)}
        self.change(name, {"status": {"conditions": [ready]}})

    def ready(self, name: str, status: str) -> None:
        """`Unknown`: the kubelet's lease has run out."""
        self.change(name, {"status": {"conditions": [{"type": "Ready", "status": status}]}})

    def compact(self) -> None:
        """What was before is forgotten."""
        self.compacted = self.version
        self.history.clear()

    def backup(self) -> ApiModel:
        return deepcopy(self)

    def restore(self, backup: ApiModel) -> None:
        """A backup of etcd is put back: versions begin again from there."""
        saved = deepcopy(backup)
        self.version, self.compacted, self.nodes = saved.version, saved.version, saved.nodes
        self.history = []

    # what the API server answers ------------------------------------------------------
    def get(self, name: str) -> Object:
        if name not in self.nodes:
            raise Refused(404, "NotFound", f'nodes "{name}" not found')
        return self.nodes[name]

    def list_nodes(self, query: Mapping[str, str]) -> Object:
        limit, token, version = int(query.get("limit", 0)), query.get("continue", ""), query.get("resourceVersion", "")
        start, at = "", self.version
        if token:
            if version not in ("", "0"):
                raise Refused(400, "BadRequest", "specifying resource version is not allowed when using continue")
            start, at = _read_token(token)
            if at < self.compacted:
                raise expired("The provided continue parameter is too old to display a consistent list result.")
        elif version not in ("", "0") and int(version) > self.version:
            raise too_large(int(version), self.version)
        if version == "0":
            limit = 0
        names = [name for name in sorted(self.nodes) if name > start]
        shown = names[:limit] if limit else names
        meta: Object = {"resourceVersion": str(at)}
        if len(shown) < len(names):
            meta |= {"continue": _token(shown[-1], at), "remainingItemCount": len(names) - len(shown)}
        return {
            "kind": "NodeList",
            "apiVersion": "v1",
            "metadata": meta,
            "items": [self.nodes[name] for name in shown],
        }

    def events(self, after: int) -> list[Object]:
        """What a watch reports, and in which version. The caller has asked `require_known`."""
        return [{"type": each.kind, "object": each.node} for each in self.history if each.version > after]

    def require_known(self, after: int) -> None:
        if after < self.compacted:
            raise expired(f"too old resource version: {after} ({self.compacted})")

    def bookmark(self) -> Object:
        meta = {"resourceVersion": str(self.version), "creationTimestamp": None}
        return {"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": meta}}

    def patch_status(self, name: str, patch: Object) -> Object:
        old = self.get(name)
        uid = patch.get("metadata", {}).get("uid")
        if uid is not None and uid != old["metadata"]["uid"]:
            message = f'Node "{name}" is invalid: metadata.uid: Invalid value: "{uid}": field is immutable'
            raise Refused(422, "Invalid", message)
        node = merged(old, patch)
        node["spec"] = old["spec"]
        for key in ("name", "uid", "creationTimestamp", "resourceVersion"):
            node["metadata"][key] = old["metadata"][key]
        if node != old:
            self._put("MODIFIED", node)
        return self.nodes[name]

    # ------------------------------------------------------------------------------
    def _put(self, kind: str, node: Object) -> None:
        self.version += 1
        node = self._versioned(node)
        self.nodes[node["metadata"]["name"]] = node
        self._note(Event(self.version, kind, node))

    def _versioned(self, node: Object) -> Object:
        return {**node, "metadata": {**node["metadata"], "resourceVersion": str(self.version)}}

    def _note(self, event: Event) -> None:
        self.history.append(event)
        if len(self.history) > HISTORY_MAX:
            del self.history[: HISTORY_MAX // 2]
            self.compacted = self.history[0].version - 1

    def _allocate(self) -> list[str]:
        found = []
        for cidr in self.cluster_cidrs:
            whole = ip_network(cidr)
            size = self.block_sizes[whole.version == 6]
            number = self._given.get(cidr, 0)
            self._given[cidr] = number + 1
            first = int(whole.network_address) + (number << (whole.max_prefixlen - size))
            found.append(f"{type(whole.network_address)(first)}/{size}")
        return found


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def expired(message: str) -> Refused:
    return Refused(410, "Expired", message)


def too_large(wanted: int, present: int) -> Refused:
    message = f"Timeout: Too large resource version: {wanted}, current: {present}"
    found = Refused(504, "Timeout", message, {"Retry-After": "1"})
    found.body["details"] = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return found


def _time(second: int) -> str:
    return f"2026-01-{1 + second // 86400:02}T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def _token(last: str, version: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"rv": version, "start": last}).encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        raw = json.loads(base64.urlsafe_b64decode(token))
        return str(raw["start"]), int(raw["rv"])
    except (ValueError, LookupError) as error:
        raise Refused(400, "BadRequest", "continue key is not valid") from error
