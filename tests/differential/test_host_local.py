"""host-local and static beside the reference executables: the same answers, and one store shared by both."""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import IPv4Interface, ip_address, ip_interface
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cni_cnm import ipam
from cni_cnm.errors import CnmError, Conflict
from cni_cnm.model import EndpointSpec, IpamSpec, Json, Lease
from tests.ipam_host import ipam_host
from tests.side import REFERENCE
from tests.unit.ipam.lease_folder import NETWORK, LeaseFolder, ranges

CURSORS = ("last_reserved_ip.0", "last_reserved_ip.1")


class Reference:
    """The executable of a name, on its own folder or on a shared one."""

    def __init__(self, networks: Path, name: str = "host-local") -> None:
        self.path = REFERENCE / name
        if not self.path.exists():
            pytest.skip(f"the reference executable {self.path} is not installed")
        self.networks = networks
        self.folder = networks / NETWORK

    def call(self, verb: str, config: Json, container: str, *wishes: str, args: str = "") -> Json:
        """The result; None if the executable refuses."""
        own = {"type": self.path.name, "dataDir": str(self.networks), **config}
        document = {"cniVersion": "1.0.0", "name": NETWORK, "type": "x", "ipam": own, "runtimeConfig": {"ips": wishes}}
        environ = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": "/x",
            "CNI_PATH": str(REFERENCE),
            "CNI_ARGS": args,
        }
        done = subprocess.run([self.path], input=json.dumps(document).encode(), env=environ, capture_output=True)
        if done.returncode:
            return None
        return json.loads(done.stdout) if done.stdout else {}

    def add(self, config: Json, container: str, *wishes: str) -> list[str] | None:
        result = self.call("ADD", config, container, *wishes)
        return None if result is None else [ip["address"].partition("/")[0] for ip in result["ips"]]


@pytest.fixture
def store(tmp_path: Path) -> LeaseFolder:
    return LeaseFolder(tmp_path / "ours")


def add(store: LeaseFolder, config: Json, container: str, *wishes: str) -> list[str] | None:
    try:
        return store.add(config, container, *map(ip_address, wishes))
    except CnmError:
        return None


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


