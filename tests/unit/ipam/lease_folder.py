"""A node's lease store in a folder of the test, and requests to it as the controller makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path

from cni_cnm import ipam
from cni_cnm.fields import Fields
from cni_cnm.ipam.contract import Ipam
from cni_cnm.ipam.host_local import HostLocal
from cni_cnm.ipam.leases import Leases
from cni_cnm.ipam.ranges import parse
from cni_cnm.model import EndpointKey, EndpointSpec, IPAddress, IpamSpec, IPInterface, Json
from cni_cnm.settings import Settings
from cni_cnm.state.store import ENDPOINTS
from tests.ipam_host import ipam_host

NETWORK = "podnet"


def ranges(*sets: str | list[str]) -> Json:
    """Each argument is a range set: a subnet, or several."""
    return {"ranges": [[{"subnet": s} for s in ([each] if isinstance(each, str) else each)] for each in sets]}


class LeaseFolder:
    def __init__(self, path: Path) -> None:
        self.settings = Settings(run_dir=f"{path}/run", leases_dir=f"{path}/networks")
        self.host = ipam_host(self.settings)
        self.folder = path / "networks" / NETWORK

    def key(self, container: str, ifname: str = "eth0") -> EndpointKey:
        return EndpointKey(NETWORK, container, ifname)

    def pool(self, config: Mapping[str, Json], endpoint: EndpointSpec | None = None) -> Ipam:
        return ipam.configure(NETWORK, IpamSpec("host-local", config), endpoint, self.host)

    def record(self, key: EndpointKey, pool: Ipam, *, leased: bool = True) -> None:
        """The part of an endpoint's record that leases are compared with. `leased`: it has its addresses."""
        lease: dict[str, Json] | None = {"addresses": []} if leased else None
        self.host.store.put(ENDPOINTS, key.id, {"epoch": self.host.epoch, "ipam": pool.record(), "lease": lease})

    def recorded(self, key: EndpointKey) -> bool:
        return self.host.store.has(ENDPOINTS, key.id)

    def forget(self, key: EndpointKey) -> None:
        """The record without the addresses, as a reboot removes it."""
        self.host.store.delete(ENDPOINTS, key.id)

    def add(
        self, config: Mapping[str, Json], container: str, *wishes: IPAddress | IPInterface, ifname: str = "eth0"
    ) -> list[str]:
        """As an ADD does it: record, addresses, record again. The addresses without prefix."""
        key = self.key(container, ifname)
        endpoint = EndpointSpec(container, ifname, "", "test", addresses=wishes)
        pool = self.pool(config, endpoint)
        self.record(key, pool, leased=False)
        try:
            lease = pool.acquire(key, endpoint)
        except BaseException:
            self.forget(key)
            raise
        self.record(key, pool)
        return [str(address.interface.ip) for address in lease.addresses]

    def delete(self, container: str, ifname: str = "eth0") -> set[str]:
        """As a DEL with a record does it. The addresses that were still the endpoint's."""
        key = self.key(container, ifname)
        seen: list[frozenset[IPAddress]] = []
        record = self.host.store.get(ENDPOINTS, key.id)
        assert record is not None
        ipam.restore(NETWORK, "host-local", record["ipam"], self.host).release(key, {}, seen.append)
        self.forget(key)
        (addresses,) = seen
        return set(map(str, addresses))

    def delete_unrecorded(self, config: Mapping[str, Json], container: str, ifname: str = "eth0") -> set[str]:
        seen: list[frozenset[IPAddress]] = []
        spec = IpamSpec("host-local", config)
        ipam.release_unrecorded(NETWORK, spec, self.key(container, ifname), {}, seen.append, self.host)
        (addresses,) = seen
        return set(map(str, addresses))

    def after_restart(self, config: Mapping[str, Json], started: Callable[[], float]) -> HostLocal:
        """A pool in an epoch that began at `started()`."""
        leases = Leases(NETWORK, str(self.folder), self.host, started=started)
        return HostLocal(leases, parse(Fields(config, "ipam.")))

    def foreign(self, address: str, content: str, *, age_s: float = 0) -> Path:
        """A lease as the reference writes it, or a crash leaves it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / address
        path.write_text(content, newline="")
        if age_s:
            then = path.stat().st_mtime - age_s
            os.utime(path, (then, then))
        return path

    def held(self) -> dict[str, str]:
        """Lease files and their contents."""
        found = {}
        for path in self.folder.iterdir() if self.folder.exists() else ():
            try:
                ip_address(path.name)
            except ValueError:
                continue
            found[path.name] = path.read_bytes().decode()
        return found
