"""What a network is asked to be, as a record, and how it compares with the record that exists.

Pure: records and specifications in, records out. Nothing is read from the store or the kernel.
"""

from __future__ import annotations

from ipaddress import ip_network
from time import time

from cni_cnm import ipam
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.drivers import drivers
from cni_cnm.errors import Conflict, InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.drivers import Options
    from cni_cnm.model import EndpointSpec, IPNetwork, Json


def describe(spec: NetworkSpec, options: Options, ipam_config: Mapping[str, Json]) -> NetworkRecord:
    """The record of a network as requested."""
    return NetworkRecord(
        id=digest(spec.name),
        name=spec.name,
        driver=spec.driver,
        options=options,
        ipam_type=spec.ipam.type,
        ipam=ipam_config,
        internal=spec.internal,
        labels=spec.labels,
        created=time(),
        docker_networks=spec.docker_networks,
        owner=spec.owner,
    )


def describe_again(spec: NetworkSpec, options: Options, record: NetworkRecord) -> NetworkRecord:
    """The same for a network that exists: a subnet that was chosen for it stays."""
    return describe(spec, options, dict(with_recorded_subnets(spec, record).config))


def spec_of(record: NetworkRecord) -> NetworkSpec:
    """The specification that a record was made from."""
    return NetworkSpec(
        record.name, record.driver, record.options.to_json(), IpamSpec(record.ipam_type, record.ipam), record.internal
    )


def needs_subnet(spec: NetworkSpec) -> bool:
    """True if the default address pools have to provide its subnet. In the reference profile they never do."""
    config = spec.ipam.config
    ours = spec.ipam.type == "host-local" and spec.options.get("profile") != "reference"
    return ours and not config.get("subnet") and not config.get("ranges")


def subnets_are_recorded(spec: NetworkSpec) -> bool:
    """True if the network's record, and not the configuration alone, says which subnets it has."""
    return needs_subnet(spec) or ipam.allocates(spec.ipam)


def with_recorded_subnets(spec: NetworkSpec, record: NetworkRecord) -> IpamSpec:
    """The IPAM part of a specification, with the subnets that were chosen when the network was made."""
    if not subnets_are_recorded(spec):
        return spec.ipam
    chosen = ("subnet", "ranges") if needs_subnet(spec) else ()
    kept = {**{key: record.ipam[key] for key in chosen if key in record.ipam}, **ipam.allocated(record.ipam)}
    return spec.ipam._replace(config={**spec.ipam.config, **kept})


def families_to_choose(spec: NetworkSpec) -> tuple[int, ...]:
    """IP versions of the subnets that are chosen for a network that names none."""
    return (4, 6) if spec.options.get("enableipv6") else (4,)


def families(spec: NetworkSpec, endpoint: EndpointSpec, host: Host) -> tuple[int, ...] | None:
    """IP versions of the addresses an attach would give. None if only the IPAM itself knows."""
    if needs_subnet(spec) and not endpoint.ranges:
        return families_to_choose(spec)
    return ipam.configure(spec.name, spec.ipam, endpoint, host).families


def is_of_plugin(record: NetworkRecord) -> bool:
    """True if a Docker plugin was told of the network: what it was told cannot be changed, only deleted."""
    return record.role.interface == "moved" or bool(ipam.allocated(record.ipam))


def subnets_of(record: NetworkRecord) -> list[IPNetwork]:
    """The subnets that a network's record names. What cannot be read is left out."""
    if ipam.allocated(record.ipam):
        return list(ipam.allocated_subnets(record.ipam))
    texts: list[Json] = [record.ipam.get("subnet")]
    for range_set in record.ipam.get("ranges") or ():
        texts += [item.get("subnet") for item in range_set if isinstance(item, dict)]
    found: list[IPNetwork] = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except (TypeError, ValueError):
            continue
    return found


def update(old: NetworkRecord, new: NetworkRecord, *, in_use: bool) -> NetworkRecord:
    """The record after its configuration was edited. InvalidConfig for a change that live endpoints do not allow."""
    told = in_use and (is_of_plugin(old) or is_of_plugin(new))
    was, now = drivers.get(old.driver).fixed(old.options), drivers.get(new.driver).fixed(new.options)
    whole = (("options", old.options.to_json(), new.options.to_json()), ("ipam", _told(old), _told(new)))
    for what, before, after in (
        ("driver", old.driver, new.driver),
        *(whole if told else ()),
        *((key, was.get(key, now.get(key)), now.get(key)) for key in {**was, **now}),
        ("internal", old.internal, new.internal),
        *(
            [("subnets", _shown(old), _shown(new)), ("ipam", old.ipam_type, new.ipam_type)]
            if old.docker_networks
            else ()
        ),
    ):
        if before != after and (in_use or old.docker_networks):
            raise InvalidConfig(
                f"the network {old.name} was made with {what} {before!r}, the configuration now says {after!r}",
                hint="give the edited configuration another network name, or remove the network's containers first",
            )
    owns = old.owns_data_path if new.driver == old.driver else drivers.get(new.driver).shares_links
    return new._replace(
        created=old.created,
        labels=new.labels or old.labels,
        owns_data_path=owns,
        docker_networks=old.docker_networks,
        owner=old.owner,
    )


def is_current(record: NetworkRecord, spec: NetworkSpec, options: Options) -> bool:
    """True if the network was made completely, from the same configuration."""
    requested = describe_again(spec, options, record)
    return not record.pending and same_configuration(record, requested)


def same_configuration(old: NetworkRecord, new: NetworkRecord) -> bool:
    """True if both records follow from the same configuration."""
    return _configured(old) == _configured(new)


def name_taken(name: str) -> Conflict:
    return Conflict(f"there is a network {name} already", hint="network names are unique on a host")


def _told(record: NetworkRecord) -> Json:
    """The keys of an ipam object that its plugin was told."""
    return {key: value for key, value in record.ipam.items() if key not in ("routes", "dns")}


def _shown(record: NetworkRecord) -> str:
    return ", ".join(str(subnet) for subnet in subnets_of(record)) or "none"


def _configured(record: NetworkRecord) -> NetworkRecord:
    """The record with only what follows from the configuration."""
    return record._replace(created=0.0, labels={}, owns_data_path=True, docker_networks=(), owner="", pending=False)