CONFIGS = (
    ranges("10.1.0.0/29"),
    ranges("10.1.0.0/29", "fd00::/125"),
    ranges(["10.1.0.0/30", "10.2.0.0/29"]),
    {"subnet": "10.1.0.0/28", "rangeStart": "10.1.0.3", "rangeEnd": "10.1.0.6", "gateway": "10.1.0.5"},
    {"ranges": [[{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.6"}, {"subnet": "10.0.0.0/30"}]]},
)
STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=25)


def lowered(config: Json) -> Json:
    if isinstance(config, dict):
        return {key.lower(): lowered(value) for key, value in config.items()}
    return [lowered(item) for item in config] if isinstance(config, list) else config


@given(st.sampled_from(CONFIGS), STEPS)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_same_addresses_same_store(config: Json, steps: list[tuple[bool, str]]) -> None:
    """Any history of ADDs and DELs gives the same addresses and leaves the same bytes in the store."""
    with TemporaryDirectory() as folder:
        store, reference = LeaseFolder(Path(folder) / "ours"), Reference(Path(folder) / "reference")
        ours = lowered(config)
        live: set[str] = set()
        exhausted = False
        for is_add, container in steps:
            if is_add and container not in live:
                found = add(store, ours, container)
                assert found == reference.add(config, container)
                exhausted = exhausted or found is None
                live |= {container} if found else set()
            elif not is_add:
                (store.delete if container in live else lambda c: store.delete_unrecorded(ours, c))(container)
                reference.call("DEL", config, container)
                live.discard(container)
            found_files, expected_files = contents(store.folder), contents(reference.folder)
            if exhausted:  # a failed ADD moves the reference's cursors of the sets that still had addresses
                found_files, expected_files = (
                    {name: data for name, data in files.items() if name not in CURSORS}
                    for files in (found_files, expected_files)
                )
            if not is_add and not found_files:
                continue  # the reference makes its folder on a DEL too
            assert found_files == expected_files
            if exhausted and len(config.get("ranges", ())) > 1:
                return


@pytest.mark.parametrize(
    "wishes",
    [("10.1.0.4",), ("fd00::3", "10.1.0.4"), ("10.1.0.1",), ("10.1.0.9",), ("10.1.0.3", "10.1.0.4"), ("10.1.0.2",)],
)
def test_requests(store: LeaseFolder, tmp_path: Path, wishes: tuple[str, ...]) -> None:
    """A requested address is given or refused alike, and the next dynamic one follows it alike."""
    reference = Reference(tmp_path / "reference")
    config = ranges("10.1.0.0/29", "fd00::/125")
    for container, asked in (("a", ()), ("b", wishes), ("c", ())):
        found = add(store, config, container, *asked)
        assert found == reference.add(config, container, *asked)
        if container == "b" and found is None:
            break
    assert set(store.held()) == set(contents(reference.folder)) - {"lock", *CURSORS}


def test_result(store: LeaseFolder, tmp_path: Path) -> None:
    """Prefix, gateway, routes and DNS are the reference's."""
    (tmp_path / "resolv").write_text("nameserver 10.1.0.1\nsearch a b\n# x\ndomain d\noptions ndots:2\n")
    config = {
        **ranges("10.1.0.0/24", "fd00::/64"),
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.7"}],
        "resolvConf": str(tmp_path / "resolv"),
    }
    expected = Reference(tmp_path / "reference").call("ADD", config, "c")
    pool = store.pool(lowered(config))
    assert shown(pool.acquire(store.key("c"), EndpointSpec("c", "eth0", "", "t"))) == expected


def shown(lease: Lease) -> Json:
    """A lease as the reference prints it at CNI 1.0."""
    dns = {key: list(value) if key != "domain" else value for key, value in lease.dns._asdict().items() if value}
    routes = [{"dst": str(route.dst), **({"gw": str(route.gw)} if route.gw else {})} for route in lease.routes]
    ips = [
        {"address": str(interface), **({"gateway": str(gateway)} if gateway else {})}
        for interface, gateway in lease.addresses
    ]
    return {"cniVersion": "1.0.0", "ips": ips, **({"routes": routes} if routes else {}), "dns": dns}


INTERLEAVED = st.lists(
    st.tuples(st.sampled_from(["ours", "reference"]), st.booleans(), st.sampled_from("abcdefgh")), max_size=25
)


@given(INTERLEAVED)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_interleaved_on_one_store(steps: list[tuple[str, bool, str]]) -> None:
    """Both allocators on one store, in any order: no address twice, and each frees what the other gave."""
    config = ranges("10.1.0.0/28", ["fd00::/126", "fd01::/126"])
    with TemporaryDirectory() as folder:
        store = LeaseFolder(Path(folder))
        reference = Reference(store.folder.parent)
        given: dict[str, list[str]] = {}
        for who, is_add, container in steps:
            recorded = store.recorded(store.key(container))
            if is_add and who == "ours" and recorded:
                continue  # the controller refuses it by the record, before any address is asked for
            if is_add:
                found = add(store, config, container) if who == "ours" else reference.add(config, container)
                full = len([1 for addresses in given.values() for a in addresses if ":" in a]) == 4
                assert (found is None) == (container in given or full)
                if found:
                    assert not {a for addresses in given.values() for a in addresses} & set(found)
                    given[container] = found
            elif who == "reference":
                reference.call("DEL", config, container)
                given.pop(container, None)
                store.forget(store.key(container))
            else:
                recorded = store.recorded(store.key(container))
                freed = store.delete(container) if recorded else store.delete_unrecorded(config, container)
                assert freed == set(given.pop(container, ()))
            assert store.held() == {a: f"{c}\r\neth0" for c, addresses in given.items() for a in addresses}


def test_both_check_each_others_leases(store: LeaseFolder) -> None:
    """CHECK of either is satisfied by a lease of the other."""
    config = ranges("10.1.0.0/24")
    reference = Reference(store.folder.parent)
    store.add(config, "a")
    assert reference.call("CHECK", config, "a") == {}
    (address,) = reference.add(config, "b") or []
    lease = Lease(tuple(store.pool(config).acquire(store.key("x"), EndpointSpec("x", "eth0", "", "t")).addresses))
    held = lease._replace(addresses=(lease.addresses[0]._replace(interface=ip_interface(f"{address}/24")),))
    store.pool(config).check(store.key("b"), held, {})


def _many(path: str, who: str, first: int, count: int) -> list[str]:
    store, config, found = LeaseFolder(Path(path)), ranges("10.1.0.0/24"), []
    for n in range(first, first + count):
        got = store.add(config, f"c{n}") if who == "ours" else Reference(store.folder.parent).add(config, f"c{n}")
        found += got or []
    return found


def test_at_the_same_time(tmp_path: Path) -> None:
    """Processes of both kinds allocating at once never share an address, and fill the range exactly."""
    Reference(tmp_path)
    jobs = [(str(tmp_path), who, 1000 * n, 42) for n, who in enumerate(("ours", "reference") * 3)]
    with get_context("spawn").Pool(6) as workers:
        found = [address for part in workers.starmap(_many, jobs) for address in part]
    assert len(found) == len(set(found)) == 252
    assert set(LeaseFolder(tmp_path).held()) == set(found)
    store = LeaseFolder(tmp_path)
    for n in (1000, 3000, 5000):
        assert len(store.delete_unrecorded({}, f"c{n}")) == 1
    with pytest.raises(Conflict):
        store.add(ranges("10.1.0.0/24"), "c1001")


@pytest.mark.parametrize("args", ["", "IP=10.2.0.7/16;GATEWAY=10.2.0.1", "GATEWAY=10.1.0.9"])
def test_static(tmp_path: Path, args: str) -> None:
    """static gives what the reference gives, with and without CNI_ARGS."""
    config = {
        "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00::5/64"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.2"}],
        "dns": {"nameservers": ["10.1.0.1"], "domain": "d"},
    }
    expected = Reference(tmp_path, "static").call("ADD", config, "c", args=args)
    pairs = dict(pair.split("=") for pair in args.split(";") if pair)
    wish = EndpointSpec(
        "c",
        "eth0",
        "",
        "t",
        addresses=tuple(IPv4Interface(text) for text in [pairs.get("IP")] if text),
        gateways=tuple(ip_address(text) for text in [pairs.get("GATEWAY")] if text),
    )
    pool = ipam.configure(NETWORK, IpamSpec("static", config), wish, ipam_host())
    assert shown(pool.acquire(LeaseFolder(tmp_path).key("c"), wish)) == expected


def test_reference_by_delegation(tmp_path: Path) -> None:
    """The reference executable runs as a delegate from ADD to DEL."""
    reference = Reference(tmp_path)
    config = {"type": "host-local", "dataDir": str(tmp_path), "subnet": "10.1.0.0/24"}
    os.symlink(reference.path, tmp_path / "other")
    document = {"cniVersion": "1.0.0", "name": NETWORK, "ipam": config}
    spec = IpamSpec("other", {}, document, str(tmp_path))
    key, endpoint = LeaseFolder(tmp_path).key("c"), EndpointSpec("c", "eth0", "/x", "t")
    pool = ipam.configure(NETWORK, spec, endpoint, ipam_host())
    lease = pool.acquire(key, endpoint)
    assert str(lease.addresses[0].interface) == "10.1.0.2/24"
    pool.check(key, lease, {"CNI_NETNS": "/x"})
    ipam.restore(NETWORK, "other", pool.record(), ipam_host()).release(key, {}, lambda _: None)
    with pytest.raises(CnmError, match="Failed to find address"):
        pool.check(key, lease, {"CNI_NETNS": "/x"})
