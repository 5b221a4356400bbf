"""Looks every 30 s for what Docker has removed without the service being told: containers, and networks.

Evidence is the kernel's (cnm/docker/lost_endpoints.py, lost_networks.py). What Docker's API says can keep an endpoint.
The same thread asks Docker for the names of containers, also when one has joined (container_names.py).
"""

from __future__ import annotations

import os
import select
from threading import Thread
from time import monotonic, sleep

from cni_cnm.cnm.docker import docker_networks, lost_endpoints, unused
from cni_cnm.cnm.docker.lost_networks import LostNetworks
from cni_cnm.cnm.records import network_records
from cni_cnm.docker_server.container_names import ContainerNames
from cni_cnm.docker_server.docker_api import DockerApi
from cni_cnm.docker_server.port_holder import PortHolder
from cni_cnm.errors import CnmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.docker_server.calls import Engine
    from cni_cnm.frontend.reply import Subject

INTERVAL_S = 30.0
SHOWN = 12
"""Characters of an id, as Docker shows it."""
_PAUSE_S = 1.0
"""After a wait that failed: what failed once may fail at once again."""


class DockerWatch:
    """A thread, from `start` to `stop`. `engine` gives a controller for one look; `say` writes a line to the log."""

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._say = say
        self._networks = LostNetworks()
        self._containers: dict[str, str] = {}
        """Names by the id of an endpoint, at the last look; empty unless the log is JSON."""
        self._names = ContainerNames(say)
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._run, name="docker-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the look in progress, if any."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    def joined(self, endpoint_id: str) -> None:
        """A container has joined: its names are asked for soon, if a network answers names."""
        if self._names.joined(endpoint_id):
            os.eventfd_write(self._wake, 1)

    def with_container(self, subject: Subject) -> Subject:
        """With the name of the container, if the last look has seen it, and the endpoint's id shortened."""
        container = self._containers.get(subject.endpoint, "")
        return subject._replace(container=container, endpoint=subject.endpoint[:SHOWN])

    def look(self, controller: Controller) -> None:
        """One look: what seems lost is remembered, and removed by a later one."""
        host = controller.host
        api = DockerApi(
            host.settings, [one for record in network_records(host.store) for one in record.docker_networks]
        )

        if host.settings.log_format == "json":
            networks = api.networks() or ()
            self._containers = {
                endpoint: container.name or container.id[:SHOWN]
                for network in networks
                for endpoint, container in (api.containers(network) or {}).items()
            }

        def known(record: EndpointRecord) -> bool:
            return record.id in (api.containers(record.docker_network) or ())

        for part in (
            lost_endpoints.remove_all(host, known),
            docker_networks.remove_unfinished(host),
            self._networks.look(host, api.networks),
            unused.release_addresses(host),
        ):
            for sentence in part:
                self._say(f"docker: {sentence}")
        if isinstance(host.held_ports, PortHolder):  # another process may have removed an endpoint
            host.held_ports.compare(host)
        self._names.look(host, api)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        next_look = monotonic()
        while not self._stopping:
            try:
                with self._engine() as controller:
                    if monotonic() >= next_look:
                        next_look = monotonic() + INTERVAL_S
                        self.look(controller)
                    elif self._names.wait_s() == 0.0:
                        self._names.name_joined(controller.host)
            except CnmError as error:
                self._say(f"docker: what was removed meanwhile is not known: {error}")
            except Exception as error:  # noqa: BLE001 - a defect here must not end the watch
                self._say(f"docker: what was removed meanwhile is not known: {type(error).__name__}: {error}")
            try:
                self._wait(poll, next_look)
            except OSError as error:
                self._say(f"docker: the next look comes early: {error.strerror}")
                sleep(_PAUSE_S)

    def _wait(self, poll: select.poll, next_look: float) -> None:
        """Until the next look, until names are to be asked for, or until the end."""
        while not self._stopping:
            due = self._names.wait_s()
            left_s = max(0.0, next_look - monotonic())
            if poll.poll(1000 * (left_s if due is None else min(left_s, due))):
                os.eventfd_read(self._wake)
            else:
                return
