"""The name that an operator knows a container by: its pod's, or the one that Docker has."""

from __future__ import annotations

from cni_cnm.docker_server.docker_api import DockerApi, DockerContainer
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord


class NamedEndpoint(NamedTuple):
    """An endpoint's record, with what its container is called."""

    record: EndpointRecord
    docker: DockerContainer = DockerContainer()
    """Empty for an endpoint of another frontend, and if Docker does not answer."""

    @property
    def container_id(self) -> str:
        """The whole id; "" if the endpoint has not joined, and for Docker's if Docker does not answer."""
        return self.record.container_id or self.docker.id

    @property
    def mac(self) -> str:
        """Of the container's interface; "" if it is not known."""
        return self.record.mac or (self.record.device.container.mac if self.record.device else "")

    @property
    def pod(self) -> str:
        """NAMESPACE/NAME; "" if the runtime has not named a pod."""
        return self.record.pod.label

    @property
    def container(self) -> str:
        """The pod, or Docker's name of the container, or its id, or the endpoint's name."""
        return self.pod or self.docker.name or self.container_id or self.record.name

    @property
    def shown(self) -> str:
        """In words, for messages: network, container and interface, and the pod or the container's name."""
        return f"{self.record.label} ({self.docker.name})" if self.docker.name else self.record.shown


def named(host: Host, records: Iterable[EndpointRecord]) -> Iterator[NamedEndpoint]:
    """Each with its names. Docker is asked once for each of its networks, if a record is of one."""
    records = list(records)
    networks = {record.docker_network for record in records if record.docker_network}
    api = DockerApi(host.settings, networks) if networks else None
    for record in records:
        of_docker = (api.containers(record.docker_network) if api and record.docker_network else None) or {}
        yield NamedEndpoint(record, of_docker.get(record.id, DockerContainer()))
