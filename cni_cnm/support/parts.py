"""The parts of the archive. Each names its fields: what is not named here is not in it."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter

from cni_cnm import __version__
from cni_cnm.adopt.adoption import RELEASED, TAKEN, adoptions
from cni_cnm.cluster import status_file
from cni_cnm.cnm.records import endpoint_records, network_records
from cni_cnm.doctor.diagnose import CHECKS, diagnose
from cni_cnm.doctor.picture import Picture
from cni_cnm.errors import CnmError
from cni_cnm.firewall import TABLES, UNDERLAY
from cni_cnm.reference.configuration import IPTABLES, NFTABLES
from cni_cnm.support import log_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cni_cnm.adopt.adoption import Adoption
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord, NetworkRecord
    from cni_cnm.doctor.diagnose import Diagnosis
    from cni_cnm.model import Json

_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/default/disable_ipv6",
    "net/ipv6/conf/default/accept_ra",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
)
_USERINFO = re.compile(r"//[^\s/]*@")
_OS = ("ID", "VERSION_ID", "VARIANT_ID")
_FILES = ("run_dir", "state_dir", "leases_dir")
_WORDS = ("log_format", "hold_ports", "port_wait", "linger", "plugin_wait")


def parts(host: Host, *, addresses: bool) -> Iterator[tuple[str, Json]]:
    """Name and value of each part. One that cannot be read has the kind of its error, without the text."""
    found: dict[str, Callable[[], Json]] = {
        "versions": _versions,
        "settings": lambda: _settings(host),
        "kernel": lambda: _kernel(host),
        "networks": lambda: [_network(host, record) for record in network_records(host.store)],
        "endpoints": lambda: [_endpoint(host, record) for record in endpoint_records(host.store)],
        "adoptions": lambda: [_adoption(one) for one in adoptions(host.store)],
        "doctor": lambda: _doctor(host, texts=addresses),
        "cluster": lambda: _cluster(host),
        "log": lambda: log_lines.of_file(host.settings.log) if os.path.isabs(host.settings.log) else [],
    }
    if addresses:
        found["addresses"] = lambda: _addresses(host)
        found["other_rules"] = lambda: _other_rules(host)
    for name, read in found.items():
        try:
            yield name, read()
        except (CnmError, OSError, ValueError) as error:
            yield name, {"unreadable": type(error).__name__}


def _versions() -> Json:
    release = {}
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            pairs = (line.strip().partition("=") for line in file)
            release = {key: value.strip('"') for key, _, value in pairs if key in _OS}
    except OSError:
        pass
    return {
        "cni-cnm": __version__,
        "python": platform.python_version(),
        "bundle": bool(getattr(sys, "frozen", False)),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "os": release,
    }


def _settings(host: Host) -> Json:
    """Words, numbers and our own folders. Other paths, URLs and users are counted, or only said to be there."""
    settings, cluster = host.settings, host.settings.cluster
    found = {key: getattr(settings, key) for key in (*_FILES, *_WORDS)}
    found["log"] = settings.log if settings.log in ("syslog", "stderr", "none") else "file"
    found["metrics"] = settings.metrics if settings.metrics in ("socket", "off") else "address"
    found["docker_api"] = settings.docker_api if settings.docker_api in ("auto", "off") else "path"
    found["default_address_pools"] = len(settings.default_address_pools)
    if cluster is not None:
        given = {key: bool(getattr(cluster, key)) for key in ("ca", "cert", "username", "node", "address")}
        found["cluster"] = {"store": cluster.store, "endpoints": len(cluster.endpoints), "given": given}
    return found


def _kernel(host: Host) -> Json:
    links = host.stack.links()
    counters = host.nft.counters((*TABLES, UNDERLAY))
    return {
        "sysctls": {key: host.stack.sysctl(key) for key in _SYSCTLS},
        "links": dict(Counter(link.kind or "hardware" for link in links)),
        "links_down": sum(not link.up for link in links),
        "tables": {name: count for name, count in host.nft.tables().items() if name in (*TABLES, UNDERLAY)},
        "other_tables": sum(name not in (*TABLES, UNDERLAY) for name in host.nft.tables()),
        "base_chains_that_drop": sum(chain.drops for chain in host.nft.base_chains()),
        "dropped_packets": {one.name: one.packets for one in counters},
    }


def _network(host: Host, record: NetworkRecord) -> Json:
    policy = record.policy
    link = host.stack.link(policy.bridge) if policy.bridge else None
    return {
        "id": record.id[:12],
        "driver": record.driver,
        "internal": record.internal,
        "ipam": record.ipam_type if record.ipam_type in ("host-local", "static", "none", "") else "other",
        "owner": record.owner,
        "pending": record.pending,
        "published_only": record.published_only,
        "docker_networks": len(record.docker_networks),
        "bridge": None if link is None else {"up": link.up, "mtu": link.mtu},
    }


def _endpoint(host: Host, record: EndpointRecord) -> Json:
    return {
        "id": record.id[:12],
        "network": record.network_id[:12],
        "driver": record.driver,
        "owner": record.owner if record.owner.isascii() and record.owner.replace("/", "").isalnum() else "other",
        "state": record.state,
        "of_this_boot": record.epoch == host.epoch,
        "link": bool(record.host_ifname) and host.stack.link(record.host_ifname) is not None,
        "namespace": bool(record.netns) and os.path.exists(record.netns),
        "addresses": [address.interface.version for address in record.addresses],
        "ports": dict(Counter(port.protocol for port in record.ports)),
        "docker": bool(record.docker_network),
    }


def _adoption(state: Adoption) -> Json:
    """Nothing of the files and the requests that it has."""
    return {
        "way": state.way if state.way in (TAKEN, RELEASED) else "other",
        "done": state.done,
        "attachments": len(state.cached),
        "forms": [form if form in (IPTABLES, NFTABLES) else "" for form in state.forms],
        "older_portmap": state.older_portmap,
    }


def _doctor(host: Host, *, texts: bool) -> Json:
    """How many findings each check has. The sentences name links, addresses and files, so they are there on request."""
    with Picture(host) as picture:
        found = diagnose(picture, CHECKS)
    if texts:
        return [
            {"check": name, "what": _masked(one.what), "run": [_masked(command) for command in one.commands]}
            for name, one in found.findings
        ]
    return _counts(found)


def _masked(sentence: str) -> str:
    """Without users and passwords in URLs: a file or a status may be of a version that took them."""
    return _USERINFO.sub("//", sentence)


def _counts(found: Diagnosis) -> Mapping[str, Json]:
    return {
        "findings": dict(Counter(name for name, _ in found.findings)),
        "not_checked": dict(Counter(name for name, _ in found.unchecked)),
    }


def _cluster(host: Host) -> Json:
    status = status_file.read(host.settings.run_dir) if host.settings.cluster is not None else None
    if status is None:
        return None
    return {
        "store_reachable": status.store.reachable,
        "conflict": bool(status.conflict),
        "warnings": len(status.warnings),
        "networks": [{"ready": one.ready, "lost": len(one.lost)} for one in status.networks.values()],
        "figures": dict(status.figures),
    }


def _addresses(host: Host) -> Json:
    names = {link.ifindex: link.name for link in host.stack.links()}
    return {
        "addresses": [[names.get(index, ""), str(address)] for index, address in host.stack.all_addresses()],
        "routes": [[str(route.dst), names.get(route.link, ""), str(route.gw or "")]
                   for route in host.stack.routes()],
        "endpoints": {one.id[:12]: [str(each.interface) for each in one.addresses]
                      for one in endpoint_records(host.store)},
    }  # fmt: skip


def _other_rules(host: Host) -> Json:
    found = {}
    for chain in host.nft.base_chains():
        if f"{chain.family} {chain.table}" in TABLES:
            continue
        rules = host.nft.filter_rules(chain.family, chain.table, chain.name)
        found[chain.place] = [[rule.verdict, rule.target, *map(str, rule.conditions)] for rule in rules]
    return found
