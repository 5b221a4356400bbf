"""Names of Docker's containers for the name service: Docker is asked once a container has joined, and at each look.

A container that joins is known to Docker a moment after our answer. So it is asked for again, after growing pauses.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic

from cni_cnm.cnm.docker import docker_names
from cni_cnm.cnm.records import endpoint_records, load_endpoint
from cni_cnm.docker_server.docker_api import DockerApi
from cni_cnm.names import hosts_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord

PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.05, 5.0
SHOWN = 80
"""Characters of a name in the log."""
WAITS = 12
"""Times that Docker is asked for one that has joined. After that each look asks."""


class ContainerNames:
    """One thread calls `look` and `name_joined`; any thread calls `joined`. `say` writes a line to the log."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._wrong: dict[str, set[str]] = {}
        """What was said to be no host name, by the endpoint's id."""
        self._lock = Lock()
        self._joined: dict[str, int] = {}
        """How often Docker was asked, by the endpoint's id. Guarded by the lock."""
        self._due = 0.0
        self._run_dir = ""

    def joined(self, endpoint_id: str) -> bool:
        """Whether Docker is to be asked soon: only if a network answers names."""
        if not self._run_dir or not hosts_files.networks(self._run_dir):
            return False
        with self._lock:
            self._joined[endpoint_id] = 0
            self._due = monotonic() + PAUSE_FIRST_S
        return True

    def wait_s(self) -> float | None:
        """Seconds until `name_joined` is due; None: it is not."""
        with self._lock:
            return max(0.0, self._due - monotonic()) if self._joined else None

    def name_joined(self, host: Host) -> None:
        """Ask for those that have joined."""
        with self._lock:
            waiting = dict(self._joined)
        records = [record for one in waiting if (record := load_endpoint(host.store, one)) is not None]
        missing = self._name(host, _api(host, records), records)
        with self._lock:
            for one, times in waiting.items():
                if one in missing and times + 1 < WAITS:
                    self._joined[one] = times + 1
                else:
                    self._joined.pop(one, None)
            longest = max(self._joined.values(), default=0)
            self._due = monotonic() + min(PAUSE_FIRST_S * 2**longest, PAUSE_LONGEST_S)

    def look(self, host: Host, api: DockerApi) -> None:
        """Ask for all of them. A container may have another name, and a network may answer names since now."""
        self._run_dir = host.settings.run_dir
        if hosts_files.networks(self._run_dir):
            records = [record for record in endpoint_records(host.store) if record.docker_network]
            self._name(host, api, records)
            self._wrong = {record.id: self._wrong[record.id] for record in records if record.id in self._wrong}

    def _name(self, host: Host, api: DockerApi, records: Iterable[EndpointRecord]) -> set[str]:
        """The ids of endpoints that should have names, and whose Docker does not know."""
        missing = set()
        for record in records:
            if docker_names.network_with_names(host, record) is None:
                continue
            if not api.asks:
                if record.names:
                    docker_names.withdraw(host, record)
                continue
            container = (api.containers(record.docker_network) or {}).get(record.id)
            if container is not None and container.name.lower() in record.names:
                continue
            aliases = api.aliases(container.id, record.id) if container is not None else None
            if container is None or aliases is None:
                missing.add(record.id)
                continue
            for text in docker_names.answer(host, record, container.id, (container.name, *aliases)):
                self._say_once(record.id, text)
        return missing

    def _say_once(self, endpoint_id: str, text: str) -> None:
        said = self._wrong.setdefault(endpoint_id, set())
        if text not in said:
            said.add(text)
            self._say(f"docker: {text[:SHOWN]!r} is not answered as a name of a container: it is no host name")


def _api(host: Host, records: Iterable[EndpointRecord]) -> DockerApi:
    return DockerApi(host.settings, {record.docker_network for record in records})
