"""What dockerd says of its networks, asked over its API: whether it has one, and which containers are on it.

Only GET, each answered within `LIMIT_S` or not known. Never asked within a call of the plugin: dockerd holds locks
while it waits for our answer. An answer counts only if that dockerd has a network of ours, since a host may have two.
"""

from __future__ import annotations

import json
import os
import socket
from time import monotonic

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cni_cnm.model import Json
    from cni_cnm.settings import Settings

LIMIT_S = 2.0
SOCKET = "/run/docker.sock"
"""Where the setting `docker_api = "auto"` looks."""
_ANSWER_MAX = 16 << 20


class DockerContainer(NamedTuple):
    """A container as Docker knows it."""

    name: str = ""
    id: str = ""


class DockerApi:
    """`ours`: Docker's ids of the networks that are on record here."""

    def __init__(self, settings: Settings, ours: Collection[str]) -> None:
        self._path = {"off": "", "auto": SOCKET}.get(settings.docker_api, settings.docker_api)
        self._ours = frozenset(ours)
        self._listed: dict[str, str] | None = None
        self._containers: dict[str, Mapping[str, DockerContainer] | None] = {}

    @property
    def asks(self) -> bool:
        """Whether the settings let Docker be asked."""
        return bool(self._path)

    def networks(self) -> frozenset[str] | None:
        """The ids of our networks that Docker has. None if it does not answer, or has none of them."""
        return frozenset(self.network_names() or ()) or None

    def network_names(self) -> Mapping[str, str] | None:
        """The names of these networks by their ids. None likewise."""
        if self._listed is None and self._ours and self._path and os.path.exists(self._path):
            answer = _get(self._path, "/networks")
            listed = {str(one.get("Id")): str(one.get("Name")) for one in answer or () if isinstance(one, dict)}
            self._listed = {one: name for one, name in listed.items() if one in self._ours}
        return self._listed or None

    def containers(self, network: str) -> Mapping[str, DockerContainer] | None:
        """Containers by the id of their endpoint on one network. None if it is not known."""
        if network not in self._containers:
            there = network in (self.networks() or ())
            self._containers[network] = _containers(_get(self._path, f"/networks/{network}")) if there else None
        return self._containers[network]

    def aliases(self, container_id: str, endpoint_id: str) -> Sequence[str] | None:
        """Other names of a container on the network of this endpoint. None if it is not known."""
        if not container_id.isalnum():  # Docker knows no container yet
            return None
        answer = _get(self._path, f"/containers/{container_id}/json")
        settings = answer.get("NetworkSettings") if isinstance(answer, dict) else None
        networks = settings.get("Networks") if isinstance(settings, dict) else None
        for one in networks.values() if isinstance(networks, dict) else ():
            if isinstance(one, dict) and one.get("EndpointID") == endpoint_id:
                return [name for name in one.get("Aliases") or () if isinstance(name, str)]
        return None


def _containers(answer: Json | None) -> Mapping[str, DockerContainer] | None:
    found = answer.get("Containers") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        return None
    return {
        str(one.get("EndpointID")): DockerContainer(str(one.get("Name")), str(container_id))
        for container_id, one in found.items()
        if isinstance(one, dict)
    }


def _get(path: str, what: str) -> Json | None:
    """The decoded answer; None if there is none in time, or none that is JSON."""
    end = monotonic() + LIMIT_S
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(LIMIT_S)
            connection.connect(path)
            connection.sendall(f"GET {what} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            while part := connection.recv(1 << 16):
                answer += part
                left = end - monotonic()
                if left <= 0 or len(answer) > _ANSWER_MAX:
                    return None
                connection.settimeout(left)
        head, _, body = bytes(answer).partition(b"\r\n\r\n")
        return json.loads(body) if head.split(b" ")[1:2] == [b"200"] else None
    except (OSError, ValueError, RecursionError):
        return None
